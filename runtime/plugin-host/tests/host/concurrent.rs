//! Asynchronous operations, and what those may do that mean harm: the host holds
//! them by the same limits as all others.

use std::time::Duration;

use bytes::Bytes;
use drover_api::{ErrorCode, JobState};
use drover_plugin_host::{Gone, Host, Job, JobStreams, Limits, Outcome, PipeReader, pipe};
use serde_json::json;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::kit::{PATIENCE, assert_says, component, error, host, job};

/// More than all that is allowed to wait on the way.
const MUCH: usize = 8 << 20;

/// A host with the plugin `concurrent`.
async fn concurrent() -> Host {
    let host = host(Limits::default());
    host.load_file(&component("concurrent")).await.unwrap();
    host
}

fn operation(name: &str) -> Job {
    Job { plugin: "concurrent".into(), ..job(name, json!({})) }
}

async fn run(host: &Host, job: Job) -> Outcome {
    timeout(PATIENCE, host.run(job)).await.unwrap()
}

async fn read_all(mut output: PipeReader) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(bytes) = output.read(1 << 20).await {
        all.extend_from_slice(&bytes);
    }
    all
}

/// Runs an operation with `input` going in, and gives what came out as well, and
/// whether all went in.
async fn pass(host: &Host, name: &str, input: Bytes) -> (Outcome, Vec<u8>, Result<(), Gone>) {
    let (mut writer, reader) = pipe();
    let (into, output) = pipe();
    let streams = JobStreams { input: Some(reader), output: Some(into) };
    let job = Job { streams, ..operation(name) };
    let writing = async move { writer.write(input).await };
    let all = async { tokio::join!(host.run(job), read_all(output), writing) };
    timeout(PATIENCE, all).await.unwrap()
}

/// Runs an operation whose streams nobody serves, for a tenth of a second.
async fn neglect(host: &Host, name: &str) -> Outcome {
    let (_writer, reader) = pipe();
    let (into, _output) = pipe();
    let streams = JobStreams { input: Some(reader), output: Some(into) };
    let limit = Some(Duration::from_millis(100));
    run(host, Job { streams, timeout: limit, ..operation(name) }).await
}

fn noise(length: usize) -> Bytes {
    (0..length).map(|at| (at * 7 % 251) as u8).collect()
}

#[tokio::test]
async fn what_goes_in_comes_out_whole_and_in_order() {
    let host = concurrent().await;
    for length in [0, 1, 100_000, MUCH] {
        let sent = noise(length);
        let (outcome, output, written) = pass(&host, "copy", sent.clone()).await;
        assert_eq!(outcome.data, json!({ "bytes": length }), "{outcome:?}");
        assert!(output == sent && written.is_ok(), "{} of {length} bytes", output.len());
    }
}

#[tokio::test]
async fn the_data_of_the_command_comes_first() {
    let host = concurrent().await;
    let (into, output) = pipe();
    let streams = JobStreams { input: None, output: Some(into) };
    let job = Job { data: b"data".to_vec(), streams, ..operation("copy") };
    let (outcome, output) = tokio::join!(run(&host, job), read_all(output));
    assert_eq!((outcome.state, &output[..]), (JobState::Ok, &b"data"[..]), "{outcome:?}");
}

#[tokio::test]
async fn plain_and_asynchronous_operations_of_one_plugin_are_called_alike() {
    let host = concurrent().await;
    let plugin = host.plugins().remove(0);
    let names: Vec<_> = plugin.operations.iter().map(|operation| &*operation.name).collect();
    assert!(names.is_sorted() && names.contains(&"plain") && names.contains(&"copy"));

    let arguments = json!({ "value": 7 }).as_object().unwrap().clone();
    let plain = Job { arguments: arguments.clone(), ..operation("plain") };
    assert_eq!(run(&host, plain).await.data, 7);
    let wrong = Job { arguments, ..operation("copy") };
    error(&run(&host, wrong).await, ErrorCode::InvalidArguments);

    let failed = run(&host, operation("fails")).await;
    let failed = error(&failed, ErrorCode::Failed);
    assert_says(&format!("{failed:?}"), &["there is no room", "full"]);
    let crashed = run(&host, operation("panics")).await;
    assert_says(&error(&crashed, ErrorCode::Trapped).message, &["concurrent.panics", "last words"]);
    let refused = run(&host, operation("copy")).await;
    assert_says(&error(&refused, ErrorCode::Failed).message, &["takes no output"]);
}

