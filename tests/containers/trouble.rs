//! Engines that are away, slow, broken or killed: each operation ends with a clear
//! error, nothing is left over, and the next one works.

use drover_engine_tests::RealEngine;
use drover_herd::{Fault, FaultKind};
use serde_json::{Value, json};

use crate::kit::{EVERYTHING, Node, on_simulated, shell};

/// Services, which wait for an engine, and what answers with a reply of its own.
const OTHERS: [&str; 3] = ["capture", "events", "rancher_event"];

/// Each operation but [`OTHERS`], so that it has to ask the engine.
fn operations() -> Vec<(&'static str, Value)> {
    let one = json!({ "container": "kept" });
    let named = json!({ "name": "new", "container": shell("true") });
    let image = json!({ "image": "busybox:1" });
    let member = json!({ "network": "bridge", "container": "kept" });
    let with = |name: &str, value: Value| json!({ "container": "kept", name: value });
    let mut operations = vec![
        ("rename", with("name", json!("other"))),
        ("update", with("memory", json!(1 << 26))),
        ("stats_live", with("count", json!(1))),
        ("exec", with("command", json!(["true"]))),
        ("copy_in", json!({ "container": "kept", "path": "/tmp", "tar": "AAAA" })),
        ("copy_out", with("path", json!("/tmp"))),
        ("create", named.clone()),
        ("ensure", named.clone()),
        ("run", named),
        ("absent", json!({ "name": "kept" })),
        ("image_inspect", image.clone()),
        ("image_remove", image.clone()),
        ("image_pull", image.clone()),
        ("image_push", image),
        ("image_tag", json!({ "image": "busybox:1", "repository": "other", "tag": "1" })),
        ("image_save", json!({ "images": ["busybox:1"] })),
        ("image_build", json!({ "tar": "AAAA" })),
        ("image_load", json!({ "tar": "AAAA" })),
        ("image_import", json!({ "repository": "new", "tar": "AAAA" })),
        ("network_inspect", json!({ "network": "bridge" })),
        ("network_create", json!({ "name": "new" })),
        ("network_connect", member.clone()),
        ("network_disconnect", member),
        ("network_remove", json!({ "network": "new" })),
        ("volume_inspect", json!({ "volume": "v" })),
        ("volume_create", json!({ "name": "v" })),
        ("volume_remove", json!({ "volume": "v" })),
        ("events_between", json!({ "since": "1", "until": "2" })),
    ];
    for operation in ["list", "stats", "prune", "info", "version", "disk_use"] {
        operations.push((operation, json!({})));
    }
    for operation in ["image_list", "image_prune", "network_list", "network_prune"] {
        operations.push((operation, json!({})));
    }
    for operation in ["volume_list", "volume_prune"] {
        operations.push((operation, json!({})));
    }
    for operation in ["inspect", "top", "changes", "wait", "start", "stop", "restart", "pause"] {
        operations.push((operation, one.clone()));
    }
    for operation in ["unpause", "kill", "remove", "logs", "attach"] {
        operations.push((operation, one.clone()));
    }
    operations
}

#[test]
fn every_operation_says_what_is_wrong_with_the_engine_and_works_again_when_it_is_back() {
    on_simulated(|node, engine| {
        node.call("create", json!({ "name": "kept", "container": shell("sleep 1000") }));
        let refuses = FaultKind::Status { status: 500, message: "out of hay".to_owned() };
        for kind in [FaultKind::Gone, FaultKind::Refused, refuses] {
            for (operation, arguments) in operations() {
                engine.fail(Fault::new("*", kind.clone()));
                let failed = node.fails(operation, arguments);
                let codes: &[&str] = match kind {
                    // A request that changes nothing is sent again.
                    FaultKind::Gone => &["engine-broken", "engine-unreachable"],
                    FaultKind::Refused => &["engine-broken"],
                    _ => &["engine-failed"],
                };
                let is_clear = failed.message.starts_with("cannot ")
                    && codes.contains(&&*failed.code)
                    && (codes != ["engine-failed"] || failed.message.ends_with("out of hay"));
                assert!(is_clear, "{operation} {kind:?}: {failed:?}");
                engine.recover().unwrap();
            }
            node.call("list", json!({}));
        }
        engine.go_away();
        let away = node.fails("list", json!({}));
        away.is("engine-unreachable", "see whether the engine runs");
        engine.recover().unwrap();
        node.call("list", json!({}));
    });
}

#[test]
fn no_operation_is_left_out_here() {
    on_simulated(|node, _| {
        let mut named: Vec<_> = operations().into_iter().map(|(name, _)| name).collect();
        named.extend(OTHERS);
        named.sort_unstable();
        let mut all = node.operations();
        all.sort_unstable();
        assert_eq!(named, all);
    });
}

#[test]
fn an_answer_that_breaks_off_leaves_nothing_stuck_in_any_operation() {
    on_simulated(|node, engine| {
        for (operation, arguments) in operations() {
            node.remove("kept");
            node.call("create", json!({ "name": "kept", "container": shell("sleep 1000") }));
            node.call("start", json!({ "container": "kept" }));
            // Whoever waits for a container would wait for as long as it runs.
            if ["attach", "logs", "run", "wait"].contains(&operation) {
                node.call("kill", json!({ "container": "kept" }));
            }
            engine.fail(Fault::new("*", FaultKind::HalfAnswer).times(1));
            let outcome = node.start(operation, arguments).outcome(node);
            engine.recover().unwrap();
            // An answer without a body has no half.
            let Some(error) = &outcome.error else { continue };
            let has_code = error.detail["code"].is_string();
            let is_clear = has_code && error.message.starts_with("cannot ");
            assert!(is_clear, "{operation}: {outcome:?}");
        }
        node.call("list", json!({}));
    });
}

