//! The core of a realm: sessions come, send messages and go; messages go out.
//!
//! A function of its inputs: no I/O, no clock, ids from a seeded generator.
//! What the broker and the dealer do with a message is in their modules, and
//! what the router answers itself in `meta`; here is who may say what, and
//! what happens when somebody leaves.

mod meta;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use meta::{SessionDetails, Testaments};

use super::broker::{Broker, Event, Publication};
use super::config::Disclosure;
use super::dealer::{Dealer, Request};
use super::entrance::Admission;
use super::identity::Identity;
use super::members::{Member, Members};
use super::permissions::{Action, Denied};
use super::turn::{News, Turn};
use super::{Limits, Traffic};
use crate::id::{Ids, SessionId};
use crate::message::{
    ClientRoles, Features, Message, Principal, RequestId, RequestKind, Role, RouterRoles,
    WelcomeDetails,
};
use crate::payload::Payload;
use crate::uri;

/// One realm: names and sessions that know nothing of other realms.
#[derive(Debug)]
pub(super) struct Realm {
    name: String,
    /// By the clock on the wall, for people.
    began: SystemTime,
    /// The latest time that the realm was told, since it began.
    now: Duration,
    ids: Ids,
    members: Members,
    broker: Broker,
    dealer: Dealer,
    testaments: Testaments,
    /// What happened while a message is handled; empty between messages.
    news: Vec<News>,
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Output {
    /// A message for one session.
    Send { to: SessionId, message: Message },
    /// The same message for several.
    Broadcast { to: Vec<SessionId>, message: Message },
    /// The last message for a session, which the realm has forgotten: its
    /// connection ends.
    End { session: SessionId, message: Message },
}

/// What becomes of the session that sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It stays.
    Joined,
    /// It said goodbye, or was ended, and the realm has forgotten it.
    Left,
}

/// A session broke the protocol, and must be ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Violation(pub(crate) String);

impl Realm {
    /// An empty realm, which begins now.
    pub(super) fn new(name: &str, seed: u64, began: SystemTime, limits: &Limits) -> Self {
        Self {
            name: name.to_owned(),
            began,
            now: Duration::ZERO,
            ids: Ids::from_seed(seed),
            members: Members::default(),
            broker: Broker::new(limits),
            dealer: Dealer::new(limits.max_entries),
            testaments: Testaments::default(),
            news: Vec::new(),
        }
    }

    /// Lets a session in, and says what it is to be welcomed with.
    pub(super) fn join(
        &mut self,
        admission: Admission,
        roles: &ClientRoles,
        outputs: &mut Vec<Output>,
    ) -> (SessionId, WelcomeDetails) {
        let Admission { identity, permissions, session, .. } = admission;
        let free = session.filter(|session| !self.members.contains(*session));
        let session = free.unwrap_or_else(|| {
            SessionId(self.ids.draw_unless(|id| self.members.contains(SessionId(id))))
        });
        let callee = roles.callee.as_ref().map_or(Features::default(), |role| role.features);
        self.broker.join(session);
        self.dealer.join(session, callee);
        let Identity { authid, authrole, authmethod, authprovider } = identity;
        let principal = Arc::new(Principal { session, authid, authrole });
        let member = Member { principal, authmethod, authprovider, permissions };
        let welcome = WelcomeDetails {
            realm: self.name.clone(),
            authid: member.principal.authid.clone(),
            authrole: member.principal.authrole.clone(),
            authmethod: member.authmethod.clone(),
            authprovider: member.authprovider.clone(),
            agent: concat!("drover ", env!("CARGO_PKG_VERSION")).to_owned(),
            roles: our_roles(),
        };
        if self.broker.has_subscribers(uri::ON_JOIN)
            && let Ok(payload) = Payload::one(&SessionDetails::of(&member))
        {
            self.tell(uri::ON_JOIN, payload, outputs);
        }
        self.members.insert(member);
        (session, welcome)
    }

