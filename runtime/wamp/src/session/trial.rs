//! What a session owes those who wait, whatever the router sends.
//!
//! Everybody who waits is a number of their own, and the trial keeps its own
//! books of who waits for what. It ends with everybody told exactly once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Effect, Ports, Session};
use crate::fuzzing::choices::Choices;
use crate::message::{
    CallDetails, EventDetails, InvocationDetails, Message, ProgressDetails, PublishDetails,
    RegisterDetails, RequestId, RequestKind, Revocation, SubscribeDetails,
};
use crate::payload::Payload;

/// Plays the sequence that the bytes describe.
pub(crate) fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let mut trial = Trial::new();
    while !choices.are_over() {
        let is_open = match choices.flag() {
            true => trial.ask(&mut choices),
            false => trial.receive(&mut choices),
        };
        if !is_open {
            break;
        }
    }
    trial.end();
}

#[derive(Debug)]
enum Numbers {}

impl Ports for Numbers {
    type Call = u32;
    type Reply = u32;
    type Registration = u32;
    type Subscription = u32;
    type Invocation = u32;
}

/// Names that are few, so that they meet.
const NAMES: [&str; 3] = ["a", "a.b", ""];

/// Ids as a router might choose them.
const IDS: [u64; 5] = [0, 1, 2, 3, u64::MAX];

#[derive(Debug)]
struct Trial {
    session: Session<Numbers>,
    last: u32,
    /// The last request of all.
    request: RequestId,
    calls: BTreeMap<u32, RequestId>,
    replies: BTreeSet<u32>,
    /// Nobody listens for these any more; at most they are told once.
    forgotten: BTreeSet<u32>,
    registrations: BTreeMap<u32, Held>,
    subscriptions: BTreeMap<u32, Held>,
    invocations: BTreeMap<RequestId, u32>,
}

/// A registration or a subscription.
#[derive(Debug)]
struct Held {
    key: RequestId,
    reply: u32,
    is_acknowledged: bool,
}

impl Trial {
    fn new() -> Self {
        Self {
            session: Session::new(),
            last: 0,
            request: 0,
            calls: BTreeMap::new(),
            replies: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            registrations: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            invocations: BTreeMap::new(),
        }
    }

    fn next(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    /// The owner of the session does something; always true, for that never ends it.
    fn ask(&mut self, choices: &mut Choices<'_>) -> bool {
        let (number, reply) = (self.next(), self.next());
        let name = *choices.of(&NAMES);
        match choices.byte() % 9 {
            0 => {
                let options = CallDetails::default();
                let (request, _) = self.session.call(name, Payload::empty(), options, number);
                self.request = request;
                self.calls.insert(number, request);
            }
            1 => {
                let request = self.any_request(choices);
                let pending = self.calls.iter().find(|(_, call)| **call == request);
                let pending = pending.map(|(number, _)| *number);
                assert_eq!(self.session.is_pending(request), pending.is_some());
                assert_eq!(self.session.cancel(request).is_some(), pending.is_some());
                self.calls.retain(|_, call| *call != request);
            }
            2 => {
                let reply = choices.flag().then_some(reply);
                let options = PublishDetails::default();
                self.session.publish(name, Payload::empty(), options, reply);
                self.replies.extend(reply);
            }
            3 => {
                let options = RegisterDetails::default();
                let (key, _) = self.session.register(name, options, reply, number);
                self.request = key;
                self.replies.insert(reply);
                self.registrations.insert(number, Held { key, reply, is_acknowledged: false });
            }
            4 => {
                let key = self.any_request(choices);
                let asked = self.session.unregister(key, Some(reply)).is_some();
                let given_up = give_up(&mut self.registrations, key);
                self.account(given_up, asked.then_some(reply));
            }
            5 => {
                let options = SubscribeDetails::default();
                let (key, _) = self.session.subscribe(name, options, reply, number);
                self.request = key;
                self.replies.insert(reply);
                self.subscriptions.insert(number, Held { key, reply, is_acknowledged: false });
            }
            6 => {
                let key = self.any_request(choices);
                let asked = self.session.unsubscribe(key, Some(reply)).is_some();
                let given_up = give_up(&mut self.subscriptions, key);
                self.account(given_up, asked.then_some(reply));
            }
            7 => {
                let request = *choices.of(&IDS);
                let is_running = self.invocations.contains_key(&request);
                let progress = self.session.progress(request, Payload::empty());
                assert_eq!(progress.is_some(), is_running);
                let answer = self.session.answer(request, Ok(Payload::empty()));
                assert_eq!(answer.is_some(), self.invocations.remove(&request).is_some());
            }
            _ => drop(self.session.leave()),
        }
        true
    }

    /// Books that something has been given up, and perhaps somebody waits for that.
    fn account(&mut self, given_up: Option<Held>, reply: Option<u32>) {
        self.replies.extend(reply);
        if let Some(held) = given_up.filter(|held| !held.is_acknowledged)
            && self.replies.remove(&held.reply)
        {
            self.forgotten.insert(held.reply);
        }
    }

    /// A request that there was, or none.
    fn any_request(&self, choices: &mut Choices<'_>) -> RequestId {
        self.request.saturating_sub(u64::from(choices.byte() % 8))
    }

    /// The router sends something; false when the session is over.
    fn receive(&mut self, choices: &mut Choices<'_>) -> bool {
        let message = self.any_message(choices);
        match self.session.receive(message) {
            Ok(Effect::Left { .. }) | Err(_) => return false,
            Ok(effect) => self.check(effect),
        }
        true
    }

    fn any_message(&self, choices: &mut Choices<'_>) -> Message {
        let request = self.any_request(choices);
        let (id, payload) = (*choices.of(&IDS), Payload::empty());
        let revocation = |choices: &mut Choices<'_>| {
            choices.flag().then(|| {
                Box::new(Revocation {
                    registration: choices.flag().then_some(id),
                    subscription: choices.flag().then_some(id),
                    reason: None,
                })
            })
        };
        match choices.byte() % 16 {
            0 => {
                let details = ProgressDetails { progress: choices.flag() };
                Message::Result { request, details, payload }
            }
            1 => Message::error(RequestKind::Call, request, "a.b", "no"),
            2 => Message::error(RequestKind::Register, request, "a.b", "no"),
            3 => Message::Registered { request, registration: id },
            4 => Message::Subscribed { request, subscription: id },
            5 => Message::Published { request, publication: id },
            6 => Message::Unregistered { request, revocation: None },
            7 => Message::Unsubscribed { request, revocation: None },
            8 => Message::Unregistered { request: 0, revocation: revocation(choices) },
            9 => Message::Unsubscribed { request: 0, revocation: revocation(choices) },
            10 => {
                let (request, details) = (*choices.of(&IDS), InvocationDetails::default());
                Message::Invocation { request, registration: id, details, payload }
            }
            11 => Message::Interrupt { request: id, options: Default::default() },
            12 => {
                let details = EventDetails::default();
                Message::Event { subscription: id, publication: 1, details, payload }
            }
            13 => Message::goodbye("a.b"),
            14 => Message::error(RequestKind::Subscribe, request, "a.b", "no"),
            _ => Message::Publish {
                request,
                options: PublishDetails::default(),
                topic: "a.b".into(),
                payload,
            },
        }
    }

