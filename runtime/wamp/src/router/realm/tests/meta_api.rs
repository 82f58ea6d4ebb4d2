//! The procedures and topics of the router itself.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use super::*;
use crate::message::InvocationPolicy;

/// Calls a procedure of the router: its answer or error.
fn ask(bench: &mut Bench, from: SessionId, procedure: &str, args: &impl Serialize) -> Value {
    let answers = answers(bench, from, procedure, args, &BTreeMap::new());
    let [(to, answer)] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(*to, from);
    in_words(answer)
}

/// Everything that is sent for one call.
fn answers(
    bench: &mut Bench,
    from: SessionId,
    procedure: &str,
    args: &impl Serialize,
    kwargs: &BTreeMap<&str, &str>,
) -> Vec<(SessionId, Message)> {
    let payload = Payload::arguments(args).unwrap();
    let payload = payload.with_keywords_of(Payload::keyword(kwargs).unwrap());
    let options = CallDetails::default();
    bench.news();
    bench
        .send(from, Message::Call { request: 9, options, procedure: procedure.into(), payload })
        .unwrap();
    bench.news()
}

fn in_words(answer: &Message) -> Value {
    match answer {
        Message::Result { payload, .. } => payload.first_or_null().unwrap(),
        Message::Error { error, .. } => json!(error),
        other => panic!("{other:?}"),
    }
}

fn register_shared(bench: &mut Bench, session: SessionId) -> u64 {
    let options = RegisterDetails { invoke: InvocationPolicy::First, ..RegisterDetails::default() };
    bench
        .send(session, Message::Register { request: 1, options, procedure: "a.b".into() })
        .unwrap();
    let news = bench.news();
    let registered = news.iter().find_map(|(to, message)| match message {
        Message::Registered { registration, .. } if *to == session => Some(*registration),
        _ => None,
    });
    registered.unwrap()
}

#[test]
fn sessions_are_counted_listed_and_described() {
    let mut bench = Bench::new();
    let one = bench.join(true);
    let mut admission = Admission::trusted();
    admission.identity.authid = "somebody".to_owned();
    admission.identity.authrole = "other".to_owned();
    let other = bench.join_as(admission, true);
    let mut both = [one, other];
    both.sort_unstable();

    assert_eq!(ask(&mut bench, one, "wamp.session.count", &()), json!(2));
    assert_eq!(ask(&mut bench, one, "wamp.session.count", &(["other", "none"],)), json!(1));
    assert_eq!(ask(&mut bench, one, "wamp.session.list", &()), json!(both));
    assert_eq!(ask(&mut bench, one, "wamp.session.list", &(["other"],)), json!([other]));
    assert_eq!(
        ask(&mut bench, one, "wamp.session.get", &(other,)),
        json!({
            "session": other,
            "authid": "somebody",
            "authrole": "other",
            "authmethod": "trusted",
            "authprovider": "static",
        })
    );
    for (procedure, expected) in [
        ("wamp.session.get", error::NO_SUCH_SESSION),
        ("wamp.session.kill", error::NO_SUCH_SESSION),
        ("wamp.session.nothing", error::NO_SUCH_PROCEDURE),
        ("wamp.nothing", error::NO_SUCH_PROCEDURE),
    ] {
        assert_eq!(ask(&mut bench, one, procedure, &(1,)), json!(expected));
        assert!(bench.realm.members.contains(other));
    }
    for procedure in ["wamp.session.get", "wamp.registration.get", "wamp.subscription.match"] {
        assert_eq!(ask(&mut bench, one, procedure, &()), json!(error::INVALID_ARGUMENT));
    }
}

