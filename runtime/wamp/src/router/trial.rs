//! What a realm owes its sessions, whatever they send.
//!
//! The model in the realm's tests knows more, and plays sessions that keep to
//! the protocol; here are any messages that can come off the wire, with any
//! options and arguments. They come in a script, one step in a line:
//!
//! ```text
//! +        a session joins; with `+!` one that understands what is optional
//! -0       the first session goes without a word
//! ~7       seven milliseconds pass
//! ?0       what the first session was sent last cannot be delivered
//! 0[64,…]  the first session sends a message, in JSON
//! ```
//!
//! The router's ids are random: small numbers in UNREGISTER and UNSUBSCRIBE
//! stand for the ids that it gave, in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::Limits;
use super::entrance::Admission;
use super::realm::{Output, Realm, Standing};
use crate::codec::{self, Form};
use crate::id::SessionId;
use crate::message::{ClientRoles, Features, Message, RequestId, RequestKind, Role};
use crate::payload::Payload;

/// Plays the script.
pub(crate) fn run(script: &[u8]) {
    let mut trial = Trial::new();
    for line in script.split(|byte| *byte == b'\n') {
        if let Some((word, rest)) = line.split_first() {
            trial.step(*word, rest);
        }
    }
    trial.end();
}

#[derive(Debug)]
struct Trial {
    realm: Realm,
    now: Duration,
    present: Vec<SessionId>,
    /// Calls that wait for their answer.
    calls: BTreeSet<(SessionId, RequestId)>,
    /// Invocations that callees have been sent.
    taken: BTreeSet<(SessionId, RequestId)>,
    registrations: Vec<(SessionId, u64)>,
    subscriptions: Vec<(SessionId, u64)>,
    last_sent: BTreeMap<SessionId, Message>,
}

impl Trial {
    fn new() -> Self {
        let limits = Limits {
            max_entries: 4,
            max_retained_events: 3,
            max_retained_bytes: 2000,
            ..Limits::default()
        };
        Self {
            realm: Realm::new("trial", 1, SystemTime::UNIX_EPOCH, &limits),
            now: Duration::ZERO,
            present: Vec::new(),
            calls: BTreeSet::new(),
            taken: BTreeSet::new(),
            registrations: Vec::new(),
            subscriptions: Vec::new(),
            last_sent: BTreeMap::new(),
        }
    }

    fn step(&mut self, word: u8, rest: &[u8]) {
        let number = rest.first().copied().unwrap_or_default();
        match word {
            b'+' => self.join(number == b'!'),
            b'-' => {
                if let Some(session) = self.session(number) {
                    self.leave(session);
                }
            }
            b'~' => {
                self.now += Duration::from_millis(number.into());
                let mut outputs = Vec::new();
                self.realm.expire(self.now, &mut outputs);
                self.read(outputs);
                let next = self.realm.next_deadline();
                assert!(next.is_none_or(|next| next > self.now), "something is overdue");
            }
            b'?' => self.fail_to_deliver(number),
            _ => {
                let message = codec::decode(Form::Json, &Bytes::copy_from_slice(rest));
                if let (Some(session), Ok(message)) = (self.session(word), message) {
                    self.send(session, message);
                }
            }
        }
    }

    fn session(&self, number: u8) -> Option<SessionId> {
        let index = usize::from(number.wrapping_sub(b'0')).checked_rem(self.present.len())?;
        Some(self.present[index])
    }

    fn join(&mut self, understands_all: bool) {
        let features = Features {
            call_canceling: understands_all,
            registration_revocation: understands_all,
            ..Features::default()
        };
        let roles = ClientRoles { callee: Some(Role { features }), ..ClientRoles::default() };
        let mut outputs = Vec::new();
        let (session, _) = self.realm.join(Admission::trusted(), &roles, &mut outputs);
        assert!(!self.present.contains(&session));
        self.read(outputs);
        self.present.push(session);
    }

    fn leave(&mut self, session: SessionId) {
        self.gone(session);
        let mut outputs = Vec::new();
        self.realm.leave(session, &mut outputs);
        self.read(outputs);
    }

    /// Nothing may be sent to a session from now on.
    fn gone(&mut self, session: SessionId) {
        self.present.retain(|present| *present != session);
        self.calls.retain(|(caller, _)| *caller != session);
        self.taken.retain(|(callee, _)| *callee != session);
        self.registrations.retain(|(callee, _)| *callee != session);
        self.subscriptions.retain(|(subscriber, _)| *subscriber != session);
        self.last_sent.remove(&session);
    }

