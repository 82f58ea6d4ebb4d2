//! A bound on how many bytes leave in a second.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Lets so many bytes pass in a second, of all that share it.
#[derive(Debug, Clone)]
pub struct Pace {
    bytes_per_second: u64,
    /// When the next bytes may pass.
    next: Arc<Mutex<Instant>>,
}

impl Pace {
    /// A pace of at least one byte a second.
    #[must_use]
    pub fn new(bytes_per_second: u64) -> Self {
        let next = Arc::new(Mutex::new(Instant::now()));
        Self { bytes_per_second: bytes_per_second.max(1), next }
    }

    /// Waits until so many bytes may pass, behind those who asked before.
    pub async fn take(&self, bytes: u64) {
        sleep_until(self.turn(bytes, Instant::now())).await;
    }

    /// When so many bytes may pass, which they are taken to do.
    fn turn(&self, bytes: u64, now: Instant) -> Instant {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // Nothing is saved up while nobody asks.
        let turn = (*next).max(now);
        let microseconds = bytes.saturating_mul(1_000_000) / self.bytes_per_second;
        *next = turn + Duration::from_micros(microseconds);
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_ask_share_the_pace_in_their_order() {
        let pace = Pace::new(1000);
        let other = pace.clone();
        let begin = Instant::now() + Duration::from_secs(1);
        let after = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(pace.turn(2000, begin), begin);
        assert_eq!(other.turn(1000, begin), after(2));
        assert_eq!(pace.turn(0, begin), after(3));
        assert_eq!(pace.turn(1000, after(10)), after(10), "what nobody took is gone");
        assert_eq!(pace.turn(1, after(10)), after(11));
    }
}
