//! Standard input on its way to a program on a node.

use data_encoding::BASE64;
use drover_api::{ErrorCode, JobId, NodeId};
use drover_wamp::Client;
use serde_json::json;

use super::attached::command;
use crate::controller;
use crate::streams::read_stdin;

/// Passes standard input to a job, no faster than the program reads it.
///
/// # Errors
///
/// If it cannot be read, or the node does not take it; for people.
pub(super) async fn feed(session: &Client, node: NodeId, id: &JobId) -> Result<(), String> {
    let mut input = read_stdin().map_err(|error| error.to_string())?;
    let mut failure = None;
    loop {
        let mut arguments = match input.recv().await {
            None => json!({ "eof": true }),
            Some(Ok(bytes)) => match String::from_utf8(bytes) {
                Ok(text) => json!({ "text": text }),
                Err(error) => json!({ "base64": BASE64.encode(error.as_bytes()) }),
            },
            // What was read so far is all there is.
            Some(Err(error)) => {
                failure = Some(format!("it cannot be read here: {error}"));
                json!({ "eof": true })
            }
        };
        arguments["id"] = json!(id);
        let is_last = arguments.get("eof").is_some();
        let written = controller::run(session, node, &command("process.stdin", arguments)).await;
        let refusal = written.map_err(|error| error.to_string())?.error;
        match refusal.map(|error| (error.code, error.message)) {
            // It has ended, or has closed its input.
            Some((ErrorCode::UnknownJob | ErrorCode::Failed, _)) => return Ok(()),
            Some((_, message)) => return Err(message),
            None if is_last => return failure.map_or(Ok(()), Err),
            None => {}
        }
    }
}
