//! `#[task]` and `#[service]`: a function becomes an operation.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Attribute, Expr, ExprLit, ItemFn, Lit, Meta, ReturnType, Signature, Type};

use crate::parameter::Parameter;

/// How the operation ends.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Task,
    Service,
}

pub(crate) fn expand(kind: Kind, options: TokenStream, item: TokenStream) -> TokenStream {
    let mut function: ItemFn = match syn::parse2(item) {
        Ok(function) => function,
        Err(error) => return error.into_compile_error(),
    };
    let operation = operation(kind, options, &mut function);
    let operation = operation.unwrap_or_else(|error| error.into_compile_error());
    quote! {
        #[allow(
            clippy::needless_pass_by_value,
            reason = "arguments are decoded for this call, so they are owned"
        )]
        #function
        #operation
    }
}

/// The name of the static that stands for the operation `function`. Where it
/// is missing the compiler shows this name, so it says what to look for.
pub(crate) fn static_name(function: &Ident) -> Ident {
    format_ident!("__task_or_service_{}", function.unraw(), span = function.span())
}

fn operation(kind: Kind, options: TokenStream, function: &mut ItemFn) -> syn::Result<TokenStream> {
    let parameters = parameters(&mut function.sig);
    if let Some(option) = options.into_iter().next() {
        let message = "no options here; documentation goes into the doc comment";
        return Err(syn::Error::new(option.span(), message));
    }
    check(kind, &function.sig)?;
    let parameters = parameters?;
    let name = name(&function.sig.ident)?;
    let doc = doc(&function.attrs)?;

    let checks = parameters.iter().map(Parameter::check);
    let fields = parameters.iter().map(Parameter::field);
    let defaults = parameters.iter().filter_map(Parameter::default_function);
    let names: Vec<_> = parameters.iter().map(|parameter| &parameter.name).collect();
    let ident = &function.sig.ident;
    let static_name = static_name(ident);
    let visibility = &function.vis;
    let (returns, encode) = answer(&function.sig.output);
    let encode = quote_spanned!(output_span(&function.sig.output)=> #encode(answer));

    let (operation, own_fields, run) = match (kind, &function.sig.asyncness) {
        (Kind::Task, Some(_)) => (
            quote!(AsyncOperation),
            TokenStream::new(),
            quote! {
                fn __run(arguments: ::std::string::String) -> ::drover_sdk::__private::Running {
                    ::std::boxed::Box::pin(async move {
                        let Arguments { #(#names),* } =
                            ::drover_sdk::__private::decode(&arguments)?;
                        let answer = #ident(#(#names),*).await;
                        #encode
                    })
                }
            },
        ),
        (kind, _) => {
            let kind = match kind {
                Kind::Task => quote!(Task),
                Kind::Service => quote!(Service),
            };
            let run = quote! {
                fn __run(
                    arguments: &str,
                ) -> ::core::result::Result<::std::string::String, ::drover_sdk::RunError> {
                    let Arguments { #(#names),* } = ::drover_sdk::__private::decode(arguments)?;
                    let answer = #ident(#(#names),*);
                    #encode
                }
            };
            (quote!(Operation), quote!(kind: ::drover_sdk::Kind::#kind,), run)
        }
    };

    Ok(quote! {
        #[doc(hidden)]
        #[allow(
            non_upper_case_globals,
            unreachable_pub,
            reason = "named after the function and as visible as it is"
        )]
        #visibility static #static_name: ::drover_sdk::__private::#operation = {
            const _: fn() = || {
                fn is_argument<T: ::drover_sdk::__private::Argument>() {}
                #(#checks)*
            };

            #[derive(
                ::drover_sdk::serde::Deserialize,
                ::drover_sdk::schemars::JsonSchema,
            )]
            #[serde(crate = "::drover_sdk::serde", deny_unknown_fields)]
            #[schemars(crate = "::drover_sdk::schemars")]
            struct Arguments { #(#fields)* }

            #(#defaults)*

            // A name that no operation has, as the operation is called in it.
            #run

            ::drover_sdk::__private::#operation {
                name: #name,
                #own_fields
                doc: #doc,
                arguments: ::drover_sdk::__private::arguments_schema::<Arguments>,
                returns: ::drover_sdk::__private::returns_schema::<#returns>,
                run: __run,
            }
        };
    })
}

/// Takes all parameters apart, so that every wrong one is reported at once.
fn parameters(signature: &mut Signature) -> syn::Result<Vec<Parameter>> {
    let mut parameters = Vec::new();
    let mut errors: Option<syn::Error> = None;
    for argument in &mut signature.inputs {
        match (Parameter::take(argument), &mut errors) {
            (Ok(parameter), _) => parameters.push(parameter),
            (Err(error), Some(errors)) => errors.combine(error),
            (Err(error), None) => errors = Some(error),
        }
    }
    errors.map_or(Ok(parameters), Err)
}

/// Refuses what cannot be called with a JSON object.
fn check(kind: Kind, signature: &Signature) -> syn::Result<()> {
    if let (Kind::Service, Some(token)) = (kind, &signature.asyncness) {
        let message = "a service is a plain function; remove `async`, it waits by `job::wait`";
        return Err(syn::Error::new_spanned(token, message));
    }
    if let Some(token) = &signature.unsafety {
        let message = "an operation is called by strangers; remove `unsafe`";
        return Err(syn::Error::new_spanned(token, message));
    }
    if let Some(abi) = &signature.abi {
        return Err(syn::Error::new_spanned(abi, "an operation is a plain function; remove this"));
    }
    if let Some(dots) = &signature.variadic {
        return Err(syn::Error::new_spanned(dots, "take a `Vec` instead of `...`"));
    }
    if !signature.generics.params.is_empty() {
        let message = "an operation cannot be generic: its schema is made of the types; name them";
        return Err(syn::Error::new_spanned(&signature.generics, message));
    }
    if let ReturnType::Type(_, ty) = &signature.output
        && matches!(**ty, Type::ImplTrait(_))
    {
        let message = "name a type: the schema of the answer is made of it";
        return Err(syn::Error::new_spanned(ty, message));
    }
    Ok(())
}

