//! Reads records out of the files, step by step.
//!
//! A step looks at a zone or so and holds the catalog meanwhile, so that the
//! writer never waits for a query longer than that to end a file.

use std::path::PathBuf;
use std::sync::PoisonError;

use drover_api::Timestamp;
use rusqlite::Connection;

use super::catalog::{Catalog, is_passing};
use super::database::{to_i64, to_u64};
use super::query::{Filter, Order};
use super::reader::Reader;
use super::record::Sequence;
use super::rows::{Found, Wanted};
use super::zone::{Run, ZoneSummary, decode_runs, job_number, node_number};
use crate::level_set::LevelSet;

/// Zones and spans that are looked up at once.
const SUMMARIES_AT_ONCE: usize = 64;

/// Runs of one job that are this close are read as one.
const CLOSE: u64 = 16;

/// A query on its way through the files.
#[derive(Debug)]
pub(super) struct Scan {
    wanted: Wanted,
    /// What is still to be looked at; both ends included.
    pub(super) low: u64,
    pub(super) high: u64,
    /// Files with damage that was met.
    pub(super) damaged: Vec<PathBuf>,
    /// Files that cannot be read for now.
    unread: Vec<PathBuf>,
    /// What becomes of a file that cannot be read for now.
    patience: Patience,
}

/// What a scan does about a file that cannot be read for now, as when the disk is
/// full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// It goes on without, and says so.
    GoesOn,
    /// It stops there, for whoever must not miss anything.
    Waits,
    /// It has stopped.
    Stopped,
}

/// A stretch of a file that cannot be read.
#[derive(Debug)]
struct Unreadable {
    run: Run,
    error: rusqlite::Error,
}

/// One file, and the part of it that is to be looked at.
struct Part<'a> {
    connection: &'a Connection,
    low: u64,
    high: u64,
}

impl Part<'_> {
    /// That nothing of the part can be read.
    fn unreadable(&self, error: rusqlite::Error) -> Unreadable {
        Unreadable { run: Run { first: self.low, last: self.high }, error }
    }
}

impl Scan {
    /// A scan of the records from `low` to `high` that fulfil `filter`, whose
    /// `after` has become part of `low`.
    pub(super) fn new(filter: Filter, order: Order, low: u64, high: u64) -> Self {
        Self {
            wanted: Wanted::new(filter, order),
            low,
            high,
            damaged: Vec::new(),
            unread: Vec::new(),
            patience: Patience::GoesOn,
        }
    }

    /// Leaves out what is not to be forwarded.
    pub(super) fn only_forwarded(self) -> Self {
        Self { wanted: self.wanted.only_forwarded(), ..self }
    }

    /// Stops before a file that cannot be read for now.
    pub(super) fn patient(mut self) -> Self {
        self.patience = Patience::Waits;
        self
    }

    /// Whether it has stopped before such a file.
    pub(super) fn is_stopped(&self) -> bool {
        self.patience == Patience::Stopped
    }

    /// The files that could not be read in whole.
    pub(super) fn unread_files(&self) -> impl Iterator<Item = &PathBuf> {
        self.damaged.iter().chain(&self.unread)
    }

    pub(super) fn is_done(&self) -> bool {
        self.low > self.high
    }

    /// Goes on until enough is found or nothing is left.
    pub(super) fn run(&mut self, reader: &Reader, found: &mut Found) {
        while !self.is_done() && !found.is_full() && !self.is_stopped() {
            self.step(reader, found);
        }
    }

    fn step(&mut self, reader: &Reader, found: &mut Found) {
        let catalog = reader.catalog.read().unwrap_or_else(PoisonError::into_inner);
        let Some((path, first, last)) = self.next_file(&catalog) else {
            self.low = self.high.saturating_add(1);
            return;
        };
        let (low, high) = (self.low.max(first), self.high.min(last));
        let part = |connection| Part { connection, low, high };
        let looked_at = match reader.open(&path) {
            Ok(connection) => {
                let looked_at = self.look_at_once(&part(&connection), found);
                reader.put_back(&path, connection);
                looked_at
            }
            Err(error) => Err(Unreadable { run: Run { first: low, last: high }, error }),
        };
        match looked_at {
            Ok(run) => self.leave(run),
            Err(Unreadable { run, error }) => {
                // One that somebody has removed does not come back.
                let may_pass = is_passing(&error) && path.exists();
                if may_pass && self.patience == Patience::Waits {
                    tracing::debug!(path = %path.display(), %error, "log file cannot be read yet");
                    self.patience = Patience::Stopped;
                    return;
                }
                tracing::warn!(path = %path.display(), %error, "log file cannot be read");
                let files = if may_pass { &mut self.unread } else { &mut self.damaged };
                if !files.contains(&path) {
                    files.push(path);
                }
                self.leave(run);
            }
        }
    }

