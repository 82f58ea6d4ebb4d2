//! What plugins keep: one SQLite file for each, with a bound on what is in it.

use std::collections::HashMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_schema::{Schema, SchemaError};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};

use crate::plugin::chain;

/// The longest key, in bytes; see `wit/state.wit`.
const KEY: usize = 512;
/// What an entry takes beside its key and its value; see `wit/state.wit`.
const ENTRY: u64 = 64;
/// Keys in one answer; see `wit/state.wit`.
const KEYS: i64 = 1_000;
/// Values that are remembered, and how long they are at most, in bytes.
const REMEMBERED: (usize, usize) = (64, 4 << 10);
/// How long another process may hold the file.
const BUSY: Duration = Duration::from_secs(5);

const SCHEMA: Schema =
    Schema { name: "what a plugin keeps", steps: SCHEMAS, unnumbered: is_perhaps_half_made };

/// Versions of the schema, each made from the one before. The first takes what it
/// finds: before there were numbers, a table was made at a time.
const SCHEMAS: &[&str] = &["
    CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS usage (bytes INTEGER NOT NULL);
    INSERT INTO usage SELECT 0 WHERE NOT EXISTS (SELECT * FROM usage);
"];

fn is_perhaps_half_made(_: &Connection) -> rusqlite::Result<usize> {
    Ok(0)
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    Schema(#[from] SchemaError),
}

/// Why nothing was done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeepError {
    InvalidKey,
    NoRoom,
    /// For people.
    Failed(String),
}

impl From<rusqlite::Error> for KeepError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What all plugins keep, by plugin.
pub(crate) struct Keeps {
    directory: PathBuf,
    open: Mutex<HashMap<String, Arc<Keep>>>,
}

/// What one plugin keeps. Callers wait for each other.
pub(crate) struct Keep(Mutex<Open>);

/// The file, and what was read of it.
struct Open {
    connection: Connection,
    /// As long as nobody writes.
    remembered: HashMap<String, Option<Vec<u8>>>,
    /// The number that SQLite gives the state in which another process has left the
    /// file.
    version: i64,
}

impl Keeps {
    /// Keeps in a directory, which is made when the first plugin keeps something.
    pub(crate) fn new(directory: PathBuf) -> Self {
        Self { directory, open: Mutex::default() }
    }

    /// What this plugin keeps. A plugin's name is a plain file name.
    pub(crate) fn of(&self, plugin: &str) -> Result<Arc<Keep>, KeepError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keep) = open.get(plugin) {
            return Ok(Arc::clone(keep));
        }
        let path = self.directory.join(format!("{plugin}.db"));
        let failed = |error: &dyn std::error::Error| {
            KeepError::Failed(format!("cannot open {}: {}", path.display(), chain(error)))
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.directory)
            .map_err(|error| failed(&error))?;
        let keep = Arc::new(Keep::open(&path).map_err(|error| failed(&error))?);
        open.insert(plugin.to_owned(), Arc::clone(&keep));
        Ok(keep)
    }

    /// The value of a plugin's key, if it can be said at once.
    pub(crate) fn get_now(&self, plugin: &str, key: &str) -> Option<Option<Vec<u8>>> {
        let keep = Arc::clone(self.open.try_lock().ok()?.get(plugin)?);
        keep.get_now(key)
    }
}

