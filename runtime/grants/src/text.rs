//! Words that are checked as they are read, so that an error names the line.

use std::borrow::Borrow;
use std::fmt;

use serde::{Deserialize, Serialize};

/// A text that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {what}: {rule}")]
pub struct TextError {
    /// The text, as far as people need it.
    pub text: String,
    /// What it should be.
    pub what: &'static str,
    /// How such a text looks.
    pub rule: &'static str,
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $what:literal, $is_right:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = TextError;

            fn try_from(text: String) -> Result<Self, TextError> {
                let is_right: fn(&str) -> bool = $is_right;
                if is_right(&text) {
                    return Ok(Self(text));
                }
                let text = text.chars().take(128).collect();
                Err(TextError { text, what: $what, rule: $rule })
            }
        }

        impl std::str::FromStr for $name {
            type Err = TextError;

            fn from_str(text: &str) -> Result<Self, TextError> {
                text.to_owned().try_into()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_text!(
    /// The name of a plugin.
    PluginName,
    "name for a plugin",
    is_name,
    "use lower-case letters, digits, `-` and `_`, starting with a letter, at most 64"
);

checked_text!(
    /// The name of a setting or a secret.
    SettingName,
    "name for a setting",
    is_name,
    "use lower-case letters, digits, `-` and `_`, starting with a letter, at most 64"
);

checked_text!(
    /// The name of an environment variable.
    VariableName,
    "name of an environment variable",
    |text| {
        text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            && text.len() <= 128
    },
    "use letters, digits and `_`, not starting with a digit, at most 128"
);

checked_text!(
    /// A directory as the plugin sees it.
    DirectoryPath,
    "directory of a plugin",
    is_plain_path,
    "write it as `/data` or `/var/log`: from the root, without `.`, `..`, `//` and a `/` at the end, at most 255 bytes"
);

checked_text!(
    /// A header that the host may add to a request.
    HeaderName,
    "header that the host adds",
    |text| {
        let is_letter =
            |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || b"-_".contains(&letter);
        (1..=64).contains(&text.len())
            && text.bytes().all(is_letter)
            && !FRAMING_HEADERS.contains(&text)
    },
    "use lower-case letters, digits, `-` and `_`, at most 64, and none that HTTP itself needs, such as `host` or `connection`"
);

/// Headers that say how a message is carried; no file decides about them.
const FRAMING_HEADERS: [&str; 13] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];

checked_text!(
    /// A program of the host.
    ProgramPath,
    "path of a program",
    is_plain_path,
    "write it from the root, as `/usr/bin/git`, without `.`, `..`, `//` and a `/` at the end, at most 255 bytes"
);

fn is_plain_path(text: &str) -> bool {
    let is_word = |word: &str| !matches!(word, "" | "." | "..");
    text.strip_prefix('/').is_some_and(|rest| rest.split('/').all(is_word))
        && text.len() <= 255
        && !text.chars().any(char::is_control)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.chars().all(|letter| {
            letter.is_ascii_lowercase() || letter.is_ascii_digit() || "-_".contains(letter)
        })
        && text.len() <= 64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_words_that_fit_everywhere() {
        for name in ["a", "log-parse", "x_1"] {
            assert!(name.parse::<PluginName>().is_ok(), "{name}");
        }
        for name in ["", "A", "1a", "-a", "a.b", "a/b", "a b", "ä", &"a".repeat(65)] {
            assert!(name.parse::<PluginName>().is_err(), "{name}");
        }
    }

    #[test]
    fn directories_are_absolute_and_plain() {
        for path in ["/data", "/var/log", "/a b/ä", "/..a"] {
            assert!(path.parse::<DirectoryPath>().is_ok(), "{path}");
        }
        for path in ["", "/", "data", "/data/", "//data", "/a//b", "/a/../b", "/.", "/a\0", "/a\n"]
        {
            assert!(path.parse::<DirectoryPath>().is_err(), "{path}");
        }
    }

    #[test]
    fn variables_are_what_shells_take() {
        assert!("TZ".parse::<VariableName>().is_ok());
        assert!("_x1".parse::<VariableName>().is_ok());
        for name in ["", "1A", "A=B", "A-B", "A\0"] {
            assert!(name.parse::<VariableName>().is_err(), "{name}");
        }
    }

    #[test]
    fn headers_are_those_that_frame_nothing() {
        for name in ["authorization", "x-api-key", "x_1"] {
            assert!(name.parse::<HeaderName>().is_ok(), "{name}");
        }
        for name in ["", "Authorization", "host", "content-length", "upgrade", "a b", "a:", "a\n"] {
            assert!(name.parse::<HeaderName>().is_err(), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_directory_leads_anywhere_else(path in "[/.a]{0,12}") {
            if let Ok(path) = path.parse::<DirectoryPath>() {
                for word in path.as_str().split('/').skip(1) {
                    prop_assert!(!word.is_empty() && word != "." && word != "..");
                }
            }
        }
    }
}
