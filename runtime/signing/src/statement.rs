//! The statement: what versions there are, and which are current.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::content::ContentCheck;
use crate::hash::ContentHash;
use crate::trust::{Signed, SigningError, TrustedKeys};

/// What every statement calls itself, so that no other signed file is taken
/// for one. The number counts up when a reader of this one would misunderstand
/// the next.
pub const FORMAT: &str = "drover-statement/1";

/// The longest statement.
pub const MOST_STATEMENT_BYTES: usize = 4 << 20;

/// What is in a catalog and what is current there, as of a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// [`FORMAT`].
    pub format: String,
    /// Counts up with every statement of a catalog.
    pub serial: u64,
    /// When it was made.
    #[serde(with = "instant")]
    pub issued: Timestamp,
    /// When it ceases to count.
    #[serde(with = "instant")]
    pub expires: Timestamp,
    /// The plugins, by name.
    pub plugins: BTreeMap<String, PluginStatement>,
}

/// What a statement says of one plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginStatement {
    /// The current version of each channel, such as `stable`.
    #[serde(default)]
    pub channels: BTreeMap<String, String>,
    /// All versions.
    #[serde(default)]
    pub versions: BTreeMap<String, VersionStatement>,
}

/// What a statement says of one version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionStatement {
    /// The content's hash.
    pub hash: ContentHash,
    /// The content's length in bytes.
    pub length: u64,
    /// Whether it was withdrawn: nobody should begin to run it.
    #[serde(default)]
    pub is_yanked: bool,
}

/// A statement whose signature was checked; whether it is fresh is what
/// [`accept`](crate::accept) says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedStatement {
    pub(crate) statement: Statement,
    pub(crate) digest: ContentHash,
    pub(crate) signed: Signed,
}

/// Why a statement is not taken, or has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// It is longer than any may be.
    #[error("the statement is longer than {MOST_STATEMENT_BYTES} bytes")]
    TooLong,
    /// No trusted key signed it.
    #[error("the statement's signature does not count")]
    Signature(#[from] SigningError),
    /// What was signed is something else.
    #[error("what was signed is no statement of the form {FORMAT}: {0}")]
    NotAStatement(String),
    /// There is no such plugin, version or channel in it.
    #[error("the statement {serial} has no {what}")]
    Unknown {
        /// The statement's serial.
        serial: u64,
        /// What was asked for.
        what: String,
    },
    /// The version was withdrawn.
    #[error("{what} was yanked")]
    Yanked {
        /// Name and version.
        what: String,
    },
}

impl Statement {
    /// The bytes to be signed: one line of JSON with sorted keys.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("a statement has only what JSON can say");
        bytes.push(b'\n');
        bytes
    }

    /// Reads the bytes of a statement, signed or not.
    ///
    /// # Errors
    ///
    /// If they are none.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StatementError> {
        if bytes.len() > MOST_STATEMENT_BYTES {
            return Err(StatementError::TooLong);
        }
        let statement: Self = serde_json::from_slice(bytes)
            .map_err(|error| StatementError::NotAStatement(error.to_string()))?;
        if statement.format != FORMAT {
            let what = format!("it calls itself `{}`", statement.format);
            return Err(StatementError::NotAStatement(what));
        }
        Ok(statement)
    }

    /// What it says of a version that somebody is to run.
    ///
    /// # Errors
    ///
    /// If it does not have it, or it was withdrawn.
    pub fn version(&self, name: &str, version: &str) -> Result<VersionStatement, StatementError> {
        let what = || format!("{name}@{version}");
        let plugin = self.plugins.get(name);
        let Some(found) = plugin.and_then(|plugin| plugin.versions.get(version)) else {
            return Err(StatementError::Unknown { serial: self.serial, what: what() });
        };
        if found.is_yanked {
            return Err(StatementError::Yanked { what: what() });
        }
        Ok(*found)
    }

    /// The current version of a channel.
    ///
    /// # Errors
    ///
    /// If there is no such plugin or channel.
    pub fn current(&self, name: &str, channel: &str) -> Result<&str, StatementError> {
        let plugin = self.plugins.get(name);
        let version = plugin.and_then(|plugin| plugin.channels.get(channel));
        version.map(String::as_str).ok_or_else(|| StatementError::Unknown {
            serial: self.serial,
            what: format!("channel `{channel}` of {name}"),
        })
    }
}