    /// Says that a stretch at the near end has been looked at.
    fn leave(&mut self, run: Run) {
        match self.wanted.order {
            Order::Oldest => self.low = self.low.max(run.last.saturating_add(1)),
            Order::Newest if run.first <= self.low => self.low = self.high.saturating_add(1),
            Order::Newest => self.high = self.high.min(run.first - 1),
        }
    }

    /// The next file that may hold something, with its first and last place.
    fn next_file(&self, catalog: &Catalog) -> Option<(PathBuf, u64, u64)> {
        let may_match = |earliest: Timestamp, latest: Timestamp| {
            self.wanted.filter.from.is_none_or(|from| from <= latest)
                && self.wanted.filter.until.is_none_or(|until| earliest < until)
        };
        let finished = catalog
            .files
            .iter()
            .filter(|file| may_match(file.earliest, file.latest))
            .map(|file| (file.path.clone(), file.first.0, file.last.0));
        let current = (catalog.current(), catalog.current_first.0, u64::MAX);
        let mut files = finished
            .chain([current])
            .filter(|(_, first, last)| *first <= self.high && *last >= self.low);
        match self.wanted.order {
            Order::Oldest => files.next(),
            Order::Newest => files.next_back(),
        }
    }

    /// Looks in one transaction: to begin one for every statement would cost
    /// more than the statements.
    fn look_at_once(&self, part: &Part<'_>, found: &mut Found) -> Result<Run, Unreadable> {
        let transaction = part.connection.unchecked_transaction();
        let transaction = transaction.map_err(|error| part.unreadable(error))?;
        let looked_at = self.look(part, found);
        drop(transaction);
        looked_at
    }

    /// Looks at the near end of a part, and says which stretch is done.
    fn look(&self, part: &Part<'_>, found: &mut Found) -> Result<Run, Unreadable> {
        let tail = tail_of(part.connection).map_err(|error| part.unreadable(error))?;
        let is_tail = match self.wanted.order {
            Order::Oldest => part.low >= tail,
            Order::Newest => part.high >= tail,
        };
        if is_tail {
            let run = Run { first: part.low.max(tail), last: part.high };
            return self.read(part.connection, run, found);
        }
        let zoned = Part { high: part.high.min(tail - 1), ..*part };
        let job = self.wanted.filter.job.as_ref().map(job_number);
        match job.or(self.wanted.filter.node.map(node_number)) {
            Some(number) => self.look_at_spans(&zoned, number, found),
            None => self.look_at_zones(&zoned, found),
        }
    }

    /// Reads the next zone that may hold something.
    fn look_at_zones(&self, part: &Part<'_>, found: &mut Found) -> Result<Run, Unreadable> {
        let zones = self.zones(part).map_err(|error| part.unreadable(error))?;
        if let Some(zone) = zones.iter().find(|zone| self.may_hold(zone)) {
            let run = Run { first: zone.first.0.max(part.low), last: zone.last.0.min(part.high) };
            // Between the near end and this zone there was nothing.
            return self
                .read(part.connection, run, found)
                .map(|run| self.up_to(part, run))
                .map_err(|failed| Unreadable { run: self.up_to(part, failed.run), ..failed });
        }
        Ok(match zones.last() {
            Some(zone) if zones.len() == SUMMARIES_AT_ONCE => {
                self.up_to(part, Run { first: zone.first.0, last: zone.last.0 })
            }
            _ => Run { first: part.low, last: part.high },
        })
    }

    fn zones(&self, part: &Part<'_>) -> rusqlite::Result<Vec<ZoneSummary>> {
        let direction = self.wanted.direction();
        let sql = format!(
            "SELECT first, last, earliest, latest, levels, forwarded FROM zones
             WHERE first <= ?2 AND last >= ?1 ORDER BY first {direction} LIMIT {SUMMARIES_AT_ONCE}"
        );
        let mut statement = part.connection.prepare_cached(&sql)?;
        let zones = statement.query_map([to_i64(part.low), to_i64(part.high)], |row| {
            Ok(ZoneSummary {
                first: Sequence(to_u64(row.get(0)?)),
                last: Sequence(to_u64(row.get(1)?)),
                earliest: Timestamp(to_u64(row.get(2)?)),
                latest: Timestamp(to_u64(row.get(3)?)),
                levels: LevelSet::from_bytes(row.get_ref(4)?.as_blob().unwrap_or_default()),
                has_forwarded: row.get(5)?,
            })
        })?;
        zones.collect()
    }

