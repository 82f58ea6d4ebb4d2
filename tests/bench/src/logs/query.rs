//! Asking the store, and following it.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use drover_api::Timestamp;
use drover_logs::store::{Batch, Filter, LogStore, Origin, Query, Start, StoreConfig};
use drover_logs::{OutputParser, Stream};

use crate::latency::median;

/// Jobs that write in turn, a few lines each.
const JOBS: u64 = 1000;
const LINES: u64 = 4;

/// The job that is asked for.
const ASKED: u64 = 7;

/// Room for ten million records and their indexes.
const ROOM: u64 = 10_000_000_000;

const REPEATED: usize = 15;
const FOLLOWED: usize = 200;

/// Milliseconds that the last 1,000 records of one job take, among so many
/// million of a thousand jobs.
pub(super) fn last_of_one_job_ms(millions: u64) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir().context("cannot make a directory for the log")?;
    let config = StoreConfig { max_total_bytes: ROOM, ..StoreConfig::new(dir.path()) };
    let store = LogStore::open(config)?;
    let origins: Vec<_> = (0..JOBS).map(|job| Arc::new(Origin::new(super::source(job)))).collect();
    let text = super::lines(LINES);
    let turns = origins.iter().cycle().zip(0..millions * 1_000_000 / LINES);
    for (origin, time) in turns {
        let mut batch = Batch::new(Arc::clone(origin));
        let mut parser = OutputParser::new(Stream::Stdout, OutputParser::LONGEST_MESSAGE);
        parser.feed(&text, |message| batch.push(Timestamp(time), message));
        store.append_blocking(batch)?;
    }
    store.flush_blocking()?;
    let filter = Filter { job: Some(super::source(ASKED).job), ..Filter::default() };
    let query = Query { filter, ..Query::default() };
    let took = (0..REPEATED).map(|_| {
        let started = Instant::now();
        black_box(store.query(&query));
        started.elapsed().as_secs_f64() * 1e3
    });
    median(took.collect()).context("nothing was asked")
}

/// Milliseconds between the writing of a line and its sight, the median.
pub(super) async fn follow_ms() -> anyhow::Result<f64> {
    let dir = tempfile::tempdir().context("cannot make a directory for the log")?;
    let store = LogStore::open(StoreConfig::new(dir.path()))?;
    let mut follower = store.follow(Filter::default(), Start::Now);
    let origin = Arc::new(Origin::new(super::source(0)));
    let mut took = Vec::new();
    for _ in 0..FOLLOWED {
        let mut batch = Batch::new(Arc::clone(&origin));
        OutputParser::new(Stream::Stdout, 100)
            .feed(b"a line\n", |message| batch.push(Timestamp::now(), message));
        let started = Instant::now();
        store.append(batch).await?;
        while follower.read(10).is_empty() {
            follower.changed().await?;
        }
        took.push(started.elapsed().as_secs_f64() * 1e3);
    }
    median(took).context("nothing was followed")
}
