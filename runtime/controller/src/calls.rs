//! What the controller's services share: reading a call, answering it, and asking for
//! the nodes.

use std::time::Duration;

use drover_api::{ErrorCode, NodeStatus, procedures};
use drover_wamp::{
    ApplicationError, CallError, CallOptions, Client, Invocation, Payload, PayloadError,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::sleep;

use crate::refusal::refuse;

/// How long listing the nodes may take.
const LIST: Duration = Duration::from_secs(30);

/// When a service of the controller is asked again that begins at the same time.
pub(crate) const OWN_RETRY: Duration = Duration::from_millis(50);

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

/// Every node that the node service knows.
pub(crate) async fn nodes(session: &Client) -> Result<Vec<NodeStatus>, CallError> {
    let options = CallOptions::within(LIST);
    let answer = session.call(procedures::NODES, Payload::empty(), options).await?;
    Ok(answer.first()?)
}

/// The same at a start, at which the node service begins as well.
pub(crate) async fn nodes_at_start(session: &Client) -> Result<Vec<NodeStatus>, CallError> {
    loop {
        match nodes(session).await {
            Err(CallError::Application(_) | CallError::Timeout { .. }) => sleep(OWN_RETRY).await,
            answer => return answer,
        }
    }
}
