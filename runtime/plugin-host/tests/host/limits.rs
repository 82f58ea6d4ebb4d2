//! Limits that change while the host runs, and those of single jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_api::{ErrorCode, JobLimits};
use drover_plugin_host::{Job, LimitOverrides, Limits, Patience};
use serde_json::json;
use tokio::sync::mpsc;

use crate::kit::{answer, assert_says, error, guests, job};

fn with(own: LimitOverrides) -> Limits {
    Limits { overrides: BTreeMap::from([("guests".to_owned(), own)]), ..Limits::default() }
}

#[tokio::test]
async fn limits_that_change_count_for_jobs_that_begin_later() {
    let host = guests(Limits::default()).await;
    let outcome = host.run(job("allocate", json!({}))).await;
    assert_says(&error(&outcome, ErrorCode::OutOfMemory).message, &["64 MiB"]);

    let (sender, mut reports) = mpsc::channel(1);
    let running = Job { progress: Some(sender), ..job("until_cancelled", json!({})) };
    let end = running.cancel.clone();
    let story = async {
        reports.recv().await;
        host.set_limits(with(LimitOverrides {
            memory_bytes: Some(8 << 20),
            deadline: Some(Duration::from_millis(50)),
            running_jobs: Some(1),
            waiting_jobs: Some(0),
            ..LimitOverrides::default()
        }));
        let outcome = host.run(job("allocate", json!({}))).await;
        assert_says(&error(&outcome, ErrorCode::OutOfMemory).message, &["8 MiB"]);
        let outcome = host.run(Job { timeout: None, ..job("spin", json!({})) }).await;
        error(&outcome, ErrorCode::Timeout);
        end.cancel();
    };
    // The job that began before has its old deadline, and is not in the new line.
    let (outcome, ()) = tokio::join!(host.run(running), story);
    error(&outcome, ErrorCode::Cancelled);

    host.set_limits(Limits::default());
    let outcome = host.run(job("allocate", json!({}))).await;
    assert_says(&error(&outcome, ErrorCode::OutOfMemory).message, &["64 MiB"]);
}

#[tokio::test]
async fn what_was_made_at_the_start_stays() {
    let host = guests(Limits { running_jobs: 3, services: 2, ..Limits::default() }).await;
    host.set_limits(Limits { running_jobs: 500, services: 500, handles: 99, ..Limits::default() });
    let limits = host.limits();
    assert_eq!((limits.running_jobs, limits.services, limits.handles), (3, 2, 99));
}

#[tokio::test]
async fn a_service_stands_on_the_limits_that_it_feels_and_no_others() {
    let host = guests(Limits::default()).await;
    let footing = || host.footing("guests", "idle").unwrap();
    let first = footing();
    let deadline = Some(Duration::from_secs(1));
    host.set_limits(with(LimitOverrides { deadline, ..LimitOverrides::default() }));
    assert_eq!(footing(), first);
    let cores = Some(0.5);
    host.set_limits(with(LimitOverrides { cores, ..LimitOverrides::default() }));
    assert_ne!(footing(), first);
}

#[tokio::test]
async fn a_job_may_have_less_than_its_plugin_and_not_more() {
    let host = guests(Limits::default()).await;
    let limited = |operation, arguments, limits| Job { limits, ..job(operation, arguments) };
    let none = JobLimits::default();

    let small = JobLimits { memory_bytes: Some(4 << 20), ..none };
    let outcome = host.run(limited("allocate", json!({}), small)).await;
    assert_says(&error(&outcome, ErrorCode::OutOfMemory).message, &["4 MiB"]);
    let short = JobLimits { answer_bytes: Some(100), ..none };
    let outcome = host.run(limited("big_answer", json!({ "bytes": 101 }), short)).await;
    assert_says(&error(&outcome, ErrorCode::InvalidAnswer).message, &["100 are allowed"]);
    let slow = JobLimits { cores: Some(0.5), ..none };
    let outcome = host.run(limited("echo", json!({ "value": 7 }), slow)).await;
    assert_eq!(outcome.data, json!(7), "{outcome:?}");

    let large = JobLimits { memory_bytes: Some(65 << 20), ..none };
    let outcome = host.run(limited("empty", json!({}), large)).await;
    let message = &error(&outcome, ErrorCode::InvalidCommand).message;
    assert_says(message, &["`guests.empty` may have 64 MiB", "asks for 65 MiB", "`memory`"]);
}

#[tokio::test]
async fn a_plugin_is_not_to_blame_for_what_a_job_was_not_allowed() {
    let patience = Patience { failures: 1, ..Patience::default() };
    let host = guests(Limits { patience, ..Limits::default() }).await;
    let limits = JobLimits { memory_bytes: Some(4 << 20), ..JobLimits::default() };
    let outcome = host.run(Job { limits, ..job("allocate", json!({})) }).await;
    error(&outcome, ErrorCode::OutOfMemory);
    answer(&host, "empty", json!({})).await;
}
