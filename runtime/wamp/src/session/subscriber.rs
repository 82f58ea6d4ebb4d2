//! The part of a session that listens: subscriptions and events.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Effect, Ports, Refusal, Request, Session};
use crate::message::{
    EventDetails, Message, Principal, RequestId, RequestKind, Revocation, SubscribeDetails,
};
use crate::payload::Payload;
use crate::uri::MatchPolicy;

/// One subscription of the router's, which all of ours of one pattern share.
#[derive(Debug)]
pub(super) struct Topic<P: Ports> {
    pattern: Pattern,
    pub(super) subscribers: HashMap<RequestId, P::Subscription>,
}

pub(super) type Pattern = (String, MatchPolicy);

/// Something that was published under a topic of ours.
#[derive(Debug, PartialEq)]
pub(crate) struct Published {
    pub(crate) topic: String,
    pub(crate) publication: u64,
    pub(crate) publisher: Option<Arc<Principal>>,
    pub(crate) is_retained: bool,
    pub(crate) payload: Payload,
}

impl<P: Ports> Session<P> {
    /// Begins a subscription, which is known by the request's id from now on.
    pub(crate) fn subscribe(
        &mut self,
        topic: &str,
        options: SubscribeDetails,
        reply: P::Reply,
        subscription: P::Subscription,
    ) -> (RequestId, Message) {
        let request = self.next_request();
        let pattern = (topic.to_owned(), options.policy);
        let pending = Request::Subscribe { reply, pattern, subscription, is_abandoned: false };
        self.requests.insert(request, pending);
        (request, Message::Subscribe { request, options, topic: topic.to_owned() })
    }

    /// Gives a subscription up, acknowledged or not yet. None if there is
    /// nothing to send now, as when another one shares the router's.
    pub(crate) fn unsubscribe(
        &mut self,
        key: RequestId,
        new_reply: Option<P::Reply>,
    ) -> Option<Message> {
        if let Some(Request::Subscribe { is_abandoned, .. }) = self.requests.get_mut(&key) {
            *is_abandoned = true;
            return None;
        }
        let subscription = self.subscribed.remove(&key)?;
        self.subscriptions.get_mut(&subscription)?.subscribers.remove(&key);
        self.let_go(subscription, new_reply)
    }

    /// Unsubscribes what nobody wants any more. None if somebody does.
    fn let_go(&mut self, subscription: u64, reply: Option<P::Reply>) -> Option<Message> {
        let topic = self.subscriptions.get(&subscription)?;
        // A SUBSCRIBE of the same pattern that is on its way will get this very
        // subscription, and an UNSUBSCRIBE behind it would take it away again.
        let is_awaited = self.requests.values().any(|request| {
            matches!(request, Request::Subscribe { pattern, .. } if *pattern == topic.pattern)
        });
        if !topic.subscribers.is_empty() || is_awaited {
            return None;
        }
        self.subscriptions.remove(&subscription);
        let request = self.next_request();
        self.requests.insert(request, Request::Unsubscribe { reply });
        Some(Message::Unsubscribe { request, subscription })
    }

    /// A SUBSCRIBE is refused; an UNSUBSCRIBE that was held back for it is due.
    pub(super) fn subscribe_refused(&mut self, request: RequestId, refusal: Refusal) -> Effect<P> {
        let Some(Request::Subscribe { reply, pattern, .. }) =
            self.take(request, RequestKind::Subscribe)
        else {
            return Effect::None;
        };
        let mut same = self.subscriptions.iter().filter(|(_, topic)| topic.pattern == pattern);
        let subscription = same.next().map(|(id, _)| *id);
        match subscription.and_then(|subscription| self.let_go(subscription, None)) {
            Some(unsubscribe) => Effect::Refused(reply, refusal, unsubscribe),
            None => Effect::Acknowledged(reply, Err(refusal)),
        }
    }

    pub(super) fn subscribed(&mut self, request: RequestId, id: u64) -> Effect<P> {
        let Some(Request::Subscribe { reply, pattern, subscription, is_abandoned }) =
            self.take(request, RequestKind::Subscribe)
        else {
            return Effect::None;
        };
        let topic = self.subscriptions.entry(id);
        let topic = topic.or_insert_with(|| Topic { pattern, subscribers: HashMap::new() });
        topic.subscribers.insert(request, subscription);
        self.subscribed.insert(request, id);
        if is_abandoned {
            return self.unsubscribe(request, None).map_or(Effect::None, Effect::Send);
        }
        Effect::Acknowledged(reply, Ok(None))
    }

    pub(super) fn subscription_revoked(&mut self, revocation: Revocation) -> Effect<P> {
        let gone = revocation.subscription.and_then(|id| self.subscriptions.remove_entry(&id));
        gone.map_or(Effect::None, |(id, topic)| {
            self.subscribed.retain(|_, subscribed| *subscribed != id);
            let subscribers = topic.subscribers.into_values().collect();
            Effect::SubscriptionRevoked(subscribers, revocation.reason)
        })
    }

    pub(super) fn published(
        &self,
        subscription: u64,
        publication: u64,
        details: EventDetails,
        payload: Payload,
    ) -> Effect<P> {
        let Some(topic) = self.subscriptions.get(&subscription) else { return Effect::None };
        let published = Published {
            topic: details.topic.unwrap_or_else(|| topic.pattern.0.clone()),
            publication,
            publisher: details.publisher,
            is_retained: details.retained,
            payload,
        };
        Effect::Event(topic.subscribers.values().cloned().collect(), published)
    }
}
