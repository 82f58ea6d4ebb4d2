//! What the parts of a realm are given to handle one message, and leave behind.

use std::time::Duration;

use super::realm::Output;
use crate::id::{Ids, SessionId};
use crate::message::{Message, RequestId, RequestKind};

/// The time, ids to draw, and room for what comes of a message.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    /// Since the realm began.
    pub(super) now: Duration,
    pub(super) ids: &'a mut Ids,
    pub(super) news: &'a mut Vec<News>,
    pub(super) outputs: &'a mut Vec<Output>,
}

/// Something happened to a registration or subscription, and others may have
/// asked to hear of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct News {
    pub(super) kind: EntryKind,
    pub(super) change: Change,
    /// Who did it.
    pub(super) session: SessionId,
    pub(super) id: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    Registration,
    Subscription,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// There was none of its pattern before.
    Created,
    /// A session has become one of its holders.
    Held,
    /// A session is none of its holders any more.
    Released,
    /// Nobody holds it any more.
    Deleted,
}

impl Turn<'_> {
    pub(super) fn send(&mut self, to: SessionId, message: Message) {
        self.outputs.push(Output::Send { to, message });
    }

    /// Answers a request with an ERROR.
    pub(super) fn refuse(
        &mut self,
        to: SessionId,
        (kind, request): (RequestKind, RequestId),
        error: &str,
        text: &str,
    ) {
        self.send(to, Message::error(kind, request, error, text));
    }

    pub(super) fn tell(&mut self, kind: EntryKind, change: Change, session: SessionId, id: u64) {
        self.news.push(News { kind, change, session, id });
    }
}
