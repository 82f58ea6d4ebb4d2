//! The part of the configuration that says where nodes' records are kept.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use drover_logs::store::{Durability, StoreConfig};
use serde::{Deserialize, Serialize};

/// The log of all nodes: `[logs]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Directory of the records; made if missing. `logs` in `data_dir` by
    /// default.
    #[serde(skip_serializing_if = "is_unset")]
    pub dir: PathBuf,
    /// The size at which a file is ended and the next one begun.
    pub max_file: ByteSize,
    /// The size of all files together, at which the oldest are dropped.
    pub max_total: ByteSize,
    /// What is safe when a node is told that its records have arrived.
    pub durability: Durability,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            dir: PathBuf::new(),
            max_file: ByteSize::mib(100),
            max_total: ByteSize::gib(10),
            // What a node was told to have arrived is sent by nobody again.
            durability: Durability::EveryCommit,
        }
    }
}

impl LogSettings {
    /// The store as it is to be opened.
    pub(crate) fn store(&self) -> StoreConfig {
        StoreConfig {
            max_file_bytes: self.max_file.as_u64(),
            max_total_bytes: self.max_total.as_u64(),
            durability: self.durability,
            ..StoreConfig::new(&self.dir)
        }
    }
}

/// `/var/lib/drover/controller` for root, `drover/controller` in the user's
/// state directory for others.
pub(super) fn default_data_dir() -> PathBuf {
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/var/lib/drover/controller");
    }
    let from_home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state"));
    std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|dir| dir.is_absolute())
        .or_else(from_home)
        .unwrap_or_else(std::env::temp_dir)
        .join("drover/controller")
}

pub(super) fn is_unset(path: &Path) -> bool {
    path.as_os_str().is_empty()
}
