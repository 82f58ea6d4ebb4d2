//! `#[data]`: the three derives, with the paths of the SDK's re-exports.

use proc_macro2::TokenStream;
use quote::{ToTokens, quote};
use syn::{Attribute, Data, DeriveInput, Field, Fields};

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> TokenStream {
    if let Some(option) = options.into_iter().next() {
        let message = "`#[data]` takes no options; use `#[serde(…)]` and `#[schemars(…)]` below it";
        return syn::Error::new(option.span(), message).into_compile_error();
    }
    let input: DeriveInput = match syn::parse2(item) {
        Ok(input) => input,
        Err(error) => return error.into_compile_error(),
    };
    if let Data::Union(data) = &input.data {
        let message = "`#[data]` is for structs and enums: a union cannot be written as JSON";
        return syn::Error::new(data.union_token.span, message).into_compile_error();
    }
    let strict = has_named_fields(&input) && !fields(&input).any(is_flattened);
    let strict = strict.then(|| quote!(, deny_unknown_fields));
    quote! {
        #[derive(
            ::drover_sdk::serde::Serialize,
            ::drover_sdk::serde::Deserialize,
            ::drover_sdk::schemars::JsonSchema,
        )]
        #[serde(crate = "::drover_sdk::serde" #strict)]
        #[schemars(crate = "::drover_sdk::schemars")]
        #input
    }
}

fn has_named_fields(input: &DeriveInput) -> bool {
    match &input.data {
        Data::Struct(data) => matches!(data.fields, Fields::Named(_)),
        Data::Enum(data) => data.variants.iter().any(|v| matches!(v.fields, Fields::Named(_))),
        Data::Union(_) => false,
    }
}

fn fields(input: &DeriveInput) -> Box<dyn Iterator<Item = &Field> + '_> {
    match &input.data {
        Data::Struct(data) => Box::new(data.fields.iter()),
        Data::Enum(data) => Box::new(data.variants.iter().flat_map(|v| v.fields.iter())),
        Data::Union(_) => Box::new(std::iter::empty()),
    }
}

fn is_flattened(field: &Field) -> bool {
    let says_flatten = |attribute: &Attribute| {
        let tokens = attribute.meta.to_token_stream();
        tokens.to_string().split(|c: char| !c.is_alphanumeric()).any(|word| word == "flatten")
    };
    field.attrs.iter().filter(|a| a.path().is_ident("serde")).any(says_flatten)
}
