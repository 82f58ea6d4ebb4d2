//! The callee's side: registrations.

use std::num::NonZeroUsize;
use std::sync::{Arc, Weak};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::error::{ApplicationError, CallError, CloseReason};
use super::invocation::{Delivery, Invocation};
use super::options::RegisterOptions;
use super::status::{EndReason, Lifetime, Status, StatusCell};
use super::{Handle, Hold};
use crate::id::SessionId;
use crate::payload::Payload;
use crate::queue::Queue;
use crate::uri;

/// Procedures that a session answers, or a link over all its sessions.
/// Dropping it unregisters.
#[derive(Debug)]
pub struct Registration {
    // Before the hold, which must find nothing waiting when it lets go.
    intake: Owned,
    hold: Hold,
}

/// The owner's end of an intake. What waits when it goes answers itself by
/// being dropped.
#[derive(Debug)]
struct Owned(Arc<Intake>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.queue.close_now();
    }
}

/// Where calls wait for a registration's owner.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) procedure: String,
    pub(crate) options: RegisterOptions,
    pub(crate) status: StatusCell,
    queue: Queue<Delivery>,
}

/// The way of a session to an intake.
#[derive(Debug, Clone)]
pub(crate) struct CalleePort {
    pub(super) intake: Arc<Intake>,
    pub(super) handle: Weak<Handle>,
}

impl Intake {
    pub(crate) fn new(procedure: &str, options: RegisterOptions, lifetime: Lifetime) -> Self {
        let queue = Queue::new(options.max_queued_bytes);
        Self { procedure: procedure.to_owned(), options, status: StatusCell::new(lifetime), queue }
    }

    pub(super) fn queue(&self) -> &Queue<Delivery> {
        &self.queue
    }

    pub(super) fn session_ended(&self, reason: &CloseReason) {
        if self.status.session_ended(reason) {
            self.queue.close_now();
        }
    }

    /// It is over; what waits can still be taken.
    pub(crate) fn end(&self, reason: EndReason) {
        self.status.end(reason);
        self.queue.close();
    }
}

impl Registration {
    pub(crate) fn new(intake: Arc<Intake>, hold: Hold) -> Self {
        Self { intake: Owned(intake), hold }
    }

    /// The next call; None when the registration is over, and
    /// [`status`](Self::status) says why. Cancel-safe.
    ///
    /// Several calls may run at a time: this one need not be finished before
    /// the next is taken. While too many wait to be taken (see
    /// [`RegisterOptions::max_queued_bytes`]), further ones are answered with
    /// `wamp.error.unavailable`.
    pub async fn next(&mut self) -> Option<Invocation> {
        loop {
            let delivery = self.intake.0.queue.pop().await?;
            // Nobody waits for the calls of a session that has ended meanwhile.
            if !delivery.pending.is_orphaned() {
                return Some(Invocation::new(delivery, &self.intake.0.procedure));
            }
        }
    }

    /// Answers every call in a task of its own, at most `limit` at a time (the
    /// rest wait, see [`next`](Self::next)), until the registration is over.
    ///
    /// The handler sees to cancelling itself. Dropping the future ends the
    /// handlers; their calls are answered with `wamp.error.canceled`, and so
    /// is the call of one that panics.
    pub async fn serve<H, F>(mut self, limit: NonZeroUsize, handler: H) -> EndReason
    where
        H: Fn(Invocation) -> F,
        F: Future<Output = ()> + Send + 'static,
    {
        let mut running = JoinSet::new();
        loop {
            tokio::select! {
                Some(ended) = running.join_next() => {
                    if let Err(error) = ended {
                        tracing::error!(procedure = self.intake.0.procedure, %error, "a handler failed");
                    }
                }
                call = self.next(), if running.len() < limit.get() => match call {
                    Some(call) => drop(running.spawn(handler(call))),
                    None => break,
                }
            }
        }
        running.join_all().await;
        self.intake.0.status.ended().await
    }

    /// Like [`serve`](Self::serve), with a handler from positional arguments
    /// (a tuple or sequence) to a result. Arguments that are no `A` are
    /// answered with `wamp.error.invalid_argument`; the handler of a call that
    /// is cancelled is dropped.
    pub async fn serve_as<A, R, H, F>(self, limit: NonZeroUsize, handler: H) -> EndReason
    where
        A: DeserializeOwned,
        R: Serialize,
        H: Fn(A) -> F,
        F: Future<Output = Result<R, ApplicationError>> + Send + 'static,
    {
        self.serve(limit, |call: Invocation| {
            let work = call.payload.args::<A>().map(&handler);
            async move {
                let work = async {
                    let result = match work {
                        Ok(work) => work.await?,
                        Err(error) => return Err(invalid_argument(&call.procedure, &error)),
                    };
                    Payload::one(&result).map_err(|error| {
                        ApplicationError::new(uri::error::RUNTIME_ERROR, &error.to_string())
                    })
                };
                let answer = tokio::select! {
                    answer = work => answer,
                    () = call.cancelled().cancelled() => Err(ApplicationError::new(
                        uri::error::CANCELED,
                        "the call was cancelled",
                    )),
                };
                call.finish(answer).await;
            }
        })
        .await
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.intake.0.status.now()
    }

    /// Tells of every change of [`status`](Self::status).
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.intake.0.status.watch()
    }

    /// Resolves when the router has it, with the session.
    ///
    /// # Errors
    /// When it never will.
    pub async fn settled(&self) -> Result<SessionId, EndReason> {
        self.intake.0.status.settled().await
    }

    /// Unregisters, and waits until the router has acknowledged it. Calls that
    /// wait here are answered with an error; those that were taken go on.
    ///
    /// # Errors
    /// When the session has ended, which is as good.
    pub async fn unregister(self) -> Result<(), CallError> {
        let Self { intake: _waiting, hold } = self;
        hold.undo().await
    }
}

fn invalid_argument(procedure: &str, error: &crate::PayloadError) -> ApplicationError {
    let text = format!("{procedure} cannot take the arguments: {error}");
    ApplicationError::new(uri::error::INVALID_ARGUMENT, &text)
}
