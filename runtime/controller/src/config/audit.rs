//! The part of the configuration that is about the audit log.

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

/// The audit log: `[audit]`. None of it is ever deleted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuditSettings {
    /// The size at which a file is ended and the next one begun.
    pub max_file: ByteSize,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self { max_file: ByteSize::mib(64) }
    }
}
