//! What ends a job from outside, and how.

use std::pin::pin;
use std::time::Duration;

use drover_api::{ErrorCode, JobError, JobState};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::call::Cancellation;

/// Time that a plugin which watches for it has after a cancellation; see
/// `wit/job.wit`.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// What ends a job from outside.
pub(crate) enum Interruption {
    Deadline,
    Cancelled,
    ShuttingDown,
}

/// Looks out for what ends a job from outside.
pub(crate) struct Watch<'a> {
    pub(crate) cancellation: &'a Cancellation,
    /// None: there is none.
    pub(crate) deadline: Option<Instant>,
    pub(crate) stopping: &'a CancellationToken,
}

impl Watch<'_> {
    /// Drops `work` at the first interruption.
    pub(crate) async fn until_interrupted<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, Interruption> {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Err(Interruption::ShuttingDown),
            () = self.cancellation.cancelled() => Err(Interruption::Cancelled),
            () = passed(self.deadline) => Err(Interruption::Deadline),
            output = work => Ok(output),
        }
    }

    /// Drops `work` at the first interruption, but leaves a plugin that looks
    /// for its cancellation some time to tidy up. Its answer then is lost.
    pub(crate) async fn with_grace<T>(
        &self,
        work: impl Future<Output = T>,
    ) -> Result<T, Interruption> {
        let mut work = pin!(work);
        let result = self.until_interrupted(&mut work).await;
        if result.is_ok() && self.cancellation.was_seen() {
            // The plugin was faster than we, but did not do all its work.
            return Err(Interruption::Cancelled);
        }
        if let Err(Interruption::Cancelled) = result
            && self.cancellation.was_asked()
        {
            let end = Instant::now() + CANCEL_GRACE;
            let end = self.deadline.map_or(end, |deadline| deadline.min(end));
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => {}
                () = sleep_until(end) => {}
                _ = &mut work => {}
            }
        }
        result
    }
}

/// Waits for a moment that may never come.
async fn passed(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

impl Interruption {
    /// Tells the caller. `timeout` is the time that there was, if it was limited.
    pub(crate) fn explain(self, subject: &str, timeout: Option<Duration>) -> (JobState, JobError) {
        let (state, code, message) = match self {
            Self::Deadline => (
                JobState::Timeout,
                ErrorCode::Timeout,
                format!(
                    "`{subject}` was not done after {} s and was ended; give it less to do, or more time",
                    timeout.unwrap_or_default().as_secs_f64()
                ),
            ),
            Self::Cancelled => {
                (JobState::Killed, ErrorCode::Cancelled, format!("`{subject}` was cancelled"))
            }
            Self::ShuttingDown => (
                JobState::Killed,
                ErrorCode::ShuttingDown,
                format!("the node is shutting down and ended `{subject}`"),
            ),
        };
        (state, JobError::new(code, message))
    }
}
