//! An operator calls operations from the terminal.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use drover_api::{ErrorCode, JobResult, JobState};
use drover_tests::{Site, compiled, component, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::site;

fn result(json: &str) -> JobResult {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

/// A site with node `a`, which has the misbehaving guests beside the built-in plugins.
fn site_with_guests() -> (Site, drover_tests::Agent) {
    let site = site();
    site.add_plugin("a", "guests.wasm", &std::fs::read(component("guests")).unwrap());
    site.add_plugin("a", "hello.wasm", &std::fs::read(component("hello")).unwrap());
    site.add_plugin("a", "sysinfo.wasm", &std::fs::read(component("sysinfo")).unwrap());
    let a = site.start_agent(1, "a", "");
    site.wait_until_ready("a", 3);
    (site, a)
}

#[test]
fn a_call_travels_to_the_plugin_and_back() {
    let site = site();
    let _a = site.agent(1, "a");
    let _b = site.agent(2, "b");

    let text = site.drover(&["call", "b", "hello.greet", "name=Ada"]).ok();
    assert!(text.contains("Hello, Ada!"), "{text}");

    let json =
        site.drover(&["call", "1.2", "hello.greet", "--args", r#"{"name":"Ada"}"#, "--json"]);
    let result = result(&json.ok());
    assert_eq!((result.state, result.nid.0), (JobState::Ok, 2));
    assert_eq!(result.args["name"], "Ada");
}

#[test]
fn memory_is_what_the_kernel_says() {
    let site = site();
    let _a = site.agent(1, "a");

    let json = site.drover(&["call", "a", "sysinfo.memory", "--json"]).ok();

    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    let kilobytes: u64 = total.trim().trim_end_matches(" kB").parse().unwrap();
    assert_eq!(result(&json).data["total"], Value::from(kilobytes * 1024));
}

#[test]
fn what_there_is_can_be_listed_with_its_arguments() {
    let site = site();
    let _a = site.agent(1, "a");
    let _b = site.agent(2, "b");

    let text = site.drover(&["ops", "a"]).ok();
    for part in ["hello.greet", "sysinfo.cpu", "sysinfo.processes", "Who to greet."] {
        assert!(text.contains(part), "no {part} in {text}");
    }

    let json: Value = serde_json::from_str(&site.drover(&["ops", "--json"]).ok()).unwrap();
    let greet = json.as_array().unwrap().iter().find(|op| op["cmd"] == "hello.greet").unwrap();
    assert_eq!(greet["nodes"], serde_json::json!(["a", "b"]));
    assert_eq!(greet["arguments"]["properties"]["name"]["type"], "string");
}

#[test]
fn what_does_not_exist_is_answered_with_what_does() {
    let site = site();
    let _a = site.agent(1, "a");

    let errors = site.drover(&["call", "z", "hello.greet"]).failed(4);
    assert!(errors.contains("no node `z`") && errors.contains("a (1.1)"), "{errors}");

    let errors = site.drover(&["call", "a", "helo.greet"]).failed(4);
    assert!(errors.contains("helo") && errors.contains("hello"), "{errors}");

    let errors = site.drover(&["call", "a", "hello.wave"]).failed(4);
    assert!(errors.contains("wave") && errors.contains("there are: greet"), "{errors}");

    let errors = site.drover(&["call", "a", "hello"]).failed(4);
    assert!(errors.contains("<plugin>.<operation>"), "{errors}");
}

#[test]
fn arguments_are_checked_before_the_plugin_runs() {
    let site = site();
    let _a = site.agent(1, "a");

    let errors = site.drover(&["call", "a", "hello.greet", "nmae=Ada"]).failed(5);
    assert!(errors.contains("nmae") && errors.contains("name"), "{errors}");

    let errors = site.drover(&["call", "a", "hello.greet", "--args", r#"{"name":7}"#]).failed(5);
    assert!(errors.contains("name") && errors.contains("string"), "{errors}");

    let errors = site.drover(&["call", "a", "hello.greet", "name"]).failed(2);
    assert!(errors.contains("KEY=VALUE"), "{errors}");
}

#[test]
fn ctrl_c_cancels_the_job_on_the_node() {
    let (site, _a) = site_with_guests();
    // It reports once, and that tells us that the job is running.
    let mut call = site.start_drover(&["call", "a", "guests.ignore_cancel"]);
    call.wait_for_log("… waiting");

    call.signal(Signal::SIGINT);

    assert_eq!(call.wait().code(), Some(130), "{}", call.log());
    // The node is free again: its one running job has ended.
    let after = site.drover(&["call", "a", "hello.greet", "name=Ada"]).ok();
    assert!(after.contains("Ada"));
}

#[test]
fn a_deadline_ends_the_job_and_says_so() {
    let (site, _a) = site_with_guests();

    let ran = site.drover(&["call", "a", "guests.spin", "--timeout", "200ms"]);

    let errors = ran.failed(124);
    assert!(errors.contains("timeout"), "{errors}");
}

#[test]
fn a_plugins_crash_is_an_error_of_its_job_alone() {
    let (site, _a) = site_with_guests();

    let json = site.drover(&["call", "a", "guests.panic", "message=oh no", "--json"]);
    assert_eq!(json.status, Some(1));
    let crashed = result(&json.stdout);
    let error = crashed.error.unwrap();
    assert_eq!(error.code, ErrorCode::Trapped);
    assert!(error.message.contains("guests.panic") && error.message.contains("oh no"), "{error:?}");
    assert!(!error.detail.is_null(), "a backtrace belongs to it");

    let errors = site.drover(&["call", "a", "guests.allocate"]).failed(1);
    assert!(errors.contains("out-of-memory"), "{errors}");

    let after = site.drover(&["call", "a", "hello.greet", "name=Ada"]).ok();
    assert!(after.contains("Ada"));
}

#[test]
fn what_a_job_prints_and_logs_reaches_the_operator() {
    let (site, _a) = site_with_guests();

    let json = site.drover(&["call", "a", "guests.print", "lines=3", "--json"]).ok();
    assert_eq!(result(&json).streams[0], "1\n2\n3\n");

    let json = site.drover(&["call", "a", "guests.log", "records=3", "--json"]).ok();
    assert_eq!(result(&json).records.len(), 3);

    let json = site.drover(&["call", "a", "guests.job", "--data", "text", "--json"]).ok();
    assert_eq!(result(&json).data["data"], serde_json::json!(b"text"));
}

#[test]
fn a_node_that_dies_during_a_call_is_reported_at_once() {
    let (site, a) = site_with_guests();
    let mut call = site.start_drover(&["call", "a", "guests.until_cancelled"]);
    call.wait_for_log("… waiting");

    a.process.signal(Signal::SIGKILL);

    assert_ne!(call.wait().code(), Some(0));
    wait_for("a word about the loss", || {
        let log = call.log();
        log.contains("cannot call guests.until_cancelled").then_some(()).ok_or(log)
    });
}

#[test]
fn a_plugin_runs_and_is_inspected_without_a_controller() {
    let (file, cache) = (component("hello"), compiled());
    let (file, cache) = (file.to_str().unwrap(), cache.to_str().unwrap());
    let drover = |line: &[&str]| drover_tests::run(crate::DROVER.as_ref(), line);

    let text = drover(&["plugin", "run", file, "greet", "name=Ada", "--cache", cache]).ok();
    assert!(text.contains("Hello, Ada!"), "{text}");

    let errors = drover(&["plugin", "run", file, "wave", "--cache", cache]).failed(4);
    assert!(errors.contains("greet"), "{errors}");

    let text = drover(&["plugin", "inspect", file, "--cache", cache]).ok();
    for part in ["hello.greet", "drover:plugin/operations@0.1.0", "Who to greet."] {
        assert!(text.contains(part), "no {part} in {text}");
    }
}

#[test]
fn data_and_answers_that_are_no_text_arrive_whole() {
    let site = site();
    site.add_plugin("a", "guests.wasm", &fs::read(component("guests")).unwrap());
    let _a = site.start_agent(1, "a", "");
    site.wait_until_ready("a", 1);
    let bytes: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for sent in [&bytes[..], b"text\n", b""] {
        let mut call = site.command(&["call", "a", "guests.data", "--data", "-"]);
        let mut child = call
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(sent).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stdout == sent, "{} bytes of {}", output.stdout.len(), sent.len());
    }
    let result = site.drover(&["call", "a", "guests.data", "--data", "text", "--json"]).ok();
    assert!(result.contains("\"base64\": \"dGV4dA==\""), "{result}");
}