#[test]
fn a_socket_that_is_none_is_told_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let (missing, file) = (folder.path().join("none.sock"), folder.path().join("file"));
    std::fs::write(&file, "").unwrap();
    for place in [missing, file] {
        let node = Node::at(&place, EVERYTHING);
        let outcome = node.start("list", json!({})).outcome(&node);
        let error = outcome.error.unwrap();
        assert!(error.message.contains("which socket is granted as `docker`"), "{error:?}");
        let told =
            outcome.records.iter().any(|record| record.data.contains(place.to_str().unwrap()));
        assert!(told, "{:?}", outcome.records);
    }
}

#[test]
fn half_an_answer_is_an_error_and_a_slow_one_is_not() {
    on_simulated(|node, engine| {
        node.call("create", json!({ "name": "kept", "container": shell("sleep 1000") }));
        node.call("start", json!({ "container": "kept" }));
        for (operation, arguments) in [
            ("list", json!({ "all": true })),
            ("inspect", json!({ "container": "kept" })),
            ("info", json!({})),
            ("stats", json!({ "containers": ["kept"] })),
            ("image_list", json!({})),
            ("image_save", json!({ "images": ["busybox:1"] })),
            ("copy_out", json!({ "container": "kept", "path": "/bin/sh" })),
        ] {
            engine.fail(Fault::new("*", FaultKind::HalfAnswer));
            node.fails(operation, arguments.clone()).is("engine-broken", "cannot ");
            engine.recover().unwrap();
            engine.fail(Fault::new("*", FaultKind::SlowMs(50)));
            node.call(operation, arguments);
            engine.recover().unwrap();
        }
    });
}

#[test]
fn a_job_that_waits_for_a_silent_engine_can_be_cancelled() {
    on_simulated(|node, engine| {
        engine.fail(Fault::new("/containers/json", FaultKind::SlowMs(3_600_000)));
        let waiting = node.start("list", json!({}));
        drover_tests::wait_for("the request", || {
            let requests = engine.requests();
            let is_there = requests.iter().any(|request| request == "GET /containers/json");
            is_there.then_some(()).ok_or(requests)
        });
        waiting.cancel();
        assert_eq!(waiting.outcome(node).state, drover_api::JobState::Killed);
    });
}

#[test]
fn a_real_engine_that_is_killed_under_all_operations_at_once_ends_each_with_a_clear_error() {
    let engine = RealEngine::start();
    let node = &Node::of(&engine);
    node.call("create", json!({ "name": "kept", "container": shell("sleep 1000") }));
    engine.freeze();
    let jobs: Vec<_> = operations()
        .into_iter()
        .map(|(operation, arguments)| (operation, node.start(operation, arguments)))
        .collect();
    engine.kill();
    for (operation, job) in jobs {
        let failed = job.refusal(node);
        let is_clear = failed.message.starts_with("cannot ")
            && ["engine-broken", "engine-unreachable"].contains(&&*failed.code);
        assert!(is_clear, "{operation}: {failed:?}");
    }
    engine.start_again();
    let kept = node.call("inspect", json!({ "container": "kept" }));
    assert_eq!(kept["State"]["Status"], "created");
    assert_eq!(node.call("list", json!({ "all": true })).as_array().unwrap().len(), 1);
}

#[test]
fn a_real_engine_that_is_killed_ends_what_waits_for_it_and_is_used_again() {
    let engine = RealEngine::start();
    let node = &Node::of(&engine);
    node.call("create", json!({ "name": "kept", "container": shell("echo up; sleep 1000") }));
    let one = json!({ "container": "kept" });
    node.call("start", one.clone());
    let mut logs = node.start("logs", json!({ "container": "kept", "follow": true }));
    assert_eq!(logs.report(node).unwrap()["text"], "up\n");
    let mut stats = node.start("stats_live", one.clone());
    stats.report(node).unwrap();
    let mut exec = node.start(
        "exec",
        json!({ "container": "kept", "command": ["sh", "-c", "echo in; sleep 1000"] }),
    );
    assert_eq!(exec.report(node).unwrap()["text"], "in\n");
    let mut run =
        node.start("run", json!({ "name": "ran", "container": shell("echo on; sleep 1000") }));
    assert_eq!(run.report(node).unwrap()["text"], "on\n");

    engine.kill();
    for job in [logs, stats, exec, run] {
        let failed = job.refusal(node);
        assert!(["engine-broken", "engine-unreachable"].contains(&&*failed.code), "{failed:?}");
    }
    node.fails("list", json!({})).is("engine-unreachable", "see whether the engine runs");

    engine.start_again();
    node.call("list", json!({}));
    node.call(
        "ensure",
        json!({ "name": "kept", "container": shell("echo up; sleep 1000"), "timeout": 0 }),
    );
    assert_eq!(node.call("inspect", one)["State"]["Running"], true);
}
