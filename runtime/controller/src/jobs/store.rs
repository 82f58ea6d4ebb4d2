//! What the controller keeps of durable jobs: one SQLite file.
//!
//! One connection writes, in the journal's thread; others read.

mod list;
mod query;
mod write;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_api::{JobState, JobSubmit, NodeId, Timestamp};
use drover_jobs::{SavedJob, SavedSubmission, Write};
use drover_schema::Schema;
use rusqlite::types::Type;
use rusqlite::{Connection, OpenFlags, Row};
use serde::de::DeserializeOwned;

pub(super) use list::list;
pub(super) use query::{find, request, results, show};

const SCHEMA: Schema = Schema {
    name: "the jobs of the controller",
    steps: SCHEMAS,
    unnumbered: drover_schema::is_the_first,
};

/// Versions of the schema, each made from the one before.
const SCHEMAS: &[&str] = &[
    "
CREATE TABLE store (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    id TEXT NOT NULL,
    next INTEGER NOT NULL
) STRICT;
CREATE TABLE submissions (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    cmd TEXT NOT NULL,
    nodes TEXT NOT NULL,
    by TEXT NOT NULL,
    schedule TEXT,
    time INTEGER NOT NULL,
    start_by INTEGER,
    end_by INTEGER,
    keep_ms INTEGER NOT NULL,
    ended INTEGER,
    expires INTEGER,
    state TEXT NOT NULL,
    queued INTEGER NOT NULL,
    running INTEGER NOT NULL DEFAULT 0,
    ok INTEGER NOT NULL DEFAULT 0,
    error INTEGER NOT NULL DEFAULT 0,
    timeout INTEGER NOT NULL DEFAULT 0,
    killed INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX submissions_by_state ON submissions (state);
CREATE INDEX submissions_by_cmd ON submissions (cmd);
CREATE INDEX submissions_by_schedule ON submissions (schedule) WHERE schedule IS NOT NULL;
CREATE INDEX submissions_by_expiry ON submissions (expires) WHERE expires IS NOT NULL;
CREATE TABLE requests (
    submission INTEGER PRIMARY KEY,
    request TEXT NOT NULL
) STRICT;
CREATE TABLE jobs (
    key INTEGER PRIMARY KEY,
    submission INTEGER NOT NULL,
    gid INTEGER NOT NULL,
    nid INTEGER NOT NULL,
    number INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 1,
    ready INTEGER NOT NULL,
    is_killed INTEGER NOT NULL DEFAULT 0,
    state TEXT NOT NULL,
    -- Transitions as JSON, one a line.
    history TEXT NOT NULL
) STRICT;
CREATE INDEX jobs_by_submission ON jobs (submission, gid, nid);
CREATE INDEX jobs_by_node ON jobs (gid, nid, submission);
CREATE TABLE results (
    job INTEGER PRIMARY KEY,
    result TEXT NOT NULL
) STRICT;
",
    "
CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    schedule TEXT NOT NULL
) STRICT;
",
    "
-- When the backup was made that the store comes from, until a controller has gone on
-- from it.
ALTER TABLE store ADD COLUMN restored INTEGER;
",
    "
-- One for each filter of lists, in their order: the newest first.
DROP INDEX submissions_by_state;
DROP INDEX submissions_by_cmd;
DROP INDEX submissions_by_schedule;
CREATE INDEX submissions_by_time ON submissions (time);
CREATE INDEX submissions_by_state ON submissions (state, time);
CREATE INDEX submissions_by_cmd ON submissions (cmd, time);
CREATE INDEX submissions_by_by ON submissions (by, time);
CREATE INDEX submissions_by_schedule ON submissions (schedule, time) WHERE schedule IS NOT NULL;
",
];

/// Numbers that a restored store leaves out: more than the controller it comes from can
/// have given since the backup. A thousand a second take 35 years, and there is room
/// for eight million restored stores.
const LEFT_OUT: i64 = 1 << 40;

/// How long a reader waits for a writer, which it never does but for an instant.
const BUSY: Duration = Duration::from_secs(10);

/// What may be written.
#[derive(Debug)]
pub(super) enum StoreWrite {
    /// What became of jobs.
    Job(Write),
    /// Deletes what was kept long enough by now.
    Sweep(Timestamp),
    /// A schedule as it is from now on.
    Schedule { name: String, schedule: String },
    /// A schedule is no more.
    Unschedule(String),
}

/// What was on disk when the controller started.
pub(super) struct Saved {
    /// The store's id.
    pub(super) id: String,
    /// The first number that was never given.
    pub(super) next: u64,
    /// What had not ended.
    pub(super) submissions: Vec<SavedSubmission>,
    /// The schedules.
    pub(super) schedules: Vec<String>,
    /// When the backup was made that all this comes from.
    pub(super) restored: Option<Timestamp>,
}

/// The store, for those who read.
#[derive(Debug, Clone)]
pub(super) struct Store {
    path: Arc<PathBuf>,
    /// Connections that nobody uses at the moment.
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Store {
    /// Opens the store or makes it, for the one who writes and those who read.
    pub(super) fn open(dir: &Path) -> anyhow::Result<(Self, Connection, Saved)> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join("jobs.db");
        let mut connection = drover_jobs::open_file(&path)?;
        // Checkpoints are rare and long rather than often and short.
        connection.pragma_update(None, "wal_autocheckpoint", 4000)?;
        SCHEMA.bring_up(&mut connection, &path)?;
        let id = drover_api::JobId::generate();
        connection.execute(
            "INSERT OR IGNORE INTO store (only_one, id, next) VALUES (1, ?, 1)",
            [id.as_str()],
        )?;
        let saved = load(&connection)?;
        let store = Self { path: Arc::new(path), idle: Arc::default() };
        Ok((store, connection, saved))
    }

