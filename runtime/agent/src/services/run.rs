//! One run of a service: what it says goes into the log, what it publishes to
//! its feed.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use drover_api::{ErrorCode, JobError, JobId, Level, Record, Timestamp};
use drover_logs::Source;
use drover_plugin_host::{Job, Outcome, Published, RunningService, Said};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::life::End;
use super::{PREFIX, ServiceSpec};
use crate::logs::{JobLevels, JobLog};
use crate::node::Node;
use crate::recording::{self, SAID_BACKLOG, Unwritten};

/// Values between a service and whoever hands them on, which takes them at once
/// unless the log is slow.
const VALUES: usize = 8;

/// How long the last values of a service wait for a log that takes nothing.
const LAST_VALUES: Duration = Duration::from_secs(1);

/// How soon a service is tried again that found no room.
const FULL: Duration = Duration::from_secs(10);

/// One run, about to begin.
pub(super) struct Run {
    pub(super) service: RunningService,
    id: JobId,
    said: mpsc::Receiver<Said>,
    values: mpsc::Receiver<Published>,
    log: JobLog,
    /// Where values are logged as well, if they are.
    feed_log: Option<JobLog>,
}

/// When a service last published, for those who ask.
#[derive(Debug, Clone, Default)]
pub(super) struct LastPublished(Arc<AtomicU64>);

impl LastPublished {
    pub(super) fn time(&self) -> Option<Timestamp> {
        let time = self.0.load(Ordering::Relaxed);
        (time > 0).then_some(Timestamp(time))
    }
}

/// The log of a service.
pub(super) fn log_of(node: &Node, name: &str, spec: &ServiceSpec) -> JobLog {
    let (domain, operation) = spec.target().unwrap_or_default();
    let source = Source { job: id_of(name), domain: domain.to_owned(), name: operation.to_owned() };
    node.logs().of_job(source, JobLevels::default())
}

fn id_of(name: &str) -> JobId {
    let id = format!("{PREFIX}{name}").parse();
    id.expect("the letters of a checked name are allowed in a job's id, which is longer")
}

impl Run {
    /// Starts a service; `cancel` stops it.
    ///
    /// # Errors
    ///
    /// If it cannot run at present.
    pub(super) fn start(
        node: &Node,
        name: &str,
        spec: &ServiceSpec,
        cancel: CancellationToken,
    ) -> Result<Self, JobError> {
        let (plugin, operation) =
            spec.target().map_err(|reason| JobError::new(ErrorCode::InvalidArguments, reason))?;
        let (said, heard) = mpsc::channel(SAID_BACKLOG);
        let (feed, values) = mpsc::channel(VALUES);
        let id = id_of(name);
        let job = Job {
            id: id.clone(),
            said: Some(said),
            cancel,
            ..Job::new(plugin, operation, spec.args.clone())
        };
        let service = node.host().start_service(job, feed)?;
        let log = log_of(node, name, spec);
        let feed_log = spec.log_feed.then(|| log_of(node, name, spec));
        Ok(Self { service, id, said: heard, values, log, feed_log })
    }

    /// Runs it to its end; beside that, what the log has not taken of what it said.
    pub(super) async fn ended(
        self,
        node: Node,
        name: String,
        last: LastPublished,
    ) -> (Outcome, Option<Unwritten>) {
        let Self { service, id, said, values, log, feed_log } = self;
        let mut handing_on = pin!(hand_on(&node, &name, values, feed_log, &last));
        let mut running = pin!(recording::take_down(id, said, log, service.ended()));
        let ended = tokio::select! {
            ended = &mut running => ended,
            // The service holds the sender of values, so it has ended as well.
            () = &mut handing_on => return running.await,
        };
        if timeout(LAST_VALUES, handing_on).await.is_err() {
            tracing::warn!(service = name, "what it published last is not in the log");
        }
        ended
    }
}

async fn hand_on(
    node: &Node,
    name: &str,
    mut values: mpsc::Receiver<Published>,
    mut log: Option<JobLog>,
    last: &LastPublished,
) {
    while let Some(published) = values.recv().await {
        last.0.store(published.time.0, Ordering::Relaxed);
        let Published { time, json: data } = published.clone();
        node.services().feeds().push(name, published);
        if let Some(log) = &mut log {
            log.record(&Record { time, level: Level::STRUCTURED, data });
            if let Err(error) = log.write().await {
                tracing::warn!(service = name, %error, "what it published is not in the log");
            }
        }
    }
}

/// What the end of a run means to the service's life.
pub(super) fn end_of(outcome: Outcome) -> End {
    match outcome.error {
        None => End::Done,
        Some(error) if error.code == ErrorCode::ShuttingDown => End::ShuttingDown,
        Some(error) if error.code == ErrorCode::InvalidArguments => End::Refused(error.message),
        Some(error) => End::Failed(error.message),
    }
}

/// The same where it could not even begin.
pub(super) fn end_without_start(error: JobError) -> End {
    match error.code {
        ErrorCode::ShuttingDown => End::ShuttingDown,
        ErrorCode::InvalidArguments => End::Refused(error.message),
        ErrorCode::Quarantined => {
            let until = error.detail.get("until").and_then(Value::as_u64).unwrap_or_default();
            let wait = Timestamp(until).since(Timestamp::now());
            End::NotNow(error.message, wait.max(Duration::from_millis(100)))
        }
        ErrorCode::Busy => End::NotNow(error.message, FULL),
        ErrorCode::UnknownCommand | ErrorCode::Denied | ErrorCode::InvalidCommand => {
            End::NoGround(error.message)
        }
        _ => End::Failed(error.message),
    }
}
