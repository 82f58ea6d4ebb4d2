//! The part of the configuration that says how the controller ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What happens between SIGTERM and the end: `[drain]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DrainSettings {
    /// How long calls that are under way may take to end.
    #[serde(with = "humantime_serde")]
    pub patience: Duration,
}

impl Default for DrainSettings {
    fn default() -> Self {
        Self { patience: Duration::from_secs(10) }
    }
}
