//! A plugin's share of the processors: how long its jobs wait so that they do
//! not use more.
//!
//! Time is counted while a job is polled, on whatever thread. A job that only
//! computes gives way at every tick of the epoch, so a share is kept to within
//! a tick for each of the plugin's jobs.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::time::{Sleep, sleep};

/// What a plugin may use at once after it was idle.
const BURST: Duration = Duration::from_millis(100);

/// The account of one plugin's jobs.
#[derive(Debug)]
pub(crate) struct Share {
    start: Instant,
    account: Mutex<Account>,
}

/// What was used and not yet allowed for. Pure.
#[derive(Debug)]
struct Account {
    cores: f64,
    debt: Duration,
    at: Duration,
}

impl Share {
    /// `cores` may be below 1 and above it.
    pub(crate) fn new(cores: f64) -> Self {
        let account = Account { cores, debt: Duration::ZERO, at: Duration::ZERO };
        Self { start: Instant::now(), account: Mutex::new(account) }
    }

    /// How long to wait, now that so much was used.
    fn charge(&self, used: Duration) -> Duration {
        let now = self.start.elapsed();
        self.account.lock().unwrap_or_else(PoisonError::into_inner).charge(now, used)
    }
}

impl Account {
    fn charge(&mut self, now: Duration, used: Duration) -> Duration {
        let allowed = now.saturating_sub(self.at).mul_f64(self.cores);
        self.at = self.at.max(now);
        self.debt = self.debt.saturating_sub(allowed) + used;
        self.debt.saturating_sub(BURST).div_f64(self.cores)
    }
}

/// Work that keeps to a share.
pub(crate) struct Shared<F> {
    share: Arc<Share>,
    work: Pin<Box<F>>,
    waiting: Pin<Box<Sleep>>,
}

/// Has `work` wait whenever the share is used up, before it begins as well.
pub(crate) fn within<F: Future>(share: Arc<Share>, work: F) -> Shared<F> {
    let wait = share.charge(Duration::ZERO);
    Shared { share, work: Box::pin(work), waiting: Box::pin(sleep(wait)) }
}

impl<F: Future> Future for Shared<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        ready!(self.waiting.as_mut().poll(context));
        let begin = Instant::now();
        let output = self.work.as_mut().poll(context);
        let wait = self.share.charge(begin.elapsed());
        if output.is_pending() && !wait.is_zero() {
            self.waiting.set(sleep(wait));
            // Also to be told when the time has passed.
            ready!(self.waiting.as_mut().poll(context));
        }
        output
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn account(cores: f64) -> Account {
        Account { cores, debt: Duration::ZERO, at: Duration::ZERO }
    }

    #[test]
    fn a_burst_is_free_and_then_half_a_core_waits_as_long_as_it_works() {
        let mut account = account(0.5);
        assert_eq!(account.charge(MS * 100, MS * 100), Duration::ZERO);
        let wait = account.charge(MS * 200, MS * 100);
        assert_eq!(wait, MS * 100);
        assert_eq!(account.charge(MS * 300, Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_clock_that_stands_still_allows_for_nothing() {
        let mut account = account(1.0);
        account.charge(MS * 10, MS * 200);
        assert_eq!(account.charge(MS * 5, Duration::ZERO), MS * 100);
    }

    proptest! {
        #[test]
        fn who_waits_as_told_stays_within_the_share(
            cores in 0.05..4.0f64,
            uses in vec(1..20u32, 1..200),
        ) {
            let mut account = account(cores);
            let (mut now, mut used) = (Duration::ZERO, Duration::ZERO);
            for each in uses {
                now += MS * each;
                used += MS * each;
                now += account.charge(now, MS * each);
            }
            let allowed = now.mul_f64(cores) + BURST + MS;
            prop_assert!(used <= allowed, "{used:?} of {allowed:?}");
        }
    }
}
