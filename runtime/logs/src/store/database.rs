//! One file of records, as its writer sees it: the schema, and how rows go in.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use drover_api::{Level, Timestamp};
use drover_schema::{Schema, SchemaError};
use rusqlite::{CachedStatement, Connection, OpenFlags, ToSql, params};

use super::Durability;
use super::batch::NewRecord;
use super::record::{Flags, Sequence};
use super::zone::{OpenZone, job_number, node_number};

/// The schema of a file of records, whether it is written to or complete. Nothing
/// in it needs a copy of the file: no step touches a row.
const SCHEMA: Schema = Schema { name: "the log records", steps: SCHEMAS, unnumbered: looks_like };

/// Versions of the schema, each made from the one before.
///
/// `logs` is what other programs may read; its `id` has the record's id in its
/// lowest four bytes, `epoch` is in milliseconds since 1970, and `data` is a
/// blob if it is not UTF-8. `node` and `place` are there if a node sent the
/// record, `fields` as a JSON object if a parser found some. `marks` is what is
/// remembered in the same transactions: see [`super::LogStore::marks`]. `zones` and `spans` are how queries find their way:
/// see the module `zone`.
const SCHEMAS: &[&str] = &[
    "
    CREATE TABLE logs (
        id INTEGER PRIMARY KEY,
        job TEXT NOT NULL,
        domain TEXT NOT NULL,
        name TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        level INTEGER NOT NULL,
        flags INTEGER NOT NULL,
        data NOT NULL
    );
    CREATE TABLE zones (
        first INTEGER PRIMARY KEY,
        last INTEGER NOT NULL,
        earliest INTEGER NOT NULL,
        latest INTEGER NOT NULL,
        levels BLOB NOT NULL,
        forwarded INTEGER NOT NULL
    );
    CREATE TABLE spans (
        job INTEGER NOT NULL,
        first INTEGER NOT NULL,
        runs BLOB NOT NULL,
        PRIMARY KEY (job, first)
    ) WITHOUT ROWID;
",
    "
    ALTER TABLE logs ADD COLUMN node TEXT;
    ALTER TABLE logs ADD COLUMN place INTEGER;
",
    "
    ALTER TABLE logs ADD COLUMN fields TEXT;
    CREATE TABLE IF NOT EXISTS marks (
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID;
",
];

/// The version of a file from before they had numbers.
fn looks_like(connection: &Connection) -> rusqlite::Result<usize> {
    let sql = "SELECT CASE WHEN EXISTS (SELECT 1 FROM columns WHERE name = 'fields') THEN 3
                           WHEN EXISTS (SELECT 1 FROM columns WHERE name = 'node') THEN 2
                           ELSE 1 END
               FROM (SELECT 1)";
    let columns = "WITH columns AS (SELECT name FROM pragma_table_info('logs'))";
    let looks: i64 = connection.query_row(&format!("{columns} {sql}"), [], |row| row.get(0))?;
    Ok(usize::try_from(looks).unwrap_or(1))
}

/// Brings a file to this version's schema. One of a later version is, to this program,
/// no file of records: it is set aside like one that is damaged, and kept.
pub(super) fn bring_up(connection: &mut Connection) -> rusqlite::Result<()> {
    SCHEMA.apply(connection).map_err(|error| match error {
        SchemaError::Step { source, .. } | SchemaError::Database { source, .. } => source,
        other => {
            let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_NOTADB);
            rusqlite::Error::SqliteFailure(code, Some(other.to_string()))
        }
    })
}

/// Rows that one statement inserts: fewer, larger steps of the engine.
const ROWS_AT_ONCE: usize = 16;

/// Columns of a row: the last is for records that have fields, the two before it
/// for those that a node sent.
const COLUMNS: usize = 11;
const SENT_COLUMNS: usize = 10;
const OWN_COLUMNS: usize = 8;

/// How long a change waits for a query that reads the same pages.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// The file that records are written to.
#[derive(Debug)]
pub(super) struct Database {
    connection: Connection,
    zone: OpenZone,
}

