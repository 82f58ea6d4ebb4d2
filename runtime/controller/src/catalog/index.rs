//! The catalog's index: one SQLite file beside the content.
//!
//! What it says of content is true: a row is written after the content is safe.

use std::path::Path;

use drover_api::{
    CatalogChannel, CatalogDetail, CatalogPlugin, CatalogStatement, CatalogVersion, Timestamp,
};
use drover_schema::Schema;
use drover_signing::Seen;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use semver::Version;
use serde::de::DeserializeOwned;

use super::error::CatalogError;

const SCHEMA: Schema = Schema {
    name: "the index of the catalog",
    steps: SCHEMAS,
    unnumbered: drover_schema::is_the_first,
};

/// Versions of the schema, each made from the one before.
const SCHEMAS: &[&str] = &["
CREATE TABLE versions (
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    hash TEXT NOT NULL,
    length INTEGER NOT NULL,
    signature TEXT NOT NULL,
    signed_by TEXT NOT NULL,
    pushed_by TEXT NOT NULL,
    pushed_at INTEGER NOT NULL,
    manifest TEXT NOT NULL,
    operations TEXT NOT NULL,
    formats TEXT NOT NULL,
    yanked TEXT,
    PRIMARY KEY (name, version)
) STRICT;
CREATE TABLE channels (
    name TEXT NOT NULL,
    channel TEXT NOT NULL,
    version TEXT NOT NULL,
    PRIMARY KEY (name, channel)
) STRICT;
CREATE TABLE statement (
    only_one INTEGER PRIMARY KEY CHECK (only_one = 1),
    statement TEXT NOT NULL,
    signature TEXT NOT NULL,
    seen TEXT NOT NULL
) STRICT;
"];

/// The columns of a [`CatalogVersion`], with the name before them.
const VERSION: &str = "name, version, hash, length, signed_by, pushed_by, pushed_at, yanked";

#[derive(Debug)]
pub(super) struct Index(Connection);

impl Index {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // Whoever pushed is told only when it is safe.
        connection.pragma_update(None, "synchronous", "full")?;
        SCHEMA.bring_up(&mut connection, path)?;
        Ok(Self(connection))
    }

    /// Everything, by name; versions newest first.
    pub(super) fn list(&self) -> Result<Vec<CatalogPlugin>, CatalogError> {
        let mut plugins = Vec::<CatalogPlugin>::new();
        let sql = format!("SELECT {VERSION} FROM versions ORDER BY name");
        let mut versions = self.0.prepare_cached(&sql)?;
        for row in versions.query_map([], version)? {
            let (name, version) = row?;
            match plugins.last_mut().filter(|plugin| plugin.name == name) {
                Some(plugin) => plugin.versions.push(version),
                None => plugins.push(CatalogPlugin {
                    channels: self.channels(&name)?,
                    name,
                    versions: vec![version],
                }),
            }
        }
        for plugin in &mut plugins {
            plugin.versions.sort_by_key(|one| Version::parse(&one.version).ok());
            plugin.versions.reverse();
        }
        Ok(plugins)
    }

    /// The names of all plugins.
    pub(super) fn names(&self) -> Result<Vec<String>, CatalogError> {
        let mut names =
            self.0.prepare_cached("SELECT DISTINCT name FROM versions ORDER BY name")?;
        let names = names.query_map([], |row| row.get(0))?;
        Ok(names.collect::<Result<_, _>>()?)
    }

    /// The versions of one plugin, newest first.
    pub(super) fn versions(&self, name: &str) -> Result<Vec<CatalogVersion>, CatalogError> {
        let sql = format!("SELECT {VERSION} FROM versions WHERE name = ?");
        let mut rows = self.0.prepare_cached(&sql)?;
        let rows = rows.query_map([name], version)?;
        let mut versions = rows.map(|row| Ok(row?.1)).collect::<Result<Vec<_>, CatalogError>>()?;
        versions.sort_by_key(|one| Version::parse(&one.version).ok());
        versions.reverse();
        Ok(versions)
    }

    /// The channels of one plugin.
    pub(super) fn channels(&self, name: &str) -> Result<Vec<CatalogChannel>, CatalogError> {
        let sql = "SELECT channel, version FROM channels WHERE name = ? ORDER BY channel";
        let mut rows = self.0.prepare_cached(sql)?;
        let channel =
            |row: &Row<'_>| Ok(CatalogChannel { name: row.get(0)?, version: row.get(1)? });
        Ok(rows.query_map([name], channel)?.collect::<Result<_, _>>()?)
    }

    /// All that is known of one version.
    pub(super) fn detail(
        &self,
        name: &str,
        of_version: &str,
    ) -> Result<Option<CatalogDetail>, CatalogError> {
        let sql = format!(
            "SELECT {VERSION}, signature, manifest, operations, formats FROM versions \
             WHERE name = ? AND version = ?"
        );
        let mut rows = self.0.prepare_cached(&sql)?;
        let detail = |row: &Row<'_>| {
            let (name, version) = version(row)?;
            Ok(CatalogDetail {
                name,
                version,
                signature: row.get(8)?,
                manifest: json(row, 9)?,
                operations: json(row, 10)?,
                formats: json(row, 11)?,
            })
        };
        Ok(rows.query_row([name, of_version], detail).optional()?)
    }

    /// Adds a version, or gives one that is there another signature, and has
    /// `channel` stand for it.
    pub(super) fn put(
        &mut self,
        detail: &CatalogDetail,
        channel: Option<&str>,
    ) -> Result<(), CatalogError> {
        let CatalogDetail { name, version, signature, manifest, operations, formats } = detail;
        let transaction = self.0.transaction()?;
        transaction.execute(
            "INSERT INTO versions VALUES (?,?,?,?,?,?,?,?,?,?,?,?)
             ON CONFLICT (name, version) DO UPDATE SET
                 signature = excluded.signature, signed_by = excluded.signed_by,
                 operations = excluded.operations, formats = excluded.formats",
            params![
                name,
                version.version,
                version.hash,
                version.length.cast_signed(),
                signature,
                version.signed_by,
                version.pushed_by,
                version.pushed_at.0.cast_signed(),
                serde_json::to_string(manifest)?,
                serde_json::to_string(operations)?,
                serde_json::to_string(formats)?,
                version.yanked,
            ],
        )?;
        if let Some(channel) = channel {
            set_channel(&transaction, name, channel, &version.version)?;
        }
        Ok(transaction.commit()?)
    }

    /// Has a channel stand for a version, or for none.
    pub(super) fn set_channel(
        &mut self,
        name: &str,
        channel: &str,
        version: Option<&str>,
    ) -> Result<(), CatalogError> {
        let sql = "DELETE FROM channels WHERE name = ? AND channel = ?";
        match version {
            Some(version) => set_channel(&self.0, name, channel, version)?,
            None => self.0.execute(sql, [name, channel])?,
        };
        Ok(())
    }

    /// Withdraws a version, or takes that back.
    pub(super) fn set_yanked(
        &mut self,
        name: &str,
        version: &str,
        reason: Option<&str>,
    ) -> Result<(), CatalogError> {
        let sql = "UPDATE versions SET yanked = ? WHERE name = ? AND version = ?";
        self.0.execute(sql, params![reason, name, version])?;
        Ok(())
    }

    /// The statement that counts.
    pub(super) fn statement(&self) -> Result<Option<(CatalogStatement, Seen)>, CatalogError> {
        let sql = "SELECT statement, signature, seen FROM statement";
        let statement = |row: &Row<'_>| {
            let statement = CatalogStatement { statement: row.get(0)?, signature: row.get(1)? };
            Ok((statement, json(row, 2)?))
        };
        Ok(self.0.query_row(sql, [], statement).optional()?)
    }

    /// Has this statement count from now on.
    pub(super) fn set_statement(
        &mut self,
        statement: &CatalogStatement,
        seen: &Seen,
    ) -> Result<(), CatalogError> {
        self.0.execute(
            "INSERT OR REPLACE INTO statement VALUES (1, ?, ?, ?)",
            params![statement.statement, statement.signature, serde_json::to_string(seen)?],
        )?;
        Ok(())
    }
}

