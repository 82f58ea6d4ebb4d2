//! The request for a job, and how it ended.

use std::time::Duration;

use bytes::Bytes;
use drover_api::{
    Command, Data, JobError, JobId, JobLimits, JobResult, JobState, NodeId, Record, Timestamp,
};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::pipe::{PipeReader, PipeWriter};

/// A request to run an operation.
#[derive(Debug)]
pub struct Job {
    /// The job's id, which the plugin can ask for.
    pub id: JobId,
    /// The plugin's name.
    pub plugin: String,
    /// The operation's name.
    pub operation: String,
    /// The arguments, not yet checked.
    pub arguments: Map<String, Value>,
    /// What the plugin gets beside the arguments.
    pub data: Vec<u8>,
    /// Time from now to the job's end, waiting included; none: the default.
    pub timeout: Option<Duration>,
    /// What the job may use up, where that is less than what its plugin may.
    pub limits: JobLimits,
    /// Gets the progress reports. The plugin waits while it is full.
    pub progress: Option<mpsc::Sender<Value>>,
    /// Gets what the plugin logs and prints, as it does so. The plugin waits
    /// while it is full; nothing comes any more once there is an outcome.
    pub said: Option<mpsc::Sender<Said>>,
    /// Ends the job when it is cancelled.
    pub cancel: CancellationToken,
    /// Who asked for it, if that is known.
    pub caller: Option<Caller>,
    /// What goes in and out while it runs.
    pub streams: JobStreams,
}

impl Job {
    /// A job with a new id and its plugin's time and limits, which nobody listens to.
    #[must_use]
    pub fn new(plugin: &str, operation: &str, arguments: Map<String, Value>) -> Self {
        Self {
            id: JobId::generate(),
            plugin: plugin.to_owned(),
            operation: operation.to_owned(),
            arguments,
            data: Vec::new(),
            timeout: None,
            limits: JobLimits::default(),
            progress: None,
            said: None,
            cancel: CancellationToken::new(),
            caller: None,
            streams: JobStreams::default(),
        }
    }

    /// Plugin and operation, for messages.
    pub(crate) fn subject(&self) -> String {
        format!("{}.{}", self.plugin, self.operation)
    }
}

/// The streams of a job; see `wit/streams.wit`.
#[derive(Debug, Default)]
pub struct JobStreams {
    /// What the plugin reads after `data`; none: it reads `data` alone.
    pub input: Option<PipeReader>,
    /// Takes what the plugin writes; none: it is told that nobody wants any.
    pub output: Option<PipeWriter>,
}

/// Who asked for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The session, as the router numbers it.
    pub session: u64,
    /// Who has logged in there, if the router tells.
    pub name: Option<String>,
    /// In which role, if the router tells.
    pub role: Option<String>,
}

/// What a plugin says while it runs.
#[derive(Debug)]
pub enum Said {
    /// A log record.
    Record {
        /// The record.
        record: Record,
        /// What is said beside its message, by name.
        fields: RecordFields,
    },
    /// Bytes on standard output.
    Stdout(Bytes),
    /// Bytes on standard error.
    Stderr(Bytes),
}

/// The fields of a record: names and values, few and short.
pub type RecordFields = Vec<(String, RecordValue)>;

/// The value of a record's field.
#[derive(Debug, Clone, PartialEq)]
pub enum RecordValue {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number, which may not be finite.
    Float(f64),
}

/// How a job ended.
#[derive(Debug)]
pub struct Outcome {
    /// One of the final states.
    pub state: JobState,
    /// The answer; null unless `state` is [`JobState::Ok`].
    pub data: Data,
    /// Why there is no answer; none if `state` is [`JobState::Ok`].
    pub error: Option<JobError>,
    /// Standard output and standard error, the last 64 KiB of each.
    pub streams: [String; 2],
    /// What the plugin logged, oldest first; of very much only the beginning.
    pub records: Vec<Record>,
    /// When the job began to run, or was refused.
    pub started: Timestamp,
    /// How long it ran.
    pub took: Duration,
    /// The most linear memory that its instance had, in bytes; 0 if it had none,
    /// or was ended from outside.
    pub memory_bytes: u64,
}

impl Outcome {
    /// The result of `command`, which ran on `node` and ended like this.
    #[must_use]
    pub fn into_result(self, node: NodeId, command: Command) -> JobResult {
        JobResult {
            id: command.id,
            gid: node.gid,
            nid: node.nid,
            cmd: command.cmd,
            args: command.args,
            state: self.state,
            data: self.data,
            error: self.error,
            streams: self.streams,
            exit: None,
            critical: None,
            records: self.records,
            starttime: self.started,
            time: self.took.as_micros() as f64 / 1000.0,
        }
    }

    /// The outcome of a job that did not start.
    #[must_use]
    pub fn refused(error: JobError) -> Self {
        Self {
            state: JobState::Error,
            data: Data::default(),
            error: Some(error),
            streams: Default::default(),
            records: Vec::new(),
            started: Timestamp::now(),
            took: Duration::ZERO,
            memory_bytes: 0,
        }
    }
}
