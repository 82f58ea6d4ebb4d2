//! The plugin's manifest, put into its component as it is compiled.
//!
//! It is what `plugin.toml` beside `Cargo.toml` says, if there is one; version,
//! description, authors and licence come from `Cargo.toml` where that is silent.
//! What is in it is checked by the host and by `drover plugin inspect`.

use std::path::{Path, PathBuf};

use proc_macro2::{Literal, TokenStream};
use quote::quote;
use toml::Table;

/// The form of the manifest that this SDK writes.
const FORMAT: i64 = 1;

/// The static that the linker makes a custom section of.
pub(crate) fn expand() -> Result<TokenStream, String> {
    let path = cargo("CARGO_MANIFEST_DIR").map(|dir| PathBuf::from(dir).join("plugin.toml"));
    let path = path.filter(|path| path.exists());
    let text = path.as_deref().map_or(Ok(String::new()), |path| {
        std::fs::read_to_string(path).map_err(|error| format!("cannot read {path:?}: {error}"))
    })?;
    let json = json(&text, cargo).map_err(|error| format!("plugin.toml is wrong: {error}"))?;
    // Compiled anew when the file changes.
    let watched = path.as_deref().and_then(Path::to_str);
    let watched = watched.map(|path| {
        quote!(
            const _: &[u8] = ::core::include_bytes!(#path);
        )
    });
    let (length, bytes) = (json.len(), Literal::byte_string(json.as_bytes()));
    Ok(quote! {
        #[cfg(target_family = "wasm")]
        const _: () = {
            #watched

            #[used]
            #[unsafe(link_section = "drover:manifest")]
            static MANIFEST: [u8; #length] = *#bytes;
        };
    })
}

/// What cargo tells of the package that is being compiled.
fn cargo(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|value| !value.is_empty())
}

fn json(text: &str, cargo: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut manifest: Table = toml::from_str(text).map_err(|error| error.to_string())?;
    let mut add = |key: &str, value: Option<toml::Value>| {
        if let (false, Some(value)) = (manifest.contains_key(key), value) {
            manifest.insert(key.to_owned(), value);
        }
    };
    add("format", Some(FORMAT.into()));
    add("version", cargo("CARGO_PKG_VERSION").map(Into::into));
    add("description", cargo("CARGO_PKG_DESCRIPTION").map(Into::into));
    add("license", cargo("CARGO_PKG_LICENSE").map(Into::into));
    let authors = cargo("CARGO_PKG_AUTHORS");
    add("authors", authors.map(|authors| authors.split(':').collect::<Vec<_>>().into()));
    serde_json::to_string_pretty(&manifest).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(variable: &str) -> Option<String> {
        let value = match variable {
            "CARGO_PKG_VERSION" => "1.2.3",
            "CARGO_PKG_AUTHORS" => "Ada:Bob",
            _ => return None,
        };
        Some(value.to_owned())
    }

    #[test]
    fn what_plugin_toml_does_not_say_cargo_says() {
        let json = json("name = \"x\"\n[asks]\nsysinfo = { reason = \"r\" }", package).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let expected = serde_json::json!({
            "format": 1,
            "name": "x",
            "version": "1.2.3",
            "authors": ["Ada", "Bob"],
            "asks": { "sysinfo": { "reason": "r" } },
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn plugin_toml_has_the_last_word() {
        let json = json("version = \"9.0.0\"", package).unwrap();
        assert!(json.contains("9.0.0") && !json.contains("1.2.3"), "{json}");
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_line() {
        let error = json("\nname =", package).unwrap_err();
        assert!(error.contains("line 2"), "{error}");
    }
}
