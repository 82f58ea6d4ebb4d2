//! The nodes on disk: one SQLite file of what is known of each.
//!
//! It is for the time after a start, in which nodes have not been heard of yet: who
//! submits a job then means them as well. What is lost of it is heard again, so it is
//! written a while after it has changed, many changes at a time.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::Context;
use drover_api::{NodeId, NodeStatus, Presence, Timestamp};
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
-- One row: until when the controller has seen to them.
CREATE TABLE alive (until INTEGER NOT NULL) STRICT;
INSERT INTO alive VALUES (0);
"];

/// What has become of a node: what is known of it now, none if it is forgotten.
pub(crate) type Changed = (NodeId, Option<NodeStatus>);

/// What was kept of the nodes, and where it is.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) store: Store,
    pub(crate) known: Vec<NodeStatus>,
}

/// The file. Everything here blocks.
#[derive(Debug)]
pub(crate) struct Store(Mutex<Connection>);

impl Store {
    /// Opens the file, or makes it; with the nodes that are in it. Those that were there
    /// until the end were seen until then.
    ///
    /// # Errors
    ///
    /// If it cannot be read or written, or a later version has written it.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Kept> {
        let open = || {
            let mut connection = Connection::open(path)?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "normal")?;
            SCHEMA.bring_up(&mut connection, path)?;
            let known = known(&connection)?;
            anyhow::Ok(Kept { store: Self(Mutex::new(connection)), known })
        };
        open().with_context(|| format!("cannot open {}", path.display()))
    }

    /// Writes down what has changed until `now`, all of it or nothing.
    ///
    /// # Errors
    ///
    /// If the file cannot be written.
    pub(crate) fn save(&self, changes: &[Changed], now: Timestamp) -> anyhow::Result<()> {
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
        transaction.execute("UPDATE alive SET until = ?", [now.0.cast_signed()])?;
        Ok(transaction.commit()?)
    }
}

/// The nodes that are in the file. What makes no sense is removed: it is heard again.
fn known(connection: &Connection) -> rusqlite::Result<Vec<NodeStatus>> {
    let sql = "SELECT until FROM alive";
    let until: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    let mut rows = connection.prepare("SELECT rowid, gid, nid, status FROM nodes")?;
    let mut rows = rows.query([])?;
    let (mut known, mut damaged) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let (gid, nid): (i64, i64) = (row.get(1)?, row.get(2)?);
        let text: String = row.get(3)?;
        match serde_json::from_str::<NodeStatus>(&text) {
            Ok(mut status) if is_of(&status, gid, nid) => {
                if status.presence == Presence::Present {
                    let until = Timestamp(until.cast_unsigned());
                    status.last_seen = status.last_seen.max(until);
                }
                known.push(status);
            }
            _ => {
                tracing::warn!(gid, nid, "what was written down of a node makes no sense");
                damaged.push(row.get::<_, i64>(0)?);
            }
        }
    }
    for row in damaged {
        connection.execute("DELETE FROM nodes WHERE rowid = ?", [row])?;
    }
    known.sort_by_key(|status| status.description.id());
    Ok(known)
}

fn is_of(status: &NodeStatus, gid: i64, nid: i64) -> bool {
    let node = status.description.id();
    (i64::from(node.gid.0), i64::from(node.nid.0)) == (gid, nid)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::nodes::tests::description;

    fn status(nid: u32, presence: Presence, last_seen: u64) -> NodeStatus {
        let (since, last_seen) = (Timestamp(1), Timestamp(last_seen));
        NodeStatus { description: description(nid), presence, since, last_seen }
    }

    fn changed(status: NodeStatus) -> Changed {
        (status.description.id(), Some(status))
    }

    fn known(path: &Path) -> Vec<NodeStatus> {
        Store::open(path).unwrap().known
    }

    #[test]
    fn nodes_are_there_again_until_they_are_forgotten() {
        use Presence::{Lost, Present};
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("nodes.db");
        let Kept { store, known: none } = Store::open(&path).unwrap();
        assert_eq!(none, []);
        let changes = [changed(status(2, Present, 2)), changed(status(1, Lost, 2))];
        store.save(&changes, Timestamp(9)).unwrap();
        assert_eq!(known(&path), [status(1, Lost, 2), status(2, Present, 9)]);
        let changes = [(NodeId::new(1, 1), None), changed(status(3, Lost, 5))];
        store.save(&changes, Timestamp(20)).unwrap();
        assert_eq!(known(&path), [status(2, Present, 20), status(3, Lost, 5)]);
    }

    #[test]
    fn what_makes_no_sense_is_removed() {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("nodes.db");
        let changes = [1, 2, 3, 4].map(|nid| changed(status(nid, Presence::Lost, 2)));
        Store::open(&path).unwrap().store.save(&changes, Timestamp(9)).unwrap();
        let connection = Connection::open(&path).unwrap();
        connection.execute("UPDATE nodes SET status = '{' WHERE nid = 1", []).unwrap();
        connection.execute("UPDATE nodes SET nid = 9 WHERE nid = 3", []).unwrap();
        connection.execute("UPDATE nodes SET gid = -1 WHERE nid = 4", []).unwrap();
        assert_eq!(known(&path), [status(2, Presence::Lost, 2)]);
        let left = connection.query_row("SELECT count(*) FROM nodes", [], |row| row.get(0));
        assert_eq!(left, Ok(1));
    }

    #[test]
    fn nodes_of_every_earlier_version_are_known() {
        let dump = include_str!("../../tests/schemas/nodes-1.sql");
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("nodes.db");
        Connection::open(&path).unwrap().execute_batch(dump).unwrap();
        assert_eq!(known(&path), [status(1, Presence::Lost, 2), status(2, Presence::Present, 9)]);
    }
}
