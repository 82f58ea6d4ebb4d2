//! The broker of a realm: who subscribed what, and who gets which event.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::patterns::Patterns;
use super::realm::Output;
use crate::id::{Ids, SessionId};
use crate::message::{EventDetails, Message, PublishDetails, RequestId, RequestKind};
use crate::payload::Payload;
use crate::uri::{self, MatchPolicy};

/// Subscriptions by pattern, and by session.
#[derive(Debug)]
pub(super) struct Broker {
    topics: Patterns<u64>,
    subscriptions: HashMap<u64, Subscription>,
    sessions: HashMap<SessionId, HashSet<u64>>,
    max_entries: usize,
}

/// One pattern, shared by all who subscribed it.
#[derive(Debug)]
struct Subscription {
    topic: String,
    policy: MatchPolicy,
    subscribers: BTreeSet<SessionId>,
}

impl Broker {
    pub(super) fn new(max_entries: usize) -> Self {
        Self {
            topics: Patterns::default(),
            subscriptions: HashMap::new(),
            sessions: HashMap::new(),
            max_entries,
        }
    }

    pub(super) fn join(&mut self, session: SessionId) {
        self.sessions.insert(session, HashSet::new());
    }

    pub(super) fn leave(&mut self, session: SessionId) {
        for id in self.sessions.remove(&session).unwrap_or_default() {
            self.forget(session, id);
        }
    }

    pub(super) fn subscribe(
        &mut self,
        session: SessionId,
        request: RequestId,
        topic: &str,
        policy: MatchPolicy,
        ids: &mut Ids,
        outputs: &mut Vec<Output>,
    ) {
        let refuse = |error, text: &str| Output::Send {
            to: session,
            message: Message::error(RequestKind::Subscribe, request, error, text),
        };
        if let Err(error) = uri::check_pattern(topic, policy) {
            return outputs.push(refuse(uri::error::INVALID_URI, &error.to_string()));
        }
        let Some(own) = self.sessions.get_mut(&session) else { return };
        let known = self.topics.get(topic, policy);
        if own.len() >= self.max_entries && known.is_none_or(|id| !own.contains(&id)) {
            let text = format!("a session may have {} subscriptions", self.max_entries);
            return outputs.push(refuse(uri::error::LIMIT_REACHED, &text));
        }
        let id = known.unwrap_or_else(|| {
            let id = ids.draw_unless(|id| self.subscriptions.contains_key(&id));
            self.topics.insert(topic, policy, id);
            let subscribers = BTreeSet::new();
            let subscription = Subscription { topic: topic.to_owned(), policy, subscribers };
            self.subscriptions.insert(id, subscription);
            id
        });
        own.insert(id);
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.subscribers.insert(session);
        }
        let message = Message::Subscribed { request, subscription: id };
        outputs.push(Output::Send { to: session, message });
    }

    pub(super) fn unsubscribe(
        &mut self,
        session: SessionId,
        request: RequestId,
        subscription: u64,
        outputs: &mut Vec<Output>,
    ) {
        let own = self.sessions.get_mut(&session);
        let message = if own.is_some_and(|own| own.remove(&subscription)) {
            self.forget(session, subscription);
            Message::Unsubscribed { request, revocation: None }
        } else {
            let text = format!("this session has no subscription {subscription}");
            let error = uri::error::NO_SUCH_SUBSCRIPTION;
            Message::error(RequestKind::Unsubscribe, request, error, &text)
        };
        outputs.push(Output::Send { to: session, message });
    }

    /// `ids` are those of the request and of the publication.
    pub(super) fn publish(
        &mut self,
        session: SessionId,
        ids: (RequestId, u64),
        options: &PublishDetails,
        topic: &str,
        payload: &Payload,
        outputs: &mut Vec<Output>,
    ) {
        let (request, publication) = ids;
        let refusal = match uri::check(topic) {
            Err(error) => Some(error.to_string()),
            Ok(()) if uri::is_reserved(topic) => {
                Some(format!("only the router publishes `{topic}`"))
            }
            Ok(()) => None,
        };
        let answer = if let Some(text) = refusal {
            Message::error(RequestKind::Publish, request, uri::error::INVALID_URI, &text)
        } else {
            let except = options.exclude_me.then_some(session);
            self.distribute(except, publication, topic, payload, outputs);
            Message::Published { request, publication }
        };
        // Without `acknowledge` the publisher wants to hear nothing, not even a refusal.
        if options.acknowledge {
            outputs.push(Output::Send { to: session, message: answer });
        }
    }

    /// Sends an event to every subscriber of the topic but one.
    pub(super) fn distribute(
        &self,
        except: Option<SessionId>,
        publication: u64,
        topic: &str,
        payload: &Payload,
        outputs: &mut Vec<Output>,
    ) {
        for id in self.topics.all(topic) {
            let Some(subscription) = self.subscriptions.get(&id) else { continue };
            let is_pattern = subscription.policy != MatchPolicy::Exact;
            let message = Message::Event {
                subscription: id,
                publication,
                details: EventDetails {
                    topic: is_pattern.then(|| topic.to_owned()),
                    ..EventDetails::default()
                },
                payload: payload.clone(),
            };
            let receivers = subscription.subscribers.iter().copied();
            let mut to: Vec<_> = receivers.filter(|to| Some(*to) != except).collect();
            match to.len() {
                0 => {}
                1 => outputs.extend(to.pop().map(|to| Output::Send { to, message })),
                _ => outputs.push(Output::Broadcast { to, message }),
            }
        }
    }

    fn forget(&mut self, session: SessionId, id: u64) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.subscribers.remove(&session);
        if subscription.subscribers.is_empty() {
            self.topics.remove(&subscription.topic, subscription.policy);
            self.subscriptions.remove(&id);
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.subscriptions.is_empty() && self.sessions.is_empty()
    }
}
