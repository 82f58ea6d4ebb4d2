//! Any sequence of messages from any number of sessions keeps a realm's promises.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// One thing that somebody does. Numbers choose among what there is at the moment.
#[derive(Debug, Clone, Copy)]
enum Step {
    Join(bool),
    Leave(usize),
    Goodbye(usize),
    Register(usize, usize, usize),
    Unregister(usize, usize),
    Call(usize, usize),
    Cancel(usize, CancelMode),
    Yield(usize, bool),
    Refuse(usize),
    Subscribe(usize, usize, usize),
    Unsubscribe(usize, usize),
    Publish(usize, usize),
    Undeliverable(usize),
}

const NAMES: [&str; 5] = ["a.b", "a.", "a.c", "..", "a..b c"];
const POLICIES: [MatchPolicy; 3] = [MatchPolicy::Exact, MatchPolicy::Prefix, MatchPolicy::Wildcard];

fn any_step() -> impl Strategy<Value = Step> {
    let n = || 0..100_usize;
    let mode =
        prop::sample::select(vec![CancelMode::Skip, CancelMode::Kill, CancelMode::KillNoWait]);
    prop_oneof![
        2 => any::<bool>().prop_map(Step::Join),
        1 => n().prop_map(Step::Leave),
        1 => n().prop_map(Step::Goodbye),
        4 => (n(), n(), n()).prop_map(|(s, u, p)| Step::Register(s, u, p)),
        1 => (n(), n()).prop_map(|(s, r)| Step::Unregister(s, r)),
        8 => (n(), n()).prop_map(|(s, u)| Step::Call(s, u)),
        4 => (n(), mode).prop_map(|(c, m)| Step::Cancel(c, m)),
        6 => (n(), any::<bool>()).prop_map(|(i, p)| Step::Yield(i, p)),
        2 => n().prop_map(Step::Refuse),
        2 => (n(), n(), n()).prop_map(|(s, u, p)| Step::Subscribe(s, u, p)),
        1 => (n(), n()).prop_map(|(s, u)| Step::Unsubscribe(s, u)),
        3 => (n(), n()).prop_map(|(s, u)| Step::Publish(s, u)),
        1 => n().prop_map(Step::Undeliverable),
    ]
}

/// What the sessions know, and what they are owed.
struct World {
    bench: Bench,
    present: Vec<SessionId>,
    /// Calls by caller and request: how often they were answered.
    calls: HashMap<(SessionId, u64), usize>,
    /// Invocations that a callee holds.
    held: Vec<(SessionId, u64)>,
    registrations: Vec<u64>,
    subscriptions: Vec<u64>,
    last_request: u64,
}

impl World {
    fn session(&self, number: usize) -> Option<SessionId> {
        (!self.present.is_empty()).then(|| self.present[number % self.present.len()])
    }

    fn send(&mut self, from: SessionId, message: Message) {
        self.bench.send(from, message).unwrap();
    }

    fn gone(&mut self, session: SessionId) {
        self.present.retain(|present| *present != session);
        self.calls.retain(|(caller, _), _| *caller != session);
        self.held.retain(|(callee, _)| *callee != session);
    }

