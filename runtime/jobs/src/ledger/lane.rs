//! What one node has and waits for.

use std::collections::BTreeSet;
use std::time::Duration;

use drover_api::Timestamp;

use super::later;
use crate::fair::FairQueue;

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) presence: Presence,
    /// Jobs, by key.
    pub(super) queue: FairQueue<u64>,
    /// Attempts that the node has or will have, by number.
    pub(super) sent: BTreeSet<u64>,
    /// Jobs whose submission goes on without the node while it is away, by key: those
    /// for any of several nodes, and those of which only so many may be at work.
    pub(super) flexible: BTreeSet<u64>,
    /// Everything below is over, and is so on disk.
    pub(super) told_below: u64,
    /// Whether it has not answered, and is to be asked about everything again.
    pub(super) is_to_be_asked: bool,
    /// Whether somebody will look after it.
    pub(super) is_reminded: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Presence {
    /// It has not been there since the controller started.
    #[default]
    Unheard,
    There,
    /// Since then.
    Away(Timestamp),
}

impl Lane {
    /// Whether the node has been away for so long.
    pub(super) fn has_stayed_away(&self, time: Duration, now: Timestamp) -> bool {
        match self.presence {
            Presence::Unheard => true,
            Presence::There => false,
            Presence::Away(since) => later(since, time) <= now,
        }
    }
}
