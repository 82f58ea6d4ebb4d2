//! The subscriber's side.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::watch;

use super::Hold;
use super::error::{CallError, CloseReason};
use super::options::SubscribeOptions;
use super::status::{EndReason, Lifetime, Status, StatusCell};
use crate::id::SessionId;
use crate::message::Principal;
use crate::payload::Payload;
use crate::queue::Queue;
use crate::session::Published;

/// Topics whose events a session gets, or a link over all its sessions: a
/// stream of events. Dropping it unsubscribes.
///
/// What is published while a link has no session does not reach it.
#[derive(Debug)]
pub struct Subscription {
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) hold: Hold,
}

/// Something that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The topic under which it was published.
    pub topic: String,
    /// The arguments.
    pub payload: Payload,
    /// The publication's id: the same for every subscriber, drawn by the router.
    pub publication: u64,
    /// Who published it, where the router discloses that.
    pub publisher: Option<Arc<Principal>>,
    /// Whether it was published before the subscription was made, and kept for it.
    pub is_retained: bool,
    /// How many events before this one were lost because this subscription was
    /// read too slowly; see
    /// [`SubscribeOptions::max_queued_bytes`](super::SubscribeOptions::max_queued_bytes).
    pub missed: u64,
}

/// Where events wait for a subscription's owner.
#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) topic: String,
    pub(crate) options: SubscribeOptions,
    pub(crate) status: StatusCell,
    queue: Queue<Event>,
    missed: AtomicU64,
}

impl Inbox {
    pub(crate) fn new(topic: &str, options: SubscribeOptions, lifetime: Lifetime) -> Self {
        let queue = Queue::new(options.max_queued_bytes);
        let status = StatusCell::new(lifetime);
        Self { topic: topic.to_owned(), options, status, queue, missed: AtomicU64::new(0) }
    }

    /// Only one session's task at a time puts events in, so the count cannot race.
    pub(super) fn put(&self, published: &Published) {
        let Published { topic, publication, publisher, is_retained, payload } = published;
        let missed = self.missed.load(Ordering::Relaxed);
        let event = Event {
            topic: topic.clone(),
            payload: payload.clone(),
            publication: *publication,
            publisher: publisher.clone(),
            is_retained: *is_retained,
            missed,
        };
        let size = topic.len() + payload.encoded_len() + size_of::<Event>();
        let missed = if self.queue.push(event, size).is_ok() { 0 } else { missed + 1 };
        self.missed.store(missed, Ordering::Relaxed);
    }

    pub(super) fn session_ended(&self, reason: &CloseReason) {
        if self.status.session_ended(reason) {
            self.queue.close();
        }
    }

    /// It is over; what waits can still be read.
    pub(crate) fn end(&self, reason: EndReason) {
        self.status.end(reason);
        self.queue.close();
    }
}

impl Subscription {
    /// The next event; None when the subscription is over and all are read,
    /// and [`status`](Self::status) says why. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.inbox.queue.pop().await
    }

    /// Where it stands.
    #[must_use]
    pub fn status(&self) -> Status {
        self.inbox.status.now()
    }

    /// Tells of every change of [`status`](Self::status).
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Status> {
        self.inbox.status.watch()
    }

    /// Resolves when the router has it, with the session.
    ///
    /// # Errors
    /// When it never will.
    pub async fn settled(&self) -> Result<SessionId, EndReason> {
        self.inbox.status.settled().await
    }

    /// Unsubscribes, and waits until the router has acknowledged it.
    ///
    /// # Errors
    /// When the session has ended, which is as good.
    pub async fn unsubscribe(self) -> Result<(), CallError> {
        self.hold.undo().await
    }
}

impl Stream for Subscription {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.inbox.queue.poll_pop(cx)
    }
}
