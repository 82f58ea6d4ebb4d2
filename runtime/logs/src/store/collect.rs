//! A log of many nodes: takes what their logs forward, each record once.
//!
//! What a node sent and has no answer to, it sends again, perhaps in other
//! portions. So the collector remembers for each node how far its log has
//! arrived. That is written down now and then only; what came after is read
//! from the records themselves when the collector is opened, so a crash at any
//! instant neither loses nor doubles one.
//!
//! A node whose log was removed begins a new one, with places from 1 on. The
//! collector goes on counting instead: to the places of a new log it adds where
//! the old one ended.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use drover_api::{Level, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::batch::{Batch, Origin};
use super::follow::MissedRecords;
use super::query::{Cursor, Order, Query};
use super::record::{RecordId, Sent, StoredRecord};
use super::state::replace;
use super::{LogStore, OpenError, StoreClosed, StoreConfig};
use crate::fields::Fields;
use crate::protocol::Part;
use crate::source::Source;

/// What a node sends: records of its log in their order, as one
/// [`ForwardBatch`](super::ForwardBatch) had them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// Whose they are.
    pub node: NodeId,
    /// Which log of the node: [`LogStore::identity`].
    pub log: String,
    /// The records.
    pub records: Vec<StoredRecord>,
    /// The place of each record in the node's log.
    pub places: Vec<u64>,
    /// Records before these that were dropped before they could be sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<MissedRecords>,
}

/// Why a delivery is not taken.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// It contradicts itself.
    #[error("the delivery of node {node} is none: {reason}")]
    Malformed {
        /// Whose it is.
        node: NodeId,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An earlier delivery of the node is being written; to be sent again.
    #[error("an earlier delivery of node {0} is still being written: send it again later")]
    Busy(NodeId),
    /// The store is closed, and what could not be written is lost.
    #[error(transparent)]
    Closed(#[from] StoreClosed),
    /// It cannot be remembered that a node has a new log.
    #[error("cannot write down how far the logs of nodes have arrived")]
    Positions(#[from] io::Error),
}

/// Takes what nodes send. Clones are handles to the same one.
#[derive(Debug, Clone)]
pub struct Collector {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: LogStore,
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    positions: BTreeMap<String, Position>,
    /// Deliveries that are being written: whose, and where the log ended when
    /// that began.
    under_way: BTreeMap<NodeId, u64>,
    written_at: Instant,
}

/// How far the log of a node has arrived.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Position {
    /// Which log that is.
    log: String,
    /// Where the node's earlier logs ended.
    before: u64,
    /// The place of the newest record, counted over all of the node's logs.
    newest: u64,
}

/// The positions as they are written down: right for all records before `until`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Remembered {
    until: u64,
    positions: BTreeMap<String, Position>,
}

/// How often the positions are written down, about. The records that came since
/// are read when the collector is opened.
const WRITE_INTERVAL: Duration = Duration::from_secs(10);