#[tokio::test]
async fn each_stream_is_taken_once_by_whichever_interface() {
    let host = concurrent().await;
    let (outcome, _, _) = pass(&host, "takes_twice", Bytes::new()).await;
    let words = outcome.data.as_array().unwrap();
    assert_eq!(words.len(), 4, "{outcome:?}");
    assert!(words.iter().all(|words| words.as_str().unwrap().contains("asked for this stream")));
}

#[tokio::test]
async fn who_has_enough_tells_the_caller_so() {
    let host = concurrent().await;
    let (outcome, output, written) = pass(&host, "reads_some", noise(MUCH)).await;
    assert_eq!(outcome.data, json!({ "bytes": 1000 }), "{outcome:?}");
    assert!(output.is_empty() && written == Err(Gone));
}

#[tokio::test]
async fn a_caller_who_wants_no_more_is_a_closed_stream() {
    let host = concurrent().await;
    let (into, mut output) = pipe();
    let streams = JobStreams { input: None, output: Some(into) };
    let running = run(&host, Job { streams, ..operation("writes_for_ever") });
    let reading = async move { output.read(1000).await };
    let (outcome, read) = tokio::join!(running, reading);
    assert_eq!(read.unwrap().len(), 1000);
    assert_says(&error(&outcome, ErrorCode::Failed).message, &["broken pipe"]);
}

#[tokio::test]
async fn a_buffer_of_any_size_gets_what_the_pipe_holds() {
    let host = concurrent().await;
    let (outcome, _, _) = pass(&host, "reads_into_much", noise(MUCH)).await;
    let bytes = outcome.data["bytes"].as_u64().unwrap();
    assert!((1..=256 << 10).contains(&bytes), "{outcome:?}");
    let (outcome, output, _) = pass(&host, "writes_at_once", Bytes::new()).await;
    assert_eq!((outcome.state, output.len()), (JobState::Ok, 32 << 20), "{outcome:?}");
}

#[tokio::test]
async fn what_is_at_work_when_the_operation_returns_ends_with_it() {
    let host = concurrent().await;
    let (outcome, output, _) = pass(&host, "returns_while_it_writes", Bytes::new()).await;
    assert_eq!(outcome.state, JobState::Ok, "{outcome:?}");
    // How much of its 8 MiB was out by then is a matter of the machine.
    assert!(output.len() <= 8 << 20 && output.iter().all(|byte| *byte == b'x'));
}

#[tokio::test]
async fn the_deadline_ends_who_waits_who_sleeps_and_who_computes() {
    for name in ["copy", "never_reads", "writes_for_ever", "sleeps", "spins"] {
        let host = concurrent().await;
        let outcome = neglect(&host, name).await;
        assert_says(&error(&outcome, ErrorCode::Timeout).message, &[name]);
        assert_eq!(neglect(&host, "takes_twice").await.state, JobState::Ok, "after {name}");
    }
}

#[tokio::test]
async fn a_cancelled_job_ends_while_it_waits() {
    let host = concurrent().await;
    let (_writer, reader) = pipe();
    let (into, mut output) = pipe();
    let (cancel, streams) =
        (CancellationToken::new(), JobStreams { input: Some(reader), output: Some(into) });
    let job = Job { data: b"x".to_vec(), cancel: cancel.clone(), streams, ..operation("copy") };
    let cancelling = async move {
        assert_eq!(output.read(1).await.unwrap(), "x");
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(run(&host, job), cancelling);
    assert_eq!(outcome.state, JobState::Killed, "{outcome:?}");
}

#[tokio::test]
async fn who_waits_for_what_can_never_come_is_told_so_at_once() {
    let host = concurrent().await;
    let outcome = run(&host, operation("waits_for_nothing")).await;
    assert_says(&error(&outcome, ErrorCode::Trapped).message, &["can never come"]);
}

#[tokio::test]
async fn memory_and_streams_are_bounded() {
    let host = concurrent().await;
    let outcome = run(&host, operation("hoards")).await;
    error(&outcome, ErrorCode::OutOfMemory);
    let outcome = run(&host, operation("opens_for_ever")).await;
    assert_says(&error(&outcome, ErrorCode::Trapped).message, &["1000", "`handles`"]);
    assert_eq!(neglect(&host, "takes_twice").await.state, JobState::Ok);
}
