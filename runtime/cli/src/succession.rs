//! What callers do while the agent of a node is being replaced: they call the next one.

use std::time::Duration;

use drover_api::{ErrorCode, JobResult};
use drover_wamp::{CallError, Payload, uri};

/// How long the next agent may take to come. One that is no good has to be found out,
/// and the one before it to be started again.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10 * 60);

/// Between two calls.
pub(crate) const PAUSE: Duration = Duration::from_millis(200);

/// Whether a job goes on with the next agent.
pub(crate) fn is_handed_over(answer: &Result<Payload, CallError>) -> bool {
    code(answer) == Some(ErrorCode::HandedOver)
}

/// Whether there was no agent to answer, or one that was about to end.
pub(crate) fn is_unanswered(answer: &Result<Payload, CallError>) -> bool {
    match answer {
        Ok(_) => code(answer) == Some(ErrorCode::ShuttingDown),
        Err(error) => is_between(error) || is_refused_with(error, uri::error::CANCELED),
    }
}

/// Whether a call has found no agent.
pub(crate) fn is_between(error: &CallError) -> bool {
    is_refused_with(error, uri::error::NO_SUCH_PROCEDURE)
}

fn is_refused_with(error: &CallError, uri: &str) -> bool {
    matches!(error, CallError::Application(refusal) if refusal.uri == uri)
}

fn code(answer: &Result<Payload, CallError>) -> Option<ErrorCode> {
    let result: JobResult = answer.as_ref().ok()?.first().ok()?;
    result.error.map(|error| error.code)
}
