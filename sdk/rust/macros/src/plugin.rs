//! `plugin!`: the list of a plugin's operations, and its export.

use std::collections::HashMap;

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::{Path, Token};

use crate::{manifest, operation};

pub(crate) fn expand(list: TokenStream) -> TokenStream {
    let manifest = manifest::expand()
        .map_err(|message| syn::Error::new(proc_macro2::Span::call_site(), message));
    let parts = statics(list).and_then(|statics| Ok((statics, manifest?)));
    parts.map_or_else(syn::Error::into_compile_error, |(statics, manifest)| {
        quote! {
            #manifest


            /// The plugin's operations, for its unit tests.
            pub(crate) static PLUGIN: ::drover_sdk::Plugin =
                ::drover_sdk::__private::plugin(&[#(&#statics),*]);

            const _: () = {
                struct Export;

                impl ::drover_sdk::__private::Guest for Export {
                    fn describe() -> ::std::vec::Vec<::drover_sdk::Description> {
                        PLUGIN.describe()
                    }

                    fn run(
                        operation: ::std::string::String,
                        arguments: ::std::string::String,
                    ) -> ::core::result::Result<::std::string::String, ::drover_sdk::RunError> {
                        PLUGIN.run(&operation, &arguments)
                    }
                }

                #[cfg(target_family = "wasm")]
                ::drover_sdk::__private::export!(Export with_types_in ::drover_sdk::bindings);

                // Natively no linker takes the names of the exports; this much is still checked
                // and counts as use.
                #[cfg(not(target_family = "wasm"))]
                const _: fn() -> ::std::vec::Vec<::drover_sdk::Description> =
                    <Export as ::drover_sdk::__private::Guest>::describe;
            };
        }
    })
}

fn statics(list: TokenStream) -> syn::Result<Vec<Path>> {
    let paths = Punctuated::<Path, Token![,]>::parse_terminated.parse2(list).map_err(|error| {
        syn::Error::new(error.span(), "list the operations, as in `plugin!(greet, files::list)`")
    })?;
    let mut seen = HashMap::new();
    let mut statics = Vec::new();
    for path in paths {
        let mut renamed = path.clone();
        let Some(last) = renamed.segments.last_mut() else {
            return Err(syn::Error::new_spanned(path, "name a function"));
        };
        if let Some(first) = seen.insert(last.ident.unraw().to_string(), path.clone()) {
            let first = quote!(#first).to_string().replace(' ', "");
            let message = format!("two operations of this name: `{first}` is listed already");
            return Err(syn::Error::new_spanned(path, message));
        }
        last.ident = operation::static_name(&last.ident);
        statics.push(renamed);
    }
    Ok(statics)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(list: &str) -> String {
        expand(list.parse().unwrap()).to_string()
    }

    #[test]
    fn two_operations_of_one_name_are_refused() {
        let text = expanded("list, files::list");
        assert!(text.contains("two operations of this name: `list`"), "{text}");
    }

    #[test]
    fn what_is_no_list_of_paths_is_refused_with_an_example() {
        assert!(expanded("a, 7").contains("plugin!(greet, files::list)"));
    }

    #[test]
    fn a_trailing_comma_is_fine_and_so_is_nothing() {
        for list in ["", "a,", "a, b::r#type"] {
            assert!(!expanded(list).contains("compile_error"), "{list}");
        }
    }
}
