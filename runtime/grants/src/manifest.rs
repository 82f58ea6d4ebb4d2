//! The manifest: what a plugin says of itself before anything of it runs.

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::ask::Asks;
use crate::text::PluginName;

/// The version of the manifest's form. It counts up when a reader of this one
/// would misunderstand the next; a manifest of a later one is refused.
pub const FORMAT: u32 = 1;

/// The longest manifest, in bytes, as text and as JSON.
pub(crate) const MOST_BYTES: usize = 64 << 10;

/// What a plugin says of itself.
///
/// Authors write it as TOML, `plugin.toml`; in the component it is JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Manifest {
    /// [`FORMAT`]; authors leave it out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<u32>,
    /// The plugin's name, which its file has to have as well. Without one it
    /// is called as its file is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<PluginName>,
    /// Which plugin of this name it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<Version>,
    /// What it is for, in one line.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Who made it, each as `Name <address>`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<String>,
    /// Under which licence, as an SPDX expression.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub license: String,
    /// The oldest Drover that it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_host: Option<Version>,
    /// What it asks for.
    #[serde(skip_serializing_if = "is_nothing")]
    pub asks: Asks,
}

/// Why a manifest is refused, which is always as a whole.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It is too long.
    #[error("it has {length} bytes, and {MOST_BYTES} are allowed")]
    TooLong {
        /// Its length.
        length: usize,
    },
    /// It is no JSON, or has a key or a value that it may not have.
    #[error("{0}")]
    Json(serde_json::Error),
    /// It is no TOML, or has a key or a value that it may not have.
    #[error("{0}")]
    Toml(toml::de::Error),
    /// It is in a form that came later.
    #[error("it is in format {0}, and this Drover reads format {FORMAT}: update it")]
    LaterFormat(u32),
    /// A value breaks a rule.
    #[error("{of}: {rule}")]
    Rule {
        /// Which value.
        of: String,
        /// What it has to be.
        rule: &'static str,
    },
}

/// All that is read of a manifest of an unknown format.
#[derive(Deserialize)]
struct Format {
    format: Option<u32>,
}

impl Manifest {
    /// Parses and checks what an author wrote.
    ///
    /// # Errors
    ///
    /// If the text is no TOML, has an unknown key, or a value is wrong.
    pub fn from_toml(text: &str) -> Result<Self, ManifestError> {
        check_length(text.len())?;
        let Format { format } = toml::from_str(text).map_err(ManifestError::Toml)?;
        check_format(format.unwrap_or(FORMAT))?;
        toml::from_str::<Self>(text).map_err(ManifestError::Toml)?.checked()
    }

    /// Parses and checks what is in a component.
    ///
    /// # Errors
    ///
    /// If the bytes are no JSON, have an unknown key, or a value is wrong.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        check_length(bytes.len())?;
        let Format { format } = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        let rule = "name the format of the manifest, which is 1";
        let format = format.ok_or(ManifestError::Rule { of: "format".to_owned(), rule })?;
        check_format(format)?;
        serde_json::from_slice::<Self>(bytes).map_err(ManifestError::Json)?.checked()
    }

    /// The manifest as it is put into a component.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let manifest = Self { format: Some(FORMAT), ..self.clone() };
        serde_json::to_vec_pretty(&manifest).expect("a manifest has only what JSON can say")
    }

    fn checked(self) -> Result<Self, ManifestError> {
        let line = "write one line, without control characters, of at most 1000 bytes";
        let texts = [("description", &self.description), ("license", &self.license)];
        let authors = self.authors.iter().map(|author| ("authors", author));
        for (of, text) in texts.into_iter().chain(authors) {
            if text.len() > 1000 || text.contains(char::is_control) {
                return Err(ManifestError::Rule { of: of.to_owned(), rule: line });
            }
        }
        if self.authors.len() > 64 {
            let rule = "name at most 64";
            return Err(ManifestError::Rule { of: "authors".to_owned(), rule });
        }
        self.asks.check()?;
        Ok(self)
    }
}

fn check_length(length: usize) -> Result<(), ManifestError> {
    match length > MOST_BYTES {
        true => Err(ManifestError::TooLong { length }),
        false => Ok(()),
    }
}

