//! What a realm owes its sessions: as tables here, for any sequence of messages in `model`.

mod calls;
mod events;
mod meta_api;
mod model;

use std::collections::HashSet;

use super::*;
use crate::message::{
    CallDetails, CancelDetails, CancelMode, ProgressDetails, PublishDetails, RegisterDetails,
    SubscribeDetails,
};
use crate::uri::{MatchPolicy, error};

/// A realm, the time there, and everything that it has sent.
struct Bench {
    realm: Realm,
    now: Duration,
    sent: Vec<(SessionId, Message)>,
    read: usize,
}

impl Bench {
    fn new() -> Self {
        let limits = Limits { max_entries: 100, max_retained_events: 3, ..Limits::default() };
        let realm = Realm::new("test", 1, SystemTime::UNIX_EPOCH, &limits);
        Self { realm, now: Duration::ZERO, sent: Vec::new(), read: 0 }
    }

    fn join(&mut self, can_be_interrupted: bool) -> SessionId {
        self.join_as(Admission::trusted(), can_be_interrupted)
    }

    fn join_as(&mut self, admission: Admission, can_be_interrupted: bool) -> SessionId {
        let features = Features {
            call_canceling: can_be_interrupted,
            registration_revocation: can_be_interrupted,
            ..Features::default()
        };
        let roles = ClientRoles { callee: Some(Role { features }), ..ClientRoles::default() };
        let mut outputs = Vec::new();
        let (session, _) = self.realm.join(admission, &roles, &mut outputs);
        self.keep(outputs);
        session
    }

    fn send(&mut self, from: SessionId, message: Message) -> Result<Standing, Violation> {
        let mut outputs = Vec::new();
        let standing = self.realm.receive(from, message, self.now, &mut outputs);
        self.keep(outputs);
        standing
    }

    /// Lets time pass.
    fn wait(&mut self, time: Duration) {
        self.now += time;
        let mut outputs = Vec::new();
        self.realm.expire(self.now, &mut outputs);
        self.keep(outputs);
    }

    fn leave(&mut self, session: SessionId) {
        let mut outputs = Vec::new();
        self.realm.leave(session, &mut outputs);
        self.keep(outputs);
    }

    fn keep(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Send { to, message } => self.sent.push((to, message)),
                Output::Broadcast { to, message } => {
                    self.sent.extend(to.into_iter().map(|to| (to, message.clone())));
                }
                Output::End { session, message } => self.sent.push((session, message)),
            }
        }
    }

    /// What has been sent since the last look.
    fn news(&mut self) -> Vec<(SessionId, Message)> {
        let news = self.sent[self.read..].to_vec();
        self.read = self.sent.len();
        news
    }

    fn register(&mut self, session: SessionId, procedure: &str, policy: MatchPolicy) -> u64 {
        self.send(session, register(1, procedure, policy)).unwrap();
        match &self.news()[..] {
            [(to, Message::Registered { request: 1, registration })] if *to == session => {
                *registration
            }
            other => panic!("{other:?}"),
        }
    }

    fn subscribe(&mut self, session: SessionId, topic: &str, policy: MatchPolicy) -> u64 {
        let options = SubscribeDetails { policy, ..Default::default() };
        self.send(session, Message::Subscribe { request: 2, options, topic: topic.into() })
            .unwrap();
        match &self.news()[..] {
            [(to, Message::Subscribed { request: 2, subscription })] if *to == session => {
                *subscription
            }
            other => panic!("{other:?}"),
        }
    }
}

fn register(request: u64, procedure: &str, policy: MatchPolicy) -> Message {
    Message::Register {
        request,
        options: RegisterDetails { policy, ..Default::default() },
        procedure: procedure.into(),
    }
}

fn call(request: u64, procedure: &str) -> Message {
    let payload = Payload::one("argument").unwrap();
    let options = CallDetails { receive_progress: true, ..Default::default() };
    Message::Call { request, options, procedure: procedure.into(), payload }
}

fn cancel(request: u64, mode: CancelMode) -> Message {
    Message::Cancel { request, options: CancelDetails { mode: Some(mode) } }
}

fn answer(request: u64) -> Message {
    let options = ProgressDetails::default();
    Message::Yield { request, options, payload: Payload::empty() }
}

fn publish(topic: &str, options: PublishDetails) -> Message {
    Message::Publish { request: 3, options, topic: topic.into(), payload: Payload::empty() }
}

/// Who got an error of which kind and URI.
fn errors(news: &[(SessionId, Message)]) -> Vec<(SessionId, RequestKind, &str)> {
    let errors = news.iter().filter_map(|(to, message)| match message {
        Message::Error { kind, error, .. } => Some((*to, *kind, error.as_str())),
        _ => None,
    });
    errors.collect()
}

