//! Events: whom they are for, which are kept, and those of the departed.

use serde::Serialize;

use super::*;
use crate::message::{Audience, EventDetails};
use crate::router::config::{Allow, Permission};
use crate::router::permissions::Permissions;

fn retained(topic: &str, argument: &str, options: PublishDetails) -> Message {
    let options = PublishDetails { retain: true, ..options };
    let payload = Payload::one(argument).unwrap();
    Message::Publish { request: 3, options, topic: topic.into(), payload }
}

fn subscribe(topic: &str, policy: MatchPolicy) -> Message {
    let options = SubscribeDetails { policy, get_retained: true };
    Message::Subscribe { request: 2, options, topic: topic.into() }
}

/// Who got an event, its details and its first argument.
fn events(news: Vec<(SessionId, Message)>) -> Vec<(SessionId, EventDetails, String)> {
    let events = news.into_iter().filter_map(|(to, message)| match message {
        Message::Event { details, payload, .. } => Some((to, details, payload.first().unwrap())),
        _ => None,
    });
    events.collect()
}

#[test]
fn an_event_reaches_its_audience_and_nobody_else() {
    let mut bench = Bench::new();
    let (publisher, one, other) = (bench.join(true), bench.join(true), bench.join(true));
    for session in [publisher, one, other] {
        bench.subscribe(session, "t", MatchPolicy::Exact);
    }
    let all = Audience::default();
    for (audience, expected) in [
        (Audience { eligible: Some(vec![one, publisher]), ..all.clone() }, vec![one]),
        (Audience { exclude: Some(vec![one]), ..all.clone() }, vec![other]),
        (Audience { eligible_authrole: Some(vec!["nobody".into()]), ..all.clone() }, vec![]),
        (Audience { exclude_authrole: Some(vec!["trusted".into()]), ..all }, vec![]),
    ] {
        let options =
            PublishDetails { audience: Some(Box::new(audience)), ..PublishDetails::default() };
        bench.send(publisher, publish("t", options)).unwrap();
        let to: Vec<_> = bench.news().into_iter().map(|(to, _)| to).collect();
        assert_eq!(to, expected);
    }
}

#[test]
fn a_later_subscriber_gets_the_last_event_of_each_topic() {
    let mut bench = Bench::new();
    let (publisher, later) = (bench.join(true), bench.join(true));
    let all = PublishDetails::default();
    bench.send(publisher, retained("a.b", "old", all.clone())).unwrap();
    bench.send(publisher, retained("a.b", "new", all.clone())).unwrap();
    bench.send(publisher, retained("a.c", "x", all.clone())).unwrap();
    bench.news();

    bench.send(later, subscribe("a.", MatchPolicy::Prefix)).unwrap();
    let news = bench.news();
    assert!(matches!(news[0], (to, Message::Subscribed { .. }) if to == later));
    let details = |topic: &str| EventDetails {
        topic: Some(topic.to_owned()),
        retained: true,
        publisher: None,
    };
    let expected =
        [(later, details("a.b"), "new".to_owned()), (later, details("a.c"), "x".to_owned())];
    assert_eq!(events(news), expected);

    let options = SubscribeDetails::default();
    bench.send(later, Message::Subscribe { request: 2, options, topic: "a.b".into() }).unwrap();
    assert_eq!(events(bench.news()), [], "who does not ask gets none");
    bench.send(publisher, subscribe("a.b", MatchPolicy::Exact)).unwrap();
    assert_eq!(events(bench.news()), [], "the publisher itself is excluded");
}

#[test]
fn a_retained_event_reaches_nobody_outside_of_its_audience() {
    let mut bench = Bench::new();
    let (publisher, one, other) = (bench.join(true), bench.join(true), bench.join(true));
    let audience = Audience { eligible: Some(vec![one]), ..Audience::default() };
    let options =
        PublishDetails { audience: Some(Box::new(audience)), ..PublishDetails::default() };
    bench.send(publisher, retained("t", "x", options)).unwrap();
    for session in [one, other] {
        bench.send(session, subscribe("t", MatchPolicy::Exact)).unwrap();
    }
    let to: Vec<_> = events(bench.news()).into_iter().map(|(to, ..)| to).collect();
    assert_eq!(to, [one]);
}

#[test]
fn what_does_not_fit_is_not_published_and_the_publisher_told() {
    let mut bench = Bench::new();
    let (publisher, subscriber) = (bench.join(true), bench.join(true));
    bench.subscribe(subscriber, "t4", MatchPolicy::Exact);
    let acknowledge = PublishDetails { acknowledge: true, ..PublishDetails::default() };
    for topic in ["t1", "t2", "t3"] {
        bench.send(publisher, retained(topic, "x", acknowledge.clone())).unwrap();
    }
    assert_eq!(errors(&bench.news()), []);
    bench.send(publisher, retained("t4", "x", acknowledge.clone())).unwrap();
    let news = bench.news();
    assert_eq!(errors(&news), [(publisher, RequestKind::Publish, error::LIMIT_REACHED)]);
    assert_eq!(news.len(), 1);
    bench.send(publisher, retained("t3", "y", acknowledge)).unwrap();
    assert_eq!(errors(&bench.news()), [], "a topic that is kept already has its place");
}