    fn may_hold(&self, zone: &ZoneSummary) -> bool {
        self.wanted.filter.from.is_none_or(|from| from <= zone.latest)
            && self.wanted.filter.until.is_none_or(|until| zone.earliest < until)
            && self.wanted.filter.levels.intersects(zone.levels)
            && (!self.wanted.is_forwarded || zone.has_forwarded)
    }

    /// Reads the next runs of a job or node, by its number.
    fn look_at_spans(
        &self,
        part: &Part<'_>,
        number: u64,
        found: &mut Found,
    ) -> Result<Run, Unreadable> {
        let spans = self.spans(part, number).map_err(|error| part.unreadable(error))?;
        for (_, runs) in &spans {
            for run in self.join_close(runs, part) {
                let read = self
                    .read(part.connection, run, found)
                    .map_err(|failed| Unreadable { run: self.up_to(part, failed.run), ..failed })?;
                if found.is_full() {
                    return Ok(self.up_to(part, read));
                }
            }
        }
        Ok(match spans.last() {
            Some((span, _)) if spans.len() == SUMMARIES_AT_ONCE => self.up_to(part, *span),
            _ => Run { first: part.low, last: part.high },
        })
    }

    /// The next spans of a job or node: from its first to its last record, and
    /// the runs in the order that is asked for.
    fn spans(&self, part: &Part<'_>, number: u64) -> rusqlite::Result<Vec<(Run, Vec<Run>)>> {
        // A span begins no earlier than its zone.
        let sql = "SELECT min(first) FROM zones WHERE last >= ?1";
        let mut statement = part.connection.prepare_cached(sql)?;
        let from: Option<i64> = statement.query_row([to_i64(part.low)], |row| row.get(0))?;
        let sql = format!(
            "SELECT first, runs FROM spans WHERE job = ?1 AND first BETWEEN ?2 AND ?3
             ORDER BY first {} LIMIT {SUMMARIES_AT_ONCE}",
            self.wanted.direction()
        );
        let mut statement = part.connection.prepare_cached(&sql)?;
        let spans = statement.query_map(
            [number.cast_signed(), from.unwrap_or(0), to_i64(part.high)],
            |row| {
                let first = to_u64(row.get(0)?);
                let mut runs = decode_runs(first, row.get_ref(1)?.as_blob().unwrap_or_default());
                let last = runs.last().map_or(first, |run| run.last);
                if self.wanted.order == Order::Newest {
                    runs.reverse();
                }
                Ok((Run { first, last }, runs))
            },
        )?;
        spans.collect()
    }

    /// Everything from the near end of the part to the far end of `run`.
    fn up_to(&self, part: &Part<'_>, run: Run) -> Run {
        match self.wanted.order {
            Order::Oldest => Run { first: part.low, last: run.last },
            Order::Newest => Run { first: run.first, last: part.high },
        }
    }

    /// The runs within the part, those that are close to each other as one.
    fn join_close(&self, runs: &[Run], part: &Part<'_>) -> Vec<Run> {
        let mut joined: Vec<Run> = Vec::with_capacity(runs.len());
        for run in runs {
            let (first, last) = (run.first.max(part.low), run.last.min(part.high));
            if first > last {
                continue;
            }
            match joined.last_mut() {
                Some(before) if before.last < first && first - before.last <= CLOSE => {
                    before.last = last;
                }
                Some(before) if before.first > last && before.first - last <= CLOSE => {
                    before.first = first;
                }
                _ => joined.push(Run { first, last }),
            }
        }
        joined
    }

    /// Reads a stretch until enough is found, and says how much of it was looked at.
    fn read(
        &self,
        connection: &Connection,
        run: Run,
        found: &mut Found,
    ) -> Result<Run, Unreadable> {
        self.wanted.read(connection, run, found).map_err(|error| Unreadable { run, error })
    }
}

/// The first place that has no zone.
fn tail_of(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(max(last) + 1, 0) FROM zones";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).map(to_u64)
}
