//! Why the catalog does not do what it is asked.

use std::io;

use drover_api::ErrorCode;
use drover_grants::SectionError;
use drover_signing::{
    ClaimError, ContentError, ContentHash, HashError, SigningError, StaleError, StatementError,
};

/// Why the catalog does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum CatalogError {
    #[error(transparent)]
    Hash(#[from] HashError),
    #[error("`{text}` is no name for a {of}: {rule}")]
    Name { of: &'static str, text: String, rule: &'static str },
    #[error("`{text}` is no version: write three numbers such as 1.2.0")]
    Version { text: String },
    #[error(
        "the content has {length} bytes, and the controller takes {most}: `catalog.max_content` \
         of its configuration says so"
    )]
    TooLong { length: u64, most: u64 },
    #[error("the content {hash} has not arrived as a whole: push it once more")]
    NotThere { hash: ContentHash, source: ContentError },
    #[error("it is no component: build it with `--target wasm32-wasip2`")]
    NotAComponent,
    #[error("`agent` is the agent's own program, and this is no program: push `drover` itself")]
    NotAProgram,
    #[error("the signature of {name}@{version} does not count")]
    Signature { name: String, version: String, source: SigningError },
    #[error("the signature is for something else")]
    Claim(#[from] ClaimError),
    #[error("the component's manifest cannot be read")]
    Manifest(#[from] SectionError),
    #[error("the component's manifest says that it is {found}, not {wanted}")]
    OtherManifest { found: String, wanted: String },
    #[error(
        "neither the component's manifest nor the signature says that it is {wanted}: give the \
         manifest a name and a version, or sign with `drover sign`"
    )]
    Unbound { wanted: String },
    #[error("the description is longer than {most} bytes")]
    Description { most: usize },
    #[error(
        "the catalog has {name}@{version} already, with other content ({hash}): a version never \
         changes, give the new content a new one"
    )]
    Taken { name: String, version: String, hash: String },
    #[error("there is no {what} in the catalog{known}")]
    Unknown { what: String, known: String },
    #[error("{name}@{version} was yanked: choose another version, or take the yank back")]
    Yanked { name: String, version: String },
    #[error(
        "the channel `{channel}` stands for {name}@{version}: let it stand for another version \
         first, with `drover catalog channel {name} {channel} VERSION`"
    )]
    IsCurrent { name: String, version: String, channel: String },
    #[error("the statement is refused")]
    Statement(#[from] StatementError),
    #[error(transparent)]
    Stale(#[from] StaleError),
    #[error("the statement says of {what} what is not so in the catalog: sign it once more")]
    Contradiction { what: String },
    #[error("the catalog's files cannot be read or written: {path}")]
    Files { path: String, source: io::Error },
    #[error("the catalog's index cannot be read or written")]
    Index(#[from] rusqlite::Error),
    #[error("the catalog's index is damaged")]
    Damaged(#[from] serde_json::Error),
}

impl CatalogError {
    /// The code for programs.
    pub(super) fn code(&self) -> ErrorCode {
        match self {
            Self::Unknown { .. } => ErrorCode::UnknownCommand,
            Self::Signature { .. } | Self::Claim(_) | Self::Statement(_) | Self::Stale(_) => {
                ErrorCode::Denied
            }
            Self::Taken { .. }
            | Self::Yanked { .. }
            | Self::IsCurrent { .. }
            | Self::Contradiction { .. } => ErrorCode::Failed,
            Self::Files { .. } | Self::Index(_) | Self::Damaged(_) => ErrorCode::Internal,
            _ => ErrorCode::InvalidArguments,
        }
    }
}