    /// Handles one message of a session that joined, `now` since the realm began.
    ///
    /// # Errors
    /// When the message is none that a client may send now.
    pub(super) fn receive(
        &mut self,
        from: SessionId,
        message: Message,
        now: Duration,
        outputs: &mut Vec<Output>,
    ) -> Result<Standing, Violation> {
        self.now = now;
        let Some(member) = self.members.get(from) else { return Ok(Standing::Left) };
        let disclosure = match member.judge(&message) {
            Ok(disclosure) => disclosure,
            Err((kind, request, denied)) => {
                // Without `acknowledge` the publisher wants to hear nothing, not even a refusal.
                if !matches!(&message, Message::Publish { options, .. } if !options.acknowledge) {
                    let error = uri::error::NOT_AUTHORIZED;
                    let message = Message::error(kind, request, error, &denied.to_string());
                    outputs.push(Output::Send { to: from, message });
                }
                return Ok(Standing::Joined);
            }
        };
        let disclosed =
            |disclose_me| disclosure.allows(disclose_me).then(|| Arc::clone(&member.principal));
        let turn = &mut Turn { now, ids: &mut self.ids, news: &mut self.news, outputs };
        match message {
            Message::Publish { request, options, topic, payload } => {
                let (id, disclosed) = (turn.ids.draw(), disclosed(options.disclose_me));
                let publisher = from;
                let publication =
                    Publication { id, publisher, request, options, topic, payload, disclosed };
                self.broker.publish(publication, &self.members, turn);
            }
            Message::Subscribe { request, options, topic } => {
                self.broker.subscribe(from, request, options, &topic, &self.members, turn);
            }
            Message::Unsubscribe { request, subscription } => {
                self.broker.unsubscribe(from, request, subscription, turn);
            }
            Message::Register { request, options, procedure } => {
                self.dealer.register(from, request, options, procedure, turn);
            }
            Message::Unregister { request, registration } => {
                self.dealer.unregister(from, request, registration, turn);
            }
            Message::Call { request, options, procedure, payload } => {
                self.dealer.check_request(from, request)?;
                if uri::is_reserved(&procedure) {
                    self.answer_call(from, request, &procedure, &payload, outputs);
                } else {
                    let disclosed = disclosed(options.disclose_me);
                    let caller = from;
                    let call = Request { caller, request, options, procedure, payload, disclosed };
                    self.dealer.call(call, turn);
                }
            }
            Message::Cancel { request, options } => {
                self.dealer.cancel(from, request, options.mode, turn);
            }
            Message::Yield { request, options, payload } => {
                self.dealer.answer(from, request, options.progress, payload, turn);
            }
            Message::Error { kind: RequestKind::Invocation, request, error, payload } => {
                self.dealer.refuse(from, request, error, payload, turn);
            }
            Message::Goodbye { .. } => {
                turn.send(from, Message::goodbye(uri::close::GOODBYE_AND_OUT));
                self.leave(from, outputs);
                return Ok(Standing::Left);
            }
            Message::Abort { .. } => {
                self.leave(from, outputs);
                return Ok(Standing::Left);
            }
            other => {
                return Err(Violation(format!("{} is no message for a router", other.name())));
            }
        }
        self.spread_news(outputs);
        Ok(Standing::Joined)
    }

    /// Forgets a session, and all that is owed to it and by it. Leaving twice is leaving once.
    pub(super) fn leave(&mut self, session: SessionId, outputs: &mut Vec<Output>) {
        let Some(member) = self.members.remove(session) else { return };
        let turn = &mut Turn { now: self.now, ids: &mut self.ids, news: &mut self.news, outputs };
        let principal = member.principal;
        self.broker.leave(session, turn);
        self.dealer.leave(session, turn);
        self.spread_news(outputs);
        for testament in self.testaments.take(session) {
            let publication = testament.into_publication(&principal);
            let turn =
                &mut Turn { now: self.now, ids: &mut self.ids, news: &mut self.news, outputs };
            self.broker.publish(publication, &self.members, turn);
        }
        let left = (session, &principal.authid, &principal.authrole);
        if self.broker.has_subscribers(uri::ON_LEAVE)
            && let Ok(payload) = Payload::positional(&left)
        {
            self.tell(uri::ON_LEAVE, payload, outputs);
        }
    }