#[test]
fn a_killed_session_gets_a_goodbye_and_is_forgotten() {
    let mut bench = Bench::new();
    let (killer, victim, watcher) = (bench.join(true), bench.join(true), bench.join(true));
    bench.subscribe(watcher, uri::ON_LEAVE, MatchPolicy::Exact);
    bench.register(victim, "a.b", MatchPolicy::Exact);

    let kill = "wamp.session.kill";
    let why = BTreeMap::from([("reason", "a.reason"), ("message", "because")]);
    let news = answers(&mut bench, killer, kill, &(victim,), &why);
    let told: Vec<_> = news.iter().map(|(to, message)| (*to, message.name())).collect();
    assert_eq!(told, [(victim, "GOODBYE"), (watcher, "EVENT"), (killer, "RESULT")]);
    let Message::Goodbye { details, reason } = &news[0].1 else { panic!() };
    assert_eq!((details.message.as_deref(), reason.as_str()), (Some("because"), "a.reason"));
    assert_eq!(bench.send(victim, call(1, "a.b")), Ok(Standing::Left), "it is heard no more");
    bench.send(killer, call(1, "a.b")).unwrap();
    assert_eq!(errors(&bench.news()), [(killer, RequestKind::Call, error::NO_SUCH_PROCEDURE)]);

    let no_uri = BTreeMap::from([("reason", "no uri")]);
    let news = answers(&mut bench, killer, kill, &(watcher,), &no_uri);
    assert_eq!(errors(&news), [(killer, RequestKind::Call, error::INVALID_URI)]);
    assert_eq!(ask(&mut bench, killer, kill, &(killer,)), json!(error::NO_SUCH_SESSION));
}

#[test]
fn many_are_killed_at_once_but_never_the_caller() {
    for (procedure, argument, killed) in [
        ("wamp.session.kill_by_authid", "somebody", 2),
        ("wamp.session.kill_by_authrole", "other", 3),
        ("wamp.session.kill_by_authrole", "trusted", 0),
        ("wamp.session.kill_by_authid", "nobody", 0),
        ("wamp.session.kill_all", "", 3),
    ] {
        let mut bench = Bench::new();
        let killer = bench.join(true);
        for authid in ["somebody", "somebody", "else"] {
            let mut admission = Admission::trusted();
            admission.identity.authid = authid.to_owned();
            admission.identity.authrole = "other".to_owned();
            bench.join_as(admission, true);
        }
        let news = answers(&mut bench, killer, procedure, &(argument,), &BTreeMap::new());
        let goodbyes = news.iter().filter(|(_, m)| matches!(m, Message::Goodbye { .. })).count();
        assert_eq!(goodbyes, killed, "{procedure} {argument}");
        assert_eq!(in_words(&news[killed].1), json!(killed));
        assert_eq!(bench.realm.members.len(), 4 - killed);
    }
}

#[test]
fn registrations_can_be_asked_about() {
    let mut bench = Bench::new();
    bench.wait(Duration::from_millis(86_400_250));
    let (one, other) = (bench.join(true), bench.join(true));
    let id = register_shared(&mut bench, one);
    register_shared(&mut bench, other);
    let prefix = bench.register(one, "a.", MatchPolicy::Prefix);

    let bench = &mut bench;
    assert_eq!(
        ask(bench, one, "wamp.registration.list", &()),
        json!({"exact": [id], "prefix": [prefix], "wildcard": []})
    );
    assert_eq!(ask(bench, one, "wamp.registration.lookup", &("a.b",)), json!(id));
    let options = json!({"match": "prefix"});
    assert_eq!(ask(bench, one, "wamp.registration.lookup", &("a.", &options)), json!(prefix));
    assert_eq!(ask(bench, one, "wamp.registration.lookup", &("a.c",)), Value::Null);
    assert_eq!(ask(bench, one, "wamp.registration.match", &("a.c",)), json!(prefix));
    assert_eq!(ask(bench, one, "wamp.registration.match", &("b",)), Value::Null);
    assert_eq!(
        ask(bench, one, "wamp.registration.get", &(id,)),
        json!({
            "id": id,
            "created": "1970-01-02T00:00:00.250Z",
            "uri": "a.b",
            "match": "exact",
            "invoke": "first",
        })
    );
    assert_eq!(ask(bench, one, "wamp.registration.list_callees", &(id,)), json!([one, other]));
    assert_eq!(ask(bench, one, "wamp.registration.count_callees", &(id,)), json!(2));
    assert_eq!(
        ask(bench, one, "wamp.registration.count_callees", &(1,)),
        json!(error::NO_SUCH_REGISTRATION)
    );
}

