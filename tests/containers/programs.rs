//! What programs in containers write, read and use, and files in and out.

use data_encoding::BASE64;
use drover_engine_tests::archive;
use serde_json::{Value, json};

use crate::kit::{Node, on_both, on_real, shell};

/// A container that runs a script.
fn start(node: &Node, name: &str, script: &str) {
    node.call("create", json!({ "name": name, "container": shell(script) }));
    node.call("start", json!({ "container": name }));
}

#[test]
fn output_comes_whole_cut_and_as_it_is_written() {
    on_both(|node| {
        start(node, "writes", "seq 1 5; echo error >&2; sleep 1; echo end");
        let mut followed = node.start("logs", json!({ "container": "writes", "follow": true }));
        let mut text = String::new();
        while let Some(report) = followed.report(node) {
            text += report["text"].as_str().unwrap();
        }
        assert!(text.contains("error\n") && text.ends_with("end\n"), "{text:?}");
        let all = followed.answer(node);
        let expected =
            json!({ "stdout": "1\n2\n3\n4\n5\nend\n", "stderr": "error\n", "omitted": 0 });
        assert_eq!(all, expected);
        assert_eq!(node.call("logs", json!({ "container": "writes" })), expected);
        let some = json!({ "container": "writes", "tail": 1, "keep": 2 });
        let expected = json!({ "stdout": "en", "stderr": "", "omitted": 2 });
        assert_eq!(node.call("logs", some), expected);
        node.fails("logs", json!({ "container": "nobody" })).is("not-found", "nobody");
        node.remove("writes");
    });
}

#[test]
fn a_program_in_a_container_tells_its_output_and_status() {
    on_both(|node| {
        start(node, "runs", "sleep 1000");
        let exec = |more: Value| {
            let mut asked = json!({ "container": "runs" });
            asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            node.call("exec", asked)
        };
        let asked = json!({
            "command": ["sh", "-c", "echo $A; echo bad >&2; exit 3"], "environment": { "A": "b" },
        });
        let output = json!({ "stdout": "b\n", "stderr": "bad\n", "omitted": 0 });
        assert_eq!(exec(asked), json!({ "status": 3, "output": output }));
        let missing = exec(json!({ "command": ["nothing-of-that-name"] }));
        assert!([126, 127].map(Value::from).contains(&missing["status"]), "{missing}");
        let detached = exec(json!({ "command": ["sleep", "1000"], "detach": true }));
        assert_eq!(detached["status"], Value::Null);

        node.call("stop", json!({ "container": "runs", "timeout": 0 }));
        let asked = json!({ "container": "runs", "command": ["true"] });
        node.fails("exec", asked).is("conflict", "cannot run true in container runs");
        node.remove("runs");
    });
}

#[test]
fn files_go_in_and_come_out() {
    on_both(|node| {
        start(node, "files", "sleep 1000");
        let packed = archive(&[("greeting", "hello\n")]);
        let place = json!({ "container": "files", "path": "/tmp" });
        for _ in 0..2 {
            let changed = node.call_with("copy_in", place.clone(), &packed);
            assert_eq!(changed, json!({ "changed": true }));
        }
        let shown = json!({ "container": "files", "command": ["cat", "/tmp/greeting"] });
        assert_eq!(node.call("exec", shown)["output"]["stdout"], "hello\n");
        let file = json!({ "container": "files", "path": "/tmp/greeting" });
        let copied = node.call("copy_out", file.clone());
        assert_eq!(
            (&copied["about"]["name"], &copied["about"]["size"]),
            (&json!("greeting"), &json!(6))
        );
        let tar = BASE64.decode(copied["tar"].as_str().unwrap().as_bytes()).unwrap();
        assert!(tar.windows(6).any(|bytes| bytes == b"hello\n"));
        let nowhere = json!({ "container": "files", "path": "/nowhere" });
        node.fails("copy_out", nowhere).is("not-found", "/nowhere");
        let empty = node.fails("copy_in", place);
        empty.is("invalid", "there is no archive");
        node.remove("files");
    });
}

#[test]
fn a_program_gets_a_container_of_its_own_for_once() {
    on_both(|node| {
        let container = shell("echo out; echo error >&2; exit 4");
        let ran = node.call("run", json!({ "name": "once", "container": container }));
        assert_eq!(ran["status"], 4);
        let expected = json!({ "stdout": "out\n", "stderr": "error\n", "omitted": 0 });
        assert_eq!(ran["output"], expected);
        node.fails("inspect", json!({ "container": "once" })).is("not-found", "once");
        let stays = json!({ "name": "stays", "container": shell("true"), "stay": true });
        let stayed = node.call("run", stays);
        let shown = node.call("inspect", json!({ "container": "stays" }));
        assert_eq!(shown["Id"], stayed["id"]);
        node.remove("stays");
    });
}

#[test]
fn use_is_measured_once_and_live() {
    on_both(|node| {
        start(node, "measured", "sleep 1000");
        let once = node.call("stats", json!({ "containers": ["measured"] }));
        assert!(once[0]["stats"]["memory_stats"]["usage"].as_u64().unwrap() > 0, "{once}");
        let live = node.start("stats_live", json!({ "container": "measured", "count": 2 }));
        assert_eq!(live.answer(node), json!({ "measurements": 2 }));
        let all = node.call("stats", json!({}));
        assert!(!all.as_array().unwrap().is_empty());
        node.remove("measured");
    });
}

#[test]
fn too_much_memory_and_bad_health_are_told() {
    on_both(|node| {
        let mut container = shell("tail /dev/zero");
        container["memory"] = json!(16 << 20);
        container["memory_swap"] = json!(16 << 20);
        let ran = node.call("run", json!({ "name": "greedy", "container": container }));
        assert_eq!((&ran["oom_killed"], &ran["status"]), (&json!(true), &json!(137)), "{ran}");
    });
    // The simulated engine checks nobody's health.
    on_real(|node| {
        for (name, check, expected) in [("well", "true", "healthy"), ("ill", "false", "unhealthy")]
        {
            let mut container = shell("sleep 1000");
            container["health"] = json!({ "command": [check], "interval_ms": 100, "retries": 1 });
            node.call("create", json!({ "name": name, "container": container }));
            node.call("start", json!({ "container": name }));
            drover_tests::wait_for(expected, || {
                let shown = node.call("inspect", json!({ "container": name }));
                let health = shown["State"]["Health"].clone();
                if health["Status"] == expected { Ok(()) } else { Err(health) }
            });
            node.remove(name);
        }
    });
}

#[test]
fn programs_read_what_they_are_sent_however_much_it_is() {
    on_both(|node| {
        let mut container = shell("cat");
        container["stdin_open"] = json!(true);
        container["engine"] = json!({ "StdinOnce": true });
        node.call("create", json!({ "name": "reads", "container": container }));
        node.call("start", json!({ "container": "reads" }));
        let input = "all work and no play\n".repeat(20_000);
        let asked = json!({
            "container": "reads", "command": ["cat"], "input": true, "keep": 1_000_000,
        });
        let ran = node.call_with("exec", asked, input.as_bytes());
        assert_eq!((&ran["status"], ran["output"]["stdout"] == input), (&json!(0), true));

        let asked = json!({ "container": "reads", "input": true, "keep": 1_000_000 });
        let attached = node.call_with("attach", asked, input.as_bytes());
        assert_eq!(attached["output"]["stdout"].as_str().unwrap().len(), input.len());
        assert_eq!(node.call("wait", json!({ "container": "reads" }))["status"], 0);
        node.remove("reads");
    });
}
