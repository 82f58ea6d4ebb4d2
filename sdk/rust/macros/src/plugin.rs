//! `plugin!`: the list of a plugin's operations, its parser, and their export.

use std::collections::HashMap;

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{Ident, Path, Token, Type};

use crate::{manifest, operation};

pub(crate) fn expand(list: TokenStream) -> TokenStream {
    let manifest = manifest::expand()
        .map_err(|message| syn::Error::new(proc_macro2::Span::call_site(), message));
    let parts = Contents::parse(list).and_then(|contents| Ok((contents, manifest?)));
    parts.map_or_else(syn::Error::into_compile_error, |(contents, manifest)| {
        let Contents { statics, async_statics, parser } = contents;
        let has_async = !async_statics.is_empty();
        // A plugin that only parses has no operations to export.
        let has_plain = !statics.is_empty() || parser.is_none() && !has_async;
        let plugin = (has_plain || has_async).then(|| plugin(&statics, &async_statics));
        let operations = has_plain.then(operations);
        let async_operations = has_async.then(async_operations);
        let parsing = parser.map(|parser| line_parsing(&parser));
        quote! {
            #manifest

            #plugin

            #operations

            #async_operations

            #parsing
        }
    })
}

/// What is listed in `plugin!`.
struct Contents {
    /// The hidden statics of the operations.
    statics: Vec<Path>,
    /// The same of those that are `async fn`s.
    async_statics: Vec<Path>,
    /// The type that parses log lines.
    parser: Option<Type>,
}

