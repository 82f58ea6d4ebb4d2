//! What autobahn-python knows of the advanced profile, on our router.

use drover_tests::{Peer, PeerSession, Site, wait_for};
use serde_json::{Value, json};

use crate::{DROVER, REALM, site};

const NAME: &str = "com.example.name";

fn call(session: &PeerSession, procedure: &str, args: Value) -> Value {
    session.call(procedure, args, json!({})).unwrap()["args"][0].clone()
}

#[test]
fn callees_of_one_procedure_take_turns_until_one_takes_it_over() {
    let site = site();
    let peer = Peer::python();
    let [a, b, caller] =
        ["cbor", "json", "msgpack"].map(|serializer| peer.join(&site.url, REALM, serializer));

    for callee in [&a, &b] {
        callee.register(NAME, "name", json!({"invoke": "roundrobin"})).unwrap();
    }
    let refused = caller.register(NAME, "name", json!({"invoke": "first"})).err().unwrap();
    assert_eq!(refused.uri, "wamp.error.procedure_exists_with_different_invocation_policy");
    let who = || {
        let answer = caller.call(NAME, json!([]), json!({})).unwrap();
        answer["kwargs"]["session"].as_str().unwrap().to_owned()
    };
    let turns = [who(), who(), who(), who()];
    assert_ne!(turns[0], turns[1]);
    assert_eq!(turns[..2], turns[2..]);

    a.leave();
    assert_eq!(who(), who());
    caller.register(NAME, "name", json!({"force_reregister": true})).unwrap();
    assert!(!turns.contains(&who()), "the one that took over answers");
}

#[test]
fn a_call_that_takes_too_long_is_ended_by_the_router() {
    let site = site();
    let peer = Peer::python();
    let [callee, caller] =
        ["cbor", "msgpack"].map(|serializer| peer.join(&site.url, REALM, serializer));
    callee.register("com.example.hang", "hang", json!({})).unwrap();

    let hang = caller.begin("com.example.hang", json!([]), json!({}), json!({"timeout": 50}));

    assert_eq!(caller.result(hang).unwrap_err().uri, "wamp.error.timeout");
    peer.wait_for_note("interrupted");
}

#[test]
fn publishers_choose_who_hears_and_what_stays() {
    let site = site();
    let peer = Peer::python();
    let [a, b, publisher] =
        ["cbor", "json", "msgpack"].map(|serializer| peer.join(&site.url, REALM, serializer));
    let topic = "com.example.topic";
    let hears = |session: &PeerSession| session.subscribe(topic, json!({})).unwrap();
    let (at_a, at_b) = (hears(&a), hears(&b));

    let publish = |what: &str, options: Value| {
        publisher.publish(topic, json!([what]), json!({}), options).unwrap();
    };
    publish("not a", json!({"exclude": [a.welcome["id"]]}));
    publish("only a", json!({"eligible": [a.welcome["id"]]}));
    publish("kept", json!({"retain": true}));
    let heard = |events: Vec<Value>| events.iter().map(|event| event["args"][0].clone()).collect();
    let (at_a, at_b): (Vec<Value>, Vec<Value>) =
        (heard(a.events(at_a, 2)), heard(b.events(at_b, 2)));
    assert_eq!(
        (at_a, at_b),
        (vec!["only a".into(), "kept".into()], vec!["not a".into(), "kept".into()])
    );

    let late = peer.join(&site.url, REALM, "json.batched");
    let kept = late.subscribe(topic, json!({"get_retained": true})).unwrap();
    assert_eq!(heard(late.events(kept, 1)), vec![Value::from("kept")]);
}

#[test]
fn sessions_see_one_another_come_and_leave_their_last_words() {
    let site = site();
    let peer = Peer::python();
    let watcher = peer.join(&site.url, REALM, "msgpack");
    let joined = watcher.subscribe("wamp.session.on_join", json!({})).unwrap();
    let left = watcher.subscribe("wamp.session.on_leave", json!({})).unwrap();
    let wills = watcher.subscribe("com.example.wills", json!({})).unwrap();

    let mortal = peer.join(&site.url, REALM, "cbor");
    let id = &mortal.welcome["id"];
    assert_eq!(watcher.events(joined, 1)[0]["args"][0]["session"], *id);
    let sessions = call(&watcher, "wamp.session.list", json!([]));
    assert!(sessions.as_array().unwrap().contains(id), "{sessions}");
    mortal.register(NAME, "name", json!({})).unwrap();
    let registration = call(&watcher, "wamp.registration.match", json!([NAME]));
    let callees = call(&watcher, "wamp.registration.list_callees", json!([registration]));
    assert_eq!(callees, json!([id]));

    let will = json!(["com.example.wills", ["farewell"], {"from": "mortal"}]);
    mortal.call("wamp.session.add_testament", will, json!({})).unwrap();
    watcher
        .call("wamp.session.kill", json!([id]), json!({"reason": "com.example.enough"}))
        .unwrap();
    assert_eq!(watcher.events(left, 1)[0]["args"][0], *id);
    let last = &watcher.events(wills, 1)[0];
    assert_eq!(
        (&last["args"], &last["kwargs"]),
        (&json!(["farewell"]), &json!({"from": "mortal"}))
    );
    wait_for("the name to be free", || watcher.register(NAME, "name", json!({})));
}

#[test]
fn callees_and_subscribers_learn_who_sent_what_if_the_rules_say_so() {
    let rules = r#"
        [realms.open]
        anonymous = "anybody"
        [realms.open.roles]
        anybody = [{ uri = "", match = "prefix", allow = { call = true, register = true, subscribe = true, publish = true }, disclose = { caller = "always", publisher = "always" } }]
    "#;
    let site = Site::start_with(DROVER, rules);
    let peer = Peer::python();
    let [a, b] = ["cbor", "json"].map(|serializer| peer.join(&site.url, "open", serializer));

    a.register(NAME, "name", json!({})).unwrap();
    let answer = b.call(NAME, json!([]), json!({})).unwrap();
    assert_eq!(answer["kwargs"]["caller"], b.welcome["id"]);
    assert_eq!(answer["kwargs"]["caller_login"], b.welcome["login"]);

    let subscription = a.subscribe("com.example.topic", json!({})).unwrap();
    b.publish("com.example.topic", json!([]), json!({}), json!({})).unwrap();
    assert_eq!(a.events(subscription, 1)[0]["publisher"], b.welcome["id"]);
}
