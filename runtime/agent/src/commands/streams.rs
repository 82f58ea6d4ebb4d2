//! What callers send to running jobs, and how much of their output they have taken,
//! whether a job runs a program or a plugin.

use std::time::Duration;

use data_encoding::BASE64;
use drover_api::{ErrorCode, JobError, JobId};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::process::{handed_over, in_words};
use super::{Answer, Request, passed};
use crate::streams::NotRead;

/// Arguments of `job.input` and `process.stdin`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct InputArguments {
    /// The job.
    #[schemars(with = "String")]
    id: JobId,
    /// What to write.
    #[serde(default)]
    text: String,
    /// The same for what is no text, in base64; comes after `text`.
    #[serde(default)]
    base64: String,
    /// Whether that was the last.
    #[serde(default)]
    eof: bool,
}

pub(super) async fn input(request: Request<'_>) -> Result<Answer, JobError> {
    let Request { node, call, command } = request;
    let arguments: InputArguments = request.arguments()?;
    let id = arguments.id.clone();
    let limit = command.timeout_ms.map(Duration::from_millis);
    let (code, reason) = tokio::select! {
        biased;
        written = write(request, arguments) => return written,
        () = call.cancelled().cancelled() => (ErrorCode::Cancelled, "its caller went away"),
        _ = passed(limit) => (ErrorCode::Timeout, "its time has passed"),
        () = node.stop().cancelled() => (ErrorCode::ShuttingDown, "the agent is shutting down"),
    };
    let message = format!("writing to job {id} was broken off, perhaps half-way: {reason}");
    Err(JobError::new(code, message))
}

async fn write(request: Request<'_>, arguments: InputArguments) -> Result<Answer, JobError> {
    let InputArguments { id, text, base64, eof } = arguments;
    let mut bytes = text.into_bytes();
    let binary = BASE64.decode(base64.as_bytes());
    bytes.extend(binary.map_err(|error| {
        JobError::new(ErrorCode::InvalidArguments, format!("`base64` is none: {error}"))
    })?);
    let bytes = bytes::Bytes::from(bytes);
    match request.node.inputs().write(&id, bytes.clone(), eof).await {
        Some(Ok(())) => return Ok(Value::Null.into()),
        Some(Err(NotRead)) => {
            let message = format!("job {id} does not read its input any more");
            return Err(JobError::new(ErrorCode::Failed, message));
        }
        // It may be a program.
        None => {}
    }
    let writer =
        request.node.processes().manager().stdin(&id).await.map_err(|error| in_words(&error))?;
    let leaving = request.node.processes().leaving();
    let written = writer.write_until(&bytes, leaving.cancelled()).await.map_err(|error| {
        let message = format!("job {id} does not read its standard input any more: {error}");
        JobError::new(ErrorCode::Failed, message)
    })?;
    if leaving.is_cancelled() && (written < bytes.len() || eof) {
        // The rest, and the end, are to be sent to the next agent.
        let mut error = handed_over(&id);
        error.detail["written"] = written.into();
        return Err(error);
    }
    if eof {
        writer.close().await;
    }
    Ok(Value::Null.into())
}

/// Arguments of `job.taken` and `process.taken`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct TakenArguments {
    /// The job.
    #[schemars(with = "String")]
    id: JobId,
    /// How many bytes, beside those of earlier calls.
    #[serde(default)]
    bytes: u64,
    /// Whether that was enough: a plugin that writes more is told that nobody
    /// reads it; what a program writes is only in the log.
    #[serde(default)]
    enough: bool,
}

pub(super) fn taken(request: Request<'_>) -> Result<Answer, JobError> {
    let TakenArguments { id, bytes, enough } = request.arguments()?;
    if request.node.windows().take(&id, bytes, enough) {
        return Ok(Value::Null.into());
    }
    let message = format!("no job with the id {id} runs with a window");
    Err(JobError::new(ErrorCode::UnknownJob, message))
}
