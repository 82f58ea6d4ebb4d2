//! How much live output may be on its way to a caller.
//!
//! A link passes on what it is given; only the caller knows how fast it reads.
//! One that says how much it takes is never sent more than fits into its window,
//! and a job that writes more waits, as it would for a slow pipe.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use drover_api::JobId;
use tokio::sync::watch;

/// The windows of the jobs that have one. Clones share them.
#[derive(Clone, Default)]
pub(crate) struct Windows {
    taken: Arc<Mutex<HashMap<JobId, watch::Sender<Taken>>>>,
}

/// What the caller of a job has told of its output.
#[derive(Default)]
struct Taken {
    bytes: u64,
    /// Whether it wants no more.
    is_enough: bool,
}

/// The window of one caller, until it is dropped.
pub(crate) struct Window {
    windows: Windows,
    id: JobId,
    size: u64,
    sent: u64,
    taken: watch::Receiver<Taken>,
}

impl Windows {
    /// Opens a window of so many bytes for the output of a job.
    pub(crate) fn open(&self, id: &JobId, size: u64) -> Window {
        let (tell, taken) = watch::channel(Taken::default());
        self.lock().insert(id.clone(), tell);
        Window { windows: self.clone(), id: id.clone(), size, sent: 0, taken }
    }

    /// Says that the caller of a job has taken so many bytes more, and whether it
    /// has `enough`; false if no job with this id has a window.
    pub(crate) fn take(&self, id: &JobId, bytes: u64, is_enough: bool) -> bool {
        let windows = self.lock();
        let taken = windows.get(id);
        if let Some(taken) = taken {
            taken.send_modify(|taken| {
                taken.bytes = taken.bytes.saturating_add(bytes);
                taken.is_enough |= is_enough;
            });
        }
        taken.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, watch::Sender<Taken>>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    /// Whether anything more may be sent. What is sent into the last of the room
    /// may be longer than it.
    pub(crate) fn has_room(&self) -> bool {
        let taken = self.taken.borrow();
        !taken.is_enough && self.sent.saturating_sub(taken.bytes) < self.size
    }

    /// Waits until something may be sent; false if the caller wants no more.
    pub(crate) async fn room(&mut self) -> bool {
        while !self.has_room() {
            // The sender is only dropped with `self`.
            if self.taken.borrow().is_enough || self.taken.changed().await.is_err() {
                return false;
            }
        }
        true
    }

    /// Waits until the caller wants no more.
    pub(crate) async fn closed(&mut self) {
        // As above.
        let _ = self.taken.wait_for(|taken| taken.is_enough).await;
    }

    /// Counts what is sent.
    pub(crate) fn send(&mut self, bytes: usize) {
        self.sent = self.sent.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.windows.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_window_waits_until_its_caller_has_taken_something() {
        let windows = Windows::default();
        let id: JobId = "j".parse().unwrap();
        let mut window = windows.open(&id, 10);
        assert!(window.room().await);
        window.send(9);
        assert!(window.has_room());
        window.send(9);
        assert!(!window.has_room());
        assert!(windows.take(&id, 8, false));
        assert!(!window.has_room());
        let taking = async { windows.take(&id, 1, false) };
        let (taken, has_room) = tokio::join!(taking, window.room());
        assert!(taken && has_room);
        drop(window);
        assert!(!windows.take(&id, 1, false));
    }

    #[tokio::test]
    async fn a_caller_that_has_enough_is_sent_nothing_more() {
        let windows = Windows::default();
        let id: JobId = "j".parse().unwrap();
        let mut window = windows.open(&id, 10);
        assert!(windows.take(&id, 0, true));
        window.closed().await;
        assert!(!window.room().await);
    }
}
