//! The jobs of nodes' process managers, as `process.list` tells of them.

use drover_api::{NodeStatus, Timestamp};
use drover_wamp::Client;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::controller;
use crate::exit::Failure;

/// A job that has not ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) domain: String,
    /// Such as `running` or `waiting-for-turn`.
    pub(crate) phase: String,
    pub(crate) runs: u64,
    /// When a waiting one goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    /// What the processes of one that runs use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
    /// All else that the node tells.
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// What processes use of their machine.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Usage {
    pub(crate) processes: u64,
    pub(crate) threads: u64,
    /// Percent of one core.
    pub(crate) cpu: f64,
    pub(crate) cpu_ms: u64,
    pub(crate) rss: u64,
    pub(crate) vms: u64,
    pub(crate) swap: u64,
    pub(crate) open_files: u64,
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
}

/// The jobs of each of these nodes, in their order; nodes that are lost are left
/// out.
pub(crate) async fn of_nodes(
    session: &Client,
    nodes: &[&NodeStatus],
) -> Vec<(NodeStatus, Result<Vec<Job>, Failure>)> {
    controller::ask_each(session, nodes, |session, node| async move {
        controller::ask(&session, &node, "process.list", &json!({ "usage": true })).await
    })
    .await
}
