//! What a running job is told of its streams: its input, and how much of its output
//! was taken.

use data_encoding::BASE64;
use drover_api::{Command, ErrorCode, JobId, NodeId};
use drover_wamp::Client;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;

use crate::controller;
use crate::streams::Chunks;

/// Bytes of output that may be on their way: enough for a fast link over some
/// distance, and far below what a session holds for a slow receiver.
pub(crate) const WINDOW: u64 = 1 << 20;

/// After so many bytes that were taken the node is told.
const ACKNOWLEDGED: u64 = WINDOW / 4;

/// A running job, and what its streams are told by.
#[derive(Debug, Clone)]
pub(crate) struct Fed {
    pub(crate) session: Client,
    pub(crate) node: NodeId,
    pub(crate) id: JobId,
    /// The command that takes input: `job.input`, or `process.stdin`.
    pub(crate) input: &'static str,
    /// The command that makes room for output: `job.taken`, or `process.taken`.
    pub(crate) taken: &'static str,
}

impl Fed {
    /// Passes input to the job, no faster than it reads, and then its end. A job that
    /// reads no more is none the worse for it.
    ///
    /// # Errors
    ///
    /// If the input cannot be read here, and then the job is told of no end, or the
    /// node does not take it; for people.
    pub(crate) async fn feed(&self, mut input: Chunks) -> Result<(), String> {
        loop {
            let (arguments, is_last) = match input.recv().await {
                None => (json!({ "eof": true }), true),
                Some(Ok(bytes)) => match String::from_utf8(bytes) {
                    Ok(text) => (json!({ "text": text }), false),
                    Err(error) => (json!({ "base64": BASE64.encode(error.as_bytes()) }), false),
                },
                Some(Err(error)) => return Err(format!("it cannot be read here: {error}")),
            };
            if !self.send(arguments).await? || is_last {
                return Ok(());
            }
        }
    }

    /// Tells the job that there is no more input.
    pub(crate) async fn end(&self) {
        // One that has ended needs to hear nothing.
        let _ = self.send(json!({ "eof": true })).await;
    }

    /// Whether the job reads on.
    async fn send(&self, mut arguments: Value) -> Result<bool, String> {
        arguments["id"] = json!(self.id);
        let command = command(self.input, arguments);
        let written = controller::run(&self.session, self.node, &command).await;
        match written.map_err(|error| error.to_string())?.error {
            None => Ok(true),
            // It has ended, or has closed its input.
            Some(error) if matches!(error.code, ErrorCode::UnknownJob | ErrorCode::Failed) => {
                Ok(false)
            }
            Some(error) => Err(error.message),
        }
    }
}

/// Counts what was taken of a job's output, and makes room for more.
#[derive(Debug)]
pub(crate) struct Takings {
    of: Fed,
    /// Bytes that the node was not told of.
    bytes: u64,
    telling: JoinSet<()>,
}

impl Takings {
    pub(crate) fn new(of: Fed) -> Self {
        Self { of, bytes: 0, telling: JoinSet::new() }
    }

    /// So many bytes more were taken.
    pub(crate) fn add(&mut self, bytes: usize) {
        while self.telling.try_join_next().is_some() {}
        self.bytes += u64::try_from(bytes).unwrap_or(u64::MAX);
        if self.bytes < ACKNOWLEDGED {
            return;
        }
        let bytes = std::mem::take(&mut self.bytes);
        let Fed { session, node, id, taken, .. } = self.of.clone();
        let command = command(taken, json!({ "id": id, "bytes": bytes }));
        self.telling.spawn(async move {
            // A job that has ended needs no room.
            let _ = controller::run(&session, node, &command).await;
        });
    }
}

fn command(cmd: &str, arguments: Value) -> Command {
    let args = match arguments {
        Value::Object(args) => args,
        _ => Map::new(),
    };
    Command { args, ..Command::new(cmd) }
}
