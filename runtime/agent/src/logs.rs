//! The node's log: the record store and the metrics, and how jobs reach them.
//!
//! ```text
//!  jobs ── JobLog ──records──▶ store ──▶ queries, followers, the forwarder
//!            └─────metrics──▶ metrics ──series──▶ store
//!  sockets ───────────────────┘
//! ```
//!
//! A [`JobLog`] belongs to the task that reads what its job says. The store has
//! a thread of its own; [`metrics`](crate::metrics) have a task.

mod job;
mod parsed;

use std::sync::Arc;

use anyhow::Context;
use drover_logs::service::LogService;
use drover_logs::store::{LogStore, Origin};
use drover_logs::{LevelSet, OutputParser, Source};

use crate::config::{LogSettings, WhenFull};
use crate::metrics::Metrics;

pub(crate) use job::JobLog;
pub(crate) use parsed::PlainLines;

/// What the longest record may take of a message: it may become four times as
/// long when it is no text, and its envelope comes on top.
const RECORDS_IN_A_MESSAGE: usize = 8;

/// What becomes of which levels of a job.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JobLevels {
    /// Those that are looked at at all.
    pub(crate) heard: LevelSet,
    /// Those of them that are kept.
    pub(crate) store: LevelSet,
    /// Those of them that go to the controller; what the configuration says if
    /// absent.
    pub(crate) forward: Option<LevelSet>,
}

impl Default for JobLevels {
    fn default() -> Self {
        Self { heard: LevelSet::ALL, store: LevelSet::ALL, forward: None }
    }
}

/// A cheap handle on the log.
#[derive(Clone)]
pub(crate) struct Logs {
    shared: Arc<Shared>,
}

struct Shared {
    service: LogService,
    metrics: Metrics,
    when_full: WhenFull,
    forward: LevelSet,
    /// The longest record in bytes; longer messages become several.
    longest: usize,
}

impl Logs {
    /// Opens the store. `answer_bytes` is what one answer holds, and
    /// `max_message_bytes` what one message on the link does.
    ///
    /// # Errors
    ///
    /// If another agent has it open, or the directory cannot be used.
    pub(crate) fn open(
        settings: &LogSettings,
        metrics: Metrics,
        answer_bytes: usize,
        max_message_bytes: usize,
    ) -> anyhow::Result<Self> {
        let store = LogStore::open(settings.store())
            .context("cannot open the log (`logs.dir` of the configuration names its place)")?;
        let shared = Shared {
            service: LogService::new(store, answer_bytes),
            metrics,
            when_full: settings.when_full,
            forward: settings.forward,
            longest: OutputParser::LONGEST_MESSAGE.min(max_message_bytes / RECORDS_IN_A_MESSAGE),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    pub(crate) fn store(&self) -> &LogStore {
        self.shared.service.store()
    }

    /// Answers what callers ask of the log.
    pub(crate) fn service(&self) -> &LogService {
        &self.shared.service
    }

    /// Where all that a job says goes.
    pub(crate) fn of_job(&self, source: Source, levels: JobLevels) -> JobLog {
        JobLog::new(self.clone(), Arc::new(self.origin(source, levels)), levels.heard)
    }

    /// What becomes of records from `source`.
    pub(crate) fn origin(&self, source: Source, levels: JobLevels) -> Origin {
        let JobLevels { store, forward, .. } = levels;
        let forward = forward.unwrap_or(self.shared.forward);
        Origin { store, forward, source: Arc::new(source) }
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The longest record in bytes; longer messages become several.
    pub(crate) fn longest(&self) -> usize {
        self.shared.longest
    }
}
