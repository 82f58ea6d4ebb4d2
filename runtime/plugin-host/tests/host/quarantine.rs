//! Plugins that fail again and again, and plugins with limits of their own.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_api::{ErrorCode, JobState, Level, PluginState};
use drover_plugin_host::{Host, Job, LimitOverrides, Limits, Patience};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::kit::{
    PATIENCE, answer, assert_says, component, error, guests, guests_bytes, host, job,
};

/// Two failures are too many, and it takes long.
fn strict() -> Limits {
    let patience = Patience { failures: 2, first: PATIENCE * 10, ..Patience::default() };
    Limits { patience, ..Limits::default() }
}

fn limits_of_guests(own: LimitOverrides) -> Limits {
    Limits { overrides: BTreeMap::from([("guests".to_owned(), own)]), ..Limits::default() }
}

async fn crash(host: &Host) {
    let outcome = host.run(job("panic", json!({ "message": "oh no" }))).await;
    error(&outcome, ErrorCode::Trapped);
}

#[tokio::test]
async fn who_crashes_too_often_gets_no_jobs_until_it_is_released() {
    let host = guests(strict()).await;
    let mut revision = host.revision();
    crash(&host).await;
    answer(&host, "empty", json!({})).await;
    crash(&host).await;

    let outcome = host.run(job("empty", json!({}))).await;
    let message = &error(&outcome, ErrorCode::Quarantined).message;
    assert_says(message, &["`guests`", "for another 600 s", "oh no", "plugin release NODE guests"]);
    assert!(revision.has_changed().unwrap());
    revision.mark_unchanged();
    let notice = timeout(PATIENCE, host.notice()).await.unwrap();
    assert_eq!((notice.level, notice.subject.as_str()), (Level::CRITICAL, "guests"));
    let status = &host.statuses().plugins[0];
    assert_eq!(status.state, PluginState::Quarantined);
    assert_says(&status.quarantine.as_ref().unwrap().reason, &["oh no"]);

    assert!(host.release("guests").unwrap());
    assert!(revision.has_changed().unwrap());
    answer(&host, "empty", json!({})).await;
    assert!(!host.release("guests").unwrap());
    assert_says(&host.release("gests").unwrap_err().message, &["no plugin `gests`", "guests"]);
}

#[tokio::test]
async fn a_quarantine_ends_by_itself() {
    let mut limits = strict();
    limits.patience.first = Duration::from_millis(50);
    let host = guests(limits).await;
    crash(&host).await;
    crash(&host).await;
    let tries = async {
        while host.run(job("empty", json!({}))).await.state != JobState::Ok {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, tries).await.unwrap();
    assert_eq!(host.statuses().plugins[0].state, PluginState::Serving);
}

#[tokio::test]
async fn a_quarantine_outlives_the_host_and_can_be_ended_in_the_next_one() {
    let before = guests(strict()).await;
    crash(&before).await;
    assert!(before.quarantines().is_empty());
    crash(&before).await;
    let kept = before.quarantines();
    assert_says(&kept["guests"].reason, &["oh no"]);

    let host = host(strict());
    host.resume_quarantines(kept.clone());
    host.load_file(&component("guests")).await.unwrap();
    error(&host.run(job("empty", json!({}))).await, ErrorCode::Quarantined);
    assert_eq!(host.quarantines()["guests"].times, 1);
    assert!(host.release("guests").unwrap());
    answer(&host, "empty", json!({})).await;
    assert!(host.quarantines().is_empty());

    // Other code is trusted anew.
    let next = crate::kit::host(strict());
    next.resume_quarantines(kept);
    let directory = tempfile::tempdir().unwrap();
    let other = directory.path().join("guests.wasm");
    std::fs::write(&other, guests_bytes(9)).unwrap();
    next.load_file(&other).await.unwrap();
    answer(&next, "empty", json!({})).await;
}

#[tokio::test]
async fn timeouts_count_only_if_the_job_had_its_usual_time() {
    let short = Duration::from_millis(50);
    let host = guests(Limits { deadline: short, ..strict() }).await;
    for _ in 0..3 {
        let hurried = Job { timeout: Some(short / 2), ..job("spin", json!({})) };
        error(&host.run(hurried).await, ErrorCode::Timeout);
    }
    for _ in 0..2 {
        let usual = Job { timeout: None, ..job("spin", json!({})) };
        error(&host.run(usual).await, ErrorCode::Timeout);
    }
    error(&host.run(job("empty", json!({}))).await, ErrorCode::Quarantined);
}

#[tokio::test]
async fn other_plugins_notice_nothing() {
    let host = guests(strict()).await;
    host.load_file(&component("answer_garbage")).await.unwrap();
    crash(&host).await;
    crash(&host).await;
    let outcome =
        host.run(Job { plugin: "answer_garbage".into(), ..job("answer", json!({})) }).await;
    error(&outcome, ErrorCode::InvalidAnswer);
}

#[tokio::test]
async fn a_plugin_has_limits_of_its_own() {
    let own = LimitOverrides {
        memory_bytes: Some(16 << 20),
        deadline: Some(Duration::from_millis(50)),
        answer_bytes: Some(100),
        ..LimitOverrides::default()
    };
    let host = guests(limits_of_guests(own)).await;
    let outcome = host.run(job("allocate", json!({}))).await;
    assert_says(&error(&outcome, ErrorCode::OutOfMemory).message, &["16 MiB"]);
    let outcome = host.run(Job { timeout: None, ..job("spin", json!({})) }).await;
    assert_says(&error(&outcome, ErrorCode::Timeout).message, &["0.05 s"]);
    let outcome = host.run(job("big_answer", json!({ "bytes": 101 }))).await;
    assert_says(&error(&outcome, ErrorCode::InvalidAnswer).message, &["100"]);
}

#[tokio::test]
async fn a_plugin_with_one_turn_of_its_own_leaves_the_others_alone() {
    let own = LimitOverrides {
        running_jobs: Some(1),
        waiting_jobs: Some(0),
        ..LimitOverrides::default()
    };
    let host = guests(limits_of_guests(own)).await;
    host.load_file(&component("answer_garbage")).await.unwrap();
    let (sender, mut reports) = mpsc::channel(1);
    let running = Job { progress: Some(sender), ..job("until_cancelled", json!({})) };
    let end = running.cancel.clone();
    let story = async {
        reports.recv().await;
        let outcome = host.run(job("empty", json!({}))).await;
        assert_says(&error(&outcome, ErrorCode::Busy).message, &["1 jobs of `guests`"]);
        let other = Job { plugin: "answer_garbage".into(), ..job("answer", json!({})) };
        error(&host.run(other).await, ErrorCode::InvalidAnswer);
        end.cancel();
    };
    tokio::join!(host.run(running), story);
    answer(&host, "empty", json!({})).await;
}

#[tokio::test]
async fn jobs_within_a_share_of_a_core_end_in_time_and_give_their_answers() {
    let own = LimitOverrides { cores: Some(0.1), ..LimitOverrides::default() };
    let host = guests(limits_of_guests(own)).await;
    let time = Duration::from_millis(300);
    let spin = || Job { timeout: Some(time), ..job("spin", json!({})) };
    for outcome in
        <[_; 3]>::from(tokio::join!(host.run(spin()), host.run(spin()), host.run(spin())))
    {
        error(&outcome, ErrorCode::Timeout);
    }
    assert_eq!(answer(&host, "echo", json!({ "value": 7 })).await, 7);
}