#[test]
fn each_way_of_cancelling_answers_the_caller() {
    use CancelMode::{Kill, KillNoWait, Skip};
    for (can_be_interrupted, mode, answers_at_once, interrupts) in [
        (true, Skip, true, false),
        (true, Kill, false, true),
        (true, KillNoWait, true, true),
        (false, Skip, true, false),
        (false, Kill, true, false),
        (false, KillNoWait, true, false),
    ] {
        let mut bench = Bench::new();
        let (callee, caller) = (bench.join(can_be_interrupted), bench.join(true));
        bench.register(callee, "a.b", MatchPolicy::Exact);
        bench.send(caller, call(9, "a.b")).unwrap();
        bench.news();

        bench.send(caller, cancel(9, mode)).unwrap();
        let news = bench.news();
        let told = errors(&news) == [(caller, RequestKind::Call, error::CANCELED)];
        let interrupted = news.iter().any(|(to, message)| {
            *to == callee && matches!(message, Message::Interrupt { request: 1, .. })
        });
        assert_eq!(
            (told, interrupted),
            (answers_at_once, interrupts),
            "{can_be_interrupted} {mode:?}"
        );

        // The callee answers in any case; a caller that was told hears nothing more.
        bench.send(callee, answer(1)).unwrap();
        assert_eq!(
            bench.news().len(),
            usize::from(!answers_at_once),
            "{can_be_interrupted} {mode:?}"
        );
    }
}

#[test]
fn a_second_cancel_and_a_late_one_change_nothing() {
    let mut bench = Bench::new();
    let (callee, caller) = (bench.join(true), bench.join(true));
    bench.register(callee, "a.b", MatchPolicy::Exact);
    bench.send(caller, call(9, "a.b")).unwrap();
    bench.send(caller, cancel(9, CancelMode::Kill)).unwrap();
    bench.news();
    bench.send(caller, cancel(9, CancelMode::Kill)).unwrap();
    assert_eq!(bench.news(), []);
    // But who does not want to wait any more need not.
    bench.send(caller, cancel(9, CancelMode::KillNoWait)).unwrap();
    assert_eq!(errors(&bench.news()), [(caller, RequestKind::Call, error::CANCELED)]);
    bench.send(caller, cancel(9, CancelMode::Kill)).unwrap();
    bench.send(callee, answer(1)).unwrap();
    assert_eq!(bench.news(), []);
}

#[test]
fn who_leaves_leaves_nothing_behind() {
    let mut bench = Bench::new();
    let (callee, caller) = (bench.join(true), bench.join(true));
    bench.register(callee, "a.", MatchPolicy::Prefix);
    bench.subscribe(callee, "t", MatchPolicy::Exact);
    bench.send(caller, call(1, "a.b")).unwrap();
    bench.send(caller, call(2, "a.c")).unwrap();
    bench.news();
    bench.leave(callee);
    let told = errors(&bench.news()).len();
    assert_eq!(told, 2);
    bench.send(caller, call(3, "a.b")).unwrap();
    assert_eq!(errors(&bench.news()), [(caller, RequestKind::Call, error::NO_SUCH_PROCEDURE)]);
    bench.leave(caller);
    assert!(bench.realm.is_empty());
}

#[test]
fn a_callee_learns_that_its_caller_has_left() {
    let mut bench = Bench::new();
    let (callee, caller) = (bench.join(true), bench.join(true));
    bench.register(callee, "a.b", MatchPolicy::Exact);
    bench.send(caller, call(1, "a.b")).unwrap();
    bench.news();
    bench.leave(caller);
    assert!(
        matches!(bench.news()[..], [(to, Message::Interrupt { request: 1, .. })] if to == callee)
    );
    bench.send(callee, answer(1)).unwrap();
    assert_eq!(bench.news(), []);
}

#[test]
fn a_bad_name_gets_an_error_and_the_session_stays() {
    let mut bench = Bench::new();
    let session = bench.join(true);
    let acknowledge = PublishDetails { acknowledge: true, ..PublishDetails::default() };
    for (message, kind) in [
        (call(1, "a..b"), RequestKind::Call),
        (register(1, "a b", MatchPolicy::Exact), RequestKind::Register),
        (register(1, "wamp.session.list", MatchPolicy::Exact), RequestKind::Register),
        (register(1, "wamp.", MatchPolicy::Prefix), RequestKind::Register),
        (publish("a#b", acknowledge.clone()), RequestKind::Publish),
        (publish("wamp.session.on_leave", acknowledge), RequestKind::Publish),
    ] {
        assert_eq!(bench.send(session, message), Ok(Standing::Joined));
        assert_eq!(errors(&bench.news()), [(session, kind, error::INVALID_URI)]);
    }
    bench.send(session, publish("a#b", PublishDetails::default())).unwrap();
    assert_eq!(bench.news(), [], "nobody asked to hear of it");
}