    /// Asks on a thread that may wait for the disk.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let store = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let connection = store.connection()?;
            let answer = ask(&connection);
            store.idle().push(connection);
            answer
        });
        Ok(asked.await??)
    }

    fn connection(&self) -> rusqlite::Result<Connection> {
        if let Some(connection) = self.idle().pop() {
            return Ok(connection);
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&*self.path, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Marks the store in `dir` as one that comes from a backup of this time: no number is
/// given that was given since, and the controller that starts on it goes by that.
pub(super) fn mark_restored(dir: &Path, backup: Timestamp) -> anyhow::Result<()> {
    let (_, connection, _) = Store::open(dir)?;
    let sql = "UPDATE store SET next = next + ?, restored = ?";
    connection.execute(sql, [LEFT_OUT, backup.0.cast_signed()])?;
    connection.close().map_err(|(_, error)| error.into())
}

/// Writes down how a controller goes on from a backup, all at once.
pub(super) fn go_on(connection: &Connection, writes: Vec<StoreWrite>) -> rusqlite::Result<()> {
    let transaction = connection.unchecked_transaction()?;
    for one in writes {
        write(&transaction, &one)?;
    }
    transaction.execute("UPDATE store SET restored = NULL", [])?;
    transaction.commit()
}

/// Writes one thing into the transaction that is open.
pub(super) fn write(connection: &Connection, write: &StoreWrite) -> rusqlite::Result<()> {
    match write {
        StoreWrite::Job(job) => write::job(connection, job),
        StoreWrite::Sweep(now) => write::sweep(connection, *now),
        StoreWrite::Schedule { name, schedule } => {
            let sql = "INSERT OR REPLACE INTO schedules VALUES (?, ?)";
            connection.prepare_cached(sql)?.execute([name, schedule]).map(drop)
        }
        StoreWrite::Unschedule(name) => {
            let sql = "DELETE FROM schedules WHERE name = ?";
            connection.prepare_cached(sql)?.execute([name]).map(drop)
        }
    }
}

fn load(connection: &Connection) -> rusqlite::Result<Saved> {
    let (id, next, restored) =
        connection.query_row("SELECT id, next, restored FROM store", [], |row| {
            Ok((row.get(0)?, number(row, 1)?, time(row, 2)?))
        })?;
    let sql = "SELECT key, request, by, start_by, end_by, time,
                   queued + running + ok + error + timeout + killed FROM submissions
               JOIN requests ON requests.submission = key
               WHERE state IN ('QUEUED', 'RUNNING') ORDER BY key";
    let mut query = connection.prepare(sql)?;
    let submissions = query.query_map([], |row| {
        Ok(SavedSubmission {
            key: number(row, 0)?,
            request: json::<JobSubmit>(row, 1)?,
            by: row.get(2)?,
            start_by: time(row, 3)?,
            end_by: time(row, 4)?,
            time: Timestamp(number(row, 5)?),
            nodes: number(row, 6)?,
            jobs: Vec::new(),
            done: Vec::new(),
        })
    })?;
    let mut submissions = submissions.collect::<rusqlite::Result<Vec<_>>>()?;
    let sql = "SELECT key, gid, nid, number, attempt, ready, state = 'RUNNING', is_killed FROM jobs
               WHERE submission = ? AND state IN ('QUEUED', 'RUNNING') ORDER BY key";
    let mut query = connection.prepare(sql)?;
    for submission in &mut submissions {
        let jobs = query.query_map([submission.key.cast_signed()], |row| {
            Ok(SavedJob {
                key: number(row, 0)?,
                node: NodeId::new(row.get(1)?, row.get(2)?),
                number: number(row, 3)?,
                attempt: row.get(4)?,
                ready: Timestamp(number(row, 5)?),
                is_running: row.get(6)?,
                is_killed: row.get(7)?,
            })
        })?;
        submission.jobs = jobs.collect::<rusqlite::Result<_>>()?;
    }
    // What is for any of the nodes may move, but to none that has had it.
    let sql = "SELECT gid, nid FROM jobs
               WHERE submission = ? AND state NOT IN ('QUEUED', 'RUNNING')";
    let mut query = connection.prepare(sql)?;
    for submission in submissions.iter_mut().filter(|one| one.request.any.is_some()) {
        let nodes = query.query_map([submission.key.cast_signed()], |row| {
            Ok(NodeId::new(row.get(0)?, row.get(1)?))
        })?;
        submission.done = nodes.collect::<rusqlite::Result<_>>()?;
    }
    let mut query = connection.prepare("SELECT schedule FROM schedules ORDER BY name")?;
    let schedules = query.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(Saved { id, next, submissions, schedules, restored })
}

/// A state as it is written.
fn state_text(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "QUEUED",
        JobState::Running => "RUNNING",
        JobState::Ok => "OK",
        JobState::Error => "ERROR",
        JobState::Timeout => "TIMEOUT",
        JobState::Killed => "KILLED",
    }
}

fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(|time| Timestamp(time.cast_unsigned())))
}

/// A column that is JSON.
fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| unreadable(column, error))
}

fn unreadable(column: usize, error: serde_json::Error) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

#[cfg(test)]
mod tests;