    fn send(&mut self, from: SessionId, message: Message) {
        let message = self.addressed(message);
        let mut is_repeated = false;
        match &message {
            Message::Call { request, .. } => is_repeated = !self.calls.insert((from, *request)),
            Message::Unregister { registration, .. } => {
                self.registrations.retain(|held| *held != (from, *registration));
            }
            Message::Unsubscribe { subscription, .. } => {
                self.subscriptions.retain(|held| *held != (from, *subscription));
            }
            _ => {}
        }
        let wants_answer = match &message {
            Message::Publish { options, .. } => options.acknowledge,
            Message::Register { .. }
            | Message::Unregister { .. }
            | Message::Subscribe { .. }
            | Message::Unsubscribe { .. } => true,
            _ => false,
        };
        let mut outputs = Vec::new();
        let standing = self.realm.receive(from, message, self.now, &mut outputs);
        assert!(!is_repeated || standing.is_err(), "a call has the id of one that is pending");
        let answers = outputs.iter().filter(|output| is_answer(output, from)).count();
        assert_eq!(answers, usize::from(wants_answer && standing.is_ok()), "{outputs:?}");
        match standing {
            Ok(Standing::Joined) => self.read(outputs),
            // What it is sent is on its way before it is forgotten.
            Ok(Standing::Left) => {
                outputs.retain(|output| {
                    !matches!(output, Output::Send { to, message: Message::Goodbye { .. } } if *to == from)
                });
                self.gone(from);
                self.read(outputs);
            }
            Err(_) => {
                self.read(outputs);
                self.leave(from);
            }
        }
    }

    /// The same message with the ids that the small numbers in it stand for.
    fn addressed(&self, mut message: Message) -> Message {
        let (number, known) = match &mut message {
            Message::Unregister { registration, .. } => (registration, &self.registrations),
            Message::Unsubscribe { subscription, .. } => (subscription, &self.subscriptions),
            _ => return message,
        };
        let index = usize::try_from(*number).ok();
        if let Some((_, id)) = index.and_then(|index| known.get(index)) {
            *number = *id;
        }
        message
    }

    fn fail_to_deliver(&mut self, number: u8) {
        let Some(session) = self.session(number) else { return };
        let Some(message) = self.last_sent.remove(&session) else { return };
        match &message {
            Message::Invocation { request, .. } => {
                self.taken.remove(&(session, *request));
            }
            Message::Result { details, .. } if details.progress => {}
            // Nobody waits for the others any more.
            _ => return,
        }
        let mut outputs = Vec::new();
        self.realm.undeliverable(session, message, "too long", &mut outputs);
        self.read(outputs);
    }

    fn read(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { to, message } => self.receive(to, message),
                Output::Broadcast { to, message } => {
                    let receivers: BTreeSet<_> = to.iter().collect();
                    assert_eq!(receivers.len(), to.len(), "one of them gets it twice");
                    for to in to {
                        self.receive(to, message.clone());
                    }
                }
                Output::End { session, .. } => {
                    assert!(self.present.contains(&session), "it is ended twice");
                    self.gone(session);
                }
            }
        }
    }

    fn receive(&mut self, to: SessionId, message: Message) {
        assert!(self.present.contains(&to), "sent to one that has left: {message:?}");
        match &message {
            Message::Registered { registration, .. } => {
                assert!(!self.registrations.contains(&(to, *registration)));
                self.registrations.push((to, *registration));
            }
            Message::Unregistered { revocation: Some(revocation), .. } => {
                self.registrations
                    .retain(|(callee, id)| *callee != to || Some(*id) != revocation.registration);
            }
            Message::Subscribed { subscription, .. } => {
                // Whoever subscribes twice has one subscription.
                self.subscriptions.retain(|held| *held != (to, *subscription));
                self.subscriptions.push((to, *subscription));
            }
            Message::Event { subscription, .. } => {
                assert!(self.subscriptions.contains(&(to, *subscription)), "an event for nobody");
            }
            Message::Invocation { request, registration, .. } => {
                assert!(self.registrations.contains(&(to, *registration)), "a call for nobody");
                assert!(self.taken.insert((to, *request)), "an invocation twice");
            }
            Message::Interrupt { request, .. } => {
                assert!(self.taken.contains(&(to, *request)), "nothing is there to interrupt");
            }
            Message::Result { request, details, .. } if details.progress => {
                assert!(self.calls.contains(&(to, *request)), "progress of no call");
            }
            Message::Result { request, .. }
            | Message::Error { kind: RequestKind::Call, request, .. } => {
                assert!(self.calls.remove(&(to, *request)), "an answer to no call");
            }
            _ => {}
        }
        self.last_sent.insert(to, message);
    }

    /// The callees do their duty, and nobody waits any more; then all leave,
    /// and nothing is left of them.
    fn end(mut self) {
        for (callee, request) in std::mem::take(&mut self.taken) {
            let (options, payload) = (Default::default(), Payload::empty());
            self.send(callee, Message::Yield { request, options, payload });
        }
        assert!(self.calls.is_empty(), "not answered: {:?}", self.calls);
        assert_eq!(self.realm.next_deadline(), None);
        while let Some(session) = self.present.first().copied() {
            self.leave(session);
        }
        assert!(self.realm.is_empty());
    }
}

/// Whether it answers a request of a session that is no call.
fn is_answer(output: &Output, from: SessionId) -> bool {
    let Output::Send { to, message } = output else { return false };
    let is_answer = match message {
        Message::Registered { .. } | Message::Subscribed { .. } | Message::Published { .. } => true,
        Message::Unregistered { revocation, .. } | Message::Unsubscribed { revocation, .. } => {
            revocation.is_none()
        }
        Message::Error { kind, .. } => *kind != RequestKind::Call,
        _ => false,
    };
    *to == from && is_answer
}
