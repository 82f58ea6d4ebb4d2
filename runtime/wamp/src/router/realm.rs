//! The core of a realm: sessions come, send messages and go; messages go out.
//!
//! A function of its inputs: no I/O, no clock, ids from a seeded generator.
//! What the broker and the dealer do with a message is in their modules; here
//! is who may say what, and what happens when somebody leaves.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use super::broker::Broker;
use super::dealer::Dealer;
use super::entrance::Admission;
use super::identity::Identity;
use super::permissions::{Action, Denied, Permissions};
use crate::id::{Ids, SessionId};
use crate::message::{
    ClientRoles, Features, Message, RequestId, RequestKind, Role, RouterRoles, WelcomeDetails,
};
use crate::payload::Payload;
use crate::uri;

/// One realm: names and sessions that know nothing of other realms.
#[derive(Debug)]
pub(super) struct Realm {
    name: String,
    ids: Ids,
    sessions: HashMap<SessionId, Member>,
    broker: Broker,
    dealer: Dealer,
}

/// A session and what it may do.
#[derive(Debug)]
struct Member {
    identity: Identity,
    permissions: Arc<Permissions>,
}

/// What is to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Output {
    /// A message for one session.
    Send { to: SessionId, message: Message },
    /// The same message for several.
    Broadcast { to: Vec<SessionId>, message: Message },
}

/// What becomes of the session that sent a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It stays.
    Joined,
    /// It said goodbye, and the realm has forgotten it.
    Left,
}

/// A session broke the protocol, and must be ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Violation(pub(crate) String);

impl Realm {
    /// An empty realm; `max_entries` is how many registrations, subscriptions
    /// and pending calls a session may have, each.
    pub(super) fn new(name: &str, seed: u64, max_entries: usize) -> Self {
        Self {
            name: name.to_owned(),
            ids: Ids::from_seed(seed),
            sessions: HashMap::new(),
            broker: Broker::new(max_entries),
            dealer: Dealer::new(max_entries),
        }
    }

    /// Lets a session in, and says what it is to be welcomed with.
    pub(super) fn join(
        &mut self,
        admission: Admission,
        roles: &ClientRoles,
        outputs: &mut Vec<Output>,
    ) -> (SessionId, WelcomeDetails) {
        let session =
            SessionId(self.ids.draw_unless(|id| self.sessions.contains_key(&SessionId(id))));
        let callee = roles.callee.as_ref().map_or(Features::default(), |role| role.features);
        self.broker.join(session);
        self.dealer.join(session, callee.call_canceling);
        let Admission { identity, permissions } = admission;
        self.sessions.insert(session, Member { identity: identity.clone(), permissions });
        let Identity { authid, authrole, authmethod, authprovider } = identity;
        self.tell(
            uri::ON_JOIN,
            &[Joined {
                session,
                authid: &authid,
                authrole: &authrole,
                authmethod: &authmethod,
                authprovider: &authprovider,
            }],
            outputs,
        );
        let welcome = WelcomeDetails {
            realm: self.name.clone(),
            authid,
            authrole,
            authmethod,
            authprovider,
            agent: concat!("drover ", env!("CARGO_PKG_VERSION")).to_owned(),
            roles: our_roles(),
        };
        (session, welcome)
    }

