//! The caller's side: a call that runs.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::Handle;
use super::error::{ApplicationError, CallError};
use super::options::CallOptions;
use super::shared::{Shared, Update};
use crate::message::{CancelMode, Message, RequestId};
use crate::payload::Payload;
use crate::queue::Queue;
use crate::uri;

/// A call that runs: a stream of its partial results, then the answer.
///
/// Partial results wait here up to the longest message's length; beyond that
/// the call is cancelled and fails with [`CallError::SlowReceiver`], so that a
/// slow receiver holds back nothing but its own call. Dropping it cancels the
/// call: the callee is told, whatever it answers then is ignored.
pub struct RunningCall {
    handle: Arc<Handle>,
    procedure: String,
    request: RequestId,
    updates: Arc<Queue<Update>>,
    deadline: Option<Deadline>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The router has not heard of it yet.
    Unsent,
    /// It has no answer yet.
    Running,
    /// It has one.
    Ended(Result<Payload, CallError>),
}

struct Deadline {
    timer: Pin<Box<Sleep>>,
    error: CallError,
}

impl RunningCall {
    pub(super) async fn start(
        handle: &Arc<Handle>,
        procedure: &str,
        payload: Payload,
        options: CallOptions,
        receive_progress: bool,
    ) -> Result<Self, CallError> {
        uri::check(procedure)?;
        // One that is too far off to be an instant is none.
        let timer =
            options.timeout.and_then(|after| Instant::now().checked_add(after).zip(Some(after)));
        let deadline = timer.map(|(at, after)| Deadline {
            timer: Box::pin(sleep_until(at)),
            error: CallError::Timeout { procedure: procedure.to_owned(), after },
        });
        let shared = &handle.shared;
        let payload = shared.prepare(procedure, &payload)?;
        let updates = Arc::new(Queue::new(shared.max_message_bytes));
        let details = options.details(receive_progress);
        let (request, message) = shared.with_session(|session| {
            session.call(procedure, payload, details, Arc::clone(&updates))
        })?;
        // From here on dropping it undoes whatever has been done.
        let mut call = Self {
            handle: Arc::clone(handle),
            procedure: procedure.to_owned(),
            request,
            updates,
            deadline,
            state: State::Unsent,
        };
        let sent = shared.send(message);
        match &call.deadline {
            None => sent.await?,
            Some(Deadline { timer, error }) => match timeout_at(timer.deadline(), sent).await {
                Ok(sent) => sent?,
                Err(_) => return Err(error.clone()),
            },
        }
        call.state = State::Running;
        Ok(call)
    }

    /// What is called.
    #[must_use]
    pub fn procedure(&self) -> &str {
        &self.procedure
    }

    /// The next partial result; None when the answer, or the end, has come. Cancel-safe.
    pub async fn next(&mut self) -> Option<Payload> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Waits for the answer; partial results that were not read are forgotten.
    ///
    /// # Errors
    /// Like [`Client::call`](super::Client::call).
    pub async fn answer(mut self) -> Result<Payload, CallError> {
        while self.next().await.is_some() {}
        match std::mem::replace(&mut self.state, State::Running) {
            State::Ended(answer) => answer,
            // There is nothing before the end but partial results.
            State::Unsent | State::Running => Err(self.shared().close_reason().into()),
        }
    }

    /// Asks the callee to end the call. Unlike a dropped call, this one still
    /// hears what the callee answers to that.
    pub fn cancel(&self) {
        let is_pending = self.shared().with_session(|session| session.is_pending(self.request));
        if is_pending == Ok(true) {
            self.shared().send_now(Message::cancel(self.request, CancelMode::Kill));
        }
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Payload>> {
        if matches!(self.state, State::Ended(_)) {
            return Poll::Ready(None);
        }
        let answer = match self.updates.poll_pop(cx) {
            Poll::Ready(Some(Update::Progress(payload))) => return Poll::Ready(Some(payload)),
            Poll::Ready(Some(Update::Answer(Ok(payload)))) => Ok(payload),
            Poll::Ready(Some(Update::Answer(Err(refusal)))) => Err(self.refused(refusal.into())),
            Poll::Ready(Some(Update::Overflow)) => Err(CallError::SlowReceiver {
                procedure: self.procedure.clone(),
                limit: self.shared().max_message_bytes,
            }),
            Poll::Ready(None) => Err(self.shared().close_reason().into()),
            Poll::Pending => {
                let Some(Deadline { timer, error }) = &mut self.deadline else {
                    return Poll::Pending;
                };
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                let error = error.clone();
                self.shared().cancel(self.request);
                Err(error)
            }
        };
        self.state = State::Ended(answer);
        Poll::Ready(None)
    }

    /// The router counts the time as well, and may be a little faster.
    fn refused(&self, error: ApplicationError) -> CallError {
        match &self.deadline {
            Some(deadline) if error.uri == uri::error::TIMEOUT => deadline.error.clone(),
            _ => error.into(),
        }
    }
}

impl Stream for RunningCall {
    type Item = Payload;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Payload>> {
        self.get_mut().poll(cx)
    }
}

impl fmt::Debug for RunningCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { procedure, request, state, .. } = self;
        f.debug_struct("RunningCall")
            .field("procedure", procedure)
            .field("request", request)
            .field("state", state)
            .finish_non_exhaustive()
    }
}

impl Drop for RunningCall {
    fn drop(&mut self) {
        match self.state {
            State::Running => self.shared().cancel(self.request),
            State::Unsent => {
                let _ = self.shared().with_session(|session| session.cancel(self.request));
            }
            State::Ended(_) => {}
        }
    }
}