#[test]
fn subscriptions_can_be_asked_about() {
    let mut bench = Bench::new();
    let (one, other) = (bench.join(true), bench.join(true));
    let exact = bench.subscribe(one, "a.b", MatchPolicy::Exact);
    bench.subscribe(other, "a.b", MatchPolicy::Exact);
    let wildcard = bench.subscribe(one, "a.", MatchPolicy::Wildcard);
    let mut both = [one, other];
    both.sort_unstable();

    let bench = &mut bench;
    assert_eq!(
        ask(bench, one, "wamp.subscription.list", &()),
        json!({"exact": [exact], "prefix": [], "wildcard": [wildcard]})
    );
    assert_eq!(ask(bench, one, "wamp.subscription.lookup", &("a.b",)), json!(exact));
    assert_eq!(ask(bench, one, "wamp.subscription.match", &("a.b",)), json!([exact, wildcard]));
    assert_eq!(ask(bench, one, "wamp.subscription.match", &("b",)), Value::Null);
    assert_eq!(
        ask(bench, one, "wamp.subscription.get", &(wildcard,)),
        json!({
            "id": wildcard,
            "created": "1970-01-01T00:00:00.000Z",
            "uri": "a.",
            "match": "wildcard",
        })
    );
    assert_eq!(ask(bench, one, "wamp.subscription.list_subscribers", &(exact,)), json!(both));
    assert_eq!(ask(bench, one, "wamp.subscription.count_subscribers", &(exact,)), json!(2));
    assert_eq!(ask(bench, one, "wamp.subscription.get", &(1,)), json!(error::NO_SUCH_SUBSCRIPTION));
}

/// The topics of which a watcher of `prefix` hears, and who did what.
fn told(bench: &mut Bench, watcher: SessionId, prefix: &str) -> Vec<(String, SessionId)> {
    let events = bench.news().into_iter().filter_map(|(to, message)| match message {
        Message::Event { details, payload, .. } if to == watcher => {
            let topic = details.topic.unwrap();
            let (session, _): (SessionId, Value) = payload.args().unwrap();
            Some((topic.strip_prefix(prefix).unwrap().to_owned(), session))
        }
        _ => None,
    });
    events.collect()
}

#[test]
fn who_watches_registrations_learns_of_each_change() {
    let mut bench = Bench::new();
    let (watcher, one, other) = (bench.join(true), bench.join(true), bench.join(true));
    let prefix = "wamp.registration.";
    bench.subscribe(watcher, prefix, MatchPolicy::Prefix);
    let options = RegisterDetails { invoke: InvocationPolicy::First, ..RegisterDetails::default() };
    for session in [one, other] {
        let procedure = "a.b".to_owned();
        bench.send(session, Message::Register { request: 1, options, procedure }).unwrap();
    }
    bench.leave(one);
    let options = RegisterDetails { force_reregister: true, ..RegisterDetails::default() };
    let procedure = "a.b".to_owned();
    bench.send(watcher, Message::Register { request: 1, options, procedure }).unwrap();
    let names = told(&mut bench, watcher, prefix);
    let names: Vec<_> = names.iter().map(|(topic, who)| (topic.as_str(), *who)).collect();
    assert_eq!(
        names,
        [
            ("on_create", one),
            ("on_register", one),
            ("on_register", other),
            ("on_unregister", one),
            ("on_unregister", other),
            ("on_delete", other),
            ("on_create", watcher),
            ("on_register", watcher),
        ]
    );
}

#[test]
fn who_watches_subscriptions_learns_of_each_change_but_not_of_watchers() {
    let mut bench = Bench::new();
    let (watcher, one) = (bench.join(true), bench.join(true));
    let prefix = "wamp.subscription.";
    bench.subscribe(watcher, prefix, MatchPolicy::Prefix);
    bench.subscribe(one, uri::ON_JOIN, MatchPolicy::Exact);
    assert_eq!(told(&mut bench, watcher, prefix), []);
    let options = SubscribeDetails::default();
    for session in [one, watcher, one] {
        bench.send(session, Message::Subscribe { request: 1, options, topic: "t".into() }).unwrap();
    }
    bench.leave(one);
    let names = told(&mut bench, watcher, prefix);
    let names: Vec<_> = names.iter().map(|(topic, who)| (topic.as_str(), *who)).collect();
    assert_eq!(
        names,
        [
            ("on_create", one),
            ("on_subscribe", one),
            ("on_subscribe", watcher),
            ("on_unsubscribe", one),
        ]
    );
}
