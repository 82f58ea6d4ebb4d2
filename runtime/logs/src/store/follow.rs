//! The log as it grows.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::query::{Filter, Order};
use super::record::{RecordId, Sequence, StoredRecord};
use super::rows::Found;
use super::scan::Scan;
use super::{Committed, LogStore, PAGE_BYTES, Shared, StoreClosed};

/// Where a [`Follower`] begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With what comes from now on.
    Now,
    /// With the newest records that are there, at most so many.
    Backlog(usize),
    /// After this record.
    After(RecordId),
}

/// Reads the log from some record on, as it grows: every record once, in order.
///
/// A loop of [`Follower::read`], on a thread that may block, and
/// [`Follower::changed`] when that found nothing.
#[derive(Debug)]
pub struct Follower {
    store: LogStore,
    filter: Filter,
    /// Everything up to here has been read.
    position: u64,
    /// Whether a file could not be read for now.
    is_stopped: bool,
    committed: watch::Receiver<Committed>,
}

/// Records that were not there any more when their turn came, because they had
/// been dropped to keep the log within its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissedRecords {
    /// The first id that may have been missed.
    pub first: RecordId,
    /// The last one.
    pub last: RecordId,
    /// The place of the last one in the log.
    pub place: u64,
}

/// The places after `position` that were dropped, with the position after them.
pub(super) fn missed_after(shared: &Shared, position: u64) -> Option<(MissedRecords, u64)> {
    let dropped = shared.state().state().dropped_through;
    (position < dropped).then(|| {
        let (first, last) = (Sequence(position + 1).id(), Sequence(dropped).id());
        (MissedRecords { first, last, place: dropped }, dropped)
    })
}

/// How often it is looked whether a file can be read again.
const LOOK: Duration = Duration::from_secs(1);

/// Waits until a file that could not be read may be readable.
pub(super) async fn next_look(
    committed: &mut watch::Receiver<Committed>,
) -> Result<(), StoreClosed> {
    match tokio::time::timeout(LOOK, committed.changed()).await {
        Ok(Err(_)) => Err(StoreClosed),
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

impl Follower {
    pub(super) fn new(store: LogStore, filter: Filter, start: Start) -> Self {
        let mut committed = store.shared().committed.subscribe();
        let newest = committed.borrow_and_update().newest;
        let position = match start {
            Start::Now => newest,
            Start::After(id) => Sequence::of(id, Sequence(newest)).0,
            Start::Backlog(count) => {
                let mut scan = Scan::new(filter.clone(), Order::Newest, 1, newest);
                let mut found = Found::new(count, PAGE_BYTES);
                scan.run(&store.shared().reader, &mut found);
                found.records.last().map_or(newest, |(place, _)| place.0 - 1)
            }
        };
        Self { store, filter, position, committed, is_stopped: false }
    }

    /// Reads what is there and was not read, at most `limit` records. Empty if
    /// there is nothing new; does not wait for it, but for the disk.
    pub fn read(&mut self, limit: usize) -> Vec<StoredRecord> {
        let newest = self.committed.borrow_and_update().newest;
        let low = self.position + 1;
        let mut scan = Scan::new(self.filter.clone(), Order::Oldest, low, newest).patient();
        let mut found = Found::new(limit.max(1), PAGE_BYTES);
        scan.run(&self.store.shared().reader, &mut found);
        self.is_stopped = scan.is_stopped();
        self.position = newest.min(scan.low.saturating_sub(1)).max(self.position);
        found.records.into_iter().map(|(_, record)| record).collect()
    }

    /// Says, once, which records were dropped before they could be read. To be
    /// asked before [`Follower::read`], which goes on behind them.
    pub fn missed(&mut self) -> Option<MissedRecords> {
        let (missed, position) = missed_after(self.store.shared(), self.position)?;
        self.position = position;
        Some(missed)
    }

    /// Waits until there may be something that was not read.
    ///
    /// # Errors
    ///
    /// The store is closed, and everything was read.
    pub async fn changed(&mut self) -> Result<(), StoreClosed> {
        let Committed { newest, is_closed } = *self.committed.borrow_and_update();
        if self.is_stopped && !is_closed {
            return next_look(&mut self.committed).await;
        }
        if newest > self.position && !self.is_stopped {
            return Ok(());
        }
        if is_closed {
            return Err(StoreClosed);
        }
        self.committed.changed().await.map_err(|_| StoreClosed)
    }
}
