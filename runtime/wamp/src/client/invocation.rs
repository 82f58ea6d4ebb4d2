//! A call that came to a registration, and its answer.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Handle;
use super::error::{ApplicationError, Closed};
use super::shared::Shared;
use crate::message::{Principal, RequestId};
use crate::payload::Payload;
use crate::session::{Invoked, Refusal};
use crate::uri;

/// An invocation on its way from the task to a registration's owner.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(super) invoked: Invoked,
    pub(super) pending: PendingInvocation,
    pub(super) handle: Arc<Handle>,
}

/// A call of a registered procedure.
///
/// It is answered by [`finish`](Self::finish). Dropped without that, it is
/// answered with `wamp.error.canceled`, so that no caller waits in vain.
#[derive(Debug)]
#[non_exhaustive]
pub struct Invocation {
    /// What was called: for a pattern, the name that the caller used.
    pub procedure: String,
    /// The arguments.
    pub payload: Payload,
    /// Whether the caller listens to partial results.
    pub wants_progress: bool,
    /// Who calls, where the router discloses it.
    pub caller: Option<Arc<Principal>>,
    /// How long the caller waits for the answer, counted from its call, where
    /// the router leaves that to the callee.
    pub timeout: Option<Duration>,
    pending: PendingInvocation,
    _handle: Arc<Handle>,
}

impl Invocation {
    pub(super) fn new(delivery: Delivery, registered: &str) -> Self {
        let Delivery { invoked, pending, handle } = delivery;
        Self {
            procedure: invoked.procedure.unwrap_or_else(|| registered.to_owned()),
            payload: invoked.payload,
            wants_progress: invoked.wants_progress,
            caller: invoked.caller,
            timeout: invoked.timeout.filter(|ms| *ms > 0).map(Duration::from_millis),
            pending,
            _handle: handle,
        }
    }

    /// Is cancelled when the caller no longer wants the answer, or the session has ended.
    #[must_use]
    pub fn cancelled(&self) -> &CancellationToken {
        &self.pending.token
    }

    /// Sends a partial result; nothing if the caller does not listen or has gone.
    ///
    /// Waits while too much waits to be sent on this session. Partial results
    /// arrive in the order in which they were sent, all before the answer. One
    /// that is too long for the session is not sent, which is logged.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn progress(&self, payload: Payload) -> Result<(), Closed> {
        if !self.wants_progress {
            return Ok(());
        }
        let PendingInvocation { shared, request, .. } = &self.pending;
        let payload = match shared.prepare("", &payload) {
            Ok(payload) => payload,
            Err(error) => {
                tracing::warn!(procedure = self.procedure, %error, "partial result not sent");
                return Ok(());
            }
        };
        match shared.with_session(|session| session.progress(*request, payload))? {
            Some(message) => shared.send(message).await,
            None => Ok(()),
        }
    }

    /// Answers the call. An answer that is too long for the session becomes
    /// the error `wamp.error.payload_size_exceeded`.
    pub async fn finish(self, answer: Result<Payload, ApplicationError>) {
        let shared = Arc::clone(&self.pending.shared);
        let answer = match answer {
            Ok(payload) => shared.prepare("", &payload).map_err(|error| {
                refusal(uri::error::PAYLOAD_SIZE_EXCEEDED, &format!("the answer was lost: {error}"))
            }),
            Err(ApplicationError { uri, payload }) => {
                let uri =
                    if uri::check(&uri).is_ok() { uri } else { uri::error::RUNTIME_ERROR.into() };
                // A text says at least something where the arguments are too long.
                let payload = shared.prepare(&uri, &payload);
                Err((
                    uri,
                    payload.unwrap_or_else(|e| Payload::one(&e.to_string()).unwrap_or_default()),
                ))
            }
        };
        let request = self.pending.request;
        let message = shared.with_session(|session| session.answer(request, answer));
        if let Ok(Some(message)) = message {
            // If it fails, the session has ended and the router has answered the caller.
            let _ = shared.send(message).await;
        }
    }
}

fn refusal(error: &str, text: &str) -> Refusal {
    (error.to_owned(), Payload::one(text).unwrap_or_default())
}

/// A call that must be answered, whatever happens.
#[derive(Debug)]
pub(crate) struct PendingInvocation {
    shared: Arc<Shared>,
    request: RequestId,
    token: CancellationToken,
}

impl PendingInvocation {
    pub(super) fn new(shared: Arc<Shared>, request: RequestId, token: CancellationToken) -> Self {
        Self { shared, request, token }
    }

    /// Whether its session has ended.
    pub(super) fn is_orphaned(&self) -> bool {
        self.shared.has_ended()
    }

    /// Answers with an error, unless it is answered.
    pub(super) fn refuse(&self, error: &str, text: &str) {
        let answer = Err(refusal(error, text));
        let message = self.shared.with_session(|session| session.answer(self.request, answer));
        if let Ok(Some(message)) = message {
            self.shared.send_now(message);
        }
    }
}

impl Drop for PendingInvocation {
    fn drop(&mut self) {
        self.refuse(uri::error::CANCELED, "the callee gave the call up without an answer");
    }
}
