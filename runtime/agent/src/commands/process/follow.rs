//! `process.follow`: goes on waiting for a job where another call was cut off, since the
//! agent's program was replaced.

use drover_api::{ErrorCode, JobError, JobId};
use drover_process::ManagerError;
use schemars::JsonSchema;
use serde::Deserialize;

use super::super::{Answer, Request};
use super::execute::Whole;
use super::{handed_over, in_words};
use crate::processes::Awaited;

/// Arguments of `process.follow`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct FollowArguments {
    /// The job.
    #[schemars(with = "String")]
    id: JobId,
    /// Bytes of live output that may be on their way before process.taken is called.
    #[serde(default)]
    #[schemars(range(min = 1))]
    window: Option<u64>,
}

pub(super) async fn follow(request: Request<'_>) -> Result<Answer, JobError> {
    let FollowArguments { id, window } = request.arguments()?;
    go_on(request, &id, window).await
}

/// Waits for the end of a job that runs already.
pub(crate) async fn go_on(
    request: Request<'_>,
    id: &JobId,
    window: Option<u64>,
) -> Result<Answer, JobError> {
    let processes = request.node.processes();
    if processes.leaving().is_cancelled() {
        return Err(handed_over(id));
    }
    if let Some(Awaited { expected, output, .. }) = processes.take_awaited(id) {
        return Whole { id, expected, output, window }.wait_for(request).await;
    }
    // Whoever ran it hears its output; how it ends, everybody may know.
    tokio::select! {
        ended = processes.end_of(id) => match ended {
            Ok(finished) => Ok(Answer::from(finished)),
            Err(ManagerError::ShuttingDown) if processes.leaving().is_cancelled() => {
                Err(handed_over(id))
            }
            Err(error) => Err(in_words(&error)),
        },
        () = request.call.cancelled().cancelled() => {
            let message = format!("whoever followed job {id} has gone; it goes on");
            Err(JobError::new(ErrorCode::Cancelled, message))
        }
    }
}
