//! The nodes on disk: one SQLite file of what is known of each.
//!
//! It is for the time after a start, in which nodes have not been heard of yet: who
//! submits a job then means them as well. What is lost of it is heard again, so it is
//! written a while after it has changed, many changes at a time.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use drover_api::{NodeId, NodeStatus};
use drover_schema::Schema;
use rusqlite::{Connection, params};

const SCHEMA: Schema =
    Schema { name: "the nodes", steps: SCHEMAS, unnumbered: drover_schema::is_the_first };

/// Versions of the schema, each made from the one before.
const SCHEMAS: &[&str] = &["
CREATE TABLE nodes (
    gid INTEGER NOT NULL,
    nid INTEGER NOT NULL,
    status TEXT NOT NULL,
    PRIMARY KEY (gid, nid)
) STRICT;
"];

/// What has become of a node: what is known of it now, none if it is forgotten.
pub(crate) type Changed = (NodeId, Option<NodeStatus>);

/// The file. Everything here blocks.
#[derive(Debug)]
pub(crate) struct Store(Mutex<Connection>);

impl Store {
    /// Opens the file, or makes it; with the nodes that are in it.
    ///
    /// # Errors
    ///
    /// If it cannot be read or written, or a later version has written it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<(Self, Vec<NodeStatus>)> {
        let open = || {
            let mut connection = Connection::open(path)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "normal")?;
            SCHEMA.bring_up(&mut connection, path)?;
            let known = known(&connection)?;
            anyhow::Ok((Self(Mutex::new(connection)), known))
        };
        open().with_context(|| format!("cannot open {}", path.display()))
    }

    /// Writes down what has changed, all of it or nothing.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(crate) fn save(&self, changes: &[Changed]) -> anyhow::Result<()> {
        let mut connection = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection.transaction()?;
        for (node, status) in changes {
            let (gid, nid) = (node.gid.0, node.nid.0);
            match status {
                Some(status) => transaction
                    .prepare_cached("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)")?
                    .execute(params![gid, nid, serde_json::to_string(status)?])?,
                None => transaction
                    .prepare_cached("DELETE FROM nodes WHERE gid = ? AND nid = ?")?
                    .execute(params![gid, nid])?,
            };
        }
        Ok(transaction.commit()?)
    }
}

/// The nodes that are in the file. One that makes no sense is heard of again.
fn known(connection: &Connection) -> rusqlite::Result<Vec<NodeStatus>> {
    let mut rows = connection.prepare("SELECT gid, nid, status FROM nodes ORDER BY gid, nid")?;
    let rows = rows.query_map([], |row| {
        let node = NodeId::new(row.get(0)?, row.get(1)?);
        Ok((node, row.get::<_, String>(2)?))
    })?;
    let mut known = Vec::new();
    for row in rows {
        let (node, text) = row?;
        match serde_json::from_str::<NodeStatus>(&text) {
            Ok(status) if status.description.id() == node => known.push(status),
            Ok(_) => tracing::warn!(%node, "what was written down of a node is of another one"),
            Err(error) => {
                tracing::warn!(%node, %error, "what was written down of a node is damaged");
            }
        }
    }
    Ok(known)
}

#[cfg(test)]
mod tests {
    use drover_api::{Presence, Timestamp};
    use tempfile::TempDir;

    use super::*;
    use crate::nodes::tests::description;

    fn changed(nid: u32) -> Changed {
        let status = NodeStatus {
            description: description(nid),
            presence: Presence::Present,
            since: Timestamp(1),
            last_seen: Timestamp(2),
        };
        (status.description.id(), Some(status))
    }

    #[test]
    fn nodes_are_there_again_until_they_are_forgotten() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("nodes.db");
        let (store, known) = Store::open(&path).unwrap();
        assert_eq!(known, []);
        store.save(&[changed(2), changed(1)]).unwrap();
        drop(store);
        let (store, known) = Store::open(&path).unwrap();
        assert_eq!(known, [changed(1).1.unwrap(), changed(2).1.unwrap()]);
        store.save(&[(NodeId::new(1, 1), None), changed(2), changed(3)]).unwrap();
        let left: Vec<_> = Store::open(&path).unwrap().1;
        assert_eq!(left, [changed(2).1.unwrap(), changed(3).1.unwrap()]);
    }

    #[test]
    fn what_is_damaged_is_left_out() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("nodes.db");
        Store::open(&path).unwrap().0.save(&[changed(1), changed(2), changed(3)]).unwrap();
        let connection = Connection::open(&path).unwrap();
        connection.execute("UPDATE nodes SET status = '{' WHERE nid = 1", []).unwrap();
        connection.execute("UPDATE nodes SET nid = 9 WHERE nid = 3", []).unwrap();
        assert_eq!(Store::open(&path).unwrap().1, [changed(2).1.unwrap()]);
    }
}
