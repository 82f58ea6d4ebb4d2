//! The part of the configuration that is about durable jobs.

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::rules::Rule;

/// Durable jobs, which the node writes down before it says to have them: `[jobs]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobSettings {
    /// Those that run at the same time.
    pub at_once: u32,
    /// Those that wait, run, or have a result that the controller does not have yet;
    /// more stay with the controller.
    pub max_kept: u32,
    /// The commands of those that wait and run; more stay with the controller.
    pub max_kept_size: ByteSize,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self { at_once: 16, max_kept: 1000, max_kept_size: ByteSize::mib(64) }
    }
}

impl JobSettings {
    pub(super) fn rules(&self) -> [Rule; 2] {
        let rule = "must be at least 1";
        [
            (self.at_once == 0, "jobs.at_once", self.at_once.to_string(), rule),
            (self.max_kept == 0, "jobs.max_kept", self.max_kept.to_string(), rule),
        ]
    }

    /// How much the node takes.
    pub(crate) fn inbox(&self) -> drover_jobs::InboxRules {
        drover_jobs::InboxRules {
            at_once: self.at_once as usize,
            most: self.max_kept as usize,
            most_bytes: usize::try_from(self.max_kept_size.as_u64()).unwrap_or(usize::MAX),
        }
    }
}