impl Keep {
    fn open(path: &Path) -> Result<Self, OpenError> {
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY)?;
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;")?;
        SCHEMA.bring_up(&mut connection, path)?;
        let version = version(&connection)?;
        Ok(Self(Mutex::new(Open { connection, remembered: HashMap::new(), version })))
    }

    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, KeepError> {
        check_key(key)?;
        let mut open = self.lock();
        // Before the value, so that one that is changed meanwhile is not remembered.
        open.look_for_others()?;
        let Open { connection, remembered, .. } = &mut *open;
        let mut select = connection.prepare_cached("SELECT value FROM entries WHERE key = ?")?;
        let value: Option<Vec<u8>> = select.query_row([key], |row| row.get(0)).optional()?;
        let (count, length) = REMEMBERED;
        if value.as_ref().is_none_or(|value| value.len() <= length) {
            if remembered.len() >= count {
                remembered.clear();
            }
            remembered.insert(key.to_owned(), value.clone());
        }
        Ok(value)
    }

    /// The value of a key, if it can be said without reading the file; none if it
    /// cannot.
    pub(crate) fn get_now(&self, key: &str) -> Option<Option<Vec<u8>>> {
        let mut open = self.0.try_lock().ok()?;
        if !open.remembered.contains_key(key) {
            return None;
        }
        open.look_for_others().ok()?;
        open.remembered.get(key).cloned()
    }

    /// `room` is what all entries together may take.
    pub(crate) fn set(&self, key: &str, value: &[u8], room: u64) -> Result<(), KeepError> {
        check_key(key)?;
        self.change(|change| put(change, key, Some(value), room).map(drop))
    }

    pub(crate) fn delete(&self, key: &str) -> Result<bool, KeepError> {
        check_key(key)?;
        self.change(|change| put(change, key, None, u64::MAX))
    }

    pub(crate) fn replace(
        &self,
        key: &str,
        expected: Option<&[u8]>,
        new: Option<&[u8]>,
        room: u64,
    ) -> Result<bool, KeepError> {
        check_key(key)?;
        self.change(|change| {
            let mut select = change.prepare_cached("SELECT value FROM entries WHERE key = ?")?;
            let value: Option<Vec<u8>> = select.query_row([key], |row| row.get(0)).optional()?;
            if value.as_deref() != expected {
                return Ok(false);
            }
            put(change, key, new, room)?;
            Ok(true)
        })
    }

    pub(crate) fn keys(&self, prefix: &str, after: Option<&str>) -> Result<Vec<String>, KeepError> {
        let open = self.lock();
        let mut select = open.connection.prepare_cached(
            "SELECT key FROM entries WHERE key >= ?1 AND key > ?2 AND substr(key, 1, length(?1)) = ?1 \
             ORDER BY key LIMIT ?3",
        )?;
        let keys =
            select.query_map(params![prefix, after.unwrap_or_default(), KEYS], |row| row.get(0))?;
        Ok(keys.collect::<rusqlite::Result<_>>()?)
    }

    /// Does all of `work`, or nothing of it.
    fn change<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, KeepError>,
    ) -> Result<T, KeepError> {
        let mut open = self.lock();
        open.remembered.clear();
        // At once, so that nobody writes between what is read and what is written.
        let change = open.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = work(&change)?;
        change.commit()?;
        Ok(value)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Forgets what was read if another process has written since.
    fn look_for_others(&mut self) -> rusqlite::Result<()> {
        let version = version(&self.connection)?;
        if version != self.version {
            (self.version, self.remembered) = (version, HashMap::new());
        }
        Ok(())
    }
}

/// See <https://sqlite.org/pragma.html#pragma_data_version>; it reads shared memory.
fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))
}

/// Gives a key a value, or takes it away. Whether it was there.
fn put(
    change: &Transaction<'_>,
    key: &str,
    value: Option<&[u8]>,
    room: u64,
) -> Result<bool, KeepError> {
    let size = |length: i64| length.saturating_add_unsigned(key.len() as u64 + ENTRY);
    let former: Option<i64> = change
        .prepare_cached("SELECT length(value) FROM entries WHERE key = ?")?
        .query_row([key], |row| row.get(0))
        .optional()?;
    let before: i64 =
        change.prepare_cached("SELECT bytes FROM usage")?.query_row([], |row| row.get(0))?;
    let others = before.saturating_sub(former.map_or(0, size));
    let after = others.saturating_add(value.map_or(0, |value| size(value.len() as i64)));
    // What takes less than before is welcome even where there is too much.
    if after.unsigned_abs() > room && after > before {
        return Err(KeepError::NoRoom);
    }
    match value {
        Some(value) => change
            .prepare_cached("INSERT OR REPLACE INTO entries VALUES (?, ?)")?
            .execute(params![key, value])?,
        None => change.prepare_cached("DELETE FROM entries WHERE key = ?")?.execute([key])?,
    };
    change.prepare_cached("UPDATE usage SET bytes = ?")?.execute([after])?;
    Ok(former.is_some())
}

