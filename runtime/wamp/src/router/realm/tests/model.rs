//! Any sequence of messages from any number of sessions keeps a realm's promises.
//!
//! A [`World`] plays the sessions. It knows what each has been told, and so
//! what each is owed: who holds what, which calls wait, whom an event is for.

mod steps;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use proptest::prelude::*;
use steps::{AUTHIDS, INVOKE, PATTERNS, POLICIES, SCOPES, Step, TOPICS, any_step};

use super::*;
use crate::router::entries::{Entries, Holders};

/// Something published or to be published; its number is its argument.
#[derive(Debug, Clone)]
struct Published {
    publisher: SessionId,
    topic: &'static str,
    options: PublishDetails,
}

type Pattern = (&'static str, MatchPolicy);

/// Who gets which publication, through which subscription.
type Deliveries = BTreeSet<(usize, SessionId, u64)>;

/// What the sessions know, and what they are owed.
struct World {
    bench: Bench,
    /// Those who are there, and their authid.
    present: BTreeMap<SessionId, &'static str>,
    /// Calls by caller and request: how often they were answered.
    calls: BTreeMap<(SessionId, u64), usize>,
    /// Invocations that a callee holds.
    held: Vec<(SessionId, u64)>,
    /// Registrations that a callee has, and was told so.
    registrations: BTreeMap<(SessionId, u64), Pattern>,
    /// The same for subscriptions.
    subscriptions: BTreeMap<(SessionId, u64), Pattern>,
    /// The pattern of a REGISTER or SUBSCRIBE that is on its way.
    wanted: Option<Pattern>,
    /// Whether somebody has registered what was called last.
    is_registered: bool,
    published: Vec<Published>,
    testaments: HashMap<SessionId, Vec<(bool, usize)>>,
    retained: HashMap<&'static str, usize>,
    /// What has to be delivered in this step, and what was.
    due: Deliveries,
    delivered: Deliveries,
    last_request: u64,
}

impl World {
    fn new() -> Self {
        Self {
            bench: Bench::new(),
            present: BTreeMap::new(),
            calls: BTreeMap::new(),
            held: Vec::new(),
            registrations: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            wanted: None,
            is_registered: false,
            published: Vec::new(),
            testaments: HashMap::new(),
            retained: HashMap::new(),
            due: Deliveries::new(),
            delivered: Deliveries::new(),
            last_request: 0,
        }
    }

    fn session(&self, number: usize) -> Option<SessionId> {
        let count = self.present.len();
        (count > 0).then(|| self.present.keys().nth(number % count).copied())?
    }

    fn send(&mut self, from: SessionId, message: Message) {
        self.bench.send(from, message).unwrap();
    }

    /// Sends a call, which is owed an answer.
    fn call(&mut self, from: SessionId, message: Message) {
        self.calls.insert((from, self.last_request), 0);
        self.send(from, message);
    }

    fn register(&mut self, from: SessionId, pattern: &'static str, options: RegisterDetails) {
        self.wanted = Some((pattern, options.policy));
        let (request, procedure) = (self.last_request, pattern.into());
        self.send(from, Message::Register { request, options, procedure });
    }

    /// A session is no more: what it leaves is published to those who stay.
    fn gone(&mut self, session: SessionId) {
        self.present.remove(&session);
        self.calls.retain(|(caller, _), _| *caller != session);
        self.held.retain(|(callee, _)| *callee != session);
        self.registrations.retain(|(callee, _), _| *callee != session);
        self.subscriptions.retain(|(subscriber, _), _| *subscriber != session);
        let mut testaments = self.testaments.remove(&session).unwrap_or_default();
        testaments.sort_by_key(|(is_destroyed, _)| *is_destroyed);
        for (_, number) in testaments {
            self.expect(number);
        }
    }

    /// Options with ids of sessions that are there.
    fn addressed(&self, mut options: PublishDetails) -> PublishDetails {
        if let Some(audience) = &mut options.audience {
            let lists = [&mut audience.exclude, &mut audience.eligible];
            for id in lists.into_iter().flatten().flatten() {
                *id = self.session(usize::try_from(id.0).unwrap()).unwrap_or(*id);
            }
        }
        options
    }

    fn publication(
        &mut self,
        publisher: SessionId,
        topic: usize,
        options: PublishDetails,
    ) -> usize {
        let options = self.addressed(options);
        self.published.push(Published { publisher, topic: TOPICS[topic % 6], options });
        self.published.len() - 1
    }

    /// Whether a publication is for a session, by the words of the specification.
    fn is_for(&self, number: usize, session: SessionId) -> bool {
        let Published { publisher, options, .. } = &self.published[number];
        let Some(authid) = self.present.get(&session) else { return false };
        if options.exclude_me && session == *publisher {
            return false;
        }
        let Some(lists) = &options.audience else { return true };
        let has = |list: &Vec<String>| list.iter().any(|name| name == authid);
        !lists.exclude.as_ref().is_some_and(|list| list.contains(&session))
            && !lists.exclude_authid.as_ref().is_some_and(has)
            && lists.eligible.as_ref().is_none_or(|list| list.contains(&session))
            && lists.eligible_authid.as_ref().is_none_or(has)
    }

    /// Notes who gets a publication now.
    fn expect(&mut self, number: usize) {
        let Published { topic, options, .. } = &self.published[number];
        let (topic, retain) = (*topic, options.retain);
        if uri::check(topic).is_err() {
            return;
        }
        if retain {
            // The bench has room for three.
            if self.retained.len() >= 3 && !self.retained.contains_key(topic) {
                return;
            }
            self.retained.insert(topic, number);
        }
        let matching =
            self.subscriptions.iter().filter(|(_, (p, policy))| policy.matches(p, topic));
        let due: Vec<_> = matching
            .filter(|((session, _), _)| self.is_for(number, *session))
            .map(|((session, id), _)| (number, *session, *id))
            .collect();
        self.due.extend(due);
    }

    fn step(&mut self, step: Step) {
        self.act(step);
        let news = self.bench.news();
        self.read(news);
        assert_eq!(std::mem::take(&mut self.delivered), std::mem::take(&mut self.due));
        let realm = &self.bench.realm;
        assert_eq!(held(realm.dealer.registrations()), self.registrations);
        assert_eq!(held(realm.broker.subscriptions()), self.subscriptions);
    }

    fn act(&mut self, step: Step) -> Option<()> {
        self.last_request += 1;
        let request = self.last_request;
        match step {
            Step::Join(authid, can_be_interrupted) => {
                let mut admission = Admission::trusted();
                let authid = AUTHIDS[authid % 3];
                admission.identity.authid = authid.to_owned();
                let session = self.bench.join_as(admission, can_be_interrupted);
                self.present.insert(session, authid);
            }
            Step::Leave(number) => {
                let session = self.session(number)?;
                self.gone(session);
                self.bench.leave(session);
            }
            Step::Goodbye(number) => {
                let session = self.session(number)?;
                self.send(session, Message::goodbye("a.b"));
            }
            Step::Kill(killer, victim) => {
                let (killer, victim) = (self.session(killer)?, self.session(victim)?);
                self.call(killer, ask(request, "wamp.session.kill", &(victim,), &()));
            }
            Step::Violate(number) => {
                let session = self.session(number)?;
                let odd = Message::Published { request, publication: 1 };
                assert!(self.bench.send(session, odd).is_err());
                self.gone(session);
                self.bench.leave(session);
            }
            Step::Register(number, name, policy, invoke) => {
                let options = RegisterDetails {
                    policy: POLICIES[policy % 3],
                    invoke: INVOKE[invoke % 5],
                    force_reregister: false,
                };
                self.register(self.session(number)?, PATTERNS[name % 6], options);
            }
            Step::RegisterByForce(number, name, policy) => {
                let policy = POLICIES[policy % 3];
                let options =
                    RegisterDetails { policy, force_reregister: true, ..Default::default() };
                self.register(self.session(number)?, PATTERNS[name % 6], options);
            }
            Step::Unregister(number, registration) => {
                let registration = self.registrations.keys().nth(registration)?.1;
                let session = self.session(number)?;
                self.send(session, Message::Unregister { request, registration });
                self.registrations.remove(&(session, registration));
            }
            Step::Call(number, name, timeout) => {
                let timeout = [None, Some(0), Some(100), Some(u64::MAX)][timeout % 4];
                let options =
                    CallDetails { receive_progress: true, timeout, ..CallDetails::default() };
                let (procedure, payload) = (TOPICS[name % 6].into(), Payload::empty());
                let topic = TOPICS[name % 6];
                let mut patterns = self.registrations.values();
                self.is_registered = patterns.any(|(p, policy)| policy.matches(p, topic));
                let session = self.session(number)?;
                self.call(session, Message::Call { request, options, procedure, payload });
            }
            Step::Cancel(number, mode) => {
                let count = self.calls.len();
                let (caller, request) = *self.calls.keys().nth(number.checked_rem(count)?)?;
                self.send(caller, cancel(request, mode));
            }
            Step::Yield(number, progress) => {
                let index = number.checked_rem(self.held.len())?;
                let (callee, request) = self.held[index];
                if !progress {
                    self.held.remove(index);
                }
                let options = ProgressDetails { progress };
                self.send(callee, Message::Yield { request, options, payload: Payload::empty() });
            }
            Step::Refuse(number) => {
                let (callee, request) = self.held.remove(number.checked_rem(self.held.len())?);
                self.send(callee, Message::error(RequestKind::Invocation, request, "a.b", "no"));
            }
            Step::Wait(milliseconds) => self.bench.wait(Duration::from_millis(milliseconds)),
            Step::Subscribe(number, name, policy, get_retained) => {
                let (topic, policy) = (PATTERNS[name % 6], POLICIES[policy % 3]);
                let options = SubscribeDetails { policy, get_retained };
                self.wanted = Some((topic, policy));
                self.send(
                    self.session(number)?,
                    Message::Subscribe { request, options, topic: topic.into() },
                );
            }
            Step::Unsubscribe(number, subscription) => {
                let subscription = self.subscriptions.keys().nth(subscription)?.1;
                let session = self.session(number)?;
                self.send(session, Message::Unsubscribe { request, subscription });
                self.subscriptions.remove(&(session, subscription));
            }
            Step::Publish(number, topic, options) => {
                let session = self.session(number)?;
                let number = self.publication(session, topic, *options);
                self.expect(number);
                let Published { topic, options, .. } = self.published[number].clone();
                let payload = Payload::one(&number).unwrap();
                self.send(
                    session,
                    Message::Publish { request, options, topic: topic.into(), payload },
                );
            }
            Step::AddTestament(number, topic, is_destroyed, options) => {
                let session = self.session(number)?;
                let number = self.publication(session, topic, *options);
                let Published { topic, options, .. } = &self.published[number];
                let topic = *topic;
                if uri::check(topic).is_ok() {
                    self.testaments.entry(session).or_default().push((is_destroyed, number));
                }
                let scope = SCOPES[usize::from(is_destroyed)];
                let keywords = AddTestament { scope, publish_options: options };
                let add = "wamp.session.add_testament";
                let message = ask(request, add, &(topic, [number], ()), &keywords);
                self.call(session, message);
            }
            Step::FlushTestaments(number, is_destroyed) => {
                let session = self.session(number)?;
                let scope = SCOPES[usize::from(is_destroyed)];
                self.call(session, ask(request, "wamp.session.flush_testaments", &(scope,), &()));
                if let Some(testaments) = self.testaments.get_mut(&session) {
                    testaments.retain(|(flushed, _)| *flushed != is_destroyed);
                }
            }
            Step::UndeliverableInvocation(number) => {
                let (callee, request) = self.held.remove(number.checked_rem(self.held.len())?);
                let message = Message::Invocation {
                    request,
                    registration: 1,
                    details: Default::default(),
                    payload: Payload::empty(),
                };
                self.undeliverable(callee, message);
            }
            Step::UndeliverableResult(number) => {
                let waiting: Vec<_> =
                    self.calls.iter().filter(|(_, n)| **n == 0).map(|(call, _)| *call).collect();
                let (caller, request) = waiting[number.checked_rem(waiting.len())?];
                let details = ProgressDetails { progress: true };
                let payload = Payload::empty();
                self.undeliverable(caller, Message::Result { request, details, payload });
            }
        }
        Some(())
    }

    fn undeliverable(&mut self, to: SessionId, message: Message) {
        let mut outputs = Vec::new();
        self.bench.realm.undeliverable(to, message, "too long", &mut outputs);
        self.bench.keep(outputs);
    }

    fn read(&mut self, news: Vec<(SessionId, Message)>) {
        for (to, message) in news {
            assert!(self.present.contains_key(&to), "sent to one that left: {message:?}");
            match message {
                Message::Goodbye { .. } => self.gone(to),
                Message::Registered { registration, .. } => {
                    let pattern = self.wanted.unwrap();
                    // Who is not told of a revocation has lost its registration all the same.
                    self.registrations.retain(|(_, id), p| *p != pattern || *id == registration);
                    self.registrations.insert((to, registration), pattern);
                }
                Message::Unregistered { revocation: Some(revocation), .. } => {
                    let lost = (to, revocation.registration.unwrap());
                    assert!(
                        self.registrations.remove(&lost).is_some(),
                        "it had no such registration"
                    );
                }
                Message::Invocation { request, registration, .. } => {
                    let held = (to, registration);
                    assert!(self.registrations.contains_key(&held), "a call before REGISTERED");
                    self.held.push((to, request));
                }
                Message::Result { request, details, .. } => {
                    self.answered(to, request, !details.progress);
                }
                Message::Error { kind: RequestKind::Call, request, error: why, .. } => {
                    let is_lost = why == error::NO_SUCH_PROCEDURE;
                    assert!(!is_lost || !self.is_registered, "somebody has registered it");
                    self.answered(to, request, true);
                }
                Message::Subscribed { subscription, .. } => {
                    let pattern = self.wanted.unwrap();
                    self.subscriptions.insert((to, subscription), pattern);
                }
                Message::Event { subscription, details, payload, .. } => {
                    self.told(to, subscription, &details, &payload);
                }
                _ => {}
            }
        }
    }

    fn answered(&mut self, caller: SessionId, request: u64, is_final: bool) {
        let answers = self.calls.get_mut(&(caller, request)).expect("an answer to no call");
        assert_eq!(*answers, 0, "something after the answer");
        *answers += usize::from(is_final);
    }

    fn told(
        &mut self,
        to: SessionId,
        subscription: u64,
        details: &crate::message::EventDetails,
        payload: &Payload,
    ) {
        let pattern = self.subscriptions.get(&(to, subscription));
        let (pattern, policy) = *pattern.expect("an event without a subscription");
        // What the router tells of itself, to those who want to hear everything.
        if details.topic.as_deref().is_some_and(uri::is_reserved) {
            return;
        }
        let number: usize = payload.first().unwrap();
        let topic = self.published[number].topic;
        assert!(policy.matches(pattern, topic));
        assert!(self.is_for(number, to), "an event outside of its audience");
        if details.retained {
            assert_eq!(self.retained.get(topic), Some(&number), "an event that is not kept");
        } else {
            assert!(self.delivered.insert((number, to, subscription)), "an event twice");
        }
    }
}

/// Who holds which entry, as the realm has it.
fn held<H: Holders>(entries: &Entries<H>) -> BTreeMap<(SessionId, u64), Pattern> {
    let mut held = BTreeMap::new();
    for id in POLICIES.into_iter().flat_map(|policy| entries.of_policy(policy)) {
        let entry = entries.get(id).unwrap();
        assert_eq!(entries.lookup(&entry.uri, entry.policy), Some(id));
        assert_eq!(entry.holders.count(), entry.holders.sessions().len());
        let pattern = PATTERNS.into_iter().find(|pattern| *pattern == entry.uri).unwrap();
        for session in entry.holders.sessions() {
            held.insert((session, id), (pattern, entry.policy));
        }
    }
    held
}

/// The keyword arguments of `wamp.session.add_testament`.
#[derive(serde::Serialize)]
struct AddTestament<'a> {
    scope: &'a str,
    publish_options: &'a PublishDetails,
}

fn ask(
    request: u64,
    procedure: &str,
    args: &impl serde::Serialize,
    kwargs: &impl serde::Serialize,
) -> Message {
    let payload = Payload::arguments(args).unwrap();
    let payload = payload.with_keywords_of(Payload::arguments(kwargs).unwrap());
    Message::Call { request, options: Default::default(), procedure: procedure.into(), payload }
}

proptest! {
    #[test]
    fn every_promise_is_kept_and_nothing_outlives_its_session(
        steps in prop::collection::vec(any_step(), 1..150),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        // The callees do their duty, and then nobody may be waiting.
        while !world.held.is_empty() {
            world.step(Step::Yield(0, false));
        }
        for (call, answers) in &world.calls {
            prop_assert_eq!(*answers, 1, "{:?}", call);
        }
        prop_assert_eq!(world.bench.realm.next_deadline(), None);
        while !world.present.is_empty() {
            world.step(Step::Leave(0));
        }
        prop_assert!(world.bench.realm.is_empty());
    }
}