/// The operation's name for callers, which the contract restricts.
fn name(function: &Ident) -> syn::Result<String> {
    let name = function.unraw().to_string();
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.chars().all(is_allowed)
    {
        return Ok(name);
    }
    let message = "callers know the operation by this name: use lower-case letters (a to z), digits \
                   and `_`, start with a letter, at most 64 characters";
    Err(syn::Error::new_spanned(function, message))
}

/// The doc comment as text, without the space that follows `///`.
fn doc(attributes: &[Attribute]) -> syn::Result<String> {
    let mut lines = Vec::new();
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("doc")) {
        let Meta::NameValue(meta) = &attribute.meta else {
            // Such as `#[doc(hidden)]`.
            continue;
        };
        let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &meta.value else {
            let message = "operators read this: write the text itself";
            return Err(syn::Error::new_spanned(&meta.value, message));
        };
        let text = text.value();
        lines.extend(text.lines().map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned()));
        if text.is_empty() {
            lines.push(String::new());
        }
    }
    Ok(lines.join("\n").trim().to_owned())
}

fn output_span(output: &ReturnType) -> Span {
    match output {
        ReturnType::Default => output.span(),
        ReturnType::Type(_, ty) => ty.span(),
    }
}

/// The type whose schema describes the answer, and the function that encodes
/// what the operation returns. A type called `Result` may fail, whatever path
/// and parameters it has; every other type is an answer.
fn answer(output: &ReturnType) -> (TokenStream, TokenStream) {
    let ty = match output {
        ReturnType::Default => quote!(()),
        ReturnType::Type(_, ty) => match &**ty {
            Type::Path(path)
                if path.path.segments.last().is_some_and(|last| last.ident == "Result") =>
            {
                let answer = quote_spanned! { ty.span()=>
                    <#ty as ::drover_sdk::__private::Fallible>::Answer
                };
                return (answer, quote!(::drover_sdk::__private::encode_result));
            }
            ty => quote!(#ty),
        },
    };
    (ty, quote!(::drover_sdk::__private::encode))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the compiler would say to the author.
    fn complaints(function: &str) -> Vec<String> {
        let tokens = expand(Kind::Task, TokenStream::new(), function.parse().unwrap());
        let text = tokens.to_string();
        let calls = text.split("compile_error ! {").skip(1);
        calls.map(|rest| rest.split('}').next().unwrap_or_default().trim().to_owned()).collect()
    }

    #[test]
    fn what_cannot_be_an_operation_is_refused_with_a_cure() {
        for (function, cure) in [
            ("unsafe fn f() {}", "remove `unsafe`"),
            ("extern \"C\" fn f() {}", "remove this"),
            ("fn f<T>(a: T) {}", "name them"),
            ("fn f<'a>() {}", "name them"),
            ("fn f(&self) {}", "take arguments instead of `self`"),
            ("fn f(a: &str) {}", "take `String` for `&str`"),
            ("fn f(a: Vec<&'static str>) {}", "take `String` for `&str`"),
            ("fn f(a: Option<impl Copy>) {}", "name a type"),
            ("fn f((a, b): (u8, u8)) {}", "a plain name"),
            ("fn f(_: u8) {}", "a plain name"),
            ("fn f(_a: u8) {}", "start it with a letter"),
            ("fn f(#[default] a: u8) {}", "as in `#[default(10)]`"),
            ("fn f(#[defalt(1)] a: u8) {}", "a parameter takes doc comments"),
            ("fn f() -> impl Iterator<Item = u8> {}", "name a type"),
            ("fn Greet() {}", "lower-case letters"),
            ("fn _greet() {}", "start with a letter"),
            ("#[doc = include_str!(\"a.md\")] fn f() {}", "write the text itself"),
            ("struct S;", "expected `fn`"),
        ] {
            let complaints = complaints(function);
            assert_eq!(complaints.len(), 1, "{function}: {complaints:?}");
            assert!(complaints[0].contains(cure), "{function}: {complaints:?}");
        }
    }

    #[test]
    fn only_a_task_may_be_asynchronous() {
        let expanded = |kind| expand(kind, TokenStream::new(), "async fn f() {}".parse().unwrap());
        assert!(expanded(Kind::Task).to_string().contains("AsyncOperation"));
        assert!(expanded(Kind::Service).to_string().contains("remove `async`"));
    }

    #[test]
    fn every_wrong_parameter_is_reported() {
        assert_eq!(complaints("fn f(a: &str, (b, c): (u8, u8), d: u8) {}").len(), 2);
    }

    #[test]
    fn options_are_refused() {
        let tokens =
            expand(Kind::Task, "name = \"x\"".parse().unwrap(), "fn f() {}".parse().unwrap());
        assert!(tokens.to_string().contains("no options here"));
    }

    #[test]
    fn a_name_has_at_most_64_characters() {
        assert!(complaints(&format!("fn {}() {{}}", "a".repeat(64))).is_empty());
        assert_eq!(complaints(&format!("fn {}() {{}}", "a".repeat(65))).len(), 1);
    }
}
