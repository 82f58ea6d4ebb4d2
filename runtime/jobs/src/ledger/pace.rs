//! How fast jobs end, and when each of many begins.

use std::time::Duration;

use drover_api::{NodeId, Timestamp};

/// How many jobs end in a second, about.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: u64,
    count: u32,
    per_second: f64,
}

impl Pace {
    /// Counts a job that has ended.
    pub(super) fn count(&mut self, now: Timestamp) {
        let passed = now.0.saturating_sub(self.since);
        if passed >= 1000 {
            let rate = f64::from(self.count) * 1000.0 / passed as f64;
            self.per_second = if passed < 10_000 { (self.per_second + rate) / 2.0 } else { rate };
            (self.since, self.count) = (now.0, 0);
        }
        self.count += 1;
    }

    /// How long it takes until so many have ended.
    pub(super) fn wait(&self, excess: usize, now: Timestamp) -> Duration {
        let is_known = self.per_second > 0.1 && now.0.saturating_sub(self.since) < 60_000;
        let seconds = if is_known { excess as f64 / self.per_second } else { 5.0 };
        Duration::from_secs_f64(seconds.clamp(1.0, 60.0))
    }
}

/// The place of a node in a spread: always the same, and evenly over all nodes.
pub(super) fn place_in(spread_ms: u64, node: NodeId) -> u64 {
    if spread_ms == 0 {
        return 0;
    }
    // The finaliser of splitmix64.
    let mut mixed = (u64::from(node.gid.0) << 32 | u64::from(node.nid.0)) ^ 0x9e37_79b9_7f4a_7c15;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed ^ (mixed >> 31)) % spread_ms
}
