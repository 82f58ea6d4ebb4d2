//! The record store on real files.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail loudly")]

mod crash;
mod damage;
mod fields;
mod forwarding;
mod queries;
mod rotation;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drover_api::{Level, Timestamp};
use drover_logs::store::{
    Batch, Filter, LogStore, Order, Origin, Query, RecordId, Start, StoreConfig, StoredRecord,
};
use drover_logs::{Message, Part, Source};

/// Longer than any machine is busy.
const PATIENCE: Duration = Duration::from_secs(60);

fn open(directory: &Path) -> LogStore {
    LogStore::open(StoreConfig::new(directory)).unwrap()
}

/// A store whose files are small, so that there are many.
fn small_files(directory: &Path) -> StoreConfig {
    StoreConfig { max_file_bytes: 300_000, ..StoreConfig::new(directory) }
}

fn origin(job: &str) -> Arc<Origin> {
    Arc::new(Origin::new(Source {
        job: job.parse().unwrap(),
        domain: "web".into(),
        name: "shop".into(),
    }))
}

fn message(level: u8, data: &[u8]) -> Message<'_> {
    Message { level: Level(level), data, part: Part::Whole }
}

/// One batch with a record for each text.
fn batch<'t>(origin: &Arc<Origin>, time: u64, texts: impl IntoIterator<Item = &'t str>) -> Batch {
    let mut batch = Batch::new(Arc::clone(origin));
    for text in texts {
        batch.push(Timestamp(time), message(1, text.as_bytes()));
    }
    batch
}

/// Adds one record and waits until it is committed.
fn log(store: &LogStore, job: &str, time: u64, level: u8, text: &str) {
    let mut batch = Batch::new(origin(job));
    batch.push(Timestamp(time), message(level, text.as_bytes()));
    store.append_blocking(batch).unwrap();
    store.flush_blocking().unwrap();
}

/// Every record that fulfils `filter`, page by page, oldest first.
fn all(store: &LogStore, filter: &Filter) -> Vec<StoredRecord> {
    pages(store, filter, Order::Oldest, 1000)
}

fn pages(store: &LogStore, filter: &Filter, order: Order, limit: usize) -> Vec<StoredRecord> {
    let mut query = Query { filter: filter.clone(), order, limit, cursor: None };
    let mut records = Vec::new();
    loop {
        let page = store.query(&query);
        assert_eq!(page.damaged, Vec::<String>::new());
        assert!(page.records.len() <= limit);
        records.extend(page.records);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return records,
        }
    }
}

fn texts(records: &[StoredRecord]) -> Vec<String> {
    records.iter().map(|record| record.text().into_owned()).collect()
}

fn of_job(job: &str) -> Filter {
    Filter { job: Some(job.parse().unwrap()), ..Filter::default() }
}

/// Waits until `check` holds, and says what was seen last if it never does.
fn wait_until<T: std::fmt::Debug>(look: impl Fn() -> T, check: impl Fn(&T) -> bool) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look();
        if check(&seen) {
            return seen;
        }
        assert!(Instant::now() < deadline, "never came true; seen last: {seen:?}");
        std::thread::yield_now();
    }
}
