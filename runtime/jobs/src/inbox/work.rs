//! One attempt at a job, and the result of one that did not run to its end.

use std::time::Duration;

use drover_api::{Command, Data, JobError, JobId, JobResult, JobState, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

/// One attempt at a job, as the node keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// The store that its number belongs to.
    pub store: String,
    /// The attempt's number.
    pub number: u64,
    /// What to do.
    pub command: Command,
    /// When it must have started, by the node's clock.
    #[serde(default)]
    pub start_by: Option<Timestamp>,
    /// When it must have ended, by the node's clock.
    #[serde(default)]
    pub end_by: Option<Timestamp>,
    /// Who submitted it.
    #[serde(default)]
    pub by: String,
}

impl Work {
    /// How long the job may run from `now` on, if it must have ended at some time.
    #[must_use]
    pub fn time_left(&self, now: Timestamp) -> Option<Duration> {
        self.end_by.map(|by| by.since(now))
    }

    /// The id of the job.
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.command.id
    }
}

/// The result of a job that did not run to its end.
pub(crate) fn result_without_answer(
    node: NodeId,
    command: &Command,
    state: JobState,
    error: JobError,
    now: Timestamp,
) -> JobResult {
    JobResult {
        id: command.id.clone(),
        gid: node.gid,
        nid: node.nid,
        cmd: command.cmd.clone(),
        args: command.args.clone(),
        state,
        data: Data::default(),
        error: Some(error),
        streams: Default::default(),
        exit: None,
        critical: None,
        records: Vec::new(),
        starttime: now,
        time: 0.0,
    }
}

pub(super) fn is_late(work: &Work, now: Timestamp) -> bool {
    work.start_by.is_some_and(|by| now > by) || work.end_by.is_some_and(|by| now >= by)
}

/// About what a command takes in memory, in bytes.
#[must_use]
pub fn size_of(command: &Command) -> usize {
    let args: usize = command.args.iter().map(|(key, value)| key.len() + depth(value)).sum();
    256 + command.data.len() + command.data_base64.len() + args
}

fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => 32 + text.len(),
        serde_json::Value::Array(items) => 32 + items.iter().map(depth).sum::<usize>(),
        serde_json::Value::Object(fields) => {
            32 + fields.iter().map(|(key, value)| key.len() + depth(value)).sum::<usize>()
        }
        _ => 32,
    }
}