impl VersionStatement {
    /// Compares content, as it arrives, with this.
    #[must_use]
    pub fn check(&self) -> ContentCheck {
        ContentCheck::new(self.hash, self.length)
    }
}

impl SignedStatement {
    /// What it says.
    #[must_use]
    pub fn statement(&self) -> &Statement {
        &self.statement
    }

    /// Who signed it.
    #[must_use]
    pub fn signed(&self) -> &Signed {
        &self.signed
    }
}

/// Reads a statement that a trusted key has signed. Its bytes are looked at
/// only after the signature is.
///
/// # Errors
///
/// If it is too long, not signed by one of `keys`, or no statement.
pub fn read_statement(
    bytes: &[u8],
    signature: &str,
    keys: &TrustedKeys,
    now: Timestamp,
) -> Result<SignedStatement, StatementError> {
    if bytes.len() > MOST_STATEMENT_BYTES {
        return Err(StatementError::TooLong);
    }
    let signed = keys.verify(bytes, signature, now)?;
    let statement = Statement::from_bytes(bytes)?;
    Ok(SignedStatement { statement, digest: ContentHash::of(bytes), signed })
}

/// Instants as RFC 3339 text.
mod instant {
    use super::{Deserialize, Deserializer, Serializer, Timestamp};

    pub(super) fn serialize<S: Serializer>(
        instant: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(instant)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement() -> Statement {
        let version = VersionStatement { hash: ContentHash::of(b"x"), length: 1, is_yanked: false };
        let yanked = VersionStatement { is_yanked: true, ..version };
        let hello = PluginStatement {
            channels: [("stable".to_owned(), "1.2.0".to_owned())].into(),
            versions: [("1.2.0".to_owned(), version), ("1.1.0".to_owned(), yanked)].into(),
        };
        Statement {
            format: FORMAT.to_owned(),
            serial: 7,
            issued: "2026-01-01T00:00:00Z".parse().unwrap(),
            expires: "2026-02-01T00:00:00Z".parse().unwrap(),
            plugins: [("hello".to_owned(), hello)].into(),
        }
    }

    #[test]
    fn the_bytes_are_the_same_whoever_writes_them() {
        let bytes = statement().to_bytes();
        let again = Statement::from_bytes(&bytes).unwrap();
        assert_eq!(again, statement());
        assert_eq!(again.to_bytes(), bytes);
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with(
            r#"{"format":"drover-statement/1","serial":7,"issued":"2026-01-01T00:00:00Z","expires":"2026-02-01T00:00:00Z","plugins":{"hello":{"channels":{"stable":"1.2.0"},"versions":{"1.1.0":{"hash":"#
        ));
    }

    #[test]
    fn versions_and_channels_are_found_unless_unknown_or_yanked() {
        let statement = statement();
        assert_eq!(statement.current("hello", "stable"), Ok("1.2.0"));
        assert_eq!(statement.version("hello", "1.2.0").unwrap().length, 1);
        let error = |version| statement.version("hello", version).unwrap_err().to_string();
        assert_eq!(error("1.1.0"), "hello@1.1.0 was yanked");
        assert_eq!(error("2.0.0"), "the statement 7 has no hello@2.0.0");
        let error = statement.current("hello", "edge").unwrap_err().to_string();
        assert_eq!(error, "the statement 7 has no channel `edge` of hello");
    }

    #[test]
    fn another_form_of_statement_is_refused() {
        let later = Statement { format: "drover-statement/2".to_owned(), ..statement() };
        assert!(Statement::from_bytes(&later.to_bytes()).is_err());
        assert!(Statement::from_bytes(b"{}").is_err());
    }
}
