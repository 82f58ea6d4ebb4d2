//! What may be tried again.

use drover_api::{ErrorCode, JobResult, JobState, RetryCause};

/// Why a job did not end `OK`, if it could end in another way the next time; none if
/// it did, if somebody ended it, or if it would fail in the same way again.
#[must_use]
pub fn cause_of(result: &JobResult) -> Option<RetryCause> {
    match result.state {
        JobState::Timeout => Some(RetryCause::Timeout),
        JobState::Error => match result.error.as_ref().map_or(ErrorCode::Failed, |e| e.code) {
            ErrorCode::Interrupted | ErrorCode::ShuttingDown => Some(RetryCause::Interrupted),
            ErrorCode::Busy | ErrorCode::Quarantined => Some(RetryCause::Busy),
            ErrorCode::InvalidArguments
            | ErrorCode::InvalidCommand
            | ErrorCode::WrongNode
            | ErrorCode::NoNode => None,
            _ => Some(RetryCause::Failed),
        },
        _ => None,
    }
}
