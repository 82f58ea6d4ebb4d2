//! How long to wait before trying again.

use std::time::Duration;

/// Waits by chance, up to a bound that doubles from `first` to `longest`.
///
/// All of a wait is left to chance ("full jitter"): when a router restarts, ten
/// thousand clients spread over the whole of the time, and do not come back in
/// waves.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    bound: Duration,
}

impl Backoff {
    /// Begins with waits of up to `first`; none is over `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        let first = first.min(longest);
        Self { first, longest, bound: first }
    }

    /// The wait before the next attempt.
    pub fn wait(&mut self) -> Duration {
        self.wait_by(rand::random())
    }

    /// `chance` is from 0 to 1.
    fn wait_by(&mut self, chance: f64) -> Duration {
        let bound = self.bound;
        self.bound = bound.saturating_mul(2).min(self.longest);
        let wait = bound.as_secs_f64() * chance.clamp(0.0, 1.0);
        // The longest durations are no numbers of seconds any more.
        Duration::try_from_secs_f64(wait).unwrap_or(bound)
    }

    /// Begins anew: an attempt was good.
    pub fn reset(&mut self) {
        self.bound = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_bound_doubles_up_to_the_longest() {
        let mut backoff = Backoff::new(SECOND, 5 * SECOND);
        let waits: Vec<_> = (0..5).map(|_| backoff.wait_by(1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn a_wait_is_anything_up_to_the_bound() {
        let mut backoff = Backoff::new(SECOND, SECOND);
        assert_eq!(backoff.wait_by(0.0), Duration::ZERO);
        assert_eq!(backoff.wait_by(0.5), SECOND / 2);
        assert_eq!(backoff.wait_by(7.0), SECOND);
    }

    #[test]
    fn a_reset_begins_with_the_first_bound() {
        let mut backoff = Backoff::new(SECOND, Duration::MAX);
        backoff.wait_by(0.0);
        backoff.wait_by(0.0);
        backoff.reset();
        assert_eq!(backoff.wait_by(1.0), SECOND);
    }

    #[test]
    fn a_bound_grows_to_any_length_and_no_further() {
        let mut backoff = Backoff::new(SECOND, Duration::MAX);
        for _ in 0..100 {
            backoff.wait_by(1.0);
        }
        assert_eq!(backoff.wait_by(1.0), Duration::MAX);
    }
}