impl Database {
    /// Opens the file, or makes it. Records that have no zone yet are looked
    /// through once.
    pub(super) fn open(path: &Path, durability: Durability) -> rusqlite::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        let synchronous = match durability {
            Durability::Window => "normal",
            Durability::EveryCommit => "full",
        };
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        bring_up(&mut connection)?;
        let mut database = Self { connection, zone: OpenZone::default() };
        database.zone = database.read_open_zone()?;
        Ok(database)
    }

    /// The first and the last place that has a record.
    pub(super) fn ends(&self) -> rusqlite::Result<Option<(Sequence, Sequence)>> {
        // Each by itself: asked for together, every record would be read.
        let sql = "SELECT (SELECT min(id) FROM logs), (SELECT max(id) FROM logs)";
        self.connection.query_row(sql, [], |row| {
            let ends = row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?);
            Ok(ends.map(|(first, last)| (Sequence(to_u64(first)), Sequence(to_u64(last)))))
        })
    }

    /// Writes records and marks in one transaction, with ids from `first` on. What comes
    /// of an error is not known: the file is to be opened anew then.
    pub(super) fn write<'r>(
        &mut self,
        first: Sequence,
        records: impl Iterator<Item = NewRecord<'r>>,
        marks: impl Iterator<Item = &'r (String, Option<String>)>,
    ) -> rusqlite::Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let mut rows = Vec::with_capacity(ROWS_AT_ONCE);
        let mut job = None;
        let mut id = first;
        for record in records {
            let number = match job {
                Some((of, number)) if std::ptr::eq(of, record.source) => number,
                _ => job_number(&record.source.job),
            };
            job = Some((record.source, number));
            self.zone.add(id, number, (record.time, record.level, record.flags));
            if let Some(sent) = record.sent {
                self.zone.add_node(id, node_number(sent.node));
            }
            rows.push((id, record));
            id.0 += 1;
            if rows.len() == ROWS_AT_ONCE {
                insert(&self.connection, &rows)?;
                rows.clear();
            }
            if self.zone.is_full() {
                write_zone(&self.connection, &mut self.zone)?;
            }
        }
        for row in &rows {
            insert(&self.connection, std::slice::from_ref(row))?;
        }
        for (name, value) in marks {
            write_mark(&self.connection, name, value.as_deref())?;
        }
        self.connection.execute_batch("COMMIT")
    }

    /// What is remembered.
    pub(super) fn marks(&self) -> rusqlite::Result<BTreeMap<String, String>> {
        read_marks(&self.connection)
    }

    /// Takes over what the file before this one has to remember.
    pub(super) fn carry(&self, marks: &BTreeMap<String, String>) -> rusqlite::Result<()> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        write_mark(&self.connection, CARRIED, Some(""))?;
        for (name, value) in marks {
            write_mark(&self.connection, name, Some(value))?;
        }
        self.connection.execute_batch("COMMIT")
    }

    /// Deletes records by their ids, and says how many there were.
    pub(super) fn delete(&mut self, ids: &[Sequence]) -> rusqlite::Result<u64> {
        delete_rows(&mut self.connection, ids)
    }

    /// Bytes that are in use, as they will be in the file.
    pub(super) fn bytes(&self) -> rusqlite::Result<u64> {
        let sql = "SELECT (page_count - freelist_count) * page_size
                   FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
        self.connection.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0)).map(to_u64)
    }

    /// Brings what was committed to the disk, as far as queries let it.
    pub(super) fn sync(&self) -> rusqlite::Result<()> {
        self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
    }

    /// Ends the file: its last zone is written, and it is left as a single file
    /// that nothing is added to. No query may have it open.
    pub(super) fn finish(mut self) -> rusqlite::Result<()> {
        // Both or none: a zone without its spans would hide records.
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        write_zone(&self.connection, &mut self.zone)?;
        self.connection.execute_batch("COMMIT")?;
        self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        self.connection.pragma_update(None, "journal_mode", "delete")?;
        self.connection.close().map_err(|(_, error)| error)
    }

    /// Ends the writing for now.
    pub(super) fn close(self) -> rusqlite::Result<()> {
        self.sync()?;
        self.connection.close().map_err(|(_, error)| error)
    }

    fn read_open_zone(&self) -> rusqlite::Result<OpenZone> {
        let mut zone = OpenZone::default();
        let mut statement = self.connection.prepare(
            "SELECT id, job, epoch, level, flags, node FROM logs
             WHERE id > (SELECT coalesce(max(last), -1) FROM zones) ORDER BY id",
        )?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            // A job's id that cannot be one is found by no query.
            let job = row.get::<_, String>(1)?.parse().map_or(0, |job| job_number(&job));
            let marks = (Timestamp(to_u64(row.get(2)?)), Level(row.get(3)?), Flags(row.get(4)?));
            let id = Sequence(to_u64(row.get(0)?));
            zone.add(id, job, marks);
            if let Some(node) = row.get::<_, Option<String>>(5)?.and_then(|node| node.parse().ok())
            {
                zone.add_node(id, node_number(node));
            }
        }
        Ok(zone)
    }
}

/// Memory for pages that are being written.
const CACHE_KIB: i64 = 4096;

/// Pages in the write-ahead log before they are brought to their places.
const CHECKPOINT_PAGES: i64 = 2000;

/// Deletes rows in one transaction, and says how many there were.
pub(super) fn delete_rows(connection: &mut Connection, ids: &[Sequence]) -> rusqlite::Result<u64> {
    let transaction = connection.transaction()?;
    let mut deleted = 0;
    {
        let mut statement = transaction.prepare_cached("DELETE FROM logs WHERE id = ?1")?;
        for id in ids {
            deleted += statement.execute([to_i64(id.0)])? as u64;
        }
    }
    transaction.commit()?;
    Ok(deleted)
}

