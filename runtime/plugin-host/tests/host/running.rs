//! Jobs: what they get, what they answer, and how they fail.

use std::time::Duration;

use drover_api::{ErrorCode, JobState, Level};
use drover_plugin_host::{Caller, Job, Limits, Said};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::kit::{answer, assert_says, component, error, guests, host, job};

#[tokio::test]
async fn an_answer_is_the_operations_own() {
    let host = guests(Limits::default()).await;
    let value = json!({ "a": [1, null, "ü", { "deep": 2.5 }] });
    assert_eq!(answer(&host, "echo", json!({ "value": value.clone() })).await, value);
    let outcome = host.run(job("empty", json!({}))).await;
    assert_eq!((outcome.state, &*outcome.data), (JobState::Ok, &Value::Null));
    assert!(outcome.error.is_none() && outcome.took > Duration::ZERO);
}

#[tokio::test]
async fn each_run_has_a_fresh_instance() {
    let host = guests(Limits::default()).await;
    for _ in 0..3 {
        assert_eq!(answer(&host, "count", json!({})).await, 1);
    }
}

#[tokio::test]
async fn a_job_knows_its_id_data_and_deadline() {
    let host = guests(Limits::default()).await;
    let mut job = job("job", json!({}));
    let id = job.id.clone();
    job.data = b"beside".to_vec();
    let (name, role) = (Some("ada".to_owned()), Some("operator".to_owned()));
    job.caller = Some(Caller { session: 7, name, role });
    job.timeout = Some(Duration::from_secs(30));
    let outcome = host.run(job).await;
    assert_eq!(outcome.data["id"], id.as_str());
    assert_eq!(outcome.data["data"], json!(b"beside"));
    assert_eq!(outcome.data["is_cancelled"], false);
    assert_eq!(outcome.data["data_size"], 6);
    assert_eq!(outcome.data["data_range"], json!(b"ide"));
    assert_eq!(outcome.data["command"], "guests.job");
    let plugin = json!({ "name": "guests", "version": env!("CARGO_PKG_VERSION") });
    assert_eq!(outcome.data["plugin"], plugin);
    let nowhere = json!({ "gid": 0, "nid": 0, "name": "", "labels": [] });
    assert_eq!(outcome.data["node"], nowhere);
    let caller = json!({ "session": 7, "name": "ada", "role": "operator" });
    assert_eq!(outcome.data["caller"], caller);
    let remaining = outcome.data["remaining_ms"].as_u64().unwrap();
    assert!((1..=30_000).contains(&remaining), "{remaining}");
}

#[tokio::test]
async fn nothing_of_the_hosts_is_to_be_seen() {
    let host = guests(Limits::default()).await;
    assert_eq!(answer(&host, "environment", json!({})).await["variables"], json!({}));
    for (operation, path) in [("read_file", "/etc/passwd"), ("list_directory", "/")] {
        let outcome = host.run(job(operation, json!({ "path": path }))).await;
        error(&outcome, ErrorCode::Failed);
    }
}

#[tokio::test]
async fn a_failure_keeps_the_plugins_code_and_words() {
    let host = guests(Limits::default()).await;
    let arguments = json!({ "code": "no-disk", "message": "sda is gone" });
    let outcome = host.run(job("fail", arguments)).await;
    let error = error(&outcome, ErrorCode::Failed);
    assert_eq!(error.message, "sda is gone");
    assert_eq!(error.detail["code"], "no-disk");
    assert_eq!(outcome.state, JobState::Error);
}

#[tokio::test]
async fn a_panic_is_told_with_its_message_and_backtrace() {
    let host = guests(Limits::default()).await;
    let outcome = host.run(job("panic", json!({ "message": "no such luck" }))).await;
    let error = error(&outcome, ErrorCode::Trapped);
    assert_says(&error.message, &["`guests.panic` crashed", "crash.rs", "no such luck"]);
    assert_says(&outcome.streams[1], &["no such luck"]);
    let backtrace = error.detail["backtrace"].as_array().unwrap();
    assert!(
        backtrace.iter().any(|frame| frame.as_str().unwrap().contains("guests::crash::")),
        "{backtrace:?}"
    );
}

#[tokio::test]
async fn deep_recursion_ends_that_job_alone() {
    let host = guests(Limits::default()).await;
    let outcome = host.run(job("recurse", json!({}))).await;
    assert_says(&error(&outcome, ErrorCode::Trapped).message, &["stack is exhausted"]);
    assert_eq!(answer(&host, "count", json!({})).await, 1);
}

