//! autobahn-python on our router: every role, every serializer it offers.

use drover_tests::{Peer, PeerError, PeerSession};
use serde_json::{Value, json};

use crate::{REALM, site};

/// What autobahn-python offers of what we speak.
const SERIALIZERS: [&str; 6] =
    ["cbor.batched", "cbor", "msgpack.batched", "msgpack", "json.batched", "json"];

/// One session in each serializer.
fn one_of_each<'a>(peer: &'a Peer, url: &str) -> Vec<PeerSession<'a>> {
    let join = |serializer| {
        let session = peer.join(url, REALM, serializer);
        assert_eq!(session.welcome["serializer"], serializer);
        session
    };
    SERIALIZERS.into_iter().map(join).collect()
}

/// Values that serializers write in different ways.
fn values() -> Value {
    json!([
        null, true, 0, -1, 127, 128, -32769, 4294967296_u64, 9007199254740991_u64, 0.1, -1.5e300,
        "", "naïve ☃ \u{10348}", "a\u{0}b", {"$bytes": ""}, {"$bytes": "00ff80"},
        [], {}, [[1], {"a": [{"b": {"$bytes": "c0de"}}]}], "x".repeat(70_000),
    ])
}

fn answer(args: &Value, kwargs: &Value) -> Result<Value, PeerError> {
    Ok(json!({"args": args, "kwargs": kwargs}))
}

fn error(uri: &str, args: Value, kwargs: Value) -> Result<Value, PeerError> {
    Err(PeerError { uri: uri.to_owned(), args, kwargs })
}

#[test]
fn calls_between_all_serializers_carry_everything() {
    let site = site();
    let peer = Peer::python();
    let sessions = one_of_each(&peer, &site.url);

    for (callee, serializer) in sessions.iter().zip(SERIALIZERS) {
        for does in ["echo", "refuse", "count"] {
            callee.register(&format!("com.example.{does}.{serializer}"), does, json!({})).unwrap();
        }
    }
    for (caller, from) in sessions.iter().zip(SERIALIZERS) {
        for to in SERIALIZERS {
            let kwargs = json!({"key": {"$bytes": "beef"}, "clé": ["ü", 1.5]});
            let echo = caller.call(&format!("com.example.echo.{to}"), values(), kwargs.clone());
            assert_eq!(echo, answer(&values(), &kwargs), "{from} calls {to}");

            let refused =
                caller.call(&format!("com.example.refuse.{to}"), values(), kwargs.clone());
            assert_eq!(
                refused,
                error("com.example.refused", values(), kwargs),
                "{from} calls {to}"
            );

            let none = json!({});
            let call =
                caller.begin(&format!("com.example.count.{to}"), json!([3]), none.clone(), none);
            assert_eq!(caller.result(call), answer(&json!(["counted"]), &json!({})));
            let step = |step| json!({"args": [step], "kwargs": {"of": 3}});
            assert_eq!(caller.progress(call), [step(0), step(1), step(2)], "{from} calls {to}");
        }
    }
}

#[test]
fn events_between_all_serializers_carry_everything() {
    let site = site();
    let peer = Peer::python();
    let sessions = one_of_each(&peer, &site.url);

    let topic = "com.example.topic";
    let subscribe = |session: &PeerSession| session.subscribe(topic, json!({})).unwrap();
    let subscriptions: Vec<_> = sessions.iter().map(subscribe).collect();
    let kwargs = json!({"key": {"$bytes": "beef"}});
    for publisher in &sessions {
        publisher.publish(topic, values(), kwargs.clone(), json!({})).unwrap();
    }
    // Nobody hears itself unless it wants to.
    let others = SERIALIZERS.len() - 1;
    for (subscriber, subscription) in sessions.iter().zip(&subscriptions) {
        let events = subscriber.events(*subscription, others);
        assert_eq!(events.len(), others);
        for event in events {
            assert_eq!((&event["args"], &event["kwargs"]), (&values(), &kwargs));
        }
    }
    let [first, ..] = &sessions[..] else { panic!("no session") };
    first.publish(topic, json!(["heard"]), json!({}), json!({"exclude_me": false})).unwrap();
    let events = first.events(subscriptions[0], others + 1);
    assert_eq!(events[others]["args"], json!(["heard"]));
    first.undo(subscriptions[0]).unwrap();
}

