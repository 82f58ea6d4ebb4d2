//! Records on their way to the controller, kept until it has them.

use std::io;

use tokio::sync::watch;

use super::follow::{MissedRecords, missed_after, next_look};
use super::query::{Filter, Order};
use super::record::{RecordId, Sequence, StoredRecord};
use super::rows::Found;
use super::scan::Scan;
use super::{Committed, LogStore, StoreClosed};

/// Reads the records that are to be forwarded, in order, and remembers on disk
/// which of them have arrived.
///
/// Which records those are was decided when they were added: see
/// [`Origin::forward`](super::Origin::forward). What was read and not
/// acknowledged is read again after a restart, so a receiver that stores a
/// batch and dies before it answers is sent that batch twice, with the same
/// ids: it is to leave out what is not newer than the last it has.
#[derive(Debug)]
pub struct Forwarder {
    store: LogStore,
    receiver: String,
    /// Nothing up to here is to be sent any more.
    position: u64,
    /// Whether a file could not be read for now.
    is_stopped: bool,
    committed: watch::Receiver<Committed>,
}

/// Records to be sent together.
#[derive(Debug, Clone, PartialEq)]
pub struct ForwardBatch {
    /// The records, oldest first.
    pub records: Vec<StoredRecord>,
    /// The place of each of them in the log: what tells a record that arrives
    /// twice, since ids begin anew after 4 bytes.
    pub places: Vec<u64>,
    /// What to acknowledge once they have arrived.
    pub acknowledgement: Acknowledgement,
    /// Records before these that were dropped before they could be sent. The
    /// receiver is to be told.
    pub missed: Option<MissedRecords>,
}

/// Stands for a batch and all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acknowledgement(u64);

impl Acknowledgement {
    /// The id of the last record that it is for.
    #[must_use]
    pub fn id(self) -> RecordId {
        Sequence(self.0).id()
    }

    /// The place in the log of that record.
    #[must_use]
    pub fn place(self) -> u64 {
        self.0
    }
}

impl Forwarder {
    pub(super) fn new(store: LogStore, receiver: &str) -> Self {
        let committed = store.shared().committed.subscribe();
        let position = store.shared().state().state().acknowledged.get(receiver).copied();
        let (position, receiver) = (position.unwrap_or(0), receiver.to_owned());
        Self { position, receiver, store, committed, is_stopped: false }
    }

    /// Reads the next batch after what was acknowledged; the same one until it
    /// is. `None` if there is nothing to send at present. Blocks for the disk.
    pub fn batch(&mut self, max_records: usize, max_bytes: usize) -> Option<ForwardBatch> {
        let shared = self.store.shared();
        let newest = self.committed.borrow_and_update().newest;
        let (missed, from) = missed_after(shared, self.position).unzip();
        let from = from.unwrap_or(self.position);
        let mut scan =
            Scan::new(Filter::default(), Order::Oldest, from + 1, newest).only_forwarded();
        scan = scan.patient();
        let mut found = Found::new(max_records.max(1), max_bytes);
        scan.run(&shared.reader, &mut found);
        self.is_stopped = scan.is_stopped();
        let Some((last, _)) = found.records.last() else {
            if missed.is_none() {
                // Not looked at again. What is acknowledged stays what it was.
                self.position = self.position.max(newest.min(scan.low.saturating_sub(1)));
                return None;
            }
            let acknowledgement = Acknowledgement(from);
            let (records, places) = Default::default();
            return Some(ForwardBatch { records, places, acknowledgement, missed });
        };
        let acknowledgement = Acknowledgement(last.0);
        let records = found.records.into_iter().map(|(place, record)| (record, place.0));
        let (records, places) = records.unzip();
        Some(ForwardBatch { records, places, acknowledgement, missed })
    }

    /// Takes note, on disk, that a batch has arrived.
    ///
    /// # Errors
    ///
    /// The disk cannot be written to. The batch is read again then.
    pub fn acknowledge(&mut self, acknowledgement: Acknowledgement) -> io::Result<()> {
        let place = acknowledgement.0.max(self.position);
        self.store.shared().state().update(|state| {
            state.acknowledged.insert(self.receiver.clone(), place);
        })?;
        self.position = place;
        Ok(())
    }

    /// Waits until there may be something to send. To be called when
    /// [`Forwarder::batch`] found nothing.
    ///
    /// # Errors
    ///
    /// The store is closed, and nothing waits to be sent.
    pub async fn changed(&mut self) -> Result<(), StoreClosed> {
        let Committed { newest, is_closed } = *self.committed.borrow();
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