fn set_channel(
    connection: &Connection,
    name: &str,
    channel: &str,
    version: &str,
) -> rusqlite::Result<usize> {
    connection.execute("INSERT OR REPLACE INTO channels VALUES (?, ?, ?)", [name, channel, version])
}

/// A row of the columns [`VERSION`].
fn version(row: &Row<'_>) -> rusqlite::Result<(String, CatalogVersion)> {
    let version = CatalogVersion {
        version: row.get(1)?,
        hash: row.get(2)?,
        length: row.get::<_, i64>(3)?.cast_unsigned(),
        signed_by: row.get(4)?,
        pushed_by: row.get(5)?,
        pushed_at: Timestamp(row.get::<_, i64>(6)?.cast_unsigned()),
        yanked: row.get(7)?,
    };
    Ok((row.get(0)?, version))
}

/// A column that is JSON.
fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_earlier_version_knew_is_known() {
        let dump = include_str!("../../tests/schemas/catalog-1.sql");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("index.db");
        Connection::open(&path).unwrap().execute_batch(dump).unwrap();
        let mut index = Index::open(&path).unwrap();
        let versions = index.versions("hello").unwrap();
        let versions: Vec<_> =
            versions.iter().map(|one| (one.version.as_str(), one.yanked.as_deref())).collect();
        assert_eq!(versions, [("1.2.0", None), ("1.1.0", Some("it drops words"))]);
        assert_eq!(index.channels("hello").unwrap()[0].version, "1.2.0");
        let detail = index.detail("hello", "1.2.0").unwrap().unwrap();
        assert_eq!(detail.manifest["name"], "hello");
        index.put(&detail, Some("next")).unwrap();
    }
}
