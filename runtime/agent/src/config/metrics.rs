//! What the agent tells of itself to Prometheus.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where `/metrics` is served; nowhere by default, as the controller has it too.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MetricsSettings {
    /// A loopback address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
    /// A unix socket; a stale one is replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix: Option<PathBuf>,
}

impl MetricsSettings {
    /// Whether nothing is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