fn check_key(key: &str) -> Result<(), KeepError> {
    match (1..=KEY).contains(&key.len()) {
        true => Ok(()),
        false => Err(KeepError::InvalidKey),
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tempfile::TempDir;

    use super::*;

    const ROOM: u64 = 1 << 20;

    fn keep(directory: &TempDir) -> Arc<Keep> {
        Keeps::new(directory.path().join("state")).of("a").unwrap()
    }

    #[test]
    fn what_is_set_is_there_for_the_next_host_and_for_no_other_plugin() {
        let directory = TempDir::new().unwrap();
        keep(&directory).set("k", b"v", ROOM).unwrap();
        let later = Keeps::new(directory.path().join("state"));
        assert_eq!(later.of("a").unwrap().get("k").unwrap().unwrap(), b"v");
        assert_eq!(later.of("b").unwrap().get("k").unwrap(), None);
    }

    #[test]
    fn entries_are_replaced_and_removed() {
        let directory = TempDir::new().unwrap();
        let keep = keep(&directory);
        keep.set("k", b"1", ROOM).unwrap();
        keep.set("k", b"2", ROOM).unwrap();
        assert_eq!(keep.get("k").unwrap().unwrap(), b"2");
        assert!(keep.delete("k").unwrap());
        assert!(!keep.delete("k").unwrap());
        assert_eq!(keep.get("k").unwrap(), None);
    }

    #[test]
    fn the_size_holds_to_the_byte_and_what_is_removed_makes_room() {
        let directory = TempDir::new().unwrap();
        let keep = keep(&directory);
        let room = 2 * (1 + 10 + ENTRY);
        keep.set("a", &[0; 10], room).unwrap();
        keep.set("b", &[0; 10], room).unwrap();
        assert_eq!(keep.set("c", b"", room), Err(KeepError::NoRoom));
        assert_eq!(keep.set("b", &[0; 11], room), Err(KeepError::NoRoom));
        assert_eq!(keep.get("b").unwrap().unwrap().len(), 10);
        keep.set("a", &[0; 9], room).unwrap();
        keep.set("b", &[0; 11], room).unwrap();
        keep.delete("a").unwrap();
        keep.set("c", &[0; 9], room).unwrap();
        // A grant that shrank: less is taken, more is not.
        keep.set("b", &[0; 5], 1).unwrap();
        assert_eq!(keep.set("b", &[0; 6], 1), Err(KeepError::NoRoom));
    }

    #[test]
    fn keys_come_in_order_and_in_parts() {
        let directory = TempDir::new().unwrap();
        let keep = keep(&directory);
        for index in 0..1_001 {
            keep.set(&format!("p/{index:04}"), b"", ROOM).unwrap();
        }
        for key in ["p", "q", "p0", "ä%", "P/0000"] {
            keep.set(key, b"", ROOM).unwrap();
        }
        let first = keep.keys("p/", None).unwrap();
        assert_eq!((first.len(), &*first[0], &*first[999]), (1_000, "p/0000", "p/0999"));
        assert_eq!(keep.keys("p/", Some("p/0999")).unwrap(), ["p/1000"]);
        assert_eq!(keep.keys("ä", None).unwrap(), ["ä%"]);
        assert_eq!(keep.keys("%", None).unwrap(), [""; 0]);
    }

    #[test]
    fn what_was_read_is_said_at_once_until_anybody_writes() {
        let directory = TempDir::new().unwrap();
        let keep = keep(&directory);
        assert_eq!(keep.get_now("k"), None);
        assert_eq!(keep.get("k").unwrap(), None);
        assert_eq!(keep.get_now("k"), Some(None));
        keep.set("k", b"1", ROOM).unwrap();
        assert_eq!(keep.get_now("k"), None);
        assert_eq!(keep.get("k").unwrap().unwrap(), b"1");
        assert_eq!(keep.get_now("k"), Some(Some(b"1".to_vec())));
        let other = Keeps::new(directory.path().join("state")).of("a").unwrap();
        other.set("k", b"2", ROOM).unwrap();
        assert_eq!(keep.get_now("k"), None);
        assert_eq!(keep.get("k").unwrap().unwrap(), b"2");
        let (count, length) = REMEMBERED;
        keep.set("long", &vec![0; length + 1], ROOM).unwrap();
        keep.get("long").unwrap();
        assert_eq!(keep.get_now("long"), None);
        for index in 0..=count {
            keep.get(&format!("{index}")).unwrap();
        }
        assert!(keep.lock().remembered.len() <= count);
    }

    #[test]
    fn of_many_who_replace_each_is_counted() {
        let directory = TempDir::new().unwrap();
        let keep = keep(&directory);
        keep.set("n", b"0", ROOM).unwrap();
        let count = || {
            for _ in 0..20 {
                loop {
                    let old = keep.get("n").unwrap().unwrap();
                    let number: u32 = String::from_utf8(old.clone()).unwrap().parse().unwrap();
                    let new = (number + 1).to_string();
                    if keep.replace("n", Some(&old), Some(new.as_bytes()), ROOM).unwrap() {
                        break;
                    }
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(count);
            }
        });
        assert_eq!(keep.get("n").unwrap().unwrap(), b"80");
        assert!(!keep.replace("n", None, Some(b"x"), ROOM).unwrap());
        assert!(keep.replace("n", Some(b"80"), None, ROOM).unwrap());
        assert!(keep.replace("n", None, Some(b""), ROOM).unwrap());
    }

    #[test]
    fn keys_have_1_to_512_bytes() {
        let directory = TempDir::new().unwrap();
        let keep = keep(&directory);
        keep.set(&"k".repeat(512), b"", ROOM).unwrap();
        for key in ["", &"k".repeat(513)] {
            assert_eq!(keep.set(key, b"", ROOM), Err(KeepError::InvalidKey));
            assert_eq!(keep.get(key), Err(KeepError::InvalidKey));
        }
    }

    #[test]
    fn what_every_earlier_version_left_is_there() {
        for dump in [include_str!("../tests/schemas/state-0.sql"), HALF_MADE] {
            let directory = TempDir::new().unwrap();
            let path = directory.path().join("a.db");
            Connection::open(&path).unwrap().execute_batch(dump).unwrap();
            let keep = Keeps::new(directory.path().to_owned()).of("a").unwrap();
            if dump != HALF_MADE {
                assert_eq!(keep.keys("", None).unwrap(), ["seen/1", "seen/2"]);
                assert_eq!(keep.get("seen/2").unwrap().unwrap(), [0, 255]);
                // What it takes is known still.
                let room = 2 * (6 + 2 + ENTRY);
                assert_eq!(keep.set("seen/3", b"", room), Err(KeepError::NoRoom));
            }
            keep.set("seen/2", b"22", ROOM).unwrap();
            let number = "SELECT user_version FROM pragma_user_version";
            let number: i64 =
                keep.lock().connection.query_row(number, [], |row| row.get(0)).unwrap();
            assert_eq!(number, SCHEMA.version() as i64);
        }
    }

    /// Of a host that ended while it made the file.
    const HALF_MADE: &str =
        "CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;";

    #[test]
    fn what_a_later_version_has_written_is_refused_and_stays() {
        let directory = TempDir::new().unwrap();
        keep(&directory).set("k", b"v", ROOM).unwrap();
        let path = directory.path().join("state/a.db");
        let other = Connection::open(&path).unwrap();
        other.pragma_update(None, "user_version", SCHEMA.version() as i64 + 1).unwrap();
        let keeps = Keeps::new(directory.path().join("state"));
        let Err(KeepError::Failed(message)) = keeps.of("a") else { panic!("it was opened") };
        assert!(message.contains("a later version of drover has written"), "{message}");
        other.pragma_update(None, "user_version", SCHEMA.version() as i64).unwrap();
        assert_eq!(keeps.of("a").unwrap().get("k").unwrap().unwrap(), b"v");
    }

    #[test]
    fn a_file_that_is_no_database_is_an_error_and_stays() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("a.db");
        std::fs::write(&path, "x".repeat(5_000)).unwrap();
        let keeps = Keeps::new(directory.path().to_owned());
        assert!(matches!(keeps.of("a"), Err(KeepError::Failed(_))));
        assert_eq!(std::fs::read(&path).unwrap().len(), 5_000);
    }
}
