//! The model as the requests share it: one lock, and word of every change.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use super::fault::Faults;
use super::model::Model;

/// How many requests are remembered for tests.
const REQUESTS: usize = 100_000;

/// What all requests see.
pub(crate) struct Shared {
    model: Mutex<Model>,
    changes: watch::Sender<u64>,
    faults: Mutex<Faults>,
    requests: Mutex<Vec<String>>,
}

impl Shared {
    pub(crate) fn new(model: Model) -> Self {
        Self {
            model: Mutex::new(model),
            changes: watch::Sender::new(0),
            faults: Mutex::default(),
            requests: Mutex::default(),
        }
    }

    /// Changes the model: what is due is done before, and what follows after.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut Model, Timestamp) -> T) -> T {
        let outcome = {
            let mut model = self.lock();
            let now = Timestamp::now();
            model.advance(now);
            let outcome = change(&mut model, now);
            model.advance(now);
            outcome
        };
        self.changes.send_modify(|number| *number = number.wrapping_add(1));
        outcome
    }

    /// Looks at the model. What looks only must change nothing that others see.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Model, Timestamp) -> T) -> T {
        look(&mut self.lock(), Timestamp::now())
    }

    /// Looks after every change, until there is something to return.
    pub(crate) async fn until<T>(
        &self,
        mut look: impl FnMut(&mut Model, Timestamp) -> Option<T>,
    ) -> T {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            if let Some(found) = self.look(&mut look) {
                return found;
            }
            // The sender lives as long as this.
            let _ = changes.changed().await;
        }
    }

    /// Lets programs run when their time has come. Never returns.
    pub(crate) async fn keep_time(&self) {
        let mut changes = self.changes.subscribe();
        loop {
            changes.mark_unchanged();
            let wake = self.look(|model, _| model.next_wake());
            let pause = wake.map(|wake| {
                let pause = wake.duration_since(Timestamp::now());
                std::time::Duration::try_from(pause).unwrap_or_default()
            });
            tokio::select! {
                () = sleep_or_wait(pause) => self.with(|_, _| {}),
                _ = changes.changed() => {}
            }
        }
    }

    pub(crate) fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, request: String) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() < REQUESTS {
            requests.push(request);
        }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sleep_or_wait(pause: Option<std::time::Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}
