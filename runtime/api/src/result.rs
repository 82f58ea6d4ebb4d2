//! The result: how a job ended.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Data, Gid, JobError, JobId, Nid, StreamPart, Timestamp};

/// How far a job has come. The last four are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum JobState {
    /// Accepted, and waiting for its turn.
    Queued,
    /// At work.
    Running,
    /// Ended with an answer.
    Ok,
    /// Ended without one; `error` says why.
    Error,
    /// Ended by its deadline.
    Timeout,
    /// Ended by the caller or the operator.
    Killed,
}

/// How a job ended, sent back to whoever asked for it.
///
/// On the link: the command's `{id, gid, nid, cmd, args}` again, then
/// `{state, data, error, streams, exit, critical, records, starttime, time}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    /// The command's id.
    pub id: JobId,
    /// The node that ran it.
    pub gid: Gid,
    /// See `gid`.
    pub nid: Nid,
    /// What was asked for.
    pub cmd: String,
    /// The arguments it was asked with.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub args: Map<String, Value>,
    /// One of the final states.
    pub state: JobState,
    /// The answer; null unless `state` is `OK`.
    #[serde(default)]
    pub data: Data,
    /// Why there is no answer; absent if `state` is `OK`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
    /// What the job wrote to standard output and standard error. At most the
    /// last 64 KiB of each; where text was left out, its first line says how
    /// much.
    #[serde(default, skip_serializing_if = "both_are_empty")]
    pub streams: [String; 2],
    /// How the job's program ended; absent if the job is no process, or never
    /// was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// The last message of level 9 that a process wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critical: Option<String>,
    /// What the job logged, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<Record>,
    /// When the job started on the node.
    pub starttime: Timestamp,
    /// How long it took, in milliseconds and fractions of one.
    pub time: f64,
}

fn both_are_empty(streams: &[String; 2]) -> bool {
    streams.iter().all(String::is_empty)
}

/// How a program ended. Neither is there if nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit status, if it ended by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The number of the signal that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
}

/// The number that says who a record is for and how bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Level(pub u8);

impl Level {
    /// A line of standard output without a level of its own.
    pub const STDOUT: Self = Self(1);
    /// A line of standard error without a level of its own.
    pub const STDERR: Self = Self(2);
    /// A message for the end user.
    pub const PUBLIC: Self = Self(3);
    /// A message for the operator.
    pub const OPERATOR: Self = Self(4);
    /// Unstructured text.
    pub const TEXT: Self = Self(5);
    /// A JSON text.
    pub const STRUCTURED: Self = Self(6);
    /// Surprising, but the job went on.
    pub const WARNING: Self = Self(7);
    /// Something an operator must look at.
    pub const ERROR: Self = Self(8);
    /// Somebody should be woken.
    pub const CRITICAL: Self = Self(9);
    /// Metrics, as statsd writes them.
    pub const STATSD: Self = Self(10);
    /// For the plugin's author.
    pub const DEBUG: Self = Self(11);
    /// The job's result, in JSON.
    pub const RESULT_JSON: Self = Self(20);
    /// The job's result, in YAML.
    pub const RESULT_YAML: Self = Self(21);
    /// The job's result, in TOML.
    pub const RESULT_TOML: Self = Self(22);
    /// The job's result, as text of JumpScale's HRD kind.
    pub const RESULT_HRD: Self = Self(23);
    /// The whole result of a job, a JSON object.
    pub const RESULT_JOB: Self = Self(30);

    /// Whether the level has a meaning. Records of other levels are kept too.
    #[must_use]
    pub fn is_known(self) -> bool {
        self.name() != "level"
    }

    /// Whether a record of this level carries the job's result.
    #[must_use]
    pub fn is_result(self) -> bool {
        matches!(self.0, 20..=23 | 30)
    }

    /// The level's name; levels without one are `level`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::STDOUT => "stdout",
            Self::STDERR => "stderr",
            Self::PUBLIC => "public",
            Self::OPERATOR => "operator",
            Self::TEXT => "text",
            Self::STRUCTURED => "structured",
            Self::WARNING => "warning",
            Self::ERROR => "error",
            Self::CRITICAL => "critical",
            Self::STATSD => "statsd",
            Self::DEBUG => "debug",
            Self::RESULT_JSON => "json",
            Self::RESULT_YAML => "yaml",
            Self::RESULT_TOML => "toml",
            Self::RESULT_HRD => "hrd",
            Self::RESULT_JOB => "job",
            _ => "level",
        }
    }
}

/// One log message of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When it was written.
    pub time: Timestamp,
    /// Who it is for.
    pub level: Level,
    /// The message.
    pub data: String,
}

/// What a running job tells its caller before the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The job's id.
    pub id: JobId,
    /// What the operation reported; its shape is the operation's own.
    #[serde(default)]
    pub progress: Value,
    /// What is told of the job's streams; then `progress` says nothing. Absent
    /// unless the command has `streaming`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamPart>,
}

impl Progress {
    /// A report of an operation's own.
    #[must_use]
    pub fn report(id: JobId, progress: Value) -> Self {
        Self { id, progress, stream: None }
    }

    /// What is told of a job's streams.
    #[must_use]
    pub fn stream(id: JobId, part: StreamPart) -> Self {
        Self { id, progress: Value::Null, stream: Some(part) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Command;

    #[test]
    fn a_result_has_the_envelope_of_its_command() {
        let command = Command::new("sysinfo.cpu");
        let result = JobResult {
            id: command.id,
            gid: Gid(1),
            nid: Nid(2),
            cmd: command.cmd,
            args: command.args,
            state: JobState::Ok,
            data: serde_json::json!({"a": 1}).into(),
            error: None,
            streams: Default::default(),
            exit: None,
            critical: None,
            records: Vec::new(),
            starttime: Timestamp(1_700_000_000_000),
            time: 0.25,
        };
        let json = serde_json::to_value(&result).unwrap();
        assert_eq!(json["state"], "OK");
        assert_eq!(json["nid"], 2);
        assert!(json.get("error").is_none() && json.get("streams").is_none());
        assert_eq!(serde_json::from_value::<JobResult>(json).unwrap(), result);
    }
}
