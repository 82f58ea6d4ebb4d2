//! Jobs that are ended from outside.

use std::time::{Duration, Instant};

use drover_api::{ErrorCode, JobState};
use drover_plugin_host::{Job, Limits};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::kit::{PATIENCE, answer, assert_says, error, guests, job};

/// A job whose progress can be watched.
fn watched(operation: &str) -> (Job, mpsc::Receiver<Value>) {
    let (sender, reports) = mpsc::channel(4);
    (Job { progress: Some(sender), ..job(operation, json!({})) }, reports)
}

#[tokio::test]
async fn a_deadline_ends_whatever_the_guest_does() {
    let host = guests(Limits::default()).await;
    for operation in ["spin", "print_forever", "ignore_cancel"] {
        let mut job = job(operation, json!({}));
        job.timeout = Some(Duration::from_millis(300));
        let outcome = timeout(PATIENCE, host.run(job)).await.unwrap();
        assert_eq!(outcome.state, JobState::Timeout, "{operation}");
        let message = &error(&outcome, ErrorCode::Timeout).message;
        assert_says(message, &[operation, "not done after 0.3 s"]);
        assert!(outcome.took >= Duration::from_millis(250), "{outcome:?}");
    }
    assert_eq!(answer(&host, "count", json!({})).await, 1);
}

#[tokio::test]
async fn a_job_gets_no_more_time_than_the_maximum() {
    let host =
        guests(Limits { max_deadline: Duration::from_millis(100), ..Limits::default() }).await;
    let outcome = timeout(PATIENCE, host.run(job("spin", json!({})))).await.unwrap();
    error(&outcome, ErrorCode::Timeout);
}

#[tokio::test]
async fn output_before_a_deadline_is_kept() {
    let host = guests(Limits::default()).await;
    let mut job = job("print_forever", json!({}));
    job.timeout = Some(Duration::from_secs(2));
    let outcome = host.run(job).await;
    assert_says(&outcome.streams[0], &["and another line\n"]);
}

#[tokio::test]
async fn a_cancelled_job_ends_at_once_if_it_does_not_watch_for_it() {
    let host = guests(Limits::default()).await;
    let job = job("spin", json!({}));
    let cancel = job.cancel.clone();
    let run = host.run(job);
    let (outcome, ()) = tokio::join!(timeout(PATIENCE, run), async { cancel.cancel() });
    let outcome = outcome.unwrap();
    assert_eq!(outcome.state, JobState::Killed);
    error(&outcome, ErrorCode::Cancelled);
}

#[tokio::test]
async fn a_job_that_watches_for_its_cancellation_may_tidy_up() {
    let host = guests(Limits::default()).await;
    let (job, mut reports) = watched("until_cancelled");
    let cancel = job.cancel.clone();
    let (outcome, ()) = tokio::join!(timeout(PATIENCE, host.run(job)), async {
        assert_eq!(reports.recv().await, Some(json!("waiting")));
        cancel.cancel();
    });
    let outcome = outcome.unwrap();
    assert_eq!(outcome.state, JobState::Killed);
    error(&outcome, ErrorCode::Cancelled);
}

#[tokio::test]
async fn one_that_looked_once_and_goes_on_is_ended_after_the_grace() {
    let host = guests(Limits::default()).await;
    let (job, mut reports) = watched("ignore_cancel");
    let cancel = job.cancel.clone();
    let (outcome, cancelled) = tokio::join!(timeout(PATIENCE, host.run(job)), async {
        assert_eq!(reports.recv().await, Some(json!("waiting")));
        cancel.cancel();
        Instant::now()
    });
    assert_eq!(outcome.unwrap().state, JobState::Killed);
    assert!(cancelled.elapsed() >= Duration::from_millis(1900), "{:?}", cancelled.elapsed());
}

#[tokio::test]
async fn a_job_nobody_waits_for_ends_and_leaves_its_place() {
    let limits = Limits { running_jobs: 1, waiting_jobs: 0, ..Limits::default() };
    let host = guests(limits).await;
    let (job, mut reports) = watched("until_cancelled");
    tokio::select! {
        outcome = host.run(job) => panic!("{outcome:?}"),
        report = reports.recv() => assert_eq!(report, Some(json!("waiting"))),
    }
    // The end of the channel is the end of the instance, which gives up its
    // place right after.
    assert_eq!(timeout(PATIENCE, reports.recv()).await.unwrap(), None);
    let free = async {
        while host.run(self::job("empty", json!({}))).await.state != JobState::Ok {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, free).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_ends_running_jobs_and_refuses_new_ones() {
    let host = guests(Limits::default()).await;
    let (job, mut reports) = watched("until_cancelled");
    let (outcome, ()) = tokio::join!(timeout(PATIENCE, host.run(job)), async {
        reports.recv().await;
        host.shutdown().await;
    });
    error(&outcome.unwrap(), ErrorCode::ShuttingDown);
    error(&host.run(self::job("empty", json!({}))).await, ErrorCode::ShuttingDown);
}