impl Collector {
    /// Opens the store, and finds out how far the logs of all nodes have come.
    ///
    /// # Errors
    ///
    /// As [`LogStore::open`].
    pub fn open(config: StoreConfig) -> Result<Self, OpenError> {
        let directory = config.directory.clone();
        let path = directory.join("nodes.json");
        let store = LogStore::open(config)?;
        let remembered = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Remembered::default(),
            Err(error) => return Err(super::refuse_to_open(&directory, error.into())),
        };
        let Remembered { until, mut positions } = remembered;
        catch_up(&store, until, &mut positions);
        let state = State { positions, under_way: BTreeMap::new(), written_at: Instant::now() };
        Ok(Self { inner: Arc::new(Inner { store, path, state: Mutex::new(state) }) })
    }

    /// The log of all nodes.
    #[must_use]
    pub fn store(&self) -> &LogStore {
        &self.inner.store
    }

    /// Takes a delivery; it is committed when this returns. What had arrived
    /// before is left out. Blocks for the disk.
    ///
    /// # Errors
    ///
    /// The delivery is to be sent again, except where it is malformed.
    pub fn take(&self, delivery: &Delivery) -> Result<(), CollectError> {
        check(delivery)?;
        let position = self.begin(delivery)?;
        let written = self.write(delivery, &position);
        let mut state = self.lock();
        state.under_way.remove(&delivery.node);
        let newest = written?;
        if let Some(position) = state.positions.get_mut(&delivery.node.to_string()) {
            position.newest = position.newest.max(newest);
        }
        if state.written_at.elapsed() >= WRITE_INTERVAL {
            state.written_at = Instant::now();
            if let Err(error) = self.remember(&state) {
                // Then more is read when the collector is opened the next time.
                tracing::warn!(%error, "how far nodes' logs have arrived is not written down");
            }
        }
        Ok(())
    }

    /// Writes what is left, and closes the store. Blocks until that is done.
    pub fn close(&self) {
        self.store().close();
        if let Err(error) = self.remember(&self.lock()) {
            tracing::warn!(%error, "how far nodes' logs have arrived is not written down");
        }
    }

    /// Notes that a delivery is under way, and says how far its log has come.
    fn begin(&self, delivery: &Delivery) -> Result<Position, CollectError> {
        let mut state = self.lock();
        if state.under_way.contains_key(&delivery.node) {
            return Err(CollectError::Busy(delivery.node));
        }
        let node = delivery.node.to_string();
        let known = state.positions.get(&node).cloned().unwrap_or_default();
        let position = if known.log == delivery.log {
            known
        } else {
            let position =
                Position { log: delivery.log.clone(), before: known.newest, newest: known.newest };
            let replaced = state.positions.insert(node.clone(), position.clone());
            if let Err(error) = self.remember(&state) {
                match replaced {
                    Some(known) => state.positions.insert(node, known),
                    None => state.positions.remove(&node),
                };
                return Err(error.into());
            }
            position
        };
        state.under_way.insert(delivery.node, self.end());
        Ok(position)
    }

    /// Writes the records that are new, and says how far the log has come then.
    fn write(&self, delivery: &Delivery, position: &Position) -> Result<u64, StoreClosed> {
        let mut newest = position.newest;
        if let Some(missed) = &delivery.missed {
            let place = position.before + missed.place;
            if place > newest {
                newest = place;
                let record = missed_record(missed);
                let mut batch = batch_of(&record);
                batch.push_sent(&record, Sent { node: delivery.node, place });
                self.store().append_blocking(batch)?;
            }
        }
        let mut pending: Option<(&Source, Batch)> = None;
        for (record, place) in delivery.records.iter().zip(&delivery.places) {
            let place = position.before + place;
            if place <= newest {
                continue;
            }
            newest = place;
            let is_of_another = pending.as_ref().is_some_and(|(of, _)| **of != *record.source);
            if let Some((_, batch)) = pending.take_if(|_| is_of_another) {
                self.store().append_blocking(batch)?;
            }
            let (_, batch) = pending.get_or_insert_with(|| (&record.source, batch_of(record)));
            batch.push_sent(record, Sent { node: delivery.node, place });
        }
        if let Some((_, batch)) = pending {
            self.store().append_blocking(batch)?;
        }
        self.store().flush_blocking()?;
        Ok(newest)
    }

    /// Writes the positions down. They are right for all that was committed
    /// before the oldest delivery that is under way.
    fn remember(&self, state: &State) -> io::Result<()> {
        let until = state.under_way.values().copied().min().unwrap_or_else(|| self.end());
        let remembered = Remembered { until, positions: state.positions.clone() };
        replace(&self.inner.path, &serde_json::to_vec(&remembered)?)
    }

    fn end(&self) -> u64 {
        self.store().end().0
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads how far the nodes' logs have come in the records from `until` on.
fn catch_up(store: &LogStore, until: u64, positions: &mut BTreeMap<String, Position>) {
    let cursor = (until > 0).then_some(Cursor(until));
    let mut query = Query { order: Order::Oldest, cursor, ..Query::default() };
    loop {
        let page = store.query(&query);
        for sent in page.records.iter().filter_map(|record| record.sent) {
            let position = positions.entry(sent.node.to_string()).or_default();
            position.newest = position.newest.max(sent.place);
        }
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return,
        }
    }
}

fn check(delivery: &Delivery) -> Result<(), CollectError> {
    let node = delivery.node;
    let malformed = |reason| Err(CollectError::Malformed { node, reason });
    // SQLite's numbers are signed, and places of several logs are added up.
    const HIGHEST: u64 = 1 << 62;
    let missed = delivery.missed.as_ref().map(|missed| missed.place);
    if delivery.records.len() != delivery.places.len() {
        malformed("there are not as many places as records")
    } else if !delivery.places.is_sorted() {
        malformed("its places do not go up")
    } else if delivery.places.last().copied().max(missed).is_some_and(|place| place >= HIGHEST) {
        malformed("its places are out of range")
    } else {
        Ok(())
    }
}