fn check_format(format: u32) -> Result<(), ManifestError> {
    match format {
        FORMAT => Ok(()),
        0 => {
            let rule = "formats begin at 1";
            Err(ManifestError::Rule { of: "format".to_owned(), rule })
        }
        later => Err(ManifestError::LaterFormat(later)),
    }
}

fn is_nothing(asks: &Asks) -> bool {
    *asks == Asks::default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WHOLE: &str = r#"
name = "backup"
version = "1.2.0"
description = "Copies files away"
authors = ["Ada <ada@example.org>"]
license = "Apache-2.0"
min_host = "0.1.0"

[asks]
sysinfo = { reason = "finds a quiet moment" }
state = { size = "1 MiB", reason = "remembers what was copied" }
env = [{ name = "TZ", reason = "names copies by local time" }]
settings = [{ name = "bucket", reason = "where copies go" }]
secrets = [{ name = "token", reason = "opens the bucket" }]
directories = [{ path = "/data", access = "read", reason = "what is copied" }]
"#;

    #[test]
    fn what_an_author_writes_is_what_the_component_says() {
        let manifest = Manifest::from_toml(WHOLE).unwrap();
        assert_eq!(manifest.name.as_ref().unwrap().as_str(), "backup");
        assert_eq!(manifest.asks.state.as_ref().unwrap().size.as_u64(), 1 << 20);
        let read = Manifest::from_json(&manifest.to_json()).unwrap();
        assert_eq!(Manifest { format: None, ..read }, manifest);
    }

    #[test]
    fn an_empty_manifest_asks_for_nothing() {
        assert_eq!(Manifest::from_toml("").unwrap(), Manifest::default());
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, words) in [
            ("nmae = \"x\"", ["line 1", "`nmae`"]),
            ("\nname = \"Bad Name\"", ["line 2", "no name for a plugin"]),
            ("version = \"1\"", ["line 1", "version"]),
            ("format = 2\nwhatever = 1", ["format 2", "update"]),
            ("format = 0", ["format", "begin at 1"]),
            ("description = \"a\\u001b[31m\"", ["description", "control characters"]),
            ("[asks]\nsockets = true", ["line 2", "`sockets`"]),
            ("[asks]\nsysinfo = {}", ["line 2", "`reason`"]),
            ("[asks]\nsysinfo = { reason = \" \" }", ["asks.sysinfo: reason", "one line"]),
            (
                "[asks]\nenv = [{ name = \"A\", reason = \"x\" }, { name = \"A\", reason = \"y\" }]",
                ["asks.env A", "once"],
            ),
            (
                "[asks]\nsettings = [{ name = \"a\", reason = \"x\" }]\n\
                 secrets = [{ name = \"a\", reason = \"y\" }]",
                ["asks.settings a", "once"],
            ),
            (
                "[asks]\ndirectories = [{ path = \"/a/..\", access = \"read\", reason = \"x\" }]",
                ["line 2", "no directory"],
            ),
            (
                "[asks]\ndirectories = [{ path = \"/a\", access = \"all\", reason = \"x\" }]",
                ["line 2", "`all`"],
            ),
        ] {
            let error = Manifest::from_toml(text).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
        }
    }

    #[test]
    fn json_needs_its_format_and_has_no_key_twice() {
        for (json, word) in [
            ("{}", "format"),
            (r#"{"format":2,"unheard":1}"#, "format 2"),
            (r#"{"format":1,"name":"a","name":"b"}"#, "duplicate field `name`"),
            (r#"{"format":1}{"format":1}"#, "trailing"),
            (r#"{"format":1,"x":1}"#, "unknown field `x`"),
            ("\u{0}", "line 1"),
        ] {
            let error = Manifest::from_json(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(word), "{json}: {error}");
        }
        let long = format!("{{\"format\":1,\"description\":\"{}\"}}", "x".repeat(MOST_BYTES));
        let error = Manifest::from_json(long.as_bytes()).unwrap_err();
        assert!(matches!(error, ManifestError::TooLong { .. }));
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_crash() {
        let deep = "[".repeat(MOST_BYTES);
        assert!(Manifest::from_json(deep.as_bytes()).is_err());
        assert!(Manifest::from_toml(&format!("a = {deep}")).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Manifest::from_json(&bytes);
            let _ = Manifest::from_toml(&String::from_utf8_lossy(&bytes));
        }
    }
}
