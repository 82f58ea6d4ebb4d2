//! A queue between tasks that is bounded by the bytes that wait in it.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

/// Many writers, one reader. A writer chooses what a full queue means: refusal
/// ([`push`](Self::push)), waiting ([`push_when_room`](Self::push_when_room)),
/// or nothing ([`push_anyway`](Self::push_anyway), for what is small and rare).
#[derive(Debug)]
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    room: Notify,
}

#[derive(Debug)]
struct State<T> {
    /// Leaves before everything else.
    urgent: VecDeque<(T, usize)>,
    items: VecDeque<(T, usize)>,
    bytes: usize,
    limit: usize,
    is_closed: bool,
    /// Closed by [`Queue::close_now`].
    is_cut: bool,
    reader: Option<Waker>,
    /// A reader who can take nothing at the moment, and waits for the cut alone.
    blocked: Option<Waker>,
}

/// Why an item was not taken; it comes back.
#[derive(Debug)]
pub(crate) enum Refused<T> {
    /// As many bytes wait as may.
    Full(T),
    /// Nobody will read it.
    Closed(T),
}

/// Queues that have been long give their memory back when they are empty.
const KEPT_CAPACITY: usize = 32;

impl<T> Queue<T> {
    /// An item longer than `limit` passes only when nothing else waits.
    pub(crate) fn new(limit: usize) -> Self {
        let state = State {
            urgent: VecDeque::new(),
            items: VecDeque::new(),
            bytes: 0,
            limit,
            is_closed: false,
            is_cut: false,
            reader: None,
            blocked: None,
        };
        Self { state: Mutex::new(state), room: Notify::new() }
    }

    /// Nothing panics while it holds the lock, so the state is whole in any case.
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item of `size` bytes if there is room.
    pub(crate) fn push(&self, item: T, size: usize) -> Result<(), Refused<T>> {
        let mut state = self.lock();
        if state.is_closed {
            return Err(Refused::Closed(item));
        }
        if state.bytes > 0 && state.bytes + size > state.limit {
            return Err(Refused::Full(item));
        }
        state.items.push_back((item, size));
        state.added(size);
        Ok(())
    }

    /// Adds an item, waiting for room. Cancel-safe: dropped before it is done, it added nothing.
    pub(crate) async fn push_when_room(&self, item: T, size: usize) -> Result<(), T> {
        let mut item = item;
        loop {
            let room = self.room.notified();
            item = match self.push(item, size) {
                Ok(()) => return Ok(()),
                Err(Refused::Closed(item)) => return Err(item),
                Err(Refused::Full(item)) => item,
            };
            room.await;
        }
    }

    /// Adds an item however much waits already; false if the queue is closed.
    pub(crate) fn push_anyway(&self, item: T, size: usize) -> bool {
        let mut state = self.lock();
        if !state.is_closed {
            state.items.push_back((item, size));
            state.added(size);
        }
        !state.is_closed
    }

    /// Adds an item in front of all that are not urgent; false if the queue is closed.
    pub(crate) fn push_urgent(&self, item: T, size: usize) -> bool {
        let mut state = self.lock();
        if !state.is_closed {
            state.urgent.push_back((item, size));
            state.added(size);
        }
        !state.is_closed
    }

    /// Takes no more items; those that wait can still be read.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.is_closed = true;
        state.wake_reader();
        drop(state);
        self.room.notify_waiters();
    }

    /// Takes no more items and forgets those that wait.
    pub(crate) fn close_now(&self) {
        let mut state = self.lock();
        let forgotten = (std::mem::take(&mut state.urgent), std::mem::take(&mut state.items));
        state.bytes = 0;
        state.is_closed = true;
        state.is_cut = true;
        state.wake_reader();
        if let Some(blocked) = state.blocked.take() {
            blocked.wake();
        }
        drop(state);
        // Outside of the lock: an item's own Drop may look at the queue.
        drop(forgotten);
        self.room.notify_waiters();
    }

    /// The next item; None when the queue is closed and empty.
    pub(crate) async fn pop(&self) -> Option<T> {
        std::future::poll_fn(|cx| self.poll_pop(cx)).await
    }

    /// [`pop`](Self::pop) for those who poll.
    pub(crate) fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = self.lock();
        let next = match state.urgent.pop_front() {
            Some(next) => Some(next),
            None => state.items.pop_front(),
        };
        let Some((item, size)) = next else {
            if state.is_closed {
                return Poll::Ready(None);
            }
            if state.items.capacity() > KEPT_CAPACITY {
                state.items = VecDeque::new();
            }
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        };
        // Writers are woken when half is free, and when anything fits.
        let was_full = state.bytes >= state.limit / 2;
        state.bytes -= size;
        let has_room = (was_full && state.bytes < state.limit / 2) || state.bytes == 0;
        drop(state);
        if has_room {
            self.room.notify_waiters();
        }
        Poll::Ready(Some(item))
    }

    /// Ready when [`close_now`](Self::close_now) has been called; takes nothing.
    pub(crate) fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.is_cut {
            return Poll::Ready(());
        }
        state.blocked = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl<T> State<T> {
    fn added(&mut self, size: usize) {
        self.bytes += size;
        self.wake_reader();
    }

    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_and_a_read_makes_room() {
        let queue = Queue::new(10);
        queue.push(1, 6).unwrap();
        assert!(matches!(queue.push(2, 6), Err(Refused::Full(2))));
        assert_eq!(queue.pop().await, Some(1));
        queue.push(2, 6).unwrap();
    }

    #[tokio::test]
    async fn an_item_longer_than_the_queue_passes_alone() {
        let queue = Queue::new(10);
        queue.push(1, 100).unwrap();
        assert!(matches!(queue.push(2, 1), Err(Refused::Full(2))));
        assert_eq!(queue.pop().await, Some(1));
    }

    #[tokio::test]
    async fn a_waiting_writer_goes_on_when_there_is_room() {
        let queue = Queue::new(10);
        queue.push(1, 10).unwrap();
        let (pushed, popped) = tokio::join!(queue.push_when_room(2, 10), queue.pop());
        assert_eq!((pushed, popped), (Ok(()), Some(1)));
    }

    #[tokio::test]
    async fn what_is_urgent_leaves_first_and_what_waits_outlives_the_closing() {
        let queue = Queue::new(10);
        queue.push(1, 1).unwrap();
        assert!(queue.push_urgent(2, 1));
        queue.close();
        assert!(matches!(queue.push(3, 1), Err(Refused::Closed(3))));
        assert_eq!(
            (queue.pop().await, queue.pop().await, queue.pop().await),
            (Some(2), Some(1), None)
        );
    }
}
