//! Operations that run until they are stopped.

use std::time::{Duration, Instant};

use drover_api::{ErrorCode, JobError, JobState};
use drover_grants::Grants;
use drover_plugin_host::{Host, Job, Limits, Patience, Published, RunningService, Said};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::kit::{PATIENCE, answer, assert_says, error, guests, guests_bytes, job};

type Feed = mpsc::Receiver<Published>;

/// Starts a service of `guests`.
fn start(
    host: &Host,
    operation: &str,
    arguments: Value,
) -> Result<(RunningService, Feed, CancellationToken), JobError> {
    let (values, feed) = mpsc::channel(8);
    let job = Job { timeout: None, ..job(operation, arguments) };
    let cancel = job.cancel.clone();
    Ok((host.start_service(job, values)?, feed, cancel))
}

async fn next(feed: &mut Feed) -> Value {
    let published = timeout(PATIENCE, feed.recv()).await.unwrap();
    serde_json::from_str(&published.expect("the service has ended").json).unwrap()
}

fn refused(host: &Host, operation: &str, arguments: Value) -> JobError {
    start(host, operation, arguments).err().expect("it is refused")
}

#[tokio::test]
async fn a_service_runs_until_it_is_stopped_and_may_tidy_up() {
    let host = guests(Limits { deadline: Duration::from_millis(1), ..Limits::default() }).await;
    let (said, mut heard) = mpsc::channel(8);
    let (values, mut feed) = mpsc::channel(8);
    let job = Job { said: Some(said), ..job("idle", json!({})) };
    let cancel = job.cancel.clone();
    let service = host.start_service(job, values).unwrap();
    let memory = service.memory();
    let stop = async {
        assert_eq!(next(&mut feed).await, "up");
        assert!(memory.bytes() > 0);
        cancel.cancel();
    };
    let (outcome, ()) = tokio::join!(timeout(PATIENCE, service.ended()), stop);
    let outcome = outcome.unwrap();
    assert_eq!(outcome.state, JobState::Killed);
    error(&outcome, ErrorCode::Cancelled);
    let Some(Said::Record { record, .. }) = heard.recv().await else { panic!("it said nothing") };
    assert_eq!(record.data, "told to stop");
    assert!(outcome.records.is_empty(), "those of a service are in the log alone");
}

#[tokio::test]
async fn one_that_does_not_listen_is_ended_by_force() {
    let host = guests(Limits::default()).await;
    for (operation, grace) in [("deaf", Duration::from_millis(1900)), ("busy", Duration::ZERO)] {
        let (service, mut feed, cancel) = start(&host, operation, json!({})).unwrap();
        let (outcome, stopped) = tokio::join!(timeout(PATIENCE, service.ended()), async {
            next(&mut feed).await;
            cancel.cancel();
            Instant::now()
        });
        assert_eq!(outcome.unwrap().state, JobState::Killed, "{operation}");
        assert!(stopped.elapsed() >= grace, "{operation}");
    }
}

#[tokio::test]
async fn a_service_ends_like_a_job_if_it_ends_by_itself() {
    let host = guests(Limits::default()).await;
    let (service, _feed, _) = start(&host, "finish", json!({})).unwrap();
    assert_eq!(service.ended().await.data, 7);
    let (service, _feed, _) = start(&host, "finish", json!({ "failure": "tired" })).unwrap();
    assert_eq!(error(&service.ended().await, ErrorCode::Failed).detail["code"], "tired");
    let (service, _feed, _) = start(&host, "die", json!({})).unwrap();
    assert_says(&error(&service.ended().await, ErrorCode::Trapped).message, &["died of old age"]);
}

#[tokio::test]
async fn what_cannot_be_a_service_is_refused_with_what_to_do() {
    let host = guests(Limits::default()).await;
    let task = refused(&host, "echo", json!({ "value": 7 }));
    assert_says(&task.message, &["`guests.echo` is a task", "drover call NODE guests.echo"]);
    let unfit = refused(&host, "die", json!({ "after": 7 }));
    assert_eq!(unfit.code, ErrorCode::InvalidArguments);
    assert_says(&refused(&host, "idel", json!({})).message, &["no operation `idel`", "idle"]);

    let outcome = host.run(job("idle", json!({}))).await;
    let message = &error(&outcome, ErrorCode::InvalidCommand).message;
    assert_says(message, &["`guests.idle` is a service", "drover service start NODE guests.idle"]);
}

