//! The subscriber's side.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::oneshot;

use super::Handle;
use super::error::CallError;
use crate::message::RequestId;
use crate::payload::Payload;
use crate::queue::Queue;

/// Topics whose events this session gets. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription {
    pub(super) handle: Arc<Handle>,
    pub(super) key: RequestId,
    pub(super) inbox: Arc<Inbox>,
}

/// Something that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The topic under which it was published.
    pub topic: String,
    /// The arguments.
    pub payload: Payload,
    /// How many events before this one were lost because this subscription was
    /// read too slowly; see
    /// [`SubscribeOptions::max_queued_bytes`](super::SubscribeOptions::max_queued_bytes).
    pub missed: u64,
}

/// Where events wait for a subscription's owner.
#[derive(Debug)]
pub(super) struct Inbox {
    queue: Queue<Event>,
    missed: AtomicU64,
}

impl Inbox {
    pub(super) fn new(limit: usize) -> Self {
        Self { queue: Queue::new(limit), missed: AtomicU64::new(0) }
    }

    /// Only the client's task puts events in, so the count cannot race.
    pub(super) fn put(&self, topic: &str, payload: &Payload) {
        let missed = self.missed.load(Ordering::Relaxed);
        let event = Event { topic: topic.to_owned(), payload: payload.clone(), missed };
        let size = topic.len() + payload.encoded_len() + size_of::<Event>();
        let missed = if self.queue.push(event, size).is_ok() { 0 } else { missed + 1 };
        self.missed.store(missed, Ordering::Relaxed);
    }

    pub(super) fn close(&self) {
        self.queue.close();
    }
}

impl Subscription {
    /// The next event; None when the session has ended and all are read. Cancel-safe.
    pub async fn next(&mut self) -> Option<Event> {
        self.inbox.queue.pop().await
    }

    /// Unsubscribes, and waits until the router has acknowledged it.
    ///
    /// # Errors
    /// When the session has ended, which is as good.
    pub async fn unsubscribe(self) -> Result<(), CallError> {
        let (reply, answer) = oneshot::channel();
        let message = self.handle.shared.with_session(|s| s.unsubscribe(self.key, Some(reply)))?;
        if let Some(message) = message {
            self.handle.shared.send(message).await?;
            self.handle.acknowledged(answer).await?;
        }
        Ok(())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        if let Ok(Some(message)) = shared.with_session(|s| s.unsubscribe(self.key, None)) {
            shared.send_now(message);
        }
    }
}
