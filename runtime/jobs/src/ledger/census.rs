//! How many jobs there are, for whoever watches the controller.

use drover_api::Timestamp;

use super::job::Phase;
use super::{Job, Ledger};

/// The jobs that have not ended, by how far they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Census {
    /// As many of their submission are at work as may be.
    pub held: u64,
    /// Until their place in the spread, or their next attempt.
    pub delayed: u64,
    /// Until their node is there and has room.
    pub queued: u64,
    /// Their node has them, and they have not started.
    pub sent: u64,
    /// They have started.
    pub running: u64,
    /// How many wait for the node for which most do.
    pub longest_queue: u64,
    /// When the oldest submission was made that has jobs which have not ended.
    pub oldest: Option<Timestamp>,
}

impl Ledger {
    /// Counts what has not ended; looks at every job.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census {
            longest_queue: self.lanes.values().map(|lane| lane.queue.len()).max().unwrap_or(0)
                as u64,
            oldest: self.submissions.values().map(|open| open.time).min(),
            ..Census::default()
        };
        for Job { phase, .. } in self.jobs.values() {
            *match phase {
                Phase::Held(_) => &mut census.held,
                Phase::Delayed(_) => &mut census.delayed,
                Phase::Queued => &mut census.queued,
                Phase::Sent { .. } => &mut census.sent,
                Phase::Running => &mut census.running,
            } += 1;
        }
        census
    }
}
