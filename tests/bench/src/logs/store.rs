//! From chunks of output to rows in SQLite.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use drover_api::Timestamp;
use drover_logs::store::{Batch, LogStore, Origin, StoreConfig};
use drover_logs::{OutputParser, Stream};
use rusqlite::{Connection, params};

use super::parse::CHUNK;

/// Lines of the text that is stored over and over.
const LINES: u64 = 20_000;

/// Rows of a transaction of the limit.
const TRANSACTION: u64 = 1000;

/// Rows a second of rusqlite alone, the same ones.
pub(super) fn bare(count: u64) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir().context("cannot make a directory for the rows")?;
    let text = super::lines(1);
    let text = String::from_utf8_lossy(text.trim_ascii_end());
    let started = Instant::now();
    insert(dir.path(), count, &text).context("cannot write the rows of the limit")?;
    Ok(count as f64 / started.elapsed().as_secs_f64())
}

fn insert(dir: &Path, count: u64, text: &str) -> rusqlite::Result<()> {
    let mut connection = Connection::open(dir.join("bare.db"))?;
    connection.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
         CREATE TABLE logs (id INTEGER PRIMARY KEY, job TEXT, domain TEXT, name TEXT,
                            epoch INTEGER, level INTEGER, data TEXT);
         CREATE INDEX by_time ON logs (epoch);",
    )?;
    let source = super::source(0);
    for transaction in 0..count / TRANSACTION {
        let first = 1_700_000_000_000 + transaction * TRANSACTION;
        let transaction = connection.transaction()?;
        {
            let sql = "INSERT INTO logs VALUES (NULL, ?, ?, ?, ?, ?, ?)";
            let mut insert = transaction.prepare_cached(sql)?;
            for time in first..first + TRANSACTION {
                let (job, time) = (source.job.as_str(), time.cast_signed());
                insert.execute(params![job, source.domain, source.name, time, 1, text])?;
            }
        }
        transaction.commit()?;
    }
    Ok(())
}

/// Lines a second that can be asked for.
pub(super) fn ours(count: u64) -> anyhow::Result<f64> {
    let dir = tempfile::tempdir().context("cannot make a directory for the log")?;
    let store = LogStore::open(StoreConfig::new(dir.path()))?;
    let origin = Arc::new(Origin::new(super::source(0)));
    let text = super::lines(LINES);
    let mut parser = OutputParser::new(Stream::Stdout, OutputParser::LONGEST_MESSAGE);
    let started = Instant::now();
    for _ in 0..count / LINES {
        for chunk in text.chunks(CHUNK) {
            let mut batch = Batch::new(Arc::clone(&origin));
            let now = Timestamp::now();
            parser.feed(chunk, |message| batch.push(now, message));
            store.append_blocking(batch)?;
        }
    }
    store.flush_blocking()?;
    Ok(count as f64 / started.elapsed().as_secs_f64())
}
