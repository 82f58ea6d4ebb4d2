//! Rollouts and rules on disk: one SQLite file.
//!
//! One document of JSON would do for a small site, as it does on nodes; but a rollout
//! over ten thousand nodes changes thousands of times, a node at a time, and each
//! change has to be safe before it is acted on.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use drover_api::{DesiredRule, Rollout, RolloutDetail, RolloutId, RolloutNode, RolloutPhase};
use drover_schema::Schema;
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::de::DeserializeOwned;

use super::desired::RuleChange;

const SCHEMA: Schema =
    Schema { name: "the rollouts", steps: SCHEMAS, unnumbered: drover_schema::is_the_first };

/// Versions of the schema, each made from the one before.
const SCHEMAS: &[&str] = &["
CREATE TABLE rollouts (
    id INTEGER PRIMARY KEY,
    is_over INTEGER NOT NULL,
    rollout TEXT NOT NULL
) STRICT;
CREATE INDEX rollouts_under_way ON rollouts (id) WHERE NOT is_over;
CREATE TABLE rollout_nodes (
    rollout INTEGER NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    gid INTEGER NOT NULL,
    nid INTEGER NOT NULL,
    node TEXT NOT NULL,
    PRIMARY KEY (rollout, gid, nid)
) STRICT, WITHOUT ROWID;
CREATE TABLE rollout_notes (
    id INTEGER PRIMARY KEY,
    rollout INTEGER NOT NULL REFERENCES rollouts (id) ON DELETE CASCADE,
    note TEXT NOT NULL
) STRICT;
CREATE INDEX notes_of_rollouts ON rollout_notes (rollout);
CREATE TABLE desired (
    id INTEGER PRIMARY KEY,
    plugin TEXT NOT NULL,
    nodes TEXT NOT NULL,
    rule TEXT NOT NULL,
    UNIQUE (plugin, nodes)
) STRICT;
"];

/// Rollouts that are kept; of more, the oldest that are over are forgotten.
const KEPT: i64 = 1000;

/// The file. Everything here blocks.
#[derive(Debug)]
pub(super) struct Store(Mutex<Connection>);

/// Why the file does not do what it is to.
#[derive(Debug, thiserror::Error)]
pub(super) enum StoreError {
    #[error("the rollouts cannot be read or written: see to the disk of the controller")]
    Database(#[from] rusqlite::Error),
    #[error("a rollout cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

impl Store {
    /// Opens the file, or makes it.
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let mut connection = Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        // What is acted on is safe.
        connection.pragma_update(None, "synchronous", "full")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        SCHEMA.bring_up(&mut connection, path)?;
        Ok(Self(Mutex::new(connection)))
    }

    /// The rollouts that are not over, with their nodes.
    pub(super) fn under_way(&self) -> Result<Vec<(Rollout, Vec<RolloutNode>)>, StoreError> {
        let connection = self.connection();
        let sql = "SELECT rollout FROM rollouts WHERE NOT is_over ORDER BY id";
        let mut rows = connection.prepare_cached(sql)?;
        let rollouts: Vec<Rollout> =
            rows.query_map([], |row| json(row, 0))?.collect::<Result<_, _>>()?;
        let with_nodes = rollouts.into_iter().map(|rollout| {
            let nodes = nodes(&connection, rollout.id)?;
            Ok((rollout, nodes))
        });
        with_nodes.collect()
    }

    /// The highest number that a rollout has had.
    pub(super) fn last_id(&self) -> Result<u64, StoreError> {
        let sql = "SELECT coalesce(max(id), 0) FROM rollouts";
        Ok(self.connection().query_row(sql, [], |row| row.get::<_, i64>(0))?.cast_unsigned())
    }

    /// Writes what has changed, all of it or nothing.
    pub(super) fn save(
        &self,
        changes: &[RolloutDetail],
        rules: &[RuleChange],
    ) -> Result<(), StoreError> {
        let mut connection = self.connection();
        let transaction = connection.transaction()?;
        for RolloutDetail { rollout, nodes, history } in changes {
            let id = rollout.id.0.cast_signed();
            let is_over = matches!(rollout.phase, RolloutPhase::Ended { .. });
            transaction
                .prepare_cached(
                    "INSERT INTO rollouts VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE
                     SET is_over = excluded.is_over, rollout = excluded.rollout",
                )?
                .execute(params![id, is_over, serde_json::to_string(rollout)?])?;
            let mut row = transaction
                .prepare_cached("INSERT OR REPLACE INTO rollout_nodes VALUES (?, ?, ?, ?)")?;
            for node in nodes {
                let (gid, nid) = (node.node.gid.0, node.node.nid.0);
                row.execute(params![id, gid, nid, serde_json::to_string(node)?])?;
            }
            let mut row = transaction
                .prepare_cached("INSERT INTO rollout_notes (rollout, note) VALUES (?, ?)")?;
            for note in history {
                row.execute(params![id, serde_json::to_string(note)?])?;
            }
        }
        for change in rules {
            // A rule that is set again becomes the latest.
            let (plugin, to) = match change {
                RuleChange::Set(rule) => (&rule.set.plugin, &rule.set.to),
                RuleChange::Remove(remove) => (&remove.plugin, &remove.to),
            };
            let place = params![plugin, to.to_string()];
            transaction.execute("DELETE FROM desired WHERE plugin = ? AND nodes = ?", place)?;
            if let RuleChange::Set(rule) = change {
                let row = params![plugin, to.to_string(), serde_json::to_string(rule)?];
                let sql = "INSERT INTO desired (plugin, nodes, rule) VALUES (?, ?, ?)";
                transaction.execute(sql, row)?;
            }
        }
        transaction.execute(
            "DELETE FROM rollouts WHERE is_over AND id <= (SELECT max(id) - ? FROM rollouts)",
            [KEPT],
        )?;
        Ok(transaction.commit()?)
    }

    /// All rules, the latest first.
    pub(super) fn rules(&self) -> Result<Vec<DesiredRule>, StoreError> {
        let connection = self.connection();
        let mut rows = connection.prepare_cached("SELECT rule FROM desired ORDER BY id DESC")?;
        Ok(rows.query_map([], |row| json(row, 0))?.collect::<Result<_, _>>()?)
    }

    /// All rollouts, the latest first.
    pub(super) fn list(&self) -> Result<Vec<Rollout>, StoreError> {
        let connection = self.connection();
        let mut rows =
            connection.prepare_cached("SELECT rollout FROM rollouts ORDER BY id DESC")?;
        Ok(rows.query_map([], |row| json(row, 0))?.collect::<Result<_, _>>()?)
    }

    /// All of one rollout, its nodes by wave and id.
    pub(super) fn detail(&self, id: RolloutId) -> Result<Option<RolloutDetail>, StoreError> {
        let connection = self.connection();
        let number = id.0.cast_signed();
        let sql = "SELECT rollout FROM rollouts WHERE id = ?";
        let rollout = connection.query_row(sql, [number], |row| json(row, 0)).optional()?;
        let Some(rollout) = rollout else { return Ok(None) };
        let mut nodes = nodes(&connection, id)?;
        nodes.sort_by_key(|node| (node.wave, node.node));
        let sql = "SELECT note FROM rollout_notes WHERE rollout = ? ORDER BY id";
        let mut rows = connection.prepare_cached(sql)?;
        let history = rows.query_map([number], |row| json(row, 0))?.collect::<Result<_, _>>()?;
        Ok(Some(RolloutDetail { rollout, nodes, history }))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // SQLite undoes a transaction that a panic has cut off.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn nodes(connection: &Connection, id: RolloutId) -> Result<Vec<RolloutNode>, StoreError> {
    let sql = "SELECT node FROM rollout_nodes WHERE rollout = ? ORDER BY gid, nid";
    let mut rows = connection.prepare_cached(sql)?;
    let nodes = rows.query_map([id.0.cast_signed()], |row| json(row, 0))?;
    Ok(nodes.collect::<Result<_, _>>()?)
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
    use drover_api::{
        DesiredMode, DesiredRemove, DesiredSet, NodeId, RolloutCounts, RolloutNodeState,
        RolloutNote, RolloutOutcome, RolloutPlan, RolloutTarget, Selector, Timestamp,
    };

    use super::*;

    fn rollout(id: u64) -> Rollout {
        Rollout {
            id: RolloutId(id),
            target: RolloutTarget {
                plugin: "hello".to_owned(),
                version: "1.2.0".to_owned(),
                hash: "ab".to_owned(),
                length: 7,
                signature: "signed".to_owned(),
            },
            plan: RolloutPlan {
                to: Selector::everything(),
                canary: 1,
                then: vec![],
                pause_ms: 0,
                max_failures: 0,
                watch_ms: 0,
                node_ms: 1,
                away_ms: 0,
                at_once: 1,
                again: false,
                keep: false,
            },
            by: "ada".to_owned(),
            authority: None,
            started: Timestamp(5),
            phase: RolloutPhase::Between { until: Timestamp(9) },
            since: Timestamp(5),
            wave: 0,
            waves: vec![1, 1],
            counts: RolloutCounts::default(),
        }
    }

    fn node(nid: u32, wave: u32) -> RolloutNode {
        RolloutNode {
            node: NodeId::new(1, nid),
            name: format!("n{nid}"),
            wave,
            state: RolloutNodeState::Waiting,
            step: None,
            reason: None,
            before: None,
            since: Timestamp(5),
            asked: None,
            is_here: true,
        }
    }

    fn note(text: &str) -> RolloutNote {
        RolloutNote { time: Timestamp(5), by: None, text: text.to_owned() }
    }

    #[test]
    fn what_was_saved_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Store::open(&dir.path().join("rollouts.db")).unwrap();
        let begun = RolloutDetail {
            rollout: rollout(1),
            nodes: vec![node(2, 0), node(1, 1)],
            history: vec![note("started")],
        };
        open().save(std::slice::from_ref(&begun), &[]).unwrap();
        let store = open();
        assert_eq!(store.last_id().unwrap(), 1);
        assert_eq!(store.detail(RolloutId(1)).unwrap().unwrap(), begun);
        assert_eq!(store.detail(RolloutId(2)).unwrap(), None);
        let under_way = store.under_way().unwrap();
        assert_eq!(under_way, [(rollout(1), vec![node(1, 1), node(2, 0)])]);

        let confirmed = RolloutNode { state: RolloutNodeState::Confirmed, ..node(1, 1) };
        let phase = RolloutPhase::Ended { outcome: RolloutOutcome::Done, reason: None };
        let ended = RolloutDetail {
            rollout: Rollout { phase, ..rollout(1) },
            nodes: vec![confirmed.clone()],
            history: vec![note("done")],
        };
        store.save(&[ended], &[]).unwrap();
        assert_eq!(store.under_way().unwrap(), []);
        let detail = store.detail(RolloutId(1)).unwrap().unwrap();
        assert_eq!(detail.nodes, [node(2, 0), confirmed]);
        assert_eq!(detail.history, [note("started"), note("done")]);
    }

    #[test]
    fn rollouts_of_every_earlier_version_go_on() {
        let dump = include_str!("../../tests/schemas/rollouts-1.sql");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rollouts.db");
        Connection::open(&path).unwrap().execute_batch(dump).unwrap();
        let store = Store::open(&path).unwrap();
        assert_eq!(store.under_way().unwrap(), [(rollout(2), vec![node(1, 1), node(2, 0)])]);
        let over = store.detail(RolloutId(1)).unwrap().unwrap();
        assert_eq!((over.nodes, over.history), (vec![node(1, 0)], vec![note("done")]));
        assert_eq!(store.rules().unwrap()[0].set.version, "1.2.0");
        store.save(&[over_of(3)], &[]).unwrap();
    }

    fn over_of(id: u64) -> RolloutDetail {
        let phase = RolloutPhase::Ended { outcome: RolloutOutcome::Done, reason: None };
        let rollout = Rollout { phase, ..rollout(id) };
        RolloutDetail { rollout, nodes: vec![node(1, 0)], history: vec![note("done")] }
    }

    #[test]
    fn a_rule_that_is_set_again_is_the_latest_and_one_that_is_removed_is_gone() {
        let store = Store::open(Path::new(":memory:")).unwrap();
        let rule = |to: &str, version: &str| DesiredRule {
            set: DesiredSet {
                plugin: "hello".to_owned(),
                version: version.to_owned(),
                to: to.parse().unwrap(),
                mode: DesiredMode::Show,
                watch_ms: 5,
            },
            by: "ada".to_owned(),
            authority: None,
            since: Timestamp(5),
            rollout: Some(RolloutId(7)),
            trouble: None,
        };
        for (to, version) in [("web", "1.0.0"), ("db", "1.0.0"), ("web", "2.0.0")] {
            store.save(&[], &[RuleChange::Set(Box::new(rule(to, version)))]).unwrap();
        }
        assert_eq!(store.rules().unwrap(), [rule("web", "2.0.0"), rule("db", "1.0.0")]);
        let remove = DesiredRemove { plugin: "hello".to_owned(), to: "web".parse().unwrap() };
        store.save(&[], &[RuleChange::Remove(remove)]).unwrap();
        assert_eq!(store.rules().unwrap(), [rule("db", "1.0.0")]);
    }

    #[test]
    fn old_rollouts_that_are_over_are_forgotten() {
        let store = Store::open(Path::new(":memory:")).unwrap();
        let over = RolloutPhase::Ended { outcome: RolloutOutcome::Done, reason: None };
        for (id, phase) in [(1, rollout(1).phase), (2, over.clone()), (1003, over)] {
            let changes = RolloutDetail {
                rollout: Rollout { phase, ..rollout(id) },
                nodes: vec![node(1, 0)],
                history: vec![note("started")],
            };
            store.save(&[changes], &[]).unwrap();
        }
        let ids: Vec<_> = store.list().unwrap().iter().map(|rollout| rollout.id.0).collect();
        assert_eq!(ids, [1003, 1], "what is under way is kept");
    }
}
