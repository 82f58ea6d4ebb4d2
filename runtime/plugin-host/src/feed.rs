//! What a service publishes, on its way to whoever takes it.

use std::time::Duration;

use drover_api::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// Values that a service may publish at once; see `wit/feed.wit`.
const BURST: u32 = 100;
/// The time between two values after that.
const INTERVAL: Duration = Duration::from_millis(10);

/// One value that a service published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// When.
    pub time: Timestamp,
    /// A JSON text that `serde_json` takes, of at most 64 KiB.
    pub json: String,
}

/// Where one service publishes.
pub(crate) struct Feed {
    values: mpsc::Sender<Published>,
    turns: Turns,
}

/// Who publishes too fast waits so long.
struct Turns {
    /// When the next value is due, if they come evenly.
    due: Instant,
}

impl Feed {
    /// A feed whose values are taken from `values`.
    pub(crate) fn new(values: mpsc::Sender<Published>) -> Self {
        Self { values, turns: Turns { due: Instant::now() } }
    }

    /// Hands over a value that is as [`Published`] says, when it may.
    pub(crate) async fn publish(&mut self, json: String) {
        let wait = self.turns.wait(Instant::now());
        if !wait.is_zero() {
            sleep(wait).await;
        }
        let time = Timestamp::now();
        // An error says that nobody takes it, which is no matter of the plugin's.
        let _ = self.values.send(Published { time, json }).await;
    }
}

impl Turns {
    fn wait(&mut self, now: Instant) -> Duration {
        let due = self.due.max(now);
        self.due = due + INTERVAL;
        due.saturating_duration_since(now + INTERVAL * (BURST - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_free_and_then_each_value_waits_for_its_turn() {
        let start = Instant::now();
        let mut turns = Turns { due: start };
        assert!((0..BURST).all(|_| turns.wait(start).is_zero()));
        assert_eq!(turns.wait(start), INTERVAL);
        assert_eq!(turns.wait(start + INTERVAL), INTERVAL);
        let later = start + Duration::from_secs(60);
        assert!((0..BURST).all(|_| turns.wait(later).is_zero()));
        assert_eq!(turns.wait(later), INTERVAL);
    }
}
