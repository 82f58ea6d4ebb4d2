//! Log files that are followed: from their lines to records.
//!
//! ```text
//!  files ──▶ Follower ──lines──▶ Parsing ──events──▶ store, with the position
//!               ▲                   │
//!  positions ───┘                   └──▶ counters ──▶ metrics
//! ```
//!
//! Each source has a task, which reads on only when the store has taken what it
//! read: where the disk or the parser does not keep up, lines wait in their
//! files. How far a file has been read is committed together with the records,
//! so that a crash neither loses nor doubles a line.

mod counters;
mod parsing;
mod pipeline;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use drover_api::{SourceState, SourceStatus};
use drover_logs::Source;
use drover_logs::store::{Batch, LogStore, Origin};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::SourceTable;
use crate::node::Node;

pub(crate) use parsing::{Parsing, Taken};

/// What is known of the sources. A cheap handle.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    statuses: Arc<Mutex<BTreeMap<String, SourceStatus>>>,
}

impl Sources {
    /// Sources that nobody follows yet.
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a String>) -> Self {
        let status = |name: &String| SourceStatus { name: name.clone(), ..Default::default() };
        let statuses = names.map(|name| (name.clone(), status(name))).collect();
        Self { statuses: Arc::new(Mutex::new(statuses)) }
    }

    /// How they are, by name.
    pub(crate) fn statuses(&self) -> Vec<SourceStatus> {
        self.lock().values().cloned().collect()
    }

    /// What keeps them from being read.
    pub(crate) fn troubles(&self) -> Vec<String> {
        let statuses = self.lock();
        let waiting = statuses.values().filter(|source| source.state == SourceState::Waiting);
        let told = |source: &SourceStatus| {
            let why = source.waits_for.as_deref().unwrap_or("its turn");
            format!("source `{}` waits, and its lines with it: {why}", source.name)
        };
        waiting.map(told).collect()
    }

    fn update(&self, name: &str, change: impl FnOnce(&mut SourceStatus)) {
        if let Some(status) = self.lock().get_mut(name) {
            change(status);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, SourceStatus>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Follows the sources until `stop` is cancelled.
pub(crate) async fn run(
    node: Node,
    sources: SourceTable,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    forget_others(node.logs().store(), &sources).await;
    let mut tasks = JoinSet::new();
    for (name, settings) in sources {
        tasks.spawn(pipeline::follow(node.clone(), name, settings, stop.clone()));
    }
    let mut outcome = Ok(());
    while let Some(ended) = tasks.join_next().await {
        outcome = outcome.and(ended.context("following a source panicked").flatten());
    }
    outcome
}

/// What the marks of sources begin with.
const MARKS: &str = "source/";

/// The name of the mark that says that a source is not new; those of its files
/// begin with it and a slash.
fn mark_of(name: &str) -> String {
    format!("{MARKS}{name}")
}

/// Forgets the positions of sources that are no longer in the configuration.
async fn forget_others(store: &LogStore, sources: &SourceTable) {
    let job = "drover.sources".parse().expect("the letters are allowed in a job's id");
    let source = Source { job, domain: "drover".to_owned(), name: "sources".to_owned() };
    let mut batch = Batch::new(Arc::new(Origin::new(source)));
    let mut has_some = false;
    for mark in store.marks().into_keys() {
        let Some(name) = mark.strip_prefix(MARKS) else { continue };
        let name = name.split_once('/').map_or(name, |(name, _)| name);
        if !sources.contains_key(name) {
            has_some = true;
            batch.mark(mark, None);
        }
    }
    // A log that is closed belongs to an agent that ends.
    if has_some && store.append(batch).await.is_ok() {
        tracing::info!("forgot how far sources were read that are no longer configured");
    }
}
