//! What labelled containers write, as records.

use drover_engine_tests::RealEngine;
use serde_json::{Value, json};

use crate::kit::{Node, Running, on_simulated, shell};

fn start(node: &Node, name: &str, script: &str, is_labelled: bool) {
    let mut container = shell(script);
    if is_labelled {
        container["labels"] = json!({ "io.drover.logs": "true" });
    }
    node.call("create", json!({ "name": name, "container": container }));
    node.call("start", json!({ "container": name }));
}

/// The records of containers until one of them is `last`, with their levels.
fn records_until(node: &Node, capture: &mut Running, last: &str) -> Vec<(u64, String)> {
    let mut seen: Vec<(u64, String)> = Vec::new();
    while seen.last().is_none_or(|(_, record)| record != last) {
        let Some(value) = capture.report(node) else { panic!("it ended: {:?}", capture.end(node)) };
        let record = value["record"].as_str().unwrap();
        // What it says of itself has no container's name in front.
        if record.split(": ").next().is_some_and(|name| !name.contains(' ')) {
            seen.push((value["level"].as_u64().unwrap(), record.to_owned()));
        }
    }
    seen
}

fn tell(node: &Node, go: impl Fn(), come_back: impl Fn()) {
    start(node, "before", "echo early", true);
    start(node, "secret", "echo nothing to see", false);
    node.call("wait", json!({ "container": "before" }));
    let serve = || node.serve("capture", "logs", json!({}));
    let mut capture = serve();
    assert_eq!(
        records_until(node, &mut capture, "before: early"),
        [(5, "before: early".to_owned())]
    );
    start(
        node,
        "talks",
        "echo plain; echo 7::odd; echo 8:::; echo a; echo b; echo :::; echo end; sleep 1000",
        true,
    );
    let expected = [(5, "talks: plain"), (7, "talks: odd"), (8, "talks: a\nb"), (5, "talks: end")];
    let expected = expected.map(|(level, record)| (level, record.to_owned()));
    assert_eq!(records_until(node, &mut capture, "talks: end"), expected);

    capture.cancel();
    capture.outcome(node);
    start(node, "later", "echo missed", true);
    let mut capture = serve();
    let seen = records_until(node, &mut capture, "later: missed");
    assert_eq!(seen, [(5, "later: missed".to_owned())], "nothing comes twice");

    // Many outputs end at once, in whatever order.
    for index in 0..8 {
        start(node, &format!("busy{index}"), "sleep 1000", true);
    }
    go();
    come_back();
    start(node, "last", "echo again", true);
    let seen = records_until(node, &mut capture, "last: again");
    let others: Vec<Value> =
        seen.iter().filter(|(_, record)| !record.starts_with("last")).map(|s| json!(s)).collect();
    assert!(others.is_empty(), "nothing comes twice: {others:?}");
}

#[test]
fn output_of_a_simulated_engine_is_captured_over_outages() {
    on_simulated(|node, engine| {
        tell(node, || engine.go_away(), || engine.recover().unwrap());
    });
}

#[test]
fn output_of_a_real_engine_is_captured_over_outages() {
    let engine = RealEngine::start();
    tell(&Node::of(&engine), || engine.kill(), || engine.start_again());
}
