//! Where what is known of people and nodes is kept: one SQLite file.
//!
//! A row is one record in JSON, under its kind and name. All of them are in memory
//! as well ([`Directory`](super::directory::Directory)); here is what outlives that.

use std::fs::{OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;
use drover_schema::Schema;
use rusqlite::{Connection, params};

use super::directory::{Change, Directory};

const SCHEMA: Schema =
    Schema { name: "who may join", steps: SCHEMAS, unnumbered: drover_schema::is_the_first };

/// Versions of the schema, each made from the one before.
const SCHEMAS: &[&str] = &["
CREATE TABLE records (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT;
"];

#[derive(Debug)]
pub(super) struct Store(Connection);

impl Store {
    /// Opens the file, or makes it; nobody but its owner may read it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let open = || -> anyhow::Result<Self> {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            let mut connection = Connection::open(path)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            // A node that was told that it is one is one after a power cut as well.
            connection.pragma_update(None, "synchronous", "full")?;
            SCHEMA.bring_up(&mut connection, path)?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_whom_every_earlier_version_knew_is_known() {
        let dump = include_str!("../../tests/schemas/access-1.sql");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("access.db");
        Connection::open(&path).unwrap().execute_batch(dump).unwrap();
        let mut store = Store::open(&path).unwrap();
        let directory = store.load().unwrap();
        let ada = directory.user("ada").unwrap();
        assert!(ada.password.is_some());
        assert_eq!(directory.token("3981bae92a").unwrap().token.user, "ada");
        store.write(&[Change::User(ada.clone())]).unwrap();
    }
}
