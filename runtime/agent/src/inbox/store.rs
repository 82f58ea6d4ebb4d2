//! The file of the inbox. One connection writes, in the journal's thread; another
//! one reads the results that are to be reported.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drover_api::JobResult;
use drover_jobs::{InboxWrite, KeptJob, KeptPhase, SavedInbox};
use drover_schema::Schema;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

const SCHEMA: Schema = Schema {
    name: "the durable jobs of the agent",
    steps: SCHEMAS,
    unnumbered: drover_schema::is_the_first,
};

/// Versions of the schema, each made from the one before.
const SCHEMAS: &[&str] = &["
CREATE TABLE inbox (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    -- The controller's store, to which the numbers belong.
    store TEXT NOT NULL,
    settled_below INTEGER NOT NULL
) STRICT;
INSERT INTO inbox VALUES (1, '', 0);
CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    phase TEXT NOT NULL CHECK (phase IN ('waiting', 'running', 'ended', 'told')),
    work TEXT,
    result TEXT
) STRICT;
"];

/// How long one waits for another who has the file.
const BUSY: Duration = Duration::from_secs(10);

/// Opens the file, or makes it.
pub(super) fn open(path: &Path) -> anyhow::Result<(Connection, SavedInbox)> {
    let mut connection = drover_jobs::open_file(path)?;
    SCHEMA.bring_up(&mut connection, path)?;
    let saved = load(&connection)?;
    Ok((connection, saved))
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn load(connection: &Connection) -> rusqlite::Result<SavedInbox> {
    let inbox = "SELECT store, settled_below FROM inbox";
    let (store, settled_below) = connection
        .query_row(inbox, [], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?.cast_unsigned())))?;
    let mut query = connection.prepare("SELECT number, phase, work FROM jobs ORDER BY number")?;
    let jobs = query.query_map([], |row| {
        let phase: String = row.get(1)?;
        let phase = match phase.as_str() {
            "waiting" => KeptPhase::Waiting(json(row, 2)?),
            "running" => KeptPhase::Running(json(row, 2)?),
            "ended" => KeptPhase::Ended,
            _ => KeptPhase::Told,
        };
        Ok(KeptJob { number: row.get::<_, i64>(0)?.cast_unsigned(), phase })
    })?;
    let jobs = jobs.collect::<rusqlite::Result<_>>()?;
    Ok(SavedInbox { store, settled_below, jobs, going_on: BTreeSet::new() })
}

/// Writes one thing into the transaction that is open.
pub(super) fn write(connection: &Connection, write: &InboxWrite) -> rusqlite::Result<()> {
    match write {
        InboxWrite::Store(store) => {
            connection.execute("DELETE FROM jobs", [])?;
            let sql = "UPDATE inbox SET store = ?, settled_below = 0";
            connection.execute(sql, [store]).map(drop)
        }
        InboxWrite::Accepted(work) => {
            let text = serde_json::to_string(work);
            let text = text.expect("it has no maps but those with texts as keys");
            let sql = "INSERT INTO jobs (number, phase, work) VALUES (?, 'waiting', ?)";
            let values = params![work.number.cast_signed(), text];
            connection.prepare_cached(sql)?.execute(values).map(drop)
        }
        InboxWrite::Started(number) => {
            let sql = "UPDATE jobs SET phase = 'running' WHERE number = ?";
            connection.prepare_cached(sql)?.execute([number.cast_signed()]).map(drop)
        }
        InboxWrite::PutBack(number) => {
            let sql = "UPDATE jobs SET phase = 'waiting' WHERE number = ?";
            connection.prepare_cached(sql)?.execute([number.cast_signed()]).map(drop)
        }
        InboxWrite::Ended(number, result) => {
            let text = serde_json::to_string(result);
            let text = text.expect("it has no maps but those with texts as keys");
            let sql = "INSERT OR REPLACE INTO jobs (number, phase, result) VALUES (?, 'ended', ?)";
            connection.prepare_cached(sql)?.execute(params![number.cast_signed(), text]).map(drop)
        }
        InboxWrite::Told(number) => {
            let sql = "UPDATE jobs SET phase = 'told', work = NULL, result = NULL WHERE number = ?";
            connection.prepare_cached(sql)?.execute([number.cast_signed()]).map(drop)
        }
        InboxWrite::Settled(below) => {
            let below = below.cast_signed();
            connection.prepare_cached("DELETE FROM jobs WHERE number < ?")?.execute([below])?;
            let sql = "UPDATE inbox SET settled_below = ?";
            connection.prepare_cached(sql)?.execute([below]).map(drop)
        }
    }
}