/// Opens a file that is complete, to delete from it.
pub(super) fn open_finished(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

/// SQLite's numbers are signed; ours never reach the sign.
pub(super) fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn to_u64(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// The statements that insert rows, each for one row and for many: to put them
/// together anew would cost as much as a row.
struct Inserts {
    own: [String; 2],
    sent: [String; 2],
    with_fields: [String; 2],
}

static INSERTS: LazyLock<Inserts> = LazyLock::new(|| Inserts {
    own: [1, ROWS_AT_ONCE].map(|rows| insert_statement(rows, OWN_COLUMNS)),
    sent: [1, ROWS_AT_ONCE].map(|rows| insert_statement(rows, SENT_COLUMNS)),
    with_fields: [1, ROWS_AT_ONCE].map(|rows| insert_statement(rows, COLUMNS)),
});

fn insert_statement(rows: usize, columns: usize) -> String {
    let names = "id, job, domain, name, epoch, level, flags, data, node, place, fields";
    let names = names.split(", ").take(columns).collect::<Vec<_>>().join(", ");
    let row = format!("({})", vec!["?"; columns].join(","));
    format!("INSERT INTO logs ({names}) VALUES {}", vec![row; rows].join(","))
}

/// Inserts one row, or [`ROWS_AT_ONCE`] of them.
fn insert(connection: &Connection, rows: &[(Sequence, NewRecord<'_>)]) -> rusqlite::Result<()> {
    let any = |is_so: fn(&NewRecord<'_>) -> bool| rows.iter().any(|(_, record)| is_so(record));
    let (inserts, columns) = if any(|record| !record.fields.is_empty()) {
        (&INSERTS.with_fields, COLUMNS)
    } else if any(|record| record.sent.is_some()) {
        (&INSERTS.sent, SENT_COLUMNS)
    } else {
        (&INSERTS.own, OWN_COLUMNS)
    };
    let sql = &inserts[usize::from(rows.len() > 1)];
    bind_and_insert(&mut connection.prepare_cached(sql)?, columns, rows)
}

fn bind_and_insert(
    statement: &mut CachedStatement<'_>,
    columns: usize,
    rows: &[(Sequence, NewRecord<'_>)],
) -> rusqlite::Result<()> {
    for (row, (id, record)) in rows.iter().enumerate() {
        let text = std::str::from_utf8(record.data);
        let data: &dyn ToSql = match &text {
            Ok(text) => text,
            Err(_) => &record.data,
        };
        let node = record.sent.map(|sent| sent.node.to_string());
        let place = record.sent.map(|sent| to_i64(sent.place));
        // Our own JSON, which is UTF-8.
        let fields = std::str::from_utf8(record.fields).ok().filter(|json| !json.is_empty());
        let values: [&dyn ToSql; COLUMNS] = [
            &to_i64(id.0),
            &record.source.job.as_str(),
            &record.source.domain,
            &record.source.name,
            &to_i64(record.time.0),
            &record.level.0,
            &record.flags.0,
            data,
            &node,
            &place,
            &fields,
        ];
        for (column, value) in values.into_iter().take(columns).enumerate() {
            statement.raw_bind_parameter(row * columns + column + 1, value)?;
        }
    }
    statement.raw_execute().map(|_| ())
}

/// The mark of a file that has those of the file before it. It is not shown.
const CARRIED: &str = "";

fn write_mark(connection: &Connection, name: &str, value: Option<&str>) -> rusqlite::Result<()> {
    let changed = match value {
        Some(value) => connection
            .prepare_cached("INSERT OR REPLACE INTO marks VALUES (?,?)")?
            .execute([name, value]),
        None => connection.prepare_cached("DELETE FROM marks WHERE name = ?")?.execute([name]),
    };
    changed.map(|_| ())
}

/// The marks of a file, with [`CARRIED`]; none if an older program made it.
pub(super) fn read_marks(connection: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'marks')";
    if !connection.query_row(sql, [], |row| row.get(0))? {
        return Ok(BTreeMap::new());
    }
    let mut statement = connection.prepare("SELECT name, value FROM marks")?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn write_zone(connection: &Connection, zone: &mut OpenZone) -> rusqlite::Result<()> {
    let Some((summary, spans)) = zone.finish() else { return Ok(()) };
    connection.prepare_cached("INSERT OR REPLACE INTO zones VALUES (?,?,?,?,?,?)")?.execute(
        params![
            to_i64(summary.first.0),
            to_i64(summary.last.0),
            to_i64(summary.earliest.0),
            to_i64(summary.latest.0),
            summary.levels.to_bytes(),
            summary.has_forwarded,
        ],
    )?;
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO spans VALUES (?,?,?)")?;
    for span in spans {
        statement.execute(params![span.job.cast_signed(), to_i64(span.first), span.runs])?;
    }
    Ok(())
}
