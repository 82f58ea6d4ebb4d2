//! Why a configuration cannot be used, in words that hold no secret.

use std::net::SocketAddr;
use std::path::PathBuf;

use drover_signing::TrustError;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text is no TOML, has an unknown key or a value of the wrong type.
    #[error("{0}")]
    Syntax(toml::de::Error),
    /// The same in a line that may hold a secret, which must not be shown.
    #[error(
        "line {line} may hold a secret and cannot be used: look for unknown keys, and write the \
         secret itself as a string in quotes"
    )]
    SecretSyntax {
        /// The line, from 1.
        line: usize,
    },
    /// A principal's secrets or keys do not fit together.
    #[error("`{key}`: {rule}")]
    Principal {
        /// The key.
        key: String,
        /// What it may be.
        rule: String,
    },
    /// A file with a secret cannot be read.
    #[error("`{key}`: cannot read the secret in {}: {reason}", .path.display())]
    SecretFile {
        /// The key.
        key: String,
        /// What it was set to.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The realms contradict themselves.
    #[error(transparent)]
    Realms(#[from] drover_wamp::RouterConfigError),
    /// A trusted key is none, or is there twice.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The address could be reached from other hosts, and something is open to them.
    #[error(
        "`listen = \"{listen}\"` can be reached from other hosts, and {fault}: {cure}, or use a \
         loopback address such as 127.0.0.1:7117"
    )]
    Open {
        /// The address.
        listen: SocketAddr,
        /// What is open.
        fault: String,
        /// What to do.
        cure: &'static str,
    },
    /// A role cannot be called so.
    #[error(
        "`roles.{0}`: a role's name is made of letters, digits, `-` and `_`, and is none of \
         viewer, operator, admin, node and newcomer, which are there"
    )]
    RoleName(String),
    /// A value is out of range.
    #[error("`{key} = {value}`: {rule}")]
    Range {
        /// The key.
        key: &'static str,
        /// What it was set to.
        value: String,
        /// What it may be.
        rule: &'static str,
    },
}

impl ConfigError {
    /// What is wrong with the text; the error shows the line where it begins,
    /// which must not be if that may hold a secret.
    pub(super) fn of_text(text: &str, error: toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let index = before.matches('\n').count();
        // Public keys are shown by whoever has them.
        let line = text.lines().nth(index).unwrap_or_default().replace("public_key", "");
        let has_key = ["ticket", "secret", "salted", "key"].iter().any(|word| line.contains(word));
        // A line within a string of several lines has no key, and may be a secret.
        let is_after = |quotes| before.contains(quotes);
        if has_key || is_after("\"\"\"") || is_after("'''") {
            Self::SecretSyntax { line: index + 1 }
        } else {
            Self::Syntax(error)
        }
    }
}