fn batch_of(record: &StoredRecord) -> Batch {
    Batch::new(Arc::new(Origin::new(Source::clone(&record.source))))
}

/// The record that stands for those that a node dropped before they could be sent.
fn missed_record(missed: &MissedRecords) -> StoredRecord {
    let MissedRecords { first, last, .. } = missed;
    StoredRecord {
        id: RecordId(0),
        source: super::writer::own_origin().source,
        time: Timestamp::now(),
        level: Level::WARNING,
        data: format!(
            "records {first} to {last} of the node were dropped there before they could be sent"
        )
        .into_bytes(),
        fields: Fields::default(),
        part: Part::Whole,
        is_gap: true,
        sent: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery(log: &str, places: std::ops::RangeInclusive<u64>) -> Delivery {
        let source =
            Source { job: "a".parse().unwrap(), domain: String::new(), name: String::new() };
        let record = |place: u64| StoredRecord {
            id: RecordId(0),
            source: Arc::new(source.clone()),
            time: Timestamp(1),
            level: Level::ERROR,
            data: format!("{log} {place}").into_bytes(),
            fields: Fields::default(),
            part: Part::Whole,
            is_gap: false,
            sent: None,
        };
        Delivery {
            node: NodeId::new(1, 7),
            log: log.to_owned(),
            records: places.clone().map(record).collect(),
            places: places.collect(),
            missed: None,
        }
    }

    fn texts(collector: &Collector) -> Vec<String> {
        let query = Query { order: Order::Oldest, ..Query::default() };
        let records = collector.store().query(&query).records;
        records.iter().map(|record| record.text().into_owned()).collect()
    }

    fn numbered(log: &str, places: std::ops::RangeInclusive<u64>) -> Vec<String> {
        places.map(|place| format!("{log} {place}")).collect()
    }

    #[test]
    fn what_arrives_twice_is_kept_once_also_after_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Collector::open(StoreConfig::new(dir.path())).unwrap();
        let collector = open();
        collector.take(&delivery("x", 1..=5)).unwrap();
        collector.take(&delivery("x", 1..=7)).unwrap();
        assert_eq!(texts(&collector), numbered("x", 1..=7));
        // As a crash does it: the positions are not written down.
        drop(collector);
        let collector = open();
        collector.take(&delivery("x", 3..=9)).unwrap();
        assert_eq!(texts(&collector), numbered("x", 1..=9));
        collector.close();
        drop(collector);
        let collector = open();
        collector.take(&delivery("x", 9..=10)).unwrap();
        assert_eq!(texts(&collector), numbered("x", 1..=10));
    }

    #[test]
    fn a_node_with_a_new_log_begins_anew_and_its_places_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let open = || Collector::open(StoreConfig::new(dir.path())).unwrap();
        let collector = open();
        collector.take(&delivery("x", 1..=5)).unwrap();
        collector.take(&delivery("y", 1..=3)).unwrap();
        drop(collector);
        let collector = open();
        collector.take(&delivery("y", 2..=4)).unwrap();
        let mut expected = numbered("x", 1..=5);
        expected.extend(numbered("y", 1..=4));
        assert_eq!(texts(&collector), expected);
        let newest = collector.store().query(&Query { limit: 1, ..Query::default() });
        assert_eq!(newest.records[0].sent.unwrap().place, 9);
    }

    #[test]
    fn a_gap_is_written_down_once() {
        let dir = tempfile::tempdir().unwrap();
        let collector = Collector::open(StoreConfig::new(dir.path())).unwrap();
        let missed = MissedRecords { first: RecordId(1), last: RecordId(20), place: 20 };
        let late = Delivery { missed: Some(missed), ..delivery("x", 21..=22) };
        collector.take(&late).unwrap();
        collector.take(&late).unwrap();
        let texts = texts(&collector);
        assert_eq!(texts.len(), 3);
        assert!(texts[0].starts_with("records 1 to 20 of the node were dropped"), "{}", texts[0]);
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let collector = Collector::open(StoreConfig::new(dir.path())).unwrap();
        let good = delivery("x", 1..=3);
        for wrong in [
            Delivery { places: vec![1, 2], ..good.clone() },
            Delivery { places: vec![3, 2, 1], ..good.clone() },
            Delivery { places: vec![1, 2, u64::MAX], ..good },
        ] {
            let error = collector.take(&wrong).unwrap_err();
            assert!(matches!(error, CollectError::Malformed { .. }), "{error}");
        }
        assert!(texts(&collector).is_empty());
    }
}
