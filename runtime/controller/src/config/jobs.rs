//! The part of the configuration that says how durable jobs are kept.

use std::path::PathBuf;
use std::time::Duration;

use drover_jobs::Rules;
use serde::{Deserialize, Serialize};

/// Durable jobs: `[jobs]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobSettings {
    /// Directory of the jobs and their results; made if missing. `jobs` in
    /// `data_dir` by default.
    #[serde(skip_serializing_if = "super::logs::is_unset")]
    pub dir: PathBuf,
    /// How long a submission and its results are kept after its last job has ended,
    /// unless the submission says something else.
    #[serde(with = "humantime_serde")]
    pub keep: Duration,
    /// Jobs that have not ended, of all nodes; more are refused.
    pub max_queued: u32,
    /// Jobs that wait for one node; more are refused. One submitter may have half of
    /// it.
    pub max_queued_per_node: u32,
    /// Jobs that a node is given before it has ended others.
    pub max_sent: u32,
    /// How long after the controller's start its schedules wait for the nodes to come
    /// back, which takes an agent as long as its `reconnect_longest`.
    #[serde(with = "humantime_serde")]
    pub schedules_wait: Duration,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            dir: PathBuf::new(),
            keep: Duration::from_secs(7 * 24 * 3600),
            max_queued: 100_000,
            max_queued_per_node: 10_000,
            max_sent: 64,
            schedules_wait: Duration::from_secs(40),
        }
    }
}

impl JobSettings {
    /// The key whose value is out of range, if there is one, with the rule.
    pub(super) fn broken(&self) -> Option<(&'static str, u32, &'static str)> {
        let Self { max_queued, max_queued_per_node, max_sent, .. } = *self;
        let rules = [
            (max_sent == 0, "jobs.max_sent", max_sent, "must be at least 1"),
            (
                max_queued_per_node < 2,
                "jobs.max_queued_per_node",
                max_queued_per_node,
                "must be at least 2",
            ),
            (
                max_queued < max_queued_per_node,
                "jobs.max_queued",
                max_queued,
                "must not be below `jobs.max_queued_per_node`",
            ),
        ];
        let broken = rules.into_iter().find(|(is_broken, ..)| *is_broken);
        broken.map(|(_, key, value, rule)| (key, value, rule))
    }

    /// What is taken, and how much of it is handed out.
    pub(crate) fn rules(&self) -> Rules {
        Rules {
            window: self.max_sent as usize,
            most_per_node: self.max_queued_per_node as usize,
            most: self.max_queued as usize,
        }
    }
}
