//! How long to wait before dialling again.

use std::time::Duration;

/// Waits that double from `first` to `longest`, each shortened at random by
/// up to half, so that ten thousand agents do not come back in one moment.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The wait before the next attempt. `random` is from 0 to 1.
    pub(crate) fn wait(&mut self, random: f64) -> Duration {
        let wait = self.next;
        self.next = (self.next * 2).min(self.longest);
        wait.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }

    /// Begins anew: the link was up.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(SECOND, 5 * SECOND);
        let waits: Vec<_> = (0..5).map(|_| backoff.wait(0.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 5, 5]);
    }

    #[test]
    fn chance_shortens_a_wait_by_at_most_half() {
        let mut backoff = Backoff::new(SECOND, SECOND);
        assert_eq!(backoff.wait(1.0), SECOND / 2);
        assert_eq!(backoff.wait(0.5), SECOND * 3 / 4);
        assert_eq!(backoff.wait(7.0), SECOND / 2);
    }

    #[test]
    fn a_reset_begins_with_the_first_wait() {
        let mut backoff = Backoff::new(SECOND, 60 * SECOND);
        backoff.wait(0.0);
        backoff.wait(0.0);
        backoff.reset();
        assert_eq!(backoff.wait(0.0), SECOND);
    }
}
