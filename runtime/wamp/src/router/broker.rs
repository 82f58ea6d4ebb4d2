//! The broker of a realm: who subscribed what, and who gets which event.

mod audience;
mod event;
mod retained;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

pub(super) use event::Event;
use retained::{Full, Retained};

use super::Limits;
use super::entries::{Entries, Entry};
use super::members::Members;
use super::realm::Output;
use super::turn::{Change, EntryKind, Turn};
use crate::id::{IdMap, SessionId};
use crate::message::{
    EventDetails, Message, Principal, PublishDetails, RequestId, RequestKind, SubscribeDetails,
};
use crate::payload::Payload;
use crate::uri;

/// Subscriptions by pattern and by session, and the retained events.
#[derive(Debug)]
pub(super) struct Broker {
    subscriptions: Entries<BTreeSet<SessionId>>,
    sessions: IdMap<SessionId, HashSet<u64>>,
    retained: Retained,
    max_entries: usize,
}

/// A PUBLISH, and who sent it.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) id: u64,
    pub(super) publisher: SessionId,
    pub(super) request: RequestId,
    pub(super) options: PublishDetails,
    pub(super) topic: String,
    pub(super) payload: Payload,
    /// The publisher, if subscribers may learn who it is.
    pub(super) disclosed: Option<Arc<Principal>>,
}