/// The file, for whoever reads results.
pub(super) struct Store {
    path: Arc<PathBuf>,
    connection: Option<Connection>,
}

impl Store {
    pub(super) fn new(path: Arc<PathBuf>) -> Self {
        Self { path, connection: None }
    }

    /// The results with these numbers, as many as have `most_bytes` together, and one
    /// at least.
    pub(super) fn results(
        &mut self,
        numbers: &[u64],
        most_bytes: usize,
    ) -> rusqlite::Result<Vec<(u64, Option<JobResult>)>> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(&self.path)?),
        };
        let mut query = connection.prepare_cached("SELECT result FROM jobs WHERE number = ?")?;
        let mut found = Vec::with_capacity(numbers.len());
        let mut bytes = 0;
        for number in numbers {
            let text: Option<Option<String>> =
                query.query_row([number.cast_signed()], |row| row.get(0)).optional()?;
            let text = text.flatten();
            bytes += text.as_ref().map_or(0, String::len);
            if bytes > most_bytes && !found.is_empty() {
                break;
            }
            let result = text.map(|text| parse(0, &text)).transpose()?;
            found.push((*number, result));
        }
        Ok(found)
    }
}

fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    parse(column, &row.get::<_, String>(column)?)
}

fn parse<T: DeserializeOwned>(column: usize, text: &str) -> rusqlite::Result<T> {
    serde_json::from_str(text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}

#[cfg(test)]
mod tests {
    use drover_api::Command;
    use drover_jobs::Work;

    use super::*;

    fn work(number: u64) -> Arc<Work> {
        let command = Command::new("a.b");
        let store = "store".to_owned();
        Arc::new(Work { store, number, command, start_by: None, end_by: None, by: String::new() })
    }

    #[test]
    fn what_was_written_is_there_when_the_file_is_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.db");
        let (connection, saved) = open(&path).unwrap();
        assert_eq!((saved.store.as_str(), saved.jobs.len()), ("", 0));
        let writes = [
            InboxWrite::Store("store".to_owned()),
            InboxWrite::Accepted(work(1)),
            InboxWrite::Accepted(work(2)),
            InboxWrite::Accepted(work(3)),
            InboxWrite::Started(2),
            InboxWrite::Settled(2),
        ];
        for one in writes {
            write(&connection, &one).unwrap();
        }
        drop(connection);
        let (_, saved) = open(&path).unwrap();
        assert_eq!((saved.store.as_str(), saved.settled_below), ("store", 2));
        let phases: Vec<_> = saved.jobs.iter().map(|job| (job.number, &job.phase)).collect();
        assert!(
            matches!(phases[..], [(2, KeptPhase::Running(_)), (3, KeptPhase::Waiting(_))]),
            "{phases:?}"
        );
    }

    #[test]
    fn jobs_of_every_earlier_version_go_on() {
        let dump = include_str!("../../tests/schemas/inbox-1.sql");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.db");
        Connection::open(&path).unwrap().execute_batch(dump).unwrap();
        let (_, saved) = open(&path).unwrap();
        assert_eq!(saved.store, "01a1ffef-33c0-7737-b002-47f19962d560");
        assert_eq!(saved.settled_below, 7);
        let phases: Vec<_> = saved.jobs.iter().map(|job| (job.number, &job.phase)).collect();
        assert!(
            matches!(
                phases[..],
                [
                    (7, KeptPhase::Told),
                    (8, KeptPhase::Ended),
                    (9, KeptPhase::Running(_)),
                    (10, KeptPhase::Waiting(_))
                ]
            ),
            "{phases:?}"
        );
        let results = Store::new(Arc::new(path)).results(&[8], 1000).unwrap();
        assert_eq!(results[0].1.as_ref().unwrap().data, "pong");
    }

    #[test]
    fn a_number_without_a_result_is_told_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let path = Arc::new(dir.path().join("jobs.db"));
        let (connection, _) = open(&path).unwrap();
        write(&connection, &InboxWrite::Accepted(work(1))).unwrap();
        let found = Store::new(path).results(&[1, 2], 10).unwrap();
        assert_eq!(found, [(1, None), (2, None)]);
    }
}