    /// When [`expire`](Self::expire) has something to do, since the realm began.
    /// What goes on in it.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic { sessions: self.members.len(), calls: self.dealer.pending() }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.dealer.next_deadline()
    }

    /// Does what is due `now`, since the realm began.
    pub(super) fn expire(&mut self, now: Duration, outputs: &mut Vec<Output>) {
        self.now = now;
        self.dealer.expire(&mut Turn { now, ids: &mut self.ids, news: &mut self.news, outputs });
    }

    /// Handles a message that could not be written for its receiver, so that
    /// whoever waits for it learns why.
    pub(super) fn undeliverable(
        &mut self,
        to: SessionId,
        message: Message,
        why: &str,
        outputs: &mut Vec<Output>,
    ) {
        let error = uri::error::PAYLOAD_SIZE_EXCEEDED;
        match message {
            Message::Invocation { request, .. } => {
                let payload = Payload::one(why).unwrap_or_default();
                self.dealer.refuse(
                    to,
                    request,
                    error.to_owned(),
                    payload,
                    &mut Turn { now: self.now, ids: &mut self.ids, news: &mut self.news, outputs },
                );
            }
            Message::Result { request, details, .. } => {
                let was_pending = self.dealer.abandon(
                    to,
                    request,
                    &mut Turn { now: self.now, ids: &mut self.ids, news: &mut self.news, outputs },
                );
                // A partial result may have the answer of its call behind it.
                if was_pending || !details.progress {
                    let message = Message::error(RequestKind::Call, request, error, why);
                    outputs.push(Output::Send { to, message });
                }
            }
            Message::Error { kind, request, error: own, .. } => {
                // A callee's own may be what is too long, and would be again.
                let error = if uri::check(&own).is_ok() { &own } else { error };
                let message = Message::error(kind, request, error, why);
                outputs.push(Output::Send { to, message });
            }
            // An event has nobody who waits; the caller of this has logged it.
            _ => {}
        }
    }

    /// Answers a call of a procedure of the router.
    fn answer_call(
        &mut self,
        to: SessionId,
        request: RequestId,
        procedure: &str,
        payload: &Payload,
        outputs: &mut Vec<Output>,
    ) {
        let message = match self.ask(to, procedure, payload, outputs) {
            Ok(payload) => Message::Result { request, details: Default::default(), payload },
            Err(refusal) => {
                Message::error(RequestKind::Call, request, refusal.error, &refusal.text)
            }
        };
        outputs.push(Output::Send { to, message });
    }

    /// Publishes what happened to registrations and subscriptions.
    fn spread_news(&mut self, outputs: &mut Vec<Output>) {
        for news in std::mem::take(&mut self.news) {
            let topic = meta::topic(news);
            if self.broker.has_subscribers(topic)
                && let Some(payload) = self.in_words(news)
            {
                self.tell(topic, payload, outputs);
            }
        }
    }

    /// Publishes what only the router may.
    fn tell(&mut self, topic: &str, payload: Payload, outputs: &mut Vec<Output>) {
        let event = Event {
            publication: self.ids.draw(),
            topic: topic.to_owned(),
            payload,
            publisher: None,
            except: None,
            audience: None,
        };
        self.broker.distribute(&event, &self.members, outputs);
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
            && self.broker.is_empty()
            && self.dealer.is_empty()
            && self.testaments.is_empty()
    }
}

impl Member {
    /// Whether the session may do what a message asks for; and if it may,
    /// whether others learn who did.
    fn judge(&self, message: &Message) -> Result<Disclosure, (RequestKind, RequestId, Denied)> {
        let permissions = &self.permissions;
        let (kind, request, verdict) = match message {
            Message::Call { request, procedure, .. } => {
                (RequestKind::Call, request, permissions.check(Action::Call, procedure))
            }
            Message::Publish { request, topic, .. } => {
                (RequestKind::Publish, request, permissions.check(Action::Publish, topic))
            }
            Message::Register { request, options, procedure } => {
                let verdict =
                    permissions.check_pattern(Action::Register, procedure, options.policy);
                (RequestKind::Register, request, verdict.map(|()| Disclosure::Never))
            }
            Message::Subscribe { request, options, topic } => {
                let verdict = permissions.check_pattern(Action::Subscribe, topic, options.policy);
                (RequestKind::Subscribe, request, verdict.map(|()| Disclosure::Never))
            }
            _ => return Ok(Disclosure::Never),
        };
        verdict.map_err(|denied| (kind, *request, denied))
    }
}

fn our_roles() -> RouterRoles {
    let broker = Features {
        event_retention: true,
        pattern_based_subscription: true,
        publisher_exclusion: true,
        publisher_identification: true,
        session_meta_api: true,
        subscriber_blackwhite_listing: true,
        subscription_meta_api: true,
        ..Features::default()
    };
    let dealer = Features {
        call_canceling: true,
        call_timeout: true,
        caller_identification: true,
        pattern_based_registration: true,
        progressive_call_results: true,
        registration_meta_api: true,
        registration_revocation: true,
        session_meta_api: true,
        shared_registration: true,
        testament_meta_api: true,
        ..Features::default()
    };
    RouterRoles { broker: Role { features: broker }, dealer: Role { features: dealer } }
}

#[cfg(test)]
mod tests;
