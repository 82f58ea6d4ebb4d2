//! The engine's events as a service, over its restarts and those of the engine.

use drover_engine_tests::RealEngine;
use drover_herd::Engine;
use serde_json::{Value, json};

use crate::kit::{Node, Running, on_simulated, shell};

/// The names of containers that were created, until one is `last`; `outage` for
/// each interruption.
fn created_until(node: &Node, events: &mut Running, last: &str) -> Vec<String> {
    let mut seen = Vec::new();
    while seen.last().is_none_or(|name| name != last) {
        let value = next(node, events);
        let name = &value["Actor"]["Attributes"]["name"];
        match (value.get("outage"), name.as_str()) {
            (Some(_), _) => seen.push("outage".to_owned()),
            (None, Some(name)) => seen.push(name.to_owned()),
            (None, None) => panic!("{value}"),
        }
    }
    seen
}

/// The next value, without what the service logs.
fn next(node: &Node, events: &mut Running) -> Value {
    loop {
        let value = events.report(node).expect("the service goes on");
        if value.get("record").is_none() {
            return value;
        }
    }
}

fn create(node: &Node, name: &str) {
    node.call("create", json!({ "name": name, "container": shell("true") }));
}

/// Follows a story in which the engine goes and comes back.
fn tell(node: &Node, go: impl Fn(), come_back: impl Fn()) {
    let filters = json!({ "filters": { "event": ["create"] } });
    let serve = || node.serve("events", "engine", filters.clone());
    let mut events = serve();
    // Only a service that follows already sees this one.
    let first = drover_tests::wait_for("an event", || {
        create(node, "first");
        node.remove("first");
        let value = events.try_report();
        value.ok_or(Value::Null)
    });
    assert_eq!(first["Actor"]["Attributes"]["name"], "first", "{first}");
    create(node, "second");
    let seen = created_until(node, &mut events, "second");
    assert!(!seen.contains(&"outage".to_owned()), "{seen:?}");

    events.cancel();
    events.outcome(node);
    create(node, "third");
    let mut events = serve();
    let seen = created_until(node, &mut events, "third");
    // What was being published when the service was stopped may come twice.
    assert!(["outage second third", "outage third"].contains(&&*seen.join(" ")), "{seen:?}");

    go();
    come_back();
    let value = next(node, &mut events);
    assert!(value["outage"]["why"].as_str().unwrap().contains("engine"), "{value}");
    create(node, "fourth");
    assert_eq!(created_until(node, &mut events, "fourth"), ["fourth"]);
}

#[test]
fn events_of_a_simulated_engine_resume_after_each_outage() {
    on_simulated(|node, engine: &Engine| {
        tell(node, || engine.go_away(), || engine.recover().unwrap());
    });
}

#[test]
fn events_of_a_real_engine_resume_after_each_outage() {
    let engine = RealEngine::start();
    tell(&Node::of(&engine), || engine.kill(), || engine.start_again());
}