    /// Handles one message of a session that joined.
    ///
    /// # Errors
    /// When the message is none that a client may send now.
    pub(super) fn receive(
        &mut self,
        from: SessionId,
        message: Message,
        outputs: &mut Vec<Output>,
    ) -> Result<Standing, Violation> {
        let Some(member) = self.sessions.get(&from) else { return Ok(Standing::Left) };
        if let Some((kind, request, denied)) = member.denial(&message) {
            // Without `acknowledge` the publisher wants to hear nothing, not even a refusal.
            if !matches!(&message, Message::Publish { options, .. } if !options.acknowledge) {
                let error = uri::error::NOT_AUTHORIZED;
                let message = Message::error(kind, request, error, &denied.to_string());
                outputs.push(Output::Send { to: from, message });
            }
            return Ok(Standing::Joined);
        }
        match message {
            Message::Publish { request, options, topic, payload } => {
                let publication = self.ids.draw();
                self.broker.publish(
                    from,
                    (request, publication),
                    &options,
                    &topic,
                    &payload,
                    outputs,
                );
            }
            Message::Subscribe { request, options, topic } => {
                self.broker.subscribe(
                    from,
                    request,
                    &topic,
                    options.policy,
                    &mut self.ids,
                    outputs,
                );
            }
            Message::Unsubscribe { request, subscription } => {
                self.broker.unsubscribe(from, request, subscription, outputs);
            }
            Message::Register { request, options, procedure } => {
                self.dealer.register(
                    from,
                    request,
                    procedure,
                    options.policy,
                    &mut self.ids,
                    outputs,
                );
            }
            Message::Unregister { request, registration } => {
                self.dealer.unregister(from, request, registration, outputs);
            }
            Message::Call { request, options, procedure, payload } => {
                self.dealer.call(from, request, options, procedure, payload, outputs)?;
            }
            Message::Cancel { request, options } => {
                self.dealer.cancel(from, request, options.mode, outputs);
            }
            Message::Yield { request, options, payload } => {
                self.dealer.answer(from, request, options.progress, payload, outputs);
            }
            Message::Error { kind: RequestKind::Invocation, request, error, payload } => {
                self.dealer.refuse(from, request, error, payload, outputs);
            }
            Message::Goodbye { .. } => {
                let message = Message::goodbye(uri::close::GOODBYE_AND_OUT);
                outputs.push(Output::Send { to: from, message });
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
        Ok(Standing::Joined)
    }

    /// Forgets a session, and all that is owed to it and by it. Leaving twice is leaving once.
    pub(super) fn leave(&mut self, session: SessionId, outputs: &mut Vec<Output>) {
        let Some(Member { identity, .. }) = self.sessions.remove(&session) else { return };
        self.broker.leave(session);
        self.dealer.leave(session, outputs);
        self.tell(uri::ON_LEAVE, &(session, identity.authid, identity.authrole), outputs);
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
                self.dealer.refuse(to, request, error.to_owned(), payload, outputs);
            }
            Message::Result { request, .. } => {
                self.dealer.abandon(to, request, outputs);
                let message = Message::error(RequestKind::Call, request, error, why);
                outputs.push(Output::Send { to, message });
            }
            Message::Error { kind, request, error, .. } => {
                let message = Message::error(kind, request, &error, why);
                outputs.push(Output::Send { to, message });
            }
            // An event has nobody who waits; the caller of this has logged it.
            _ => {}
        }
    }

    /// Publishes what only the router may.
    fn tell<T: Serialize>(&mut self, topic: &str, arguments: &T, outputs: &mut Vec<Output>) {
        let Ok(payload) = Payload::positional(arguments) else { return };
        let publication = self.ids.draw();
        self.broker.distribute(None, publication, topic, &payload, outputs);
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.sessions.is_empty() && self.broker.is_empty() && self.dealer.is_empty()
    }
}

impl Member {
    /// Which request of the session's is denied, if the message is one that is.
    fn denial(&self, message: &Message) -> Option<(RequestKind, RequestId, Denied)> {
        let permissions = &self.permissions;
        let (kind, request, verdict) = match message {
            Message::Call { request, procedure, .. } => {
                let verdict = permissions.check(Action::Call, procedure).map(|_| ());
                (RequestKind::Call, request, verdict)
            }
            Message::Publish { request, topic, .. } => {
                let verdict = permissions.check(Action::Publish, topic).map(|_| ());
                (RequestKind::Publish, request, verdict)
            }
            Message::Register { request, options, procedure } => {
                let verdict =
                    permissions.check_pattern(Action::Register, procedure, options.policy);
                (RequestKind::Register, request, verdict)
            }
            Message::Subscribe { request, options, topic } => {
                let verdict = permissions.check_pattern(Action::Subscribe, topic, options.policy);
                (RequestKind::Subscribe, request, verdict)
            }
            _ => return None,
        };
        verdict.err().map(|denied| (kind, *request, denied))
    }
}

/// What subscribers of [`uri::ON_JOIN`] are told.
#[derive(Debug, Serialize)]
struct Joined<'a> {
    session: SessionId,
    authid: &'a str,
    authrole: &'a str,
    authmethod: &'a str,
    authprovider: &'a str,
}

fn our_roles() -> RouterRoles {
    let broker = Features {
        pattern_based_subscription: true,
        publisher_exclusion: true,
        ..Features::default()
    };
    let dealer = Features {
        call_canceling: true,
        pattern_based_registration: true,
        progressive_call_results: true,
        ..Features::default()
    };
    RouterRoles { broker: Role { features: broker }, dealer: Role { features: dealer } }
}

#[cfg(test)]
mod tests;