#[tokio::test]
async fn an_exit_ends_that_job_alone() {
    let host = guests(Limits::default()).await;
    let outcome = host.run(job("exit", json!({ "status": 3 }))).await;
    assert_says(&error(&outcome, ErrorCode::Trapped).message, &["exit("]);
    assert_eq!(answer(&host, "count", json!({})).await, 1);
}

#[tokio::test]
async fn endless_allocation_is_out_of_memory_and_the_memory_comes_back() {
    let host = guests(Limits { memory_bytes: 32 << 20, ..Limits::default() }).await;
    for _ in 0..3 {
        let outcome = host.run(job("allocate", json!({}))).await;
        assert_says(&error(&outcome, ErrorCode::OutOfMemory).message, &["32 MiB"]);
    }
    assert_eq!(answer(&host, "count", json!({})).await, 1);
}

#[tokio::test]
async fn unknown_names_are_answered_with_the_known_ones() {
    let host = guests(Limits::default()).await;
    let mut unknown = job("ecko", json!({}));
    let outcome = host.run(unknown).await;
    let message = &error(&outcome, ErrorCode::UnknownCommand).message;
    assert_says(message, &["no operation `ecko`; there are: echo, "]);

    unknown = job("echo", json!({}));
    unknown.plugin = "gests".into();
    let outcome = host.run(unknown).await;
    let message = &error(&outcome, ErrorCode::UnknownCommand).message;
    assert_says(message, &["no plugin `gests`; there are: guests"]);
}

#[tokio::test]
async fn arguments_are_checked_before_the_plugin_runs() {
    let host = guests(Limits::default()).await;
    let outcome = host.run(job("print", json!({ "lines": "many", "colour": 1 }))).await;
    let error = error(&outcome, ErrorCode::InvalidArguments);
    assert_says(&error.message, &["`lines` cannot be \"many\"", "integer", "`colour` is unknown"]);
    let named: Vec<_> = error.detail.as_array().unwrap().iter().map(|p| &p["argument"]).collect();
    assert!(named.contains(&&json!("lines")) && named.contains(&&json!("colour")), "{named:?}");
    assert_eq!(outcome.streams, [String::new(), String::new()]);
}

#[tokio::test]
async fn a_service_loads_and_says_that_it_cannot_be_run() {
    let host = guests(Limits::default()).await;
    let outcome = host.run(job("serve", json!({}))).await;
    assert_says(&error(&outcome, ErrorCode::InvalidCommand).message, &["is a service"]);
}

#[tokio::test]
async fn both_streams_are_captured() {
    let host = guests(Limits::default()).await;
    let outcome = host.run(job("print", json!({ "lines": 2 }))).await;
    assert_eq!(outcome.streams, ["1\n2\n".to_owned(), String::new()]);
    let outcome = host.run(job("print", json!({ "lines": 1, "stream": "error" }))).await;
    assert_eq!(outcome.streams, [String::new(), "1\n".to_owned()]);
}

#[tokio::test]
async fn the_end_of_a_long_stream_is_kept_and_nothing_panics() {
    let host = guests(Limits::default()).await;
    let outcome = host.run(job("print", json!({ "lines": 50_000 }))).await;
    assert_eq!(outcome.state, JobState::Ok);
    let text = &outcome.streams[0];
    assert_says(text, &["bytes before this were left out]\n", "\n50000\n"]);
    assert!(text.len() < 66 << 10);
}

#[tokio::test]
async fn records_come_with_the_outcome_and_are_bounded() {
    let host = guests(Limits::default()).await;
    let outcome = host.run(job("log", json!({ "records": 2 }))).await;
    let records: Vec<_> = outcome.records.iter().map(|r| (r.level, r.data.as_str())).collect();
    assert_eq!(records, [(Level::OPERATOR, "1"), (Level::OPERATOR, "2")]);

    let outcome = host.run(job("log", json!({ "records": 1005 }))).await;
    assert_eq!(outcome.records.len(), 1001);
    assert_says(&outcome.records[1000].data, &["5 more records"]);
}