#[tokio::test]
async fn values_come_in_order_and_no_faster_than_they_may() {
    let host = guests(Limits::default()).await;
    let (service, mut feed, cancel) = start(&host, "publish", json!({ "values": 150 })).unwrap();
    let begin = Instant::now();
    let follow = async {
        for number in 1..=150 {
            assert_eq!(next(&mut feed).await[0], number);
        }
        cancel.cancel();
    };
    tokio::join!(service.ended(), follow);
    // 100 at once, and then 50 in turn, 10 ms each.
    assert!(begin.elapsed() >= Duration::from_millis(400), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_task_has_no_feed_and_a_value_has_a_bound() {
    let host = guests(Limits::default()).await;
    let outcome = host.run(job("publish_as_task", json!({}))).await;
    assert_says(&error(&outcome, ErrorCode::Failed).message, &["only a service has a feed"]);
    let long = json!({ "values": 1, "bytes": 64 << 10 });
    let (service, _feed, _) = start(&host, "publish", long).unwrap();
    let outcome = service.ended().await;
    assert_says(&error(&outcome, ErrorCode::Failed).message, &["longer than 65536 bytes"]);
}

#[tokio::test]
async fn services_have_room_of_their_own_and_no_more() {
    let limits = Limits { services: 2, running_jobs: 1, ..Limits::default() };
    let host = guests(limits).await;
    let mut running = JoinSet::new();
    let mut feeds = Vec::new();
    let mut stop = Vec::new();
    for _ in 0..2 {
        let (service, mut feed, cancel) = start(&host, "idle", json!({})).unwrap();
        running.spawn(service.ended());
        next(&mut feed).await;
        feeds.push(feed);
        stop.push(cancel);
    }
    let error = refused(&host, "idle", json!({}));
    assert_eq!(error.code, ErrorCode::Busy);
    assert_says(&error.message, &["room for 2 services", "`limits.services`"]);
    assert_eq!(answer(&host, "echo", json!({ "value": 7 })).await, 7);

    stop[0].cancel();
    running.join_next().await.unwrap().unwrap();
    let freed = async {
        loop {
            match start(&host, "idle", json!({})) {
                Ok(started) => return started,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let (service, mut feed, _) = timeout(PATIENCE, freed).await.unwrap();
    running.spawn(service.ended());
    assert_eq!(next(&mut feed).await, "up");
}

#[tokio::test]
async fn two_hundred_services_run_at_once_beside_a_job() {
    let host = guests(Limits::default()).await;
    let mut running = JoinSet::new();
    let mut started = Vec::new();
    for _ in 0..200 {
        let (service, feed, cancel) = start(&host, "idle", json!({})).unwrap();
        running.spawn(service.ended());
        started.push((feed, cancel));
    }
    for (feed, _) in &mut started {
        assert_eq!(next(feed).await, "up");
    }
    assert_eq!(answer(&host, "echo", json!({ "value": 7 })).await, 7);
    for (_, cancel) in &started {
        cancel.cancel();
    }
    while let Some(outcome) = running.join_next().await {
        assert_eq!(outcome.unwrap().state, JobState::Killed);
    }
}

#[tokio::test]
async fn crashes_of_a_service_count_for_its_plugins_quarantine() {
    let patience = Patience { failures: 2, first: PATIENCE * 10, ..Patience::default() };
    let host = guests(Limits { patience, ..Limits::default() }).await;
    let (steady, mut steady_feed, stop) = start(&host, "idle", json!({})).unwrap();
    let story = async {
        next(&mut steady_feed).await;
        for _ in 0..2 {
            let (service, _feed, _) = start(&host, "die", json!({})).unwrap();
            error(&service.ended().await, ErrorCode::Trapped);
        }
        assert_eq!(refused(&host, "idle", json!({})).code, ErrorCode::Quarantined);
        assert!(host.footing("guests", "idle").is_ok(), "what runs goes on");
        stop.cancel();
    };
    let (outcome, ()) = tokio::join!(steady.ended(), story);
    error(&outcome, ErrorCode::Cancelled);
}

#[tokio::test]
async fn a_footing_changes_with_the_code_and_with_the_grants() {
    let host = guests(Limits::default()).await;
    let before = host.footing("guests", "idle").unwrap();
    assert_eq!(host.footing("guests", "idle").unwrap(), before);
    let revision = host.revision();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("guests.wasm");
    std::fs::write(&path, guests_bytes(2)).unwrap();
    host.load_file(&path).await.unwrap();
    assert!(revision.has_changed().unwrap());
    assert_ne!(host.footing("guests", "idle").unwrap(), before);
    assert_eq!(host.footing("gests", "idle").unwrap_err().code, ErrorCode::UnknownCommand);
}

#[tokio::test]
async fn a_change_of_the_grants_is_told() {
    let host = guests(Limits::default()).await;
    let revision = host.revision();
    host.set_grants(Grants::default());
    assert!(revision.has_changed().unwrap());
}

#[tokio::test]
async fn a_shutdown_ends_services_and_one_that_is_dropped_gives_up_its_place() {
    let host = guests(Limits { services: 1, ..Limits::default() }).await;
    let (service, mut feed, _) = start(&host, "idle", json!({})).unwrap();
    tokio::select! {
        outcome = service.ended() => panic!("{outcome:?}"),
        value = next(&mut feed) => assert_eq!(value, "up"),
    }
    let freed = async {
        loop {
            match start(&host, "idle", json!({})) {
                Ok(started) => return started,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let (service, mut feed, _) = timeout(PATIENCE, freed).await.unwrap();
    let (outcome, ()) = tokio::join!(service.ended(), async {
        next(&mut feed).await;
        host.shutdown().await;
    });
    error(&outcome, ErrorCode::ShuttingDown);
}
