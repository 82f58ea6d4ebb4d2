//! What a backup says of itself.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use drover_api::Timestamp;
use drover_signing::ContentHash;
use ring::digest::{Context as Hasher, SHA256};
use serde::{Deserialize, Serialize};

/// The version of the archive's form.
pub(super) const VERSION: u32 = 1;

/// What the manifest is called in the archive.
pub(super) const NAME: &str = "manifest.json";

/// What a backup says of itself: the first file in it, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The version of the archive's form.
    pub version: u32,
    /// The version of `drover` that made it.
    pub made_by: String,
    /// When.
    pub taken: Timestamp,
    /// Whether the private key for TLS is inside.
    pub has_tls_keys: bool,
    /// What is in it, in the order in which it comes.
    pub parts: Vec<BackupPart>,
}

/// One file in a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupPart {
    /// Its name, which is also its place in a data directory.
    pub name: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: ContentHash,
}

impl Manifest {
    /// The length of all parts in bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.parts.iter().map(|part| part.length).sum()
    }
}

impl BackupPart {
    /// Reads a file that is to be a part.
    pub(super) fn of(name: &str, path: &Path) -> anyhow::Result<Self> {
        let read = || -> std::io::Result<Self> {
            let mut file = File::open(path)?;
            let (mut hasher, mut length) = (Hasher::new(&SHA256), 0);
            let mut piece = vec![0; 1 << 16];
            loop {
                let count = file.read(&mut piece)?;
                if count == 0 {
                    break;
                }
                hasher.update(&piece[..count]);
                length += count as u64;
            }
            let hash = hasher.finish();
            let bytes = hash.as_ref().try_into().expect("a SHA-256 has 32 bytes");
            let sha256 = ContentHash::from_bytes(bytes);
            Ok(Self { name: name.to_owned(), length, sha256 })
        };
        read().with_context(|| format!("cannot read {}", path.display()))
    }
}
