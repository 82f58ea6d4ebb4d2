//! Where what is known of people and nodes is kept: one SQLite file.
//!
//! A row is one record in JSON, under its kind and name. All of them are in memory
//! as well ([`Directory`](super::directory::Directory)); here is what outlives that.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;
use rusqlite::{Connection, params};

use super::directory::{Change, Directory};

/// The version of the tables, in `user_version`.
const VERSION: i64 = 1;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS records (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT;
";

#[derive(Debug)]
pub(super) struct Store(Connection);

impl Store {
    /// Opens the file, or makes it; nobody but its owner may read it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let open = || -> anyhow::Result<Self> {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            let connection = Connection::open(path)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            // A node that was told that it is one is one after a power cut as well.
            connection.pragma_update(None, "synchronous", "full")?;
            let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            anyhow::ensure!(
                version <= VERSION,
                "it was written by a later version of drover: run that one"
            );
            connection.execute_batch(SCHEMA)?;
            connection.pragma_update(None, "user_version", VERSION)?;
            Ok(Self(connection))
        };
        open().with_context(|| format!("cannot open {}", path.display()))
    }

    /// Everything that is kept.
    pub(super) fn load(&self) -> anyhow::Result<Directory> {
        let mut directory = Directory::default();
        let mut rows = self.0.prepare("SELECT kind, name, record FROM records")?;
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let (kind, name): (String, String) = (row.get(0)?, row.get(1)?);
            let record: String = row.get(2)?;
            let change = Change::read(&kind, &record)
                .with_context(|| format!("the {kind} `{name}` cannot be understood"))?;
            directory.apply(change);
        }
        Ok(directory)
    }

    /// Writes changes, all or none; they are on disk when this returns.
    pub(super) fn write(&mut self, changes: &[Change]) -> anyhow::Result<()> {
        let transaction = self.0.transaction()?;
        for change in changes {
            let (kind, name) = change.place();
            match change.record()? {
                Some(record) => transaction.execute(
                    "INSERT OR REPLACE INTO records VALUES (?, ?, ?)",
                    params![kind, name, record],
                )?,
                None => transaction.execute(
                    "DELETE FROM records WHERE kind = ? AND name = ?",
                    params![kind, name],
                )?,
            };
        }
        Ok(transaction.commit()?)
    }
}