#[test]
fn many_calls_at_once_are_all_answered() {
    let site = site();
    let peer = Peer::python();
    let sessions = one_of_each(&peer, &site.url);
    sessions[0].register("com.example.echo", "echo", json!({})).unwrap();

    for caller in &sessions {
        let begin = |number: u32| {
            let call = caller.begin("com.example.echo", json!([number]), json!({}), json!({}));
            (number, call)
        };
        let calls: Vec<_> = (0..200).map(begin).collect();
        for (number, call) in calls {
            assert_eq!(caller.result(call), answer(&json!([number]), &json!({})));
        }
    }
}

#[test]
fn a_cancelled_call_is_interrupted_at_its_callee() {
    let site = site();
    let peer = Peer::python();
    let callee = peer.join(&site.url, REALM, "json");
    let caller = peer.join(&site.url, REALM, "msgpack");
    callee.register("com.example.hang", "hang", json!({})).unwrap();

    let call = caller.begin("com.example.hang", json!([]), json!({}), json!({}));
    peer.wait_for_note("invoked");
    caller.cancel(call).unwrap();

    let _ = caller.result(call).unwrap_err();
    peer.wait_for_note("interrupted");
}

#[test]
fn a_callee_that_leaves_ends_the_calls_it_had() {
    let site = site();
    let peer = Peer::python();
    let callee = peer.join(&site.url, REALM, "json");
    let caller = peer.join(&site.url, REALM, "msgpack");
    callee.register("com.example.hang", "hang", json!({})).unwrap();

    let call = caller.begin("com.example.hang", json!([]), json!({}), json!({}));
    peer.wait_for_note("invoked");
    callee.leave();

    assert_eq!(caller.result(call).unwrap_err().uri, "wamp.error.canceled");
    let again = caller.call("com.example.hang", json!([]), json!({}));
    assert_eq!(again.unwrap_err().uri, "wamp.error.no_such_procedure");
}

#[test]
fn patterns_match_and_tell_what_was_meant() {
    let site = site();
    let peer = Peer::python();
    let [a, b] = ["msgpack", "json"].map(|serializer| peer.join(&site.url, REALM, serializer));

    let names = |procedure: &str, policy: &str, callee: &PeerSession| {
        callee.register(procedure, "name", json!({"match": policy})).unwrap()
    };
    names("com.example.node.a", "exact", &a);
    names("com.example", "prefix", &b);
    names("com..node.a", "wildcard", &a);
    let called = |procedure: &str| {
        let answer = b.call(procedure, json!([]), json!({})).unwrap();
        assert_eq!(answer["kwargs"]["procedure"], procedure);
        answer["kwargs"]["session"].clone()
    };
    assert_ne!(called("com.example.node.a"), called("com.example.node.b"));
    assert_eq!(called("com.other.node.a"), called("com.example.node.a"));

    let prefix = b.subscribe("com.example", json!({"match": "prefix"})).unwrap();
    let wildcard = b.subscribe("com..feeds.", json!({"match": "wildcard"})).unwrap();
    for topic in ["com.example.other", "com.example.feeds.beat", "com.other.feeds.beat"] {
        a.publish(topic, json!([]), json!({}), json!({})).unwrap();
    }
    let topics = |subscription| -> Vec<Value> {
        b.events(subscription, 2).iter().map(|event| event["topic"].clone()).collect()
    };
    assert_eq!(topics(prefix), ["com.example.other", "com.example.feeds.beat"]);
    assert_eq!(topics(wildcard), ["com.example.feeds.beat", "com.other.feeds.beat"]);
}

#[test]
fn what_the_router_refuses_it_refuses_in_words_of_the_spec() {
    let site = site();
    let peer = Peer::python();
    let session = peer.join(&site.url, REALM, "msgpack");
    session.register("com.example.echo", "echo", json!({})).unwrap();

    let refused = |outcome: Result<(), PeerError>| outcome.unwrap_err().uri;
    let nothing = || json!({});
    assert_eq!(
        refused(session.register("com.example.echo", "echo", nothing()).map(drop)),
        "wamp.error.procedure_already_exists"
    );
    assert_eq!(
        refused(session.call("com.example.nothing", json!([]), nothing()).map(drop)),
        "wamp.error.no_such_procedure"
    );
    let elsewhere = peer.try_join(&site.url, "nowhere", "json", &Value::Null);
    assert_eq!(elsewhere.err().unwrap().uri, "wamp.error.no_such_realm");
}