fn plugin(statics: &[Path], async_statics: &[Path]) -> TokenStream {
    let plugin = match async_statics {
        [] => quote!(plugin(&[#(&#statics),*])),
        _ => quote!(async_plugin(&[#(&#statics),*], &[#(&#async_statics),*])),
    };
    quote! {
        /// The plugin's operations, for its unit tests.
        pub(crate) static PLUGIN: ::drover_sdk::Plugin = ::drover_sdk::__private::#plugin;
    }
}

fn operations() -> TokenStream {
    quote! {
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
}

fn async_operations() -> TokenStream {
    quote! {
        const _: () = {
            struct Export;

            use ::drover_sdk::__private::concurrent::exports::drover::plugin::async_operations as contract;

            impl ::drover_sdk::__private::AsyncGuest for Export {
                fn describe() -> ::std::vec::Vec<contract::Operation> {
                    ::drover_sdk::__private::describe(&PLUGIN)
                }

                async fn run(
                    operation: ::std::string::String,
                    arguments: ::std::string::String,
                ) -> ::core::result::Result<::std::string::String, contract::Error> {
                    ::drover_sdk::__private::run(&PLUGIN, &operation, &arguments).await
                }
            }

            #[cfg(target_family = "wasm")]
            ::drover_sdk::__private::export_async_operations!(
                Export with_types_in ::drover_sdk::__private::concurrent
            );

            #[cfg(not(target_family = "wasm"))]
            const _: fn() -> ::std::vec::Vec<contract::Operation> =
                <Export as ::drover_sdk::__private::AsyncGuest>::describe;
        };
    }
}

fn line_parsing(parser: &Type) -> TokenStream {
    quote! {
        const _: () = {
            struct Export;

            ::std::thread_local! {
                static PARSER: ::std::cell::RefCell<::core::option::Option<#parser>> =
                    const { ::std::cell::RefCell::new(::core::option::Option::None) };
            }

            use ::drover_sdk::__private::parsing::exports::drover::plugin::line_parsing as contract;
            use ::drover_sdk::__private::packing::exports::drover::plugin::packed_lines as packed;

            impl ::drover_sdk::__private::LineParsingGuest for Export {
                fn describe() -> ::std::vec::Vec<contract::Format> {
                    ::drover_sdk::__private::describe_formats::<#parser>()
                }

                fn open(
                    format: ::std::string::String,
                    options: ::std::string::String,
                ) -> ::core::result::Result<(), contract::OpenError> {
                    PARSER.with_borrow_mut(|parser| {
                        ::drover_sdk::__private::open(parser, &format, &options)
                    })
                }

                fn parse(lines: ::std::vec::Vec<u8>, is_last: bool) -> contract::Parsed {
                    PARSER.with_borrow_mut(|parser| {
                        ::drover_sdk::__private::answer(parser.as_mut(), &lines, is_last)
                    })
                }
            }

            impl ::drover_sdk::__private::PackedLinesGuest for Export {
                fn parse(lines: ::std::vec::Vec<u8>, is_last: bool) -> packed::Packed {
                    PARSER.with_borrow_mut(|parser| {
                        ::drover_sdk::__private::packed_answer(parser.as_mut(), &lines, is_last)
                    })
                }
            }

            #[cfg(target_family = "wasm")]
            ::drover_sdk::__private::export_line_parsing!(
                Export with_types_in ::drover_sdk::__private::parsing
            );
            #[cfg(target_family = "wasm")]
            ::drover_sdk::__private::export_packed_lines!(
                Export with_types_in ::drover_sdk::__private::packing
            );

            #[cfg(not(target_family = "wasm"))]
            const _: fn() -> ::std::vec::Vec<contract::Format> =
                <Export as ::drover_sdk::__private::LineParsingGuest>::describe;
        };
    }
}

/// One entry of the list.
enum Entry {
    Operation(Path),
    AsyncOperation(Path),
    Parser(Ident, Type),
}

impl Parse for Entry {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        if input.peek(Token![async]) {
            input.parse::<Token![async]>()?;
            return input.parse().map(Self::AsyncOperation);
        }
        if input.peek(Ident) && input.peek2(Token![=]) {
            let key: Ident = input.parse()?;
            input.parse::<Token![=]>()?;
            return Ok(Self::Parser(key, input.parse()?));
        }
        input.parse().map(Self::Operation)
    }
}

impl Contents {
    fn parse(list: TokenStream) -> syn::Result<Self> {
        let entries = Punctuated::<Entry, Token![,]>::parse_terminated;
        let entries = entries.parse2(list).map_err(|error| {
            let message = "list the operations, as in `plugin!(greet, files::list)`, and a parser \
                           of log lines as `parser = Parser`";
            syn::Error::new(error.span(), message)
        })?;
        let mut contents = Self { statics: Vec::new(), async_statics: Vec::new(), parser: None };
        let mut seen = HashMap::new();
        for entry in entries {
            match entry {
                Entry::Operation(path) => contents.statics.push(static_of(path, &mut seen)?),
                Entry::AsyncOperation(path) => {
                    contents.async_statics.push(static_of(path, &mut seen)?);
                }
                Entry::Parser(key, _) if key != "parser" => {
                    let message = format!(
                        "`{key}` means nothing here; `parser` names the type that parses log lines"
                    );
                    return Err(syn::Error::new(key.span(), message));
                }
                Entry::Parser(key, _) if contents.parser.is_some() => {
                    let message = "a plugin has one parser, which may have many formats";
                    return Err(syn::Error::new(key.span(), message));
                }
                Entry::Parser(_, parser) => contents.parser = Some(parser),
            }
        }
        Ok(contents)
    }
}

/// The hidden static beside a function.
fn static_of(path: Path, seen: &mut HashMap<String, Path>) -> syn::Result<Path> {
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
    Ok(renamed)
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

    #[test]
    fn what_is_listed_as_asynchronous_is_exported_as_such() {
        let alone = expanded("async copy");
        assert!(alone.contains("AsyncGuest") && !alone.contains(":: Guest"), "{alone}");
        let both = expanded("a, async b::copy");
        assert!(both.contains("AsyncGuest") && both.contains(":: Guest"), "{both}");
        assert!(expanded("copy, async copy").contains("two operations of this name"));
    }

    #[test]
    fn a_parser_stands_beside_operations_or_alone() {
        let alone = expanded("parser = Lines");
        assert!(alone.contains("LineParsingGuest") && !alone.contains("PLUGIN"), "{alone}");
        let both = expanded("a, parser = Lines<7>");
        assert!(both.contains("LineParsingGuest") && both.contains("PLUGIN"), "{both}");
        assert!(expanded("parser = A, parser = B").contains("one parser"));
        assert!(expanded("feed = A").contains("`feed` means nothing here"));
    }
}
