//! What the controller's services share: reading a call, and answering it.

use drover_api::ErrorCode;
use drover_wamp::{ApplicationError, Invocation, Payload, PayloadError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::refusal::refuse;

/// How a call is answered.
pub(crate) type Answer = Result<Payload, ApplicationError>;

/// Who calls, as far as the router says.
pub(crate) fn caller(call: &Invocation) -> String {
    match &call.caller {
        Some(caller) if caller.authid.is_empty() => format!("session {}", caller.session),
        Some(caller) => caller.authid.clone(),
        None => "somebody".to_owned(),
    }
}

/// What is answered, unless the caller wants it no more.
pub(crate) async fn unless_cancelled(
    call: &Invocation,
    answering: impl Future<Output = Answer>,
) -> Answer {
    tokio::select! {
        answer = answering => answer,
        () = call.cancelled().cancelled() => {
            Err(refuse(ErrorCode::Cancelled, "the call was cancelled".to_owned()))
        }
    }
}

/// The one argument.
pub(crate) fn argument<T: DeserializeOwned>(call: &Invocation) -> Result<T, ApplicationError> {
    call.payload.first().map_err(|error| {
        let message = format!("{} cannot take this argument: {error}", call.procedure);
        refuse(ErrorCode::InvalidArguments, message)
    })
}

pub(crate) fn encode<T: Serialize>(value: &T) -> Answer {
    Payload::one(value).map_err(|error| not_encoded(&error))
}

pub(crate) fn not_encoded(error: &PayloadError) -> ApplicationError {
    refuse(ErrorCode::Internal, error.to_string())
}
