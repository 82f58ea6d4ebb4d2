//! Child processes of a node, from the command to the last of them.

use std::path::Path;
use std::time::{Duration, Instant};

use drover_api::{
    Command, ErrorCode, Exit, JobId, JobResult, JobState, Level, Progress, procedures,
};
use drover_logs::store::{Page, StoredRecord};
use drover_tests::{Agent, Site, wait_for};
use drover_wamp::{CallOptions, Client, Payload, RunningCall};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::site;
use crate::wamp_callers::{A, bare, join, run};

/// How long anything may take. Generous: only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn site_with_node(config: &str) -> (Site, Agent) {
    let site = site();
    let a = site.start_agent(1, "a", config);
    site.wait_until_ready("a", 0);
    (site, a)
}

/// A line of shell, with more arguments of the command.
fn shell(line: &str, more: Value) -> Command {
    let Value::Object(mut args) = more else { panic!("arguments are an object") };
    args.insert("cmd".into(), "/bin/sh".into());
    args.insert("args".into(), json!(["-c", line]));
    Command { args, ..Command::new("process.execute") }
}

async fn start(client: &Client, command: &Command) -> RunningCall {
    let payload = Payload::one(command).unwrap();
    client.start(&procedures::run(A), payload, CallOptions::default()).await.unwrap()
}

async fn next(running: &mut RunningCall) -> Value {
    let report = tokio::time::timeout(PATIENCE, running.next()).await;
    report.expect("a report comes").expect("it runs").first::<Progress>().unwrap().progress
}

async fn result(running: RunningCall) -> JobResult {
    running.answer().await.unwrap().first().unwrap()
}

async fn records(client: &Client, job: &JobId) -> Vec<StoredRecord> {
    let query = json!({ "job": job, "order": "oldest" });
    let page: Page = serde_json::from_value(bare(client, "log.query", query).await).unwrap();
    page.records
}

