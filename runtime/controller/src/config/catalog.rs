//! The part of the configuration that says how the catalog is kept and handed out.

use std::path::PathBuf;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// The catalog of plugins: `[catalog]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CatalogSettings {
    /// Directory of content and index; made if missing. `catalog` in
    /// `data_dir` by default.
    #[serde(skip_serializing_if = "super::logs::is_unset")]
    pub dir: PathBuf,
    /// The largest plugin file or program that is taken.
    pub max_content: ByteSize,
    /// What is handed out in a second, to all nodes together.
    pub max_rate: ByteSize,
}

impl Default for CatalogSettings {
    fn default() -> Self {
        Self { dir: PathBuf::new(), max_content: ByteSize::mib(128), max_rate: ByteSize::mib(100) }
    }
}