    /// What the session does about a message must be about somebody who waits for it.
    fn check(&mut self, effect: Effect<Numbers>) {
        match effect {
            Effect::None | Effect::Send(_) => {}
            Effect::Progress(request, call, _) => {
                assert_eq!(self.calls.get(&call), Some(&request));
            }
            Effect::Answered(call, _) => {
                assert!(self.calls.remove(&call).is_some(), "a call is answered once");
            }
            Effect::Acknowledged(reply, answer) => self.acknowledged(reply, answer.is_ok()),
            Effect::Refused(reply, _, held_back) => {
                assert!(matches!(held_back, Message::Unsubscribe { .. }));
                self.acknowledged(reply, false);
            }
            Effect::Invoked(registration, invoked) => {
                assert!(self.registrations[&registration].is_acknowledged);
                let number = self.next();
                self.session.accept(invoked.request, number);
                let before = self.invocations.insert(invoked.request, number);
                assert_eq!(before, None, "an invocation that runs is not begun again");
            }
            Effect::Interrupted(invocation) => {
                assert!(self.invocations.values().any(|running| *running == invocation));
            }
            Effect::Event(subscribers, _) => {
                for subscriber in subscribers {
                    assert!(self.subscriptions[&subscriber].is_acknowledged);
                }
            }
            Effect::RegistrationRevoked(registration, _) => {
                let lost = self.registrations.remove(&registration);
                assert!(lost.is_some_and(|lost| lost.is_acknowledged));
            }
            Effect::SubscriptionRevoked(subscriptions, _) => {
                for subscription in subscriptions {
                    let lost = self.subscriptions.remove(&subscription);
                    assert!(lost.is_some_and(|lost| lost.is_acknowledged));
                }
            }
            Effect::Left { .. } => unreachable!("it is handled before"),
        }
    }

    /// Somebody is told what came of a request.
    fn acknowledged(&mut self, reply: u32, is_granted: bool) {
        let is_known = self.replies.remove(&reply) || self.forgotten.remove(&reply);
        assert!(is_known, "a request is acknowledged once");
        for held in [&mut self.registrations, &mut self.subscriptions] {
            if is_granted {
                held.values_mut().for_each(|held| held.is_acknowledged |= held.reply == reply);
            } else {
                held.retain(|_, held| held.reply != reply);
            }
        }
    }

    /// Everybody who still waits is told, and nobody else.
    fn end(mut self) {
        let bereaved = self.session.end();
        let calls: BTreeSet<u32> = bereaved.calls.into_iter().collect();
        assert_eq!(calls, self.calls.into_keys().collect());
        let replies: BTreeSet<u32> = bereaved.replies.into_iter().collect();
        assert!(self.replies.is_subset(&replies), "{:?}", self.replies);
        assert!(
            replies
                .iter()
                .all(|reply| { self.replies.contains(reply) || self.forgotten.contains(reply) })
        );
        assert_eq!(sorted(bereaved.registrations), acknowledged(self.registrations));
        assert_eq!(sorted(bereaved.subscriptions), acknowledged(self.subscriptions));
        assert_eq!(sorted(bereaved.invocations), sorted(self.invocations.into_values().collect()));
        let nobody = self.session.end();
        assert!(nobody.calls.is_empty() && nobody.replies.is_empty());
    }
}

fn give_up(all: &mut BTreeMap<u32, Held>, key: RequestId) -> Option<Held> {
    let number = *all.iter().find(|(_, held)| held.key == key)?.0;
    all.remove(&number)
}

fn acknowledged(all: BTreeMap<u32, Held>) -> Vec<u32> {
    all.into_iter().filter(|(_, held)| held.is_acknowledged).map(|(number, _)| number).collect()
}

fn sorted(mut numbers: Vec<u32>) -> Vec<u32> {
    numbers.sort_unstable();
    numbers
}
