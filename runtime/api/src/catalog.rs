//! The catalog: what the controller has of plugins, and how their content
//! travels.
//!
//! Content goes up and down in pieces, by its hash and the offset in it, so
//! that whoever is interrupted asks for the rest. The controller signs nothing:
//! signatures and statements come from people with keys, and are kept and
//! handed out as they came.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::{LogFormat, Operation, Timestamp};

/// The most that one piece of content holds, in bytes; it may hold less.
pub const MOST_PIECE_BYTES: u64 = 1 << 20;

/// A plugin of the catalog: an element of the answer of
/// [`CATALOG_LIST`](crate::procedures::CATALOG_LIST).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CatalogPlugin {
    /// Its name.
    pub name: String,
    /// Its channels, such as `stable`, by name.
    #[serde(default)]
    pub channels: Vec<CatalogChannel>,
    /// Its versions, the newest first.
    #[serde(default)]
    pub versions: Vec<CatalogVersion>,
}

/// A name for the version that is current in some respect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogChannel {
    /// The channel's name.
    pub name: String,
    /// The version that it stands for.
    pub version: String,
}

/// One version of a plugin, without what [`CatalogDetail`] adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogVersion {
    /// The version.
    pub version: String,
    /// SHA-256 of the content, in hexadecimal.
    pub hash: String,
    /// The content's length in bytes.
    pub length: u64,
    /// The key that signed it, by its name in the controller's configuration.
    pub signed_by: String,
    /// Who pushed it, as the controller knows them.
    pub pushed_by: String,
    /// When that was.
    pub pushed_at: Timestamp,
    /// Why it was withdrawn; none if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yanked: Option<String>,
}

/// All that the catalog has of one version: the answer of
/// [`CATALOG_SHOW`](crate::procedures::CATALOG_SHOW).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CatalogDetail {
    /// The plugin's name.
    pub name: String,
    /// The version.
    #[serde(flatten)]
    pub version: CatalogVersion,
    /// The text of the signature.
    pub signature: String,
    /// What the plugin says of itself, as it is in the content.
    pub manifest: Value,
    /// Its operations, as whoever pushed it saw them.
    #[serde(default)]
    pub operations: Vec<Operation>,
    /// The log lines that it parses, as whoever pushed it saw them.
    #[serde(default)]
    pub formats: Vec<LogFormat>,
}

/// Asks [`CATALOG_SHOW`](crate::procedures::CATALOG_SHOW) for a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogName {
    /// The plugin's name.
    pub name: String,
    /// A version or a channel; the newest version that was not yanked if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// The next piece of content on its way up, for
/// [`CATALOG_WRITE`](crate::procedures::CATALOG_WRITE). One without bytes only
/// asks how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogWrite {
    /// SHA-256 of the whole content, in hexadecimal.
    pub hash: String,
    /// The length of the whole content.
    pub length: u64,
    /// Where this piece begins. If that is not where the last one ended, it is
    /// not taken.
    pub offset: u64,
    /// The piece.
    #[serde(default)]
    pub bytes: Octets,
}

/// How far content is on its way up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogWritten {
    /// Where the next piece has to begin; the length if nothing is missing.
    pub offset: u64,
}

/// Adds a version whose content has arrived, for
/// [`CATALOG_ADD`](crate::procedures::CATALOG_ADD).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CatalogAdd {
    /// The plugin's name.
    pub name: String,
    /// The version.
    pub version: String,
    /// SHA-256 of the content, in hexadecimal.
    pub hash: String,
    /// The content's length in bytes.
    pub length: u64,
    /// The text of a signature by a key that the controller trusts.
    pub signature: String,
    /// The operations that the plugin describes.
    #[serde(default)]
    pub operations: Vec<Operation>,
    /// The log lines that it says it parses.
    #[serde(default)]
    pub formats: Vec<LogFormat>,
    /// A channel that is to stand for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

/// Asks [`CATALOG_READ`](crate::procedures::CATALOG_READ) for a piece of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogRead {
    /// SHA-256 of the content, in hexadecimal.
    pub hash: String,
    /// Where the piece begins.
    pub offset: u64,
    /// How much is wanted; there is never more than [`MOST_PIECE_BYTES`].
    pub length: u64,
}

/// A piece of content. It is empty at the end, and only there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogPiece {
    /// The length of the whole content.
    pub length: u64,
    /// The piece.
    pub bytes: Octets,
}

/// A signed statement of what is current, as `drover-signing` reads it: the
/// argument of [`CATALOG_STATE`](crate::procedures::CATALOG_STATE), and the
/// answer of [`CATALOG_STATEMENT`](crate::procedures::CATALOG_STATEMENT).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogStatement {
    /// The statement, byte for byte what was signed.
    pub statement: String,
    /// The text of the signature.
    pub signature: String,
}

/// Withdraws a version, or takes that back, for
/// [`CATALOG_YANK`](crate::procedures::CATALOG_YANK).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogYank {
    /// The plugin's name.
    pub name: String,
    /// The version.
    pub version: String,
    /// Why; none takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Lets a channel stand for a version, for
/// [`CATALOG_CHANNEL`](crate::procedures::CATALOG_CHANNEL).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogSetChannel {
    /// The plugin's name.
    pub name: String,
    /// The channel's name.
    pub channel: String,
    /// The version; none removes the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// The event of [`CATALOG_CHANGED`](crate::procedures::CATALOG_CHANGED).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatalogChanged {
    /// The serial of the statement that counts from now on.
    pub serial: u64,
}

/// Bytes that travel as bytes where the encoding has them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Octets(pub Vec<u8>);

impl std::fmt::Debug for Octets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Octets {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Octets;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Octets, E> {
                Ok(Octets(bytes.to_vec()))
            }

            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Octets, E> {
                Ok(Octets(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}
