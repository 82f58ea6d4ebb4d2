//! What waits to be sent to one peer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::PayloadError;
use crate::codec::{self, Form};
use crate::message::Message;
use crate::queue::{Queue, Refused};

/// A message that waits.
#[derive(Debug)]
pub(crate) enum Outgoing {
    /// For this peer alone.
    Own(Message),
    /// For several: written once per form, by whoever sends it first.
    Shared(Arc<Shared>),
}

/// A message for several peers.
#[derive(Debug)]
pub(crate) struct Shared {
    message: Message,
    frames: [OnceLock<Result<Bytes, PayloadError>>; Form::ALL.len()],
}

impl Shared {
    pub(crate) fn new(message: Message) -> Self {
        Self { message, frames: Default::default() }
    }
}

impl Outgoing {
    pub(crate) fn encode(&self, form: Form) -> Result<Bytes, PayloadError> {
        match self {
            Self::Own(message) => codec::encode(form, message),
            Self::Shared(shared) => {
                let write = || codec::encode(form, &shared.message);
                shared.frames[form as usize].get_or_init(write).clone()
            }
        }
    }

    pub(crate) fn into_message(self) -> Message {
        match self {
            Self::Own(message) => message,
            Self::Shared(shared) => shared.message.clone(),
        }
    }

    pub(crate) fn weight(&self) -> usize {
        match self {
            Self::Own(message) => message.weight(),
            Self::Shared(shared) => shared.message.weight(),
        }
    }
}

/// The queue of messages to one peer, and whether the peer was too slow for it.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Queue<Outgoing>,
    has_overflowed: AtomicBool,
}

impl Outbox {
    /// At most about `limit` bytes wait.
    pub(crate) fn new(limit: usize) -> Self {
        Self { queue: Queue::new(limit), has_overflowed: AtomicBool::new(false) }
    }

    /// The queue itself, for those who wait for room, and for the reader.
    pub(crate) fn queue(&self) -> &Queue<Outgoing> {
        &self.queue
    }

    /// Adds a message of the router. A peer that lets too many wait has lost
    /// its session: what waits is forgotten, and the reader learns of it.
    pub(crate) fn send_or_overflow(&self, outgoing: Outgoing) {
        let weight = outgoing.weight();
        if let Err(Refused::Full(_)) = self.queue.push(outgoing, weight) {
            self.has_overflowed.store(true, Ordering::Release);
            self.queue.close_now();
        }
    }

    /// Adds a message however many wait: what is small, and bounded otherwise.
    pub(crate) fn send_anyway(&self, message: Message) -> bool {
        let weight = message.weight();
        self.queue.push_anyway(Outgoing::Own(message), weight)
    }

    /// Whether the peer read too slowly.
    pub(crate) fn has_overflowed(&self) -> bool {
        self.has_overflowed.load(Ordering::Acquire)
    }
}
