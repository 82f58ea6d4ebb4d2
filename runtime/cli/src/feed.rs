//! What a running job is told of its streams: its input, and how much of its output
//! was taken.

use data_encoding::BASE64;
use drover_api::{Command, ErrorCode, JobId, NodeId};
use drover_wamp::Client;
use serde_json::{Map, Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::streams::Chunks;
use crate::{controller, succession};

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
            let chunk = match input.recv().await {
                None => None,
                Some(Ok(bytes)) => Some(bytes),
                Some(Err(error)) => return Err(format!("it cannot be read here: {error}")),
            };
            let is_last = chunk.is_none();
            if !self.send(chunk).await? || is_last {
                return Ok(());
            }
        }
    }

    /// Tells the job that there is no more input.
    pub(crate) async fn end(&self) {
        // One that has ended needs to hear nothing.
        let _ = self.send(None).await;
    }

    /// Sends some bytes, or the end, and says whether the job reads on. Where an agent is
    /// being replaced, the next one gets what this one has not taken.
    async fn send(&self, mut chunk: Option<Vec<u8>>) -> Result<bool, String> {
        let latest = Instant::now() + succession::PATIENCE;
        loop {
            let command = command(self.input, self.arguments(chunk.as_deref()));
            let written = controller::run(&self.session, self.node, &command).await;
            let reason = match written.map(|result| result.error) {
                Ok(None) => return Ok(true),
                Ok(Some(error)) => match error.code {
                    // It has ended, or has closed its input.
                    ErrorCode::UnknownJob | ErrorCode::Failed => return Ok(false),
                    ErrorCode::HandedOver => {
                        let written = error.detail["written"].as_u64().unwrap_or_default();
                        if let Some(chunk) = &mut chunk {
                            let written = usize::try_from(written).unwrap_or(usize::MAX);
                            chunk.drain(..written.min(chunk.len()));
                        }
                        error.message
                    }
                    _ => return Err(error.message),
                },
                Err(error) if succession::is_between(&error) => error.to_string(),
                Err(error) => return Err(error.to_string()),
            };
            if Instant::now() >= latest {
                return Err(reason);
            }
            sleep(succession::PAUSE).await;
        }
    }

    fn arguments(&self, chunk: Option<&[u8]>) -> Value {
        let id = &self.id;
        match chunk.map(|bytes| (bytes, std::str::from_utf8(bytes))) {
            None => json!({ "id": id, "eof": true }),
            Some((_, Ok(text))) => json!({ "id": id, "text": text }),
            Some((bytes, Err(_))) => json!({ "id": id, "base64": BASE64.encode(bytes) }),
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
