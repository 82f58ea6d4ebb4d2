//! More jobs than there are places, and more work than there are processors.

use std::time::{Duration, Instant};

use drover_api::{ErrorCode, JobState};
use drover_plugin_host::{Job, Limits};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::kit::{PATIENCE, assert_says, error, guests, job};

#[tokio::test]
async fn one_job_too_many_is_refused_and_one_that_waits_can_be_ended() {
    let limits = Limits { running_jobs: 1, waiting_jobs: 1, ..Limits::default() };
    let host = guests(limits).await;
    let (sender, mut reports) = mpsc::channel(1);
    let running = Job { progress: Some(sender), ..job("until_cancelled", json!({})) };
    let end = running.cancel.clone();
    let waiting = job("empty", json!({}));
    let cancel = waiting.cancel.clone();

    let first_two = async { tokio::join!(host.run(running), host.run(waiting)) };
    let story = async {
        // Both have their places: `join` polled them before it came here.
        reports.recv().await;
        let outcome = host.run(job("empty", json!({}))).await;
        let message = &error(&outcome, ErrorCode::Busy).message;
        assert_says(message, &["1 jobs are running", "1 are waiting"]);
        cancel.cancel();
        // The deadline of one that waits counts as well.
        let late = || Job { timeout: Some(Duration::from_millis(50)), ..job("empty", json!({})) };
        let mut outcome = host.run(late()).await;
        while outcome.error.as_ref().is_some_and(|error| error.code == ErrorCode::Busy) {
            tokio::task::yield_now().await;
            outcome = host.run(late()).await;
        }
        error(&outcome, ErrorCode::Timeout);
        end.cancel();
    };
    let ((running, waiting), ()) = tokio::join!(first_two, story);
    error(&waiting, ErrorCode::Cancelled);
    assert_eq!(running.state, JobState::Killed);
    assert_eq!(host.run(job("empty", json!({}))).await.state, JobState::Ok);
}

#[tokio::test]
async fn many_jobs_at_once_all_get_their_answer() {
    let host = guests(Limits { running_jobs: 8, ..Limits::default() }).await;
    let mut jobs = JoinSet::new();
    for number in 0..500 {
        let host = host.clone();
        jobs.spawn(async move {
            let outcome = host.run(job("echo", json!({ "value": number }))).await;
            assert_eq!(outcome.data, json!(number), "{outcome:?}");
        });
    }
    timeout(PATIENCE, jobs.join_all()).await.unwrap();
}

#[tokio::test]
async fn sixty_four_spinning_guests_stop_neither_the_caller_nor_each_other() {
    let host = guests(Limits { running_jobs: 65, ..Limits::default() }).await;
    let mut jobs = JoinSet::new();
    for _ in 0..64 {
        let host = host.clone();
        let mut job = job("spin", json!({}));
        job.timeout = Some(Duration::from_secs(5));
        jobs.spawn(async move { host.run(job).await });
    }
    // The caller's own timers go on, and so does a job that comes last.
    let start = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    let mut beats = 0;
    let outcome = host.run(job("empty", json!({})));
    let mut outcome = std::pin::pin!(outcome);
    let outcome = loop {
        tokio::select! {
            outcome = &mut outcome => break outcome,
            _ = ticks.tick() => beats += 1,
        }
    };
    assert_eq!(outcome.state, JobState::Ok, "{outcome:?}");
    assert!(beats > 0 || start.elapsed() < Duration::from_millis(20));
    let outcomes = timeout(PATIENCE, jobs.join_all()).await.unwrap();
    for outcome in outcomes {
        error(&outcome, ErrorCode::Timeout);
    }
}
