//! The schema of a SQLite file, and how a file of an earlier version becomes one of
//! this version.
//!
//! A schema is a list of steps in SQL, each made from the one before; a file says in
//! `user_version` how many of them it has. Whoever opens one calls
//! [`Schema::bring_up`], or [`Schema::apply`] where a copy is not worth its room.
//! All steps that a file lacks are one transaction: whatever happens, it is as it was
//! or as it is to be. A step that has been released is never changed.
//!
//! `rusqlite_migration` counts steps in the same way. It knows no copies, it takes a
//! file without a number for an empty one, which some of ours were not, and it would
//! tie us to the versions of rusqlite that it supports.

#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

/// The schema of a kind of file.
#[derive(Debug, Clone, Copy)]
pub struct Schema {
    /// What such a file has, for people: `the jobs of the controller`.
    pub name: &'static str,
    /// What each version adds to the one before; the first one, to an empty file.
    pub steps: &'static [&'static str],
    /// The version of a file that has tables and no number: it was made before there
    /// were numbers.
    pub unnumbered: fn(&Connection) -> rusqlite::Result<usize>,
}

/// Why a file cannot be used. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It is of a version that this program does not know.
    #[error(
        "a later version of drover has written {name} (schema {found}, and this one knows {known}): \
         run that version, or put back a file from before, such as the copy whose name ends with \
         `.before-v{found}`"
    )]
    Newer {
        /// What is in it.
        name: &'static str,
        /// Its version.
        found: usize,
        /// The latest version that is known.
        known: usize,
    },
    /// There is no copy of it as it is, and so it stays.
    #[error(
        "cannot copy {name} to {} before they are brought up to date: make room there, or let it \
         be written", .path.display()
    )]
    Copy {
        /// What is in it.
        name: &'static str,
        /// Where the copy was to be.
        path: PathBuf,
        /// Why not.
        source: CopyError,
    },
    /// A step failed.
    #[error("cannot bring {name} from schema {from} to {to}")]
    Step {
        /// What is in it.
        name: &'static str,
        /// The version it is of.
        from: usize,
        /// The version that could not be made of the one before.
        to: usize,
        /// Why not.
        source: rusqlite::Error,
    },
    /// It cannot be read or written at all.
    #[error("cannot tell the schema of {name}")]
    Database {
        /// What is in it.
        name: &'static str,
        /// Why not.
        source: rusqlite::Error,
    },
}

/// How long one waits for another who has the file.
const BUSY: Duration = Duration::from_secs(5);

/// Why a database is not whole, as far as that can be told.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It is not.
    #[error("it is damaged: {0}")]
    Damaged(String),
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Database(#[from] rusqlite::Error),
}

/// Why there is no copy of a database.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// SQLite cannot make it.
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    /// The file system does not take it.
    #[error(transparent)]
    File(#[from] io::Error),
}

impl Schema {
    /// The version that this program knows.
    #[must_use]
    pub const fn version(&self) -> usize {
        self.steps.len()
    }

    /// Brings the file at `path`, which `connection` has open, to this schema. One of
    /// an earlier version is kept beside it as `NAME.before-vN`, where N is the
    /// version it becomes; a copy from before an earlier change is removed then.
    ///
    /// # Errors
    ///
    /// If the file is of a later version, or cannot be read, copied or changed.
    pub fn bring_up(&self, connection: &mut Connection, path: &Path) -> Result<(), SchemaError> {
        let found = self.found(connection)?;
        if found == 0 || found == self.version() {
            return self.apply(connection);
        }
        let suffix = format!("before-v{}", self.version());
        let kept = beside(path, &suffix);
        copy(connection, &kept).map_err(|source| SchemaError::Copy {
            name: self.name,
            path: kept.clone(),
            source,
        })?;
        self.apply(connection)?;
        remove_older(path, &kept);
        Ok(())
    }

