//! Reads records out of the files, step by step.
//!
//! A step looks at a zone or so and holds the catalog meanwhile, so that the
//! writer never waits for a query longer than that to end a file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use drover_api::{JobId, Level, NodeId, Timestamp};
use memchr::memmem::Finder;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, ToSql};

use super::catalog::{Catalog, is_passing, open_to_read};
use super::database::{to_i64, to_u64};
use super::query::{Filter, Order};
use super::record::{Flags, Sent, Sequence, StoredRecord};
use super::zone::{Run, ZoneSummary, decode_runs, job_number, node_number};
use crate::fields::Fields;
use crate::level_set::LevelSet;
use crate::source::Source;

/// What queries share: the files, and open connections to them.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) catalog: RwLock<Catalog>,
    connections: Mutex<Vec<(PathBuf, Connection)>>,
}

/// Connections that are kept open for the next query.
const IDLE_CONNECTIONS: usize = 16;

/// Zones and spans that are looked up at once.
const SUMMARIES_AT_ONCE: usize = 64;

/// Runs of one job that are this close are read as one.
const CLOSE: u64 = 16;

impl Reader {
    pub(super) fn new(catalog: Catalog) -> Self {
        Self { catalog: RwLock::new(catalog), connections: Mutex::default() }
    }

    /// Closes the connections to a file that is about to be moved or changed.
    /// The caller holds the catalog for writing, so no query has one.
    pub(super) fn forget(&self, path: &Path) {
        self.lock().retain(|(of, _)| of != path);
    }

    fn open(&self, path: &Path) -> rusqlite::Result<Connection> {
        let mut idle = self.lock();
        let known = idle.iter().position(|(of, _)| of == path).map(|at| idle.swap_remove(at).1);
        drop(idle);
        known.map_or_else(|| open_to_read(path), Ok)
    }

    fn put_back(&self, path: &Path, connection: Connection) {
        let mut idle = self.lock();
        if idle.len() == IDLE_CONNECTIONS {
            idle.remove(0);
        }
        idle.push((path.to_owned(), connection));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(PathBuf, Connection)>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A query on its way through the files.
#[derive(Debug)]
pub(super) struct Scan {
    filter: Filter,
    finder: Option<Finder<'static>>,
    is_forwarded: bool,
    order: Order,
    /// What is still to be looked at; both ends included.
    pub(super) low: u64,
    pub(super) high: u64,
    /// The statements that read records of files with and without fields.
    select: [String; 2],
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

/// Records with their places, and how much more there may be.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) records: Vec<(Sequence, StoredRecord)>,
    max_records: usize,
    max_bytes: usize,
    bytes: usize,
}

impl Found {
    pub(super) fn new(max_records: usize, max_bytes: usize) -> Self {
        Self { records: Vec::new(), max_records, max_bytes, bytes: 0 }
    }

    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= self.max_records || self.bytes >= self.max_bytes
    }

    /// The source of the last record, if it is this one: most have it.
    fn shared_source(&self, job: &str, domain: &str, name: &str) -> Option<Arc<Source>> {
        let source = &self.records.last()?.1.source;
        let is_same = source.job.as_str() == job && source.domain == domain && source.name == name;
        is_same.then(|| Arc::clone(source))
    }
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
        let finder = filter.text.as_ref().map(|text| Finder::new(text).into_owned());
        let mut scan = Self {
            filter,
            finder,
            is_forwarded: false,
            order,
            low,
            high,
            select: Default::default(),
            damaged: Vec::new(),
            unread: Vec::new(),
            patience: Patience::GoesOn,
        };
        scan.select = scan.select_statements();
        scan
    }

    /// Leaves out what is not to be forwarded.
    pub(super) fn only_forwarded(mut self) -> Self {
        self.is_forwarded = true;
        self.select = self.select_statements();
        self
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
        match self.order {
            Order::Oldest => self.low = self.low.max(run.last.saturating_add(1)),
            Order::Newest if run.first <= self.low => self.low = self.high.saturating_add(1),
            Order::Newest => self.high = self.high.min(run.first - 1),
        }
    }

