//! How the jobs of one version of a plugin ended.

use std::sync::atomic::{AtomicU64, Ordering};

/// How jobs ended; what was never begun is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All of them.
    pub jobs: u64,
    /// Those that crashed, ran out of memory or missed their usual deadline.
    pub crashes: u64,
    /// Those that failed and said why.
    pub failures: u64,
}

/// A [`Tally`] that is counted up by many.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    jobs: AtomicU64,
    crashes: AtomicU64,
    failures: AtomicU64,
}

/// What the end of a job says of its plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It did its work, or was not let.
    Blameless,
    /// It failed and said why.
    Failed,
    /// It crashed, ran out of memory or missed its usual deadline.
    Crashed,
}

impl Counts {
    pub(crate) fn count(&self, verdict: Verdict) {
        self.jobs.fetch_add(1, Ordering::Relaxed);
        match verdict {
            Verdict::Blameless => {}
            Verdict::Failed => drop(self.failures.fetch_add(1, Ordering::Relaxed)),
            Verdict::Crashed => drop(self.crashes.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Forgets all that was counted.
    pub(crate) fn reset(&self) {
        for count in [&self.jobs, &self.crashes, &self.failures] {
            count.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Tally {
        Tally {
            jobs: self.jobs.load(Ordering::Relaxed),
            crashes: self.crashes.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }
}
