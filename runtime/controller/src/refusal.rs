//! How the controller's services say no.

use drover_api::{ErrorCode, JobError, procedures};
use drover_wamp::{ApplicationError, Payload};

/// An error as nodes have it: the message for people, then all of it for programs.
pub(crate) fn refuse(code: ErrorCode, message: String) -> ApplicationError {
    refused(&JobError::new(code, message))
}

/// The same with detail.
pub(crate) fn refused(error: &JobError) -> ApplicationError {
    ApplicationError {
        uri: procedures::error_uri(error.code),
        payload: Payload::positional(&(&error.message, error)).unwrap_or_default(),
    }
}
