//! The bounded queue between those who log and the writer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_api::Timestamp;
use tokio::sync::{Notify, oneshot};

use super::batch::Batch;
use super::record::Sequence;
use super::writer::WriteError;

/// What the writer is asked to do, in this order.
#[derive(Debug)]
pub(super) enum Item {
    Write(Batch),
    /// Write what became of the gap with this number.
    Gap(u64),
    /// Delete these records.
    Delete(Vec<Sequence>, oneshot::Sender<Result<u64, WriteError>>),
    /// Answer when all that came before is written.
    Flush(oneshot::Sender<()>),
}

/// Records that found no room and whose owner did not want to wait.
#[derive(Debug)]
pub(super) struct Gap {
    batch: Batch,
    records: u64,
    bytes: u64,
    from: Timestamp,
}

/// Nobody takes from the queue any more.
#[derive(Debug)]
pub(super) struct IsClosed;

#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    max_bytes: usize,
    /// The writer waits for something to do.
    filled: Condvar,
    /// Threads wait for room, and tasks do.
    room: Condvar,
    room_for_tasks: Notify,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    gaps: Vec<(u64, Gap)>,
    /// Records in all gaps there ever were.
    left_out: u64,
    next_gap: u64,
    is_closed: bool,
}

impl Queue {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            max_bytes,
            filled: Condvar::new(),
            room: Condvar::new(),
            room_for_tasks: Notify::new(),
        }
    }

    /// Adds a batch, and waits for room on this thread.
    pub(super) fn push_blocking(&self, batch: Batch) -> Result<(), IsClosed> {
        let mut state = self.lock();
        let mut batch = batch;
        loop {
            match self.try_push(&mut state, batch)? {
                None => return Ok(()),
                Some(back) => batch = back,
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Adds a batch, and lets other tasks run until there is room.
    pub(super) async fn push(&self, batch: Batch) -> Result<(), IsClosed> {
        let mut batch = batch;
        loop {
            let room = self.room_for_tasks.notified();
            // A wake-up between the look and the wait is not missed: it was
            // registered for before.
            match self.try_push(&mut self.lock(), batch)? {
                None => return Ok(()),
                Some(back) => batch = back,
            }
            room.await;
        }
    }

    /// Adds a batch if there is room; else counts its records in the gap
    /// `open`, or in a new one, whose number is returned.
    pub(super) fn push_or_count(
        &self,
        batch: Batch,
        open: Option<u64>,
    ) -> Result<Option<u64>, IsClosed> {
        let mut state = self.lock();
        let Some(batch) = self.try_push(&mut state, batch)? else { return Ok(None) };
        let number = match open.filter(|open| state.gaps.iter().any(|(n, _)| n == open)) {
            Some(number) => number,
            None => {
                let number = state.next_gap;
                state.next_gap += 1;
                let gap = Gap {
                    from: batch.records().next().map_or(Timestamp(0), |record| record.time),
                    batch: Batch::new(batch.origin().clone()),
                    records: 0,
                    bytes: 0,
                };
                state.gaps.push((number, gap));
                state.items.push_back(Item::Gap(number));
                number
            }
        };
        state.left_out += batch.len() as u64;
        if let Some((_, gap)) = state.gaps.iter_mut().find(|(n, _)| *n == number) {
            gap.records += batch.len() as u64;
            gap.bytes += batch.records().map(|record| record.data.len() as u64).sum::<u64>();
        }
        Ok(Some(number))
    }

    /// Adds a request, or the store's own record, whether there is room or not.
    pub(super) fn push_request(&self, item: Item) -> Result<(), IsClosed> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(IsClosed);
        }
        state.bytes += cost(&item);
        state.items.push_back(item);
        self.filled.notify_one();
        Ok(())
    }

    /// Takes everything that is there, up to `max_bytes`, and gives its room
    /// back. Waits up to `patience` for something to come. `None` once the
    /// queue is closed and empty.
    pub(super) fn take(&self, patience: Duration, max_bytes: usize) -> Option<Vec<Item>> {
        let (mut state, _) = self
            .filled
            .wait_timeout_while(self.lock(), patience, |s| s.items.is_empty() && !s.is_closed)
            .unwrap_or_else(PoisonError::into_inner);
        if state.items.is_empty() && state.is_closed {
            return None;
        }
        let mut taken = Vec::new();
        let mut bytes = 0;
        while bytes < max_bytes {
            let Some(item) = state.items.pop_front() else { break };
            bytes += cost(&item);
            taken.push(item);
        }
        state.bytes -= bytes;
        drop(state);
        self.room.notify_all();
        self.room_for_tasks.notify_waiters();
        Some(taken)
    }

    /// Closes a gap, and turns it into the record that tells of it.
    pub(super) fn close_gap(&self, number: u64) -> Option<Batch> {
        let mut state = self.lock();
        let at = state.gaps.iter().position(|(n, _)| *n == number)?;
        let (_, Gap { mut batch, records, bytes, from }) = state.gaps.swap_remove(at);
        drop(state);
        let text = format!(
            "{records} records with {bytes} bytes were not kept: they came faster than the disk \
             takes them, and the job does not wait"
        );
        batch.push_gap(from, &text);
        Some(batch)
    }

    /// Waits up to `patience` for the queue to be closed, and says whether it is.
    pub(super) fn wait_for_close(&self, patience: Duration) -> bool {
        let (state, _) = self
            .filled
            .wait_timeout_while(self.lock(), patience, |state| !state.is_closed)
            .unwrap_or_else(PoisonError::into_inner);
        state.is_closed
    }

    /// Refuses what comes from now on. What is there can still be taken.
    pub(super) fn close(&self) {
        self.lock().is_closed = true;
        self.filled.notify_all();
        self.room.notify_all();
        self.room_for_tasks.notify_waiters();
    }

    /// How many records found no room and were counted instead.
    pub(super) fn left_out(&self) -> u64 {
        self.lock().left_out
    }

    /// What waits, in bytes, about.
    pub(super) fn waiting_bytes(&self) -> u64 {
        self.lock().bytes as u64
    }

    /// Adds the batch, or gives it back if there is no room for it. A batch
    /// that is larger than all the room there is may go in alone.
    fn try_push(&self, state: &mut State, batch: Batch) -> Result<Option<Batch>, IsClosed> {
        if state.is_closed {
            return Err(IsClosed);
        }
        let cost = batch.cost();
        if state.bytes > 0 && state.bytes + cost > self.max_bytes {
            return Ok(Some(batch));
        }
        state.bytes += cost;
        state.items.push_back(Item::Write(batch));
        self.filled.notify_one();
        Ok(None)
    }

    /// Every change is whole before anything can panic.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn cost(item: &Item) -> usize {
    match item {
        Item::Write(batch) => batch.cost(),
        _ => 0,
    }
}
