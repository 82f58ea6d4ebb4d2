//! The part of the configuration that says how the agent ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What happens between SIGTERM and the end: `[drain]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrainSettings {
    /// How long jobs that run may take to end; what a service manager allows should be
    /// half a minute more.
    #[serde(with = "humantime_serde")]
    pub patience: Duration,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self { patience: Duration::from_secs(30) }
    }
}