#[tokio::test]
async fn all_that_a_plugin_says_is_handed_on_however_slowly_it_is_taken() {
    let host = guests(Limits::default()).await;
    for (operation, arguments) in [
        ("print", json!({ "lines": 3000 })),
        ("print", json!({ "lines": 3000, "stream": "error" })),
        ("log", json!({ "records": 3000 })),
    ] {
        let (sender, mut said) = mpsc::channel(1);
        let mut job = job(operation, arguments);
        job.said = Some(sender);
        let (outcome, text) = tokio::join!(host.run(job), async {
            let mut text = String::new();
            while let Some(said) = said.recv().await {
                tokio::task::yield_now().await;
                match said {
                    Said::Record { record, .. } => text += &(record.data + "\n"),
                    Said::Stdout(bytes) | Said::Stderr(bytes) => {
                        text += std::str::from_utf8(&bytes).unwrap();
                    }
                }
            }
            text
        });
        assert_eq!(outcome.state, JobState::Ok, "{outcome:?}");
        assert!(text.lines().eq((1..=3000).map(|number| number.to_string())), "{operation}");
    }
}

#[tokio::test]
async fn a_listener_that_left_is_no_error_and_one_that_sleeps_ends_with_the_job() {
    let host = guests(Limits::default()).await;
    for operation in ["print", "log"] {
        let many = json!({ if operation == "log" { "records" } else { "lines" }: 1000 });
        let gone = Job { said: Some(mpsc::channel(1).0), ..job(operation, many.clone()) };
        assert_eq!(host.run(gone).await.state, JobState::Ok);
        let (sender, _asleep) = mpsc::channel(1);
        let timeout = Some(Duration::from_millis(200));
        let outcome = host.run(Job { said: Some(sender), timeout, ..job(operation, many) }).await;
        assert_eq!(outcome.state, JobState::Timeout, "{operation}");
    }
}

#[tokio::test]
async fn progress_arrives_in_order_and_waits_for_its_reader() {
    let host = guests(Limits::default()).await;
    let (sender, mut reports) = mpsc::channel(1);
    let mut job = job("progress", json!({ "reports": 50 }));
    job.progress = Some(sender);
    let (outcome, numbers) = tokio::join!(host.run(job), async {
        let mut numbers = Vec::new();
        while let Some(report) = reports.recv().await {
            numbers.push(report[0].as_u64().unwrap());
        }
        numbers
    });
    assert_eq!(outcome.state, JobState::Ok, "{outcome:?}");
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_reader_of_progress_that_left_is_no_error() {
    let host = guests(Limits::default()).await;
    let mut job = job("progress", json!({ "reports": 5 }));
    job.progress = Some(mpsc::channel(1).0);
    assert_eq!(host.run(job).await.state, JobState::Ok);
}

#[tokio::test]
async fn a_report_that_is_too_long_is_refused() {
    let host = guests(Limits::default()).await;
    let outcome = host.run(job("progress", json!({ "reports": 1, "bytes": 70_000 }))).await;
    error(&outcome, ErrorCode::Failed);
}

#[tokio::test]
async fn an_answer_over_the_limit_is_an_error() {
    let host = guests(Limits { answer_bytes: 1000, ..Limits::default() }).await;
    // The first is refused by its length, the second before it is even copied.
    for bytes in [1001, 10 << 20] {
        let outcome = host.run(job("big_answer", json!({ "bytes": bytes }))).await;
        assert_says(&error(&outcome, ErrorCode::InvalidAnswer).message, &["1000"]);
    }
    assert_eq!(answer(&host, "big_answer", json!({ "bytes": 10 })).await, "x".repeat(10));
}

#[tokio::test]
async fn a_large_argument_arrives_whole() {
    let host =
        guests(Limits { memory_bytes: 256 << 20, answer_bytes: 32 << 20, ..Limits::default() })
            .await;
    let value = json!("x".repeat(20 << 20));
    assert_eq!(answer(&host, "echo", json!({ "value": value.clone() })).await, value);
}

#[tokio::test]
async fn an_answer_of_garbage_is_an_error() {
    let host = host(Limits::default());
    host.load_file(&component("answer_garbage")).await.unwrap();
    for (operation, code) in
        [("answer", ErrorCode::InvalidAnswer), ("fail", ErrorCode::InvalidAnswer)]
    {
        let mut job = job(operation, json!({}));
        job.plugin = "answer_garbage".into();
        let outcome = host.run(job).await;
        let error = error(&outcome, code);
        assert!(!error.message.contains('\u{1b}'), "{error:?}");
    }
}