#[test]
fn a_session_has_so_many_of_each_and_no_more() {
    let mut bench = Bench::new();
    let session = bench.join(true);
    for number in 0..101 {
        bench.send(session, register(number, &format!("a.b{number}"), MatchPolicy::Exact)).unwrap();
    }
    assert_eq!(errors(&bench.news()), [(session, RequestKind::Register, error::LIMIT_REACHED)]);
    for number in 0..101 {
        bench.send(session, call(number, "a.b1")).unwrap();
    }
    assert_eq!(errors(&bench.news()), [(session, RequestKind::Call, error::LIMIT_REACHED)]);
}

#[test]
fn wildcards_of_too_many_shapes_are_refused_and_leave_with_their_session() {
    let mut bench = Bench::new();
    let (session, other) = (bench.join(false), bench.join(false));
    let pattern = |bits: usize| {
        let words = (0..8).map(|bit| if bits >> bit & 1 == 1 { "" } else { "a" });
        words.collect::<Vec<_>>().join(".")
    };
    for bits in 0..64 {
        bench.register(session, &pattern(bits), MatchPolicy::Wildcard);
        bench.subscribe(session, &pattern(bits), MatchPolicy::Wildcard);
    }
    bench.send(other, register(1, &pattern(64), MatchPolicy::Wildcard)).unwrap();
    let options = SubscribeDetails { policy: MatchPolicy::Wildcard, ..Default::default() };
    let subscribe = Message::Subscribe { request: 2, options, topic: pattern(64) };
    bench.send(other, subscribe).unwrap();
    let refused = |kind| (other, kind, error::LIMIT_REACHED);
    let both = [refused(RequestKind::Register), refused(RequestKind::Subscribe)];
    assert_eq!(errors(&bench.news()), both);

    bench.register(other, &pattern(63).replace('a', "b"), MatchPolicy::Wildcard);
    bench.leave(session);
    bench.news();
    bench.register(other, &pattern(64), MatchPolicy::Wildcard);
    bench.leave(other);
    assert!(bench.realm.is_empty());
}

#[test]
fn an_event_reaches_every_matching_subscription_once_and_not_its_publisher() {
    let mut bench = Bench::new();
    let (publisher, other) = (bench.join(true), bench.join(true));
    bench.subscribe(publisher, "a.b.c", MatchPolicy::Exact);
    let exact = bench.subscribe(other, "a.b.c", MatchPolicy::Exact);
    let prefix = bench.subscribe(other, "a.", MatchPolicy::Prefix);
    let wildcard = bench.subscribe(other, "a..c", MatchPolicy::Wildcard);
    bench.subscribe(other, "a..d", MatchPolicy::Wildcard);

    bench.send(publisher, publish("a.b.c", PublishDetails::default())).unwrap();
    let events: HashSet<_> = bench
        .news()
        .into_iter()
        .map(|(to, message)| {
            let Message::Event { subscription, details, .. } = message else { panic!() };
            (to, subscription, details.topic)
        })
        .collect();
    let topic = Some("a.b.c".to_owned());
    let expected = [(other, exact, None), (other, prefix, topic.clone()), (other, wildcard, topic)];
    assert_eq!(events, HashSet::from(expected));

    let to_me = PublishDetails { exclude_me: false, ..PublishDetails::default() };
    bench.send(publisher, publish("a.b.c", to_me)).unwrap();
    assert!(bench.news().iter().any(|(to, _)| *to == publisher));
}

#[test]
fn who_asked_learns_who_left() {
    let mut bench = Bench::new();
    let (watcher, other) = (bench.join(true), bench.join(true));
    bench.subscribe(watcher, uri::ON_LEAVE, MatchPolicy::Exact);
    assert_eq!(bench.send(other, Message::goodbye(uri::close::NORMAL)), Ok(Standing::Left));
    let news = bench.news();
    assert!(matches!(news[0], (to, Message::Goodbye { .. }) if to == other));
    let (to, Message::Event { payload, .. }) = &news[1] else { panic!("{news:?}") };
    let (left, _, role): (SessionId, String, String) = payload.args().unwrap();
    assert_eq!((*to, left, role.as_str()), (watcher, other, "trusted"));
}

#[test]
fn a_message_that_is_none_for_a_router_is_a_violation() {
    let mut bench = Bench::new();
    let session = bench.join(true);
    for message in [
        Message::Hello { realm: "test".into(), details: Default::default() },
        Message::Published { request: 1, publication: 1 },
        Message::error(RequestKind::Call, 1, "a.b", "x"),
    ] {
        assert!(bench.send(session, message).is_err());
    }
    bench.register(session, "a.b", MatchPolicy::Exact);
    bench.send(session, call(5, "a.b")).unwrap();
    assert!(bench.send(session, call(5, "a.b")).is_err(), "the id is taken while it is pending");
}
