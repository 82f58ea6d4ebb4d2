//! Programs that are told to end by a service manager, and may take their time.

use std::fs;
use std::path::Path;

use drover_tests::{Site, http, wait_for};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::site;

/// A program that lasts until a file is there.
fn until(file: &Path) -> String {
    format!("echo begun; until [ -e {} ]; do sleep 0.02; done; echo done", file.display())
}

/// Has a node run a script for good, under this id.
fn submit(site: &Site, id: &str, script: &str) {
    let arguments = json!({ "cmd": "/bin/sh", "args": ["-c", script] }).to_string();
    let line = ["job", "submit", "a", "process.execute", "--args", &arguments, "--id", id];
    let _ = site.drover(&line).ok();
}

/// Waits until a durable job is in a state.
fn wait_for_state(site: &Site, id: &str, state: &str) -> Value {
    wait_for(&format!("{id} to be {state}"), || {
        let shown: Value = serde_json::from_str(&site.drover(&["job", "show", id, "--json"]).ok())
            .expect("it is JSON");
        if shown["jobs"][0]["state"] == state { Ok(shown) } else { Err(shown) }
    })
}

#[test]
fn an_agent_that_is_terminated_lets_jobs_end_and_begins_none() {
    let site = site();
    let mut a = site.agent_with(1, "a", "[jobs]\nat_once = 1\n");
    let (live, durable) = (site.path("live"), site.path("durable"));
    let exec = site.start_drover(&["exec", "a", "--", "/bin/sh", "-c", &until(&live)]);
    exec.wait_for_outputs("begun", 1);
    submit(&site, "first", &until(&durable));
    wait_for_state(&site, "first", "RUNNING");
    submit(&site, "second", "echo second");

    a.process.signal(Signal::SIGTERM);
    a.process.wait_for_log("draining");
    let refused = site.drover(&["call", "a", "hello.greet", "name=Ada"]).failed(1);
    assert!(refused.contains("drains") && refused.contains("another node"), "{refused}");
    // Whoever looks on, or sees to a job that runs, still may.
    let _ = site.drover(&["call", "a", "agent.ping"]).ok();
    let node = site.wait_for_node("a", |node| node.description.trouble.is_some());
    assert!(node.description.trouble.unwrap().contains("drains"));

    fs::write(&durable, "").unwrap();
    wait_for_state(&site, "first", "OK");
    assert_eq!(a.process.has_ended(), None, "a live job still runs");
    fs::write(&live, "").unwrap();
    exec.wait_for_outputs("done", 1);
    assert!(a.process.wait().success(), "{}", a.process.log());
    wait_for_state(&site, "second", "QUEUED");

    let _a = site.start_agent(1, "a", "[jobs]\nat_once = 1\n");
    wait_for_state(&site, "second", "OK");
}

#[test]
fn what_outlasts_the_patience_is_ended_and_told_after_the_restart() {
    let site = site();
    let config = "[drain]\npatience = \"50ms\"\n";
    let mut a = site.agent_with(1, "a", config);
    submit(&site, "long", "echo begun; exec sleep 1000");
    wait_for_state(&site, "long", "RUNNING");
    a.process.signal(Signal::SIGTERM);
    assert!(a.process.wait().success(), "{}", a.process.log());
    assert!(a.process.log().contains("drain.patience"), "{}", a.process.log());

    let _a = site.start_agent(1, "a", config);
    let shown = wait_for_state(&site, "long", "ERROR");
    assert!(shown.to_string().contains("shutting"), "{shown}");
}

#[test]
fn a_second_signal_ends_the_patience() {
    let site = site();
    let mut a = site.agent(1, "a");
    submit(&site, "long", "exec sleep 1000");
    wait_for_state(&site, "long", "RUNNING");
    a.process.signal(Signal::SIGTERM);
    a.process.wait_for_log("draining");
    a.process.signal(Signal::SIGTERM);
    assert!(a.process.wait().success(), "{}", a.process.log());
}

#[test]
fn a_controller_that_is_terminated_lets_calls_end_and_takes_no_jobs() {
    let mut site = site();
    let a = site.agent(1, "a");
    let address = site.url.trim_start_matches("ws://").trim_end_matches("/ws").to_owned();
    let file = site.path("file");
    let exec = site.start_drover(&["exec", "a", "--", "/bin/sh", "-c", &until(&file)]);
    exec.wait_for_outputs("begun", 1);

    let mut controller = site.controller.take().unwrap();
    controller.signal(Signal::SIGTERM);
    controller.wait_for_log("draining");
    let ready = http(&address, "GET /ready", "", "");
    assert_eq!((ready.status, &ready.json()["status"]), (503, &json!("stopping")), "{ready:?}");
    let command = json!({ "id": "late", "cmd": "hello.greet", "args": { "name": "Ada" } });
    let call = json!({
        "procedure": "drover.controller.job.submit",
        "args": [{ "command": command, "nodes": "a" }],
    });
    let refused = http(&address, "POST /call", "", &call.to_string()).json();
    assert_eq!(refused["error"], "drover.error.shutting_down", "{refused}");
    assert!(refused.to_string().contains("retry_after_ms"), "{refused}");
    let turned_away = http(&address, "GET /ws", "", "");
    assert_eq!(turned_away.status, 503, "{turned_away:?}");
    assert!(turned_away.head.to_lowercase().contains("retry-after"), "{turned_away:?}");

    fs::write(&file, "").unwrap();
    exec.wait_for_outputs("done", 1);
    assert!(controller.wait().success(), "{}", controller.log());
    a.process.wait_for_log("lost the controller");
    site.start_controller();
    site.wait_until_ready("a", 2);
}
