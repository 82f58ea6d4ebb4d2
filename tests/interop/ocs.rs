//! The Observatory Control System on our controller, knowing nothing of us.

use std::path::Path;

use drover_tests::{Ocs, Process, Site, wait_for};
use serde_json::{Value, json};

use crate::DROVER;

/// The controller for OCS that we ship as an example.
const EXAMPLE: &str = include_str!("../../examples/ocs/controller.toml");

/// A controller as in the example, on a port of its own.
fn hub() -> (Site, Ocs) {
    let site = Site::start_with(DROVER, &EXAMPLE.replace("listen =", "# not"));
    let ocs = Ocs::new(&site.url);
    (site, ocs)
}

/// The replies of an agent to what OCSClient asks of it, after its class.
fn control(ocs: &Ocs, instance: &str, requests: &[Value]) -> Vec<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/peers/ocs_control.py");
    let requests: Vec<String> = requests.iter().map(Value::to_string).collect();
    let mut arguments = vec![instance];
    arguments.extend(requests.iter().map(String::as_str));
    let printed = ocs.python(&script, &arguments).ok();
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Scans until the answer has `text` in it: a scan listens for two seconds only.
fn wait_for_scan(ocs: &Ocs, arguments: &[&str], text: &str) {
    let line = [&["scan"], arguments].concat();
    wait_for(text, || {
        let scanned = ocs.client(&line).ok();
        if scanned.contains(text) { Ok(()) } else { Err(scanned) }
    });
}

/// Waits for a feed's message on a topic.
fn wait_for_message(listener: &Process, topic: &str) -> Value {
    listener.wait_for_output(topic, |line| {
        let heard: Value = serde_json::from_str(line).ok()?;
        (heard["topic"] == topic).then(|| heard["message"].clone())
    })
}

#[test]
fn an_observatory_runs_on_our_controller() {
    let (_site, ocs) = hub();
    let _registry = ocs.agent("registry");
    let _fake1 = ocs.agent("fake1");
    let _fake2 = ocs.agent("fake2");

    wait_for_scan(&ocs, &["--details"], "List of Detected Agents: (3)");
    let listener = ocs.start_client(&["listen", "--json", "observatory..feeds."]);
    let beat = wait_for_message(&listener, "observatory.fake1.feeds.heartbeat");
    assert_eq!(beat[1]["agent_class"], "FakeDataAgent");
    let data = wait_for_message(&listener, "observatory.fake2.feeds.false_temperatures");
    assert!(data[0]["temps"]["data"]["channel_00"].is_array(), "{data}");

    // The registry does not hear itself.
    wait_for_scan(&ocs, &["--use-registry"], "List of Registered Agents: (2)");
}

#[test]
fn scripts_control_agents_through_our_bridge() {
    let (_site, ocs) = hub();
    let _fake1 = ocs.agent("fake1");

    let replies = control(
        &ocs,
        "fake1",
        &[
            json!(["status", "delay_task", {}]),
            json!(["start", "delay_task", {"delay": 0.1, "succeed": true}]),
            json!(["wait", "delay_task", {"timeout": 30}]),
            json!(["start", "acq", {}]),
            json!(["wait", "acq", {"timeout": 0.1}]),
            json!(["start", "acq", {}]),
            json!(["stop", "acq", {}]),
            json!(["wait", "acq", {"timeout": 30}]),
            json!(["abort", "delay_task", {}]),
        ],
    );
    assert_eq!(replies[0], "FakeDataAgent");
    let told = |reply: usize| (replies[reply][0].clone(), replies[reply][1].as_str().unwrap());
    assert_eq!(told(1), (json!(0), "No session active."));
    assert_eq!(told(2), (json!(0), "Started task \"delay_task\"."));
    assert_eq!(replies[3][2]["success"], true);
    assert_eq!(told(4), (json!(0), "Started process \"acq\"."));
    assert_eq!(told(5).0, 1, "the wait timed out");
    assert_eq!(told(6), (json!(-1), "Operation \"acq\" already in progress."));
    assert_eq!(replies[8][2]["op_code"], 5, "{}", replies[8]);
    assert_eq!(told(9), (json!(-1), "The operation is already done"));
}

#[test]
fn a_second_agent_of_the_same_name_is_told_so() {
    let (_site, ocs) = hub();
    let _fake1 = ocs.agent("fake1");

    let second = ocs.start_agent("fake1", &[]);
    second.wait_for_outputs("wamp.error.procedure_already_exists", 1);
    second.wait_for_outputs("Is this agent already running?", 1);
}

#[test]
fn an_agent_of_another_realm_is_told_so_and_tries_again() {
    let (_site, ocs) = hub();

    let lost = ocs.start_agent("fake1", &["--site-realm", "nowhere"]);
    lost.wait_for_outputs("wamp.error.no_such_realm", 2);
}

#[test]
fn agents_outlive_the_controller_and_come_back_to_it() {
    let (mut site, ocs) = hub();
    let registry = ocs.agent("registry");
    let fake1 = ocs.agent("fake1");
    let fake2 = ocs.agent("fake2");

    site.controller = None;
    for agent in [&registry, &fake1, &fake2] {
        agent.wait_for_outputs("transport disconnected", 1);
    }
    site.start_controller();
    for agent in [&registry, &fake1, &fake2] {
        ocs.wait_until_joined(agent, 2);
    }

    // What ran before still runs.
    let listener = ocs.start_client(&["listen", "--json", "observatory..feeds."]);
    wait_for_message(&listener, "observatory.fake2.feeds.false_temperatures");
    wait_for_scan(&ocs, &["--use-registry"], "List of Registered Agents: (2)");
}