fn ask(procedure: &str, args: &impl Serialize, kwargs: &[(&str, &str)]) -> Message {
    let kwargs: std::collections::BTreeMap<_, _> = kwargs.iter().copied().collect();
    let payload = Payload::arguments(args).unwrap();
    let payload = payload.with_keywords_of(Payload::keyword(&kwargs).unwrap());
    Message::Call { request: 9, options: Default::default(), procedure: procedure.into(), payload }
}

const ADD: &str = "wamp.session.add_testament";
const FLUSH: &str = "wamp.session.flush_testaments";

#[test]
fn a_testament_is_published_however_the_session_ends() {
    let ends: [fn(&mut Bench, SessionId); 3] = [
        |bench, session| bench.leave(session),
        |bench, session| {
            bench.send(session, Message::goodbye(uri::close::NORMAL)).unwrap();
        },
        |bench, session| {
            let killer = bench.join(true);
            bench.send(killer, ask("wamp.session.kill", &(session,), &[])).unwrap();
        },
    ];
    for end in ends {
        let mut bench = Bench::new();
        let (watcher, mortal) = (bench.join(true), bench.join(true));
        bench.subscribe(watcher, "t", MatchPolicy::Exact);
        let kwargs = std::collections::BTreeMap::from([("key", 1)]);
        bench.send(mortal, ask(ADD, &("t", ["last"], &kwargs), &[])).unwrap();
        bench.send(mortal, ask(ADD, &("t", ["first"], ()), &[("scope", "detached")])).unwrap();
        bench.send(mortal, ask(ADD, &("t", (), ()), &[("scope", "detached")])).unwrap();
        let ids: Vec<u64> = bench
            .news()
            .into_iter()
            .map(|(_, message)| match message {
                Message::Result { payload, .. } => payload.first().unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        end(&mut bench, mortal);
        let published: Vec<_> = bench
            .news()
            .into_iter()
            .filter_map(|(to, message)| match message {
                Message::Event { publication, payload, .. } if to == watcher => {
                    Some((publication, payload))
                }
                _ => None,
            })
            .collect();
        assert_eq!(
            published.iter().map(|(id, _)| *id).collect::<Vec<_>>(),
            [ids[1], ids[2], ids[0]]
        );
        assert_eq!(published[0].1, Payload::one("first").unwrap());
        assert!(published[1].1.is_empty());
        let expected = Payload::one("last").unwrap();
        let expected = expected.with_keywords_of(Payload::keyword(&kwargs).unwrap());
        assert_eq!(published[2].1, expected);
    }
}

#[test]
fn flushed_testaments_are_not_published() {
    let mut bench = Bench::new();
    let (watcher, mortal) = (bench.join(true), bench.join(true));
    bench.subscribe(watcher, "t", MatchPolicy::Exact);
    bench.send(mortal, ask(ADD, &("t", (), ()), &[])).unwrap();
    bench.send(mortal, ask(ADD, &("t", (), ()), &[("scope", "detached")])).unwrap();
    for scope in ["destroyed", "detached"] {
        bench.news();
        bench.send(mortal, ask(FLUSH, &(), &[("scope", scope)])).unwrap();
        let news = bench.news();
        let [(_, Message::Result { payload, .. })] = &news[..] else { panic!("{news:?}") };
        assert_eq!(payload.first::<u64>(), Ok(1), "{scope}");
    }
    bench.leave(mortal);
    assert_eq!(bench.news(), []);
}

#[test]
fn a_testament_is_refused_where_its_publication_would_be() {
    let mut bench = Bench::new();
    let mut admission = Admission::trusted();
    let rule =
        |uri: &str, allow| Permission { uri: uri.to_owned(), allow, ..Permission::everything() };
    let rules = [
        rule("wamp.", Allow { call: true, ..Allow::default() }),
        rule("mine.", Allow { publish: true, ..Allow::default() }),
    ];
    admission.permissions = Arc::new(Permissions::new("trusted", &rules));
    let session = bench.join_as(admission, true);
    let huge = "x".repeat(2 << 20);
    for (arguments, expected) in [
        (ask(ADD, &("theirs.t", (), ()), &[]), error::NOT_AUTHORIZED),
        (ask(ADD, &("wamp.t", (), ()), &[]), error::INVALID_URI),
        (ask(ADD, &("mine. t", (), ()), &[]), error::INVALID_URI),
        (ask(ADD, &("mine.t", [&huge], ()), &[]), error::LIMIT_REACHED),
        (ask(ADD, &("mine.t", "no list", ()), &[]), error::INVALID_ARGUMENT),
        (ask(ADD, &(), &[]), error::INVALID_ARGUMENT),
        (ask(ADD, &("mine.t", (), ()), &[("scope", "odd")]), error::INVALID_ARGUMENT),
    ] {
        bench.send(session, arguments).unwrap();
        assert_eq!(errors(&bench.news()), [(session, RequestKind::Call, expected)]);
    }
    for _ in 0..100 {
        bench.send(session, ask(ADD, &("mine.t", (), ()), &[])).unwrap();
    }
    assert_eq!(errors(&bench.news()), []);
    bench.send(session, ask(ADD, &("mine.t", (), ()), &[])).unwrap();
    assert_eq!(errors(&bench.news()), [(session, RequestKind::Call, error::LIMIT_REACHED)]);
}
