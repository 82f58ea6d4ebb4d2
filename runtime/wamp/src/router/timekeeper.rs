//! Who looks at the clock for a realm, whose core has none.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Hall;

/// One task per realm, which ends with it.
///
/// It belongs to the realm and not to the connections, because a call's time
/// is over for sessions of sockets and for attached ones alike, and because
/// idle sessions then need no timer.
#[derive(Debug, Default)]
pub(super) struct Timekeeper {
    wake: Arc<Notify>,
    task: Mutex<JoinSet<()>>,
}

impl Timekeeper {
    /// Starts the task unless it runs. Must be called within a runtime.
    pub(super) fn start(&self, hall: &Arc<Hall>) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        // It ends before its realm only when its runtime does.
        while task.try_join_next().is_some() {}
        if task.is_empty() {
            task.spawn(keep_time(Arc::downgrade(hall), Arc::clone(&self.wake)));
        }
    }

    /// Says that something is due sooner than it was.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }
}

async fn keep_time(hall: Weak<Hall>, wake: Arc<Notify>) {
    loop {
        let next: Option<Instant> = match hall.upgrade() {
            Some(hall) => hall.expire(),
            None => return,
        };
        match next {
            Some(next) => tokio::select! {
                () = sleep_until(next) => {}
                () = wake.notified() => {}
            },
            None => wake.notified().await,
        }
    }
}