pub(crate) fn is_there(pid: u64) -> bool {
    // One that is dead and not reaped yet does nothing any more.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

pub(crate) fn wait_until_gone(pid: u64) {
    wait_for("the end of a process", || if is_there(pid) { Err(pid) } else { Ok(()) });
}

#[tokio::test]
async fn a_program_runs_and_its_output_result_and_exit_come_back() {
    let (site, _a) = site_with_node("");
    let client = join(&site).await;

    let line = "read name; echo hello $name; echo oh >&2; echo '7::careful'; \
                echo '9::wake up'; echo '20::{\"free\": 3}'; echo $AGENT_NID $X";
    let mut command = shell(line, json!({ "env": { "X": "x" }, "domain": "web", "name": "shop" }));
    command.data = "Ada\n".into();
    let done = run(&client, &command).await;

    assert_eq!(done.state, JobState::Ok, "{done:?}");
    assert_eq!(done.data, json!({ "free": 3 }));
    assert_eq!(done.exit, Some(Exit { code: Some(0), signal: None }));
    assert_eq!(done.critical.as_deref(), Some("wake up"));
    assert!(done.streams[0].starts_with("hello Ada\n") && done.streams[0].ends_with("1 x\n"));
    assert_eq!(done.streams[1], "oh\n");
    let found = records(&client, &command.id).await;
    let found: Vec<_> = found.iter().map(|r| (r.level, r.text().into_owned())).collect();
    for (level, text) in [
        (Level::STDOUT, "hello Ada"),
        (Level::STDERR, "oh"),
        (Level::WARNING, "careful"),
        (Level::CRITICAL, "wake up"),
        (Level::RESULT_JSON, "{\"free\": 3}"),
    ] {
        assert!(found.contains(&(level, text.to_owned())), "{level:?} {text} is not in {found:?}");
    }

    let failed = run(&client, &shell("echo no >&2; exit 3", json!({}))).await;
    assert_eq!((failed.state, failed.streams[1].as_str()), (JobState::Error, "no\n"));
    assert_eq!(failed.exit, Some(Exit { code: Some(3), signal: None }));
    assert_eq!(failed.error.unwrap().code, ErrorCode::Failed);
}

#[tokio::test]
async fn levels_say_what_is_looked_at_and_what_is_kept() {
    let (site, _a) = site_with_node("");
    let client = join(&site).await;
    let line = "echo one; echo two >&2; echo 5::five; echo 7::seven; echo 20::1; echo 20::2";

    let some = shell(line, json!({ "loglevels": "1,5-9,20", "loglevels_db": "7" }));
    let done = run(&client, &some).await;
    assert_eq!(done.data, 2);
    let texts = |records: &[StoredRecord]| -> Vec<String> {
        records.iter().map(|record| record.text().into_owned()).collect()
    };
    assert_eq!(texts(&records(&client, &some.id).await), ["seven"]);

    let no_results = shell(line, json!({ "loglevels": "1-5" }));
    assert_eq!(run(&client, &no_results).await.data, Value::Null);
    let found = records(&client, &no_results.id).await;
    assert_eq!(found.len(), 3, "{found:?}");

    let wrong = run(&client, &shell("true", json!({ "loglevels_ac": "9-7" }))).await;
    let error = wrong.error.unwrap();
    assert!(error.code == ErrorCode::InvalidArguments && error.message.contains("loglevels_ac"));
    let wrong = run(&client, &shell("true", json!({ "max_tmie": 3 }))).await;
    assert!(wrong.error.unwrap().message.contains("`max_tmie` is unknown"));
}

#[tokio::test]
async fn output_comes_live_and_cancelling_ends_the_whole_tree() {
    let (site, _a) = site_with_node("");
    let client = join(&site).await;
    let line = "sleep 1000 & echo $!; setsid sleep 1000 & echo $!; printf 'a\\377b'; wait";
    let mut running = start(&client, &shell(line, json!({}))).await;

    let mut text = String::new();
    while text.lines().count() < 2 || !text.ends_with('!') {
        let report = next(&mut running).await;
        match report["stdout"].as_str() {
            Some(more) => text += more,
            // The bytes may come with the lines before them or alone.
            None => {
                let base64 = report["stdout_base64"].as_str().unwrap();
                let bytes = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
                assert!(bytes.ends_with(b"a\xffb"));
                text += &String::from_utf8_lossy(&bytes[..bytes.len() - 3]);
                text.push('!');
            }
        }
    }
    let pids: Vec<u64> =
        text.lines().filter_map(|line| line.trim_end_matches('!').parse().ok()).collect();
    assert!(pids.len() == 2 && pids.iter().all(|pid| is_there(*pid)), "{text}");
    running.cancel();

    let done = result(running).await;
    assert_eq!((done.state, done.error.unwrap().code), (JobState::Killed, ErrorCode::Cancelled));
    assert!(pids.iter().all(|pid| !is_there(*pid)), "{pids:?}");
}

#[tokio::test]
async fn a_kill_tells_what_there_was_and_a_deadline_is_kept() {
    let (site, _a) = site_with_node("");
    let client = join(&site).await;
    let command =
        shell("trap '' TERM; echo ready; while :; do sleep 1; done", json!({ "grace": "100ms" }));
    let mut running = start(&client, &command).await;
    assert_eq!(next(&mut running).await, json!({ "stdout": "ready\n" }));
    let listed = bare(&client, "process.list", json!({})).await;
    assert_eq!((&listed[0]["id"], &listed[0]["phase"]), (&json!(command.id), &json!("running")));
    assert!(is_there(listed[0]["pid"].as_u64().unwrap()));

    let killed = bare(&client, "kill", json!({ "id": command.id })).await;

    assert!(killed["killed"] == true && killed["left"] == json!([]), "{killed}");
    assert!(!killed["found"].as_array().unwrap().is_empty(), "{killed}");
    let done = result(running).await;
    assert_eq!(done.state, JobState::Killed, "{done:?}");
    assert_eq!(bare(&client, "process.list", json!({})).await, json!([]));
    let errors = site.drover(&["call", "a", "process.kill", "id=nobody"]).failed(4);
    assert!(errors.contains("no job with the id nobody"), "{errors}");

    for (more, timeout_ms) in [(json!({ "max_time": 0.2 }), None), (json!({}), Some(200))] {
        let command = Command { timeout_ms, ..shell("sleep 1000", more) };
        let done = run(&client, &command).await;
        assert_eq!((done.state, done.error.unwrap().code), (JobState::Timeout, ErrorCode::Timeout));
    }
}

#[tokio::test]
async fn standard_input_can_be_written_while_the_program_runs() {
    let (site, _a) = site_with_node("");
    let client = join(&site).await;
    let mut command = shell("cat", json!({ "stdin": "open" }));
    command.data = "first\n".into();
    let mut running = start(&client, &command).await;
    assert_eq!(next(&mut running).await, json!({ "stdout": "first\n" }));

    bare(&client, "process.stdin", json!({ "id": command.id, "text": "second\n" })).await;
    assert_eq!(next(&mut running).await, json!({ "stdout": "second\n" }));
    let last = json!({ "id": command.id, "base64": "/w==", "eof": true });
    bare(&client, "process.stdin", last).await;
    assert_eq!(next(&mut running).await, json!({ "stdout_base64": "/w==" }));
    assert_eq!(result(running).await.state, JobState::Ok);
}

#[tokio::test]
async fn scripts_run_with_the_interpreters_that_the_node_allows() {
    let (site, _a) = site_with_node("");
    let client = join(&site).await;
    let script = |args: Value, text: &str, cmd: &str| {
        let Value::Object(args) = args else { panic!("arguments are an object") };
        Command { args, data: text.to_owned(), ..Command::new(cmd) }
    };
    let text = "cat; echo \"$1\"";
    let args = json!({ "interpreter": "sh", "args": ["one"], "input": "zero\n" });
    let done = run(&client, &script(args, text, "process.execute_script")).await;
    assert_eq!(done.streams[0], "zero\none\n", "{done:?}");

    let text = "import json\nprint('20::' + json.dumps({'two': 1 + 1}))";
    let done = run(&client, &script(json!({}), text, "execute_js_py")).await;
    assert_eq!((done.state, &*done.data), (JobState::Ok, &json!({ "two": 2 })), "{done:?}");
    assert_eq!(done.cmd, "execute_js_py");

    let args = json!({ "interpreter": "perl" });
    let done = run(&client, &script(args, text, "process.execute_script")).await;
    let error = done.error.unwrap();
    assert!(error.message.contains("`perl`") && error.message.contains("python"), "{error}");
}

#[tokio::test]
async fn what_a_process_measures_is_added_up() {
    let (site, _a) = site_with_node("[statsd]\ninterval = \"100ms\"\n");
    let client = join(&site).await;
    let line = "for i in 1 2 3 4; do echo '10::sent:2|c'; done; printf '10:::\\nsent:1|c\\nsent:1|c\\n:::\\n'";
    let command = shell(line, json!({ "domain": "web", "name": "shop" }));
    run(&client, &command).await;

    let deadline = Instant::now() + PATIENCE;
    let mut total = 0.0;
    while total < 10.0 {
        let series = records(&client, &command.id).await;
        let totals = series.iter().map(|record| {
            assert_eq!(record.level, Level::STATSD);
            let series: Value = serde_json::from_slice(&record.data).unwrap();
            series["total"].as_f64().unwrap()
        });
        total = totals.sum();
        assert!(Instant::now() < deadline, "{total} was added up");
    }
    assert_eq!(total, 10.0);
}

#[tokio::test]
async fn a_remembered_job_outlives_its_caller_and_the_agent() {
    let (site, mut a) = site_with_node("");
    let client = join(&site).await;
    let file = site.path("beats");
    let line = format!("while :; do echo beat >> {}; echo beat; sleep 0.05; done", file.display());
    let command = shell(&line, json!({ "max_time": -1, "name": "beats" }));

    let accepted = run(&client, &command).await;
    assert_eq!(accepted.data, json!({ "id": command.id, "remembered": true }));
    wait_for_more(&file);
    let pid = wait_for("the process", || {
        let listed = site.drover(&["call", "a", "process.list", "--json"]).ok();
        let listed: JobResult = serde_json::from_str(&listed).unwrap();
        listed.data[0]["pid"].as_u64().ok_or(listed.data)
    });

    a.process.signal(Signal::SIGKILL);
    a.process.wait();
    assert!(is_there(pid), "it does not die with the agent");
    let _a = site.start_agent(1, "a", "");
    site.wait_until_ready("a", 0);
    wait_for_more(&file);
    let client = join(&site).await;
    let listed = bare(&client, "process.list", json!({})).await;
    assert_eq!((&listed[0]["id"], &listed[0]["pid"]), (&json!(command.id), &json!(pid)));

    let killed = bare(&client, "process.kill", json!({ "id": command.id })).await;
    assert_eq!(killed["left"], json!([]));
    wait_until_gone(pid);
    assert!(records(&client, &command.id).await.len() > 2);
}

/// Waits until a file has grown.
pub(crate) fn wait_for_more(file: &Path) {
    let length = || std::fs::metadata(file).map_or(0, |file| file.len());
    let before = length();
    wait_for("more in the file", || if length() > before { Ok(()) } else { Err(before) });
}

#[tokio::test]
async fn what_processes_use_is_told_when_asked_and_as_metrics() {
    let (site, _a) = site_with_node("[statsd]\ninterval = \"100ms\"\n");
    let client = join(&site).await;
    let line = "echo ready; exec sleep 1000";
    let more = json!({ "domain": "web", "name": "shop", "stats_interval": 0.1 });
    let commands = [shell(line, more.clone()), shell(line, more)];
    let mut running = Vec::new();
    for command in &commands {
        let mut call = start(&client, command).await;
        assert_eq!(next(&mut call).await, json!({ "stdout": "ready\n" }));
        running.push(call);
    }

    let one = bare(&client, "process.stats", json!({ "id": commands[0].id })).await;
    assert_eq!((&one["name"], &one["processes"]), (&json!("shop"), &json!(1)));
    assert!(one["rss"].as_u64().unwrap() > 100_000, "{one}");
    let all = bare(&client, "get_processes_stats", json!({ "domain": "web", "name": "" })).await;
    assert_eq!(all[0]["jobs"], json!([commands[0].id, commands[1].id]));
    assert_eq!((all[0]["processes"].as_u64(), all.as_array().unwrap().len()), (Some(2), 1));
    assert_eq!(bare(&client, "process.stats_all", json!({ "name": "no" })).await, json!([]));

    let shown = site.drover(&["stats", "a"]).ok();
    assert!(shown.contains("web.shop") && shown.contains("MB"), "{shown}");
    let shown = site.drover(&["stats", "a", commands[0].id.as_str(), "--json"]).ok();
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()["id"], json!(commands[0].id));
    assert!(site.drover(&["stats", "a", "nobody"]).failed(4).contains("no job with the id"));
    let mut watching = site.start_drover(&["stats", "a", "--watch=100ms", "--json"]);
    watching.wait_for_outputs("web", 3);
    watching.signal(Signal::SIGINT);
    assert_eq!(watching.wait().code(), Some(130));
    let listed: Value = serde_json::from_str(&site.drover(&["ps", "--json"]).ok()).unwrap();
    assert_eq!(listed[1]["usage"]["processes"], 1, "{listed}");

    let deadline = Instant::now() + PATIENCE;
    for name in ["_cpu_", "_rss_", "_vms_", "_swap_"] {
        let is_there = |record: &StoredRecord| {
            let series: Value = serde_json::from_slice(&record.data).unwrap();
            series["metric"] == name && (name != "_rss_" || series["value"].as_f64() > Some(1e5))
        };
        while !records(&client, &commands[0].id)
            .await
            .iter()
            .any(|record| record.level == Level::STATSD && is_there(record))
        {
            assert!(Instant::now() < deadline, "{name} is not in the log");
        }
    }
    bare(&client, "process.killall", json!({})).await;
}