    /// Brings a database to this schema, without a copy.
    ///
    /// # Errors
    ///
    /// If it is of a later version, or cannot be read or changed.
    pub fn apply(&self, connection: &mut Connection) -> Result<(), SchemaError> {
        if self.found(connection)? == self.version() && numbered(connection) {
            return Ok(());
        }
        let failed = |source| SchemaError::Database { name: self.name, source };
        // At once, so that nobody else makes the same steps.
        let change =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let from = self.found(&change)?;
        for (index, step) in self.steps.iter().enumerate().skip(from) {
            change.execute_batch(step).map_err(|source| {
                let to = index + 1;
                SchemaError::Step { name: self.name, from, to, source }
            })?;
        }
        // It holds a handful of steps.
        change.pragma_update(None, "user_version", self.version() as i64).map_err(failed)?;
        change.commit().map_err(failed)
    }

    /// The version of a database; 0 if there is nothing in it.
    fn found(&self, connection: &Connection) -> Result<usize, SchemaError> {
        let found = || match user_version(connection)? {
            0 if is_empty(connection)? => Ok(0),
            0 => (self.unnumbered)(connection),
            number => Ok(usize::try_from(number).unwrap_or(usize::MAX)),
        };
        let (name, known) = (self.name, self.version());
        match found() {
            Ok(found) if found > known => Err(SchemaError::Newer { name, found, known }),
            Ok(found) => Ok(found),
            Err(source) => Err(SchemaError::Database { name, source }),
        }
    }
}

/// For files that had their first schema before they had numbers.
///
/// # Errors
///
/// None.
pub fn is_the_first(_: &Connection) -> rusqlite::Result<usize> {
    Ok(1)
}

/// Copies a whole database as it is at this moment into a file that only its owner may
/// read, and is done when that is on disk. Whoever writes meanwhile is not held up. A
/// file that is there is replaced.
///
/// # Errors
///
/// If the database cannot be read, or the file not be written; then there is none, or
/// the one from before.
pub fn copy(connection: &Connection, to: &Path) -> Result<(), CopyError> {
    let fresh = beside(to, "new");
    let mut options = OpenOptions::new();
    // Empty, as SQLite wants it, and for nobody else's eyes from the beginning.
    drop(options.write(true).create(true).truncate(true).mode(0o600).open(&fresh)?);
    let made = vacuum(connection, &fresh).and_then(|()| {
        File::open(&fresh)?.sync_all()?;
        fs::rename(&fresh, to)?;
        let dir = to.parent().filter(|dir| !dir.as_os_str().is_empty());
        Ok(File::open(dir.unwrap_or(Path::new(".")))?.sync_all()?)
    });
    if made.is_err() {
        // What is left of it takes room.
        let _ = fs::remove_file(&fresh);
    }
    made
}

/// Checks that a database is whole; it is not changed, and who has it open goes on.
///
/// # Errors
///
/// If it is damaged, or cannot be read.
pub fn check(path: &Path) -> Result<(), CheckError> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    // Without a log nobody has it open, and what SQLite would put beside it is not needed.
    let immutable = if Path::new(&log).exists() { "" } else { "?immutable=1" };
    let name = path.to_str().unwrap_or_default().replace('%', "%25");
    let name = name.replace('?', "%3f").replace('#', "%23");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_URI
        | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(format!("file:{name}{immutable}"), flags)?;
    connection.busy_timeout(BUSY)?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" { Ok(()) } else { Err(CheckError::Damaged(found)) }
}

/// One read transaction: all of the copy is of one moment.
fn vacuum(connection: &Connection, to: &Path) -> Result<(), CopyError> {
    let path = to.to_str().ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidInput, "SQLite wants paths that are UTF-8")
    })?;
    connection.execute("VACUUM INTO ?", [path])?;
    Ok(())
}

fn user_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |row| row.get(0))
}

fn numbered(connection: &Connection) -> bool {
    user_version(connection).is_ok_and(|number| number != 0)
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))
}

/// `jobs.db` becomes `jobs.db.SUFFIX`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

/// Removes copies from before earlier changes. One that stays only takes room.
fn remove_older(path: &Path, kept: &Path) {
    let (Some(dir), Some(name)) = (path.parent(), path.file_name()) else { return };
    let start = format!("{}.before-v", name.to_string_lossy());
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let is_copy = entry.file_name().to_string_lossy().starts_with(&start);
        if is_copy && Some(entry.file_name().as_os_str()) != kept.file_name() {
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests;
