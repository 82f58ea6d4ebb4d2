//! How long an operation takes, as far as it decides where it begins.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::threads::Start;

/// A run up to this long is short: it may hold up a caller's thread, for a tenth of
/// a tick. A full batch of log lines is.
pub(crate) const SHORT: Duration = Duration::from_millis(1);

/// So many short runs in a row prove an operation to be short. A long one
/// begins the count anew, so one call in this many may keep a caller's thread
/// for a tick, and no more.
const PROOF: u32 = 32;

/// Counts the short runs of one operation.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    short_runs: AtomicU32,
}

impl Pace {
    /// Where the next run should begin.
    pub(crate) fn start(&self) -> Start {
        if self.short_runs.load(Ordering::Relaxed) < PROOF {
            Start::Here
        } else {
            Start::WithCaller
        }
    }

    /// Takes how long a run took. Runs that end at the same time may be
    /// counted as one; the count is an estimate.
    pub(crate) fn record(&self, took: Duration) {
        let runs = self.short_runs.load(Ordering::Relaxed);
        let runs = if took <= SHORT { (runs + 1).min(PROOF) } else { 0 };
        self.short_runs.store(runs, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_short_after_many_short_runs_and_until_a_long_one() {
        let pace = Pace::default();
        for _ in 0..PROOF {
            assert_eq!(pace.start(), Start::Here);
            pace.record(SHORT);
        }
        assert_eq!(pace.start(), Start::WithCaller);
        pace.record(SHORT + Duration::from_micros(1));
        assert_eq!(pace.start(), Start::Here);
    }
}