    /// The next file that may hold something, with its first and last place.
    fn next_file(&self, catalog: &Catalog) -> Option<(PathBuf, u64, u64)> {
        let may_match = |earliest: Timestamp, latest: Timestamp| {
            self.filter.from.is_none_or(|from| from <= latest)
                && self.filter.until.is_none_or(|until| earliest < until)
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
        match self.order {
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
        let is_tail = match self.order {
            Order::Oldest => part.low >= tail,
            Order::Newest => part.high >= tail,
        };
        if is_tail {
            return self.read(part.connection, part.low.max(tail), part.high, found);
        }
        let zoned = Part { high: part.high.min(tail - 1), ..*part };
        let job = self.filter.job.as_ref().map(job_number);
        match job.or(self.filter.node.map(node_number)) {
            Some(number) => self.look_at_spans(&zoned, number, found),
            None => self.look_at_zones(&zoned, found),
        }
    }

    /// Reads the next zone that may hold something.
    fn look_at_zones(&self, part: &Part<'_>, found: &mut Found) -> Result<Run, Unreadable> {
        let zones = self.zones(part).map_err(|error| part.unreadable(error))?;
        if let Some(zone) = zones.iter().find(|zone| self.may_hold(zone)) {
            let (low, high) = (zone.first.0.max(part.low), zone.last.0.min(part.high));
            // Between the near end and this zone there was nothing.
            return self
                .read(part.connection, low, high, found)
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
        let direction = self.direction();
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
        self.filter.from.is_none_or(|from| from <= zone.latest)
            && self.filter.until.is_none_or(|until| zone.earliest < until)
            && self.filter.levels.intersects(zone.levels)
            && (!self.is_forwarded || zone.has_forwarded)
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
                    .read(part.connection, run.first, run.last, found)
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
            self.direction()
        );
        let mut statement = part.connection.prepare_cached(&sql)?;
        let spans = statement.query_map(
            [number.cast_signed(), from.unwrap_or(0), to_i64(part.high)],
            |row| {
                let first = to_u64(row.get(0)?);
                let mut runs = decode_runs(first, row.get_ref(1)?.as_blob().unwrap_or_default());
                let last = runs.last().map_or(first, |run| run.last);
                if self.order == Order::Newest {
                    runs.reverse();
                }
                Ok((Run { first, last }, runs))
            },
        )?;
        spans.collect()
    }

    /// Everything from the near end of the part to the far end of `run`.
    fn up_to(&self, part: &Part<'_>, run: Run) -> Run {
        match self.order {
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

    /// Reads the records from `low` to `high` until enough are found, and says
    /// which of them were looked at.
    fn read(
        &self,
        connection: &Connection,
        low: u64,
        high: u64,
        found: &mut Found,
    ) -> Result<Run, Unreadable> {
        let all = Run { first: low, last: high };
        self.read_rows(connection, all, found).map_err(|error| Unreadable { run: all, error })
    }

    fn read_rows(
        &self,
        connection: &Connection,
        Run { first: low, last: high }: Run,
        found: &mut Found,
    ) -> rusqlite::Result<Run> {
        let select = &self.select[usize::from(!has_fields(connection)?)];
        let mut statement = connection.prepare_cached(select)?;
        for (i, value) in self.parameters(&low, &high).into_iter().enumerate() {
            statement.raw_bind_parameter(i + 1, value)?;
        }
        let mut rows = statement.raw_query();
        while let Some(row) = rows.next()? {
            let Some((place, record)) = self.record_of(row, found)? else { continue };
            found.bytes += record.data.len() + record.fields.cost() + size_of::<StoredRecord>();
            found.records.push((place, record));
            if found.is_full() {
                return Ok(match self.order {
                    Order::Oldest => Run { first: low, last: place.0 },
                    Order::Newest => Run { first: place.0, last: high },
                });
            }
        }
        Ok(Run { first: low, last: high })
    }

    /// The record in a row, if the text that is asked for occurs in it and its
    /// fields are as they are to be.
    fn record_of(
        &self,
        row: &Row<'_>,
        found: &Found,
    ) -> rusqlite::Result<Option<(Sequence, StoredRecord)>> {
        let data = match row.get_ref(7)? {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
            _ => &[],
        };
        if self.finder.as_ref().is_some_and(|finder| finder.find(data).is_none()) {
            return Ok(None);
        }
        let fields = match row.get_ref(10)? {
            ValueRef::Text(json) => Fields::read(json),
            _ => Fields::default(),
        };
        if !self.filter.fields.iter().all(|condition| condition.holds(&fields)) {
            return Ok(None);
        }
        let place = Sequence(to_u64(row.get(0)?));
        let column = |i: usize| Ok::<_, rusqlite::Error>(row.get_ref(i)?.as_str().unwrap_or(""));
        let (job, domain, name) = (column(1)?, column(2)?, column(3)?);
        let source = match found.shared_source(job, domain, name) {
            Some(source) => source,
            None => {
                // A job that is none cannot be told; its file is damaged.
                let job = job.parse().map_err(|_| rusqlite::Error::InvalidQuery)?;
                Arc::new(Source { job, domain: domain.to_owned(), name: name.to_owned() })
            }
        };
        let flags = Flags(row.get(6)?);
        let node = row.get_ref(8)?.as_str_or_null()?.and_then(|node| node.parse::<NodeId>().ok());
        let sent = match node {
            Some(node) => Some(Sent { node, place: to_u64(row.get(9)?) }),
            None => None,
        };
        let record = StoredRecord {
            id: place.id(),
            source,
            time: Timestamp(to_u64(row.get(4)?)),
            level: Level(row.get(5)?),
            data: data.to_vec(),
            fields,
            part: flags.part(),
            is_gap: flags.has(Flags::GAP),
            sent,
        };
        Ok(Some((place, record)))
    }

    fn direction(&self) -> &'static str {
        match self.order {
            Order::Oldest => "ASC",
            Order::Newest => "DESC",
        }
    }

    fn select_statements(&self) -> [String; 2] {
        ["fields", "NULL"].map(|fields| self.select_statement(fields))
    }

    /// The statement that reads a stretch of records. Its parameters are those
    /// of [`Scan::parameters`]; numbers stand in the text.
    fn select_statement(&self, fields: &str) -> String {
        let mut sql = format!(
            "SELECT id, job, domain, name, epoch, level, flags, data, node, place, {fields}
             FROM logs WHERE id BETWEEN ?1 AND ?2"
        );
        if !self.filter.fields.is_empty() {
            let _ = write!(sql, " AND {fields} IS NOT NULL");
        }
        let texts = [
            ("job", self.filter.job.is_some()),
            ("domain", self.filter.domain.is_some()),
            ("name", self.filter.name.is_some()),
            ("node", self.filter.node.is_some()),
        ];
        let asked_for = texts.into_iter().filter(|(_, is_asked_for)| *is_asked_for);
        for (parameter, (column, _)) in (3..).zip(asked_for) {
            let _ = write!(sql, " AND {column} = ?{parameter}");
        }
        if let Some(from) = self.filter.from {
            let _ = write!(sql, " AND epoch >= {}", to_i64(from.0));
        }
        if let Some(until) = self.filter.until {
            let _ = write!(sql, " AND epoch < {}", to_i64(until.0));
        }
        if self.filter.levels != LevelSet::ALL {
            let ranges = self.filter.levels.ranges();
            let ranges = ranges.map(|(a, b)| format!("level BETWEEN {} AND {}", a.0, b.0));
            let ranges = ranges.collect::<Vec<_>>().join(" OR ");
            let _ = write!(sql, " AND ({})", if ranges.is_empty() { "FALSE" } else { &ranges });
        }
        if self.is_forwarded {
            let _ = write!(sql, " AND flags & {}", Flags::FORWARD);
        }
        let _ = write!(sql, " ORDER BY id {}", self.direction());
        sql
    }

    fn parameters<'a>(&'a self, low: &'a u64, high: &'a u64) -> Vec<Box<dyn ToSql + 'a>> {
        let mut parameters: Vec<Box<dyn ToSql + 'a>> =
            vec![Box::new(to_i64(*low)), Box::new(to_i64(*high))];
        let job = self.filter.job.as_ref().map(JobId::as_str);
        for text in [job, self.filter.domain.as_deref(), self.filter.name.as_deref()] {
            parameters.extend(text.map(|text| Box::new(text) as Box<dyn ToSql>));
        }
        if let Some(node) = self.filter.node {
            parameters.push(Box::new(node.to_string()));
        }
        parameters
    }
}

/// The first place that has no zone.
fn tail_of(connection: &Connection) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(max(last) + 1, 0) FROM zones";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).map(to_u64)
}

/// Whether records may have fields: those of a file that an older program ended
/// have none.
pub(super) fn has_fields(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM pragma_table_info('logs') WHERE name = 'fields')";
    connection.prepare_cached(sql)?.query_row([], |row| row.get(0))
}