impl Broker {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            subscriptions: Entries::default(),
            sessions: IdMap::default(),
            retained: Retained::new(limits.max_retained_events, limits.max_retained_bytes),
            max_entries: limits.max_entries,
        }
    }

    /// All subscriptions, to be asked about.
    pub(super) fn subscriptions(&self) -> &Entries<BTreeSet<SessionId>> {
        &self.subscriptions
    }

    pub(super) fn join(&mut self, session: SessionId) {
        self.sessions.insert(session, HashSet::new());
    }

    pub(super) fn leave(&mut self, session: SessionId, turn: &mut Turn<'_>) {
        for id in self.sessions.remove(&session).unwrap_or_default() {
            self.release(session, id, turn);
        }
    }

    pub(super) fn subscribe(
        &mut self,
        session: SessionId,
        request: RequestId,
        options: SubscribeDetails,
        topic: &str,
        members: &Members,
        turn: &mut Turn<'_>,
    ) {
        let policy = options.policy;
        if let Err(error) = uri::check_pattern(topic, policy) {
            let kind = (RequestKind::Subscribe, request);
            return turn.refuse(session, kind, uri::error::INVALID_URI, &error.to_string());
        }
        let Some(own) = self.sessions.get_mut(&session) else { return };
        let known = self.subscriptions.lookup(topic, policy);
        if own.len() >= self.max_entries && known.is_none_or(|id| !own.contains(&id)) {
            let text = format!("a session may have {} subscriptions", self.max_entries);
            let kind = (RequestKind::Subscribe, request);
            return turn.refuse(session, kind, uri::error::LIMIT_REACHED, &text);
        }
        if let Err(error) = self.subscriptions.check_room(topic, policy) {
            let kind = (RequestKind::Subscribe, request);
            return turn.refuse(session, kind, uri::error::LIMIT_REACHED, &error.to_string());
        }
        let id = known.unwrap_or_else(|| {
            let entry = Entry {
                uri: topic.to_owned(),
                policy,
                created: turn.now,
                holders: BTreeSet::new(),
            };
            let id = self.subscriptions.insert(entry, turn.ids);
            tell(topic, Change::Created, session, id, turn);
            id
        });
        if own.insert(id) {
            if let Some(entry) = self.subscriptions.get_mut(id) {
                entry.holders.insert(session);
            }
            tell(topic, Change::Held, session, id, turn);
        }
        turn.send(session, Message::Subscribed { request, subscription: id });
        if options.get_retained {
            for event in self.retained.matching(topic, policy) {
                if event.filter().admits(session, members) {
                    let message = Message::Event {
                        subscription: id,
                        publication: event.publication,
                        details: EventDetails { retained: true, ..event.details(policy) },
                        payload: event.payload.clone(),
                    };
                    turn.send(session, message);
                }
            }
        }
    }

    pub(super) fn unsubscribe(
        &mut self,
        session: SessionId,
        request: RequestId,
        subscription: u64,
        turn: &mut Turn<'_>,
    ) {
        let own = self.sessions.get_mut(&session);
        if own.is_some_and(|own| own.remove(&subscription)) {
            self.release(session, subscription, turn);
            turn.send(session, Message::Unsubscribed { request, revocation: None });
        } else {
            let text = format!("this session has no subscription {subscription}");
            let error = uri::error::NO_SUCH_SUBSCRIPTION;
            turn.refuse(session, (RequestKind::Unsubscribe, request), error, &text);
        }
    }

    /// Publishes for a session, and answers if it wants an answer: without
    /// `acknowledge` it hears nothing, not even a refusal.
    pub(super) fn publish(
        &mut self,
        publication: Publication,
        members: &Members,
        turn: &mut Turn<'_>,
    ) {
        let Publication { id, publisher, request, options, topic, payload, disclosed } =
            publication;
        let event = Event {
            publication: id,
            topic,
            payload,
            publisher: disclosed,
            except: options.exclude_me.then_some(publisher),
            audience: options.audience,
        };
        let refusal = self.check(&event, options.retain).err();
        if refusal.is_none() {
            self.distribute(&event, members, turn.outputs);
            if options.retain {
                self.retained.keep(event);
            }
        }
        match refusal {
            _ if !options.acknowledge => {}
            None => turn.send(publisher, Message::Published { request, publication: id }),
            Some((error, text)) => {
                turn.refuse(publisher, (RequestKind::Publish, request), error, &text);
            }
        }
    }

    /// Whether anybody would get an event of the topic, were it for everybody.
    pub(super) fn has_subscribers(&self, topic: &str) -> bool {
        !self.subscriptions.all(topic).is_empty()
    }

    /// Sends an event to every subscriber of its topic that it is for.
    pub(super) fn distribute(&self, event: &Event, members: &Members, outputs: &mut Vec<Output>) {
        let found = self.subscriptions.all(&event.topic);
        if found.is_empty() {
            return;
        }
        let filter = event.filter();
        for id in found {
            let Some(subscription) = self.subscriptions.get(id) else { continue };
            let mut to = filter.receivers(&subscription.holders, members);
            if to.is_empty() {
                continue;
            }
            let message = Message::Event {
                subscription: id,
                publication: event.publication,
                details: event.details(subscription.policy),
                payload: event.payload.clone(),
            };
            match to.len() {
                1 => outputs.extend(to.pop().map(|to| Output::Send { to, message })),
                _ => outputs.push(Output::Broadcast { to, message }),
            }
        }
    }

    fn check(&self, event: &Event, retain: bool) -> Result<(), (&'static str, String)> {
        let topic = &event.topic;
        uri::check(topic).map_err(|error| (uri::error::INVALID_URI, error.to_string()))?;
        if uri::is_reserved(topic) {
            return Err((uri::error::INVALID_URI, format!("only the router publishes `{topic}`")));
        }
        if retain {
            let full = |error: Full| (uri::error::LIMIT_REACHED, error.to_string());
            self.retained.check(event).map_err(full)?;
        }
        Ok(())
    }

    /// Takes a session out of a subscription that it has forgotten already.
    fn release(&mut self, session: SessionId, id: u64, turn: &mut Turn<'_>) {
        let Some(entry) = self.subscriptions.get_mut(id) else { return };
        entry.holders.remove(&session);
        tell(&entry.uri, Change::Released, session, id, turn);
        if entry.holders.is_empty()
            && let Some(entry) = self.subscriptions.remove(id)
        {
            tell(&entry.uri, Change::Deleted, session, id, turn);
        }
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        self.subscriptions.is_empty() && self.sessions.is_empty()
    }
}

/// Tells of a subscription, unless it is one of the router's own topics: those
/// who watch subscriptions do not watch each other.
fn tell(topic: &str, change: Change, session: SessionId, id: u64, turn: &mut Turn<'_>) {
    if !uri::is_reserved(topic) {
        turn.tell(EntryKind::Subscription, change, session, id);
    }
}