    fn step(&mut self, step: Step) {
        self.last_request += 1;
        let request = self.last_request;
        let session = |world: &Self, number| world.session(number);
        match step {
            Step::Join(can_be_interrupted) => {
                let session = self.bench.join(can_be_interrupted);
                self.present.push(session);
            }
            Step::Leave(number) => {
                let Some(session) = session(self, number) else { return };
                self.gone(session);
                self.bench.leave(session);
            }
            Step::Goodbye(number) => {
                let Some(session) = session(self, number) else { return };
                self.send(session, Message::goodbye("a.b"));
                let news = self.bench.news();
                assert!(
                    news.iter()
                        .any(|(to, m)| *to == session && matches!(m, Message::Goodbye { .. }))
                );
                self.gone(session);
                self.read(news.into_iter().filter(|(to, _)| *to != session).collect());
            }
            Step::Register(number, name, policy) => {
                let Some(session) = session(self, number) else { return };
                self.send(session, register(request, NAMES[name % 5], POLICIES[policy % 3]));
            }
            Step::Unregister(number, registration) => {
                let Some(session) = session(self, number) else { return };
                let Some(id) = self.registrations.get(registration).copied() else { return };
                self.send(session, Message::Unregister { request, registration: id });
            }
            Step::Call(number, name) => {
                let Some(session) = session(self, number) else { return };
                self.calls.insert((session, request), 0);
                self.send(session, call(request, NAMES[name % 5]));
            }
            Step::Cancel(call, mode) => {
                let mut calls: Vec<_> = self.calls.keys().copied().collect();
                calls.sort_unstable();
                if !calls.is_empty() {
                    let (caller, request) = calls[call % calls.len()];
                    self.send(caller, cancel(request, mode));
                }
            }
            Step::Yield(number, progress) => {
                if self.held.is_empty() {
                    return;
                }
                let index = number % self.held.len();
                let (callee, request) = self.held[index];
                if !progress {
                    self.held.remove(index);
                }
                let options = ProgressDetails { progress };
                self.send(callee, Message::Yield { request, options, payload: Payload::empty() });
            }
            Step::Refuse(number) => {
                if self.held.is_empty() {
                    return;
                }
                let (callee, request) = self.held.remove(number % self.held.len());
                self.send(callee, Message::error(RequestKind::Invocation, request, "a.b", "no"));
            }
            Step::Subscribe(number, name, policy) => {
                let Some(session) = session(self, number) else { return };
                let options =
                    SubscribeDetails { policy: POLICIES[policy % 3], ..Default::default() };
                self.send(
                    session,
                    Message::Subscribe { request, options, topic: NAMES[name % 5].into() },
                );
            }
            Step::Unsubscribe(number, subscription) => {
                let Some(session) = session(self, number) else { return };
                let Some(id) = self.subscriptions.get(subscription).copied() else { return };
                self.send(session, Message::Unsubscribe { request, subscription: id });
            }
            Step::Publish(number, name) => {
                let Some(session) = session(self, number) else { return };
                self.send(session, publish(NAMES[name % 5], PublishDetails::default()));
            }
            Step::Undeliverable(number) => {
                if self.held.is_empty() {
                    return;
                }
                let (callee, request) = self.held.remove(number % self.held.len());
                let message = Message::Invocation {
                    request,
                    registration: 1,
                    details: Default::default(),
                    payload: Payload::empty(),
                };
                let mut outputs = Vec::new();
                self.bench.realm.undeliverable(callee, message, "too long", &mut outputs);
                self.bench.keep(outputs);
            }
        }
        let news = self.bench.news();
        self.read(news);
    }

    fn read(&mut self, news: Vec<(SessionId, Message)>) {
        for (to, message) in news {
            assert!(self.present.contains(&to), "a message for a session that left: {message:?}");
            match message {
                Message::Invocation { request, .. } => self.held.push((to, request)),
                Message::Registered { registration, .. } => self.registrations.push(registration),
                Message::Subscribed { subscription, .. } => self.subscriptions.push(subscription),
                Message::Result { request, details, .. } => {
                    let answers = self.calls.get_mut(&(to, request)).expect("a result of no call");
                    assert_eq!(*answers, 0, "something after the answer");
                    *answers += usize::from(!details.progress);
                }
                Message::Error { kind: RequestKind::Call, request, .. } => {
                    let answers = self.calls.get_mut(&(to, request)).expect("an error of no call");
                    assert_eq!(*answers, 0, "something after the answer");
                    *answers += 1;
                }
                _ => {}
            }
        }
    }
}

proptest! {
    #[test]
    fn every_call_is_answered_once_and_nothing_outlives_its_session(
        steps in prop::collection::vec(any_step(), 1..120),
    ) {
        let mut world = World {
            bench: Bench::new(),
            present: Vec::new(),
            calls: HashMap::new(),
            held: Vec::new(),
            registrations: Vec::new(),
            subscriptions: Vec::new(),
            last_request: 0,
        };
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
        while !world.present.is_empty() {
            world.step(Step::Leave(0));
        }
        prop_assert!(world.bench.realm.is_empty());
    }
}
