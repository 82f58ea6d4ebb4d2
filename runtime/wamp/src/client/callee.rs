//! The callee's side: registrations and the invocations that come to them.

use std::sync::Arc;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::Handle;
use super::error::{ApplicationError, CallError, Closed};
use super::shared::Shared;
use crate::message::RequestId;
use crate::payload::Payload;
use crate::queue::Queue;
use crate::session::{Invoked, Refusal};
use crate::uri;

/// Procedures that this session answers. Dropping it unregisters.
#[derive(Debug)]
pub struct Registration {
    pub(super) handle: Arc<Handle>,
    pub(super) procedure: String,
    pub(super) key: RequestId,
    pub(super) queue: Arc<Queue<Delivery>>,
}

/// An invocation on its way from the task to a registration's owner.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) invoked: Invoked,
    pub(super) pending: PendingInvocation,
}

impl Registration {
    /// The next call; None when the session has ended. Cancel-safe.
    ///
    /// Several calls may run at a time: this one need not be finished before
    /// the next is taken. While too many wait to be taken (see
    /// [`RegisterOptions::max_queued_bytes`](super::RegisterOptions::max_queued_bytes)),
    /// further ones are answered with `wamp.error.unavailable`.
    pub async fn next(&mut self) -> Option<Invocation> {
        let Delivery { invoked, pending } = self.queue.pop().await?;
        Some(Invocation {
            procedure: invoked.procedure.unwrap_or_else(|| self.procedure.clone()),
            payload: invoked.payload,
            wants_progress: invoked.wants_progress,
            pending,
            _handle: Arc::clone(&self.handle),
        })
    }

    /// Unregisters, and waits until the router has acknowledged it. Calls that
    /// wait here are answered with an error; those that were taken go on.
    ///
    /// # Errors
    /// When the session has ended, which is as good.
    pub async fn unregister(self) -> Result<(), CallError> {
        let (reply, answer) = oneshot::channel();
        let message = self.handle.shared.with_session(|s| s.unregister(self.key, Some(reply)))?;
        if let Some(message) = message {
            self.handle.shared.send(message).await?;
            self.handle.acknowledged(answer).await?;
        }
        Ok(())
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        if let Ok(Some(message)) = shared.with_session(|s| s.unregister(self.key, None)) {
            shared.send_now(message);
        }
        // What waits answers itself when it is dropped.
        self.queue.close_now();
    }
}

/// A call of a registered procedure.
///
/// It is answered by [`finish`](Self::finish). Dropped without that, it is
/// answered with `wamp.error.canceled`, so that no caller waits in vain.
#[derive(Debug)]
pub struct Invocation {
    /// What was called: for a pattern, the name that the caller used.
    pub procedure: String,
    /// The arguments.
    pub payload: Payload,
    /// Whether the caller listens to partial results.
    pub wants_progress: bool,
    pending: PendingInvocation,
    _handle: Arc<Handle>,
}

impl Invocation {
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
                    if uri::check(&uri).is_ok() { uri } else { "wamp.error.runtime_error".into() };
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
pub(super) struct PendingInvocation {
    shared: Arc<Shared>,
    request: RequestId,
    token: CancellationToken,
}

impl PendingInvocation {
    pub(super) fn new(shared: Arc<Shared>, request: RequestId, token: CancellationToken) -> Self {
        Self { shared, request, token }
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
