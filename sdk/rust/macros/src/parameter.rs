//! The parameters of an operation, which callers know as its arguments.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprLit, FnArg, Lit, Pat, PatType, Type};

/// One parameter.
pub(crate) struct Parameter {
    pub(crate) name: Ident,
    ty: Type,
    /// Doc comments and what is meant for serde and schemars.
    attributes: Vec<Attribute>,
    default: Option<Expr>,
}

impl Parameter {
    /// Takes a parameter apart and removes from it what is not Rust's.
    pub(crate) fn take(argument: &mut FnArg) -> syn::Result<Self> {
        let typed = match argument {
            FnArg::Receiver(receiver) => {
                let message = "an operation is a free function; take arguments instead of `self`";
                return Err(syn::Error::new_spanned(receiver, message));
            }
            FnArg::Typed(typed) => typed,
        };
        let attributes = std::mem::take(&mut typed.attrs);
        let name = name(typed)?;
        refuse_borrowed(&typed.ty)?;
        let mut parameter =
            Self { name, ty: (*typed.ty).clone(), attributes: Vec::new(), default: None };
        for attribute in attributes {
            parameter.add(attribute)?;
        }
        Ok(parameter)
    }

    fn add(&mut self, attribute: Attribute) -> syn::Result<()> {
        let path = attribute.path();
        if path.is_ident("default") {
            let value = attribute.parse_args().map_err(|_| {
                let message = "write the value in the brackets, as in `#[default(10)]`";
                syn::Error::new_spanned(&attribute, message)
            })?;
            self.default = Some(value);
        } else if ["doc", "serde", "schemars"].iter().any(|known| path.is_ident(known)) {
            self.attributes.push(attribute);
        } else {
            let message = "a parameter takes doc comments, `#[default(…)]`, `#[schemars(…)]` and \
                           `#[serde(…)]`";
            return Err(syn::Error::new_spanned(attribute, message));
        }
        Ok(())
    }

    /// The field of the struct that arguments are decoded into.
    pub(crate) fn field(&self) -> TokenStream {
        let Self { name, ty, attributes, .. } = self;
        let default = self.default.as_ref().map(|_| {
            let function = self.default_function_name().to_string();
            quote!(#[serde(default = #function)])
        });
        quote!(#(#attributes)* #default #name: #ty,)
    }

    /// A check that says plainly what is wrong with the type, before the
    /// derives say it at length.
    pub(crate) fn check(&self) -> TokenStream {
        let ty = &self.ty;
        quote_spanned!(ty.span()=> is_argument::<#ty>();)
    }

    /// The function that makes the default, if there is one.
    pub(crate) fn default_function(&self) -> Option<TokenStream> {
        let value = self.default.as_ref()?;
        let is_text = matches!(value, Expr::Lit(ExprLit { lit: Lit::Str(_), .. }));
        let value =
            if is_text { quote!(::std::convert::From::from(#value)) } else { quote!(#value) };
        let (function, ty) = (self.default_function_name(), &self.ty);
        Some(quote!(fn #function() -> #ty { #value }))
    }

    fn default_function_name(&self) -> Ident {
        format_ident!("default_{}", self.name)
    }
}

fn name(typed: &PatType) -> syn::Result<Ident> {
    let Pat::Ident(pattern) = &*typed.pat else {
        let message = "give the parameter a plain name: callers know the argument by it";
        return Err(syn::Error::new_spanned(&typed.pat, message));
    };
    if pattern.ident.to_string().starts_with('_') {
        let message = "callers know the argument by this name; start it with a letter";
        return Err(syn::Error::new_spanned(pattern, message));
    }
    Ok(pattern.ident.clone())
}

fn refuse_borrowed(ty: &Type) -> syn::Result<()> {
    /// Finds the first part of a type that no decoded argument can have.
    struct Finder(Option<syn::Error>);

    impl<'ast> Visit<'ast> for Finder {
        fn visit_type(&mut self, ty: &'ast Type) {
            let message = match ty {
                Type::Reference(_) => {
                    "arguments are owned: take `String` for `&str`, `Vec<T>` for `&[T]`"
                }
                Type::ImplTrait(_) | Type::TraitObject(_) => {
                    "name a type: the schema of the arguments is made of it"
                }
                _ => return visit::visit_type(self, ty),
            };
            self.0.get_or_insert_with(|| syn::Error::new_spanned(ty, message));
        }
    }

    let mut finder = Finder(None);
    finder.visit_type(ty);
    finder.0.map_or(Ok(()), Err)
}
