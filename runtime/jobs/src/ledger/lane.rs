//! What one node has and waits for.

use std::collections::BTreeSet;

use crate::fair::FairQueue;

#[derive(Debug, Default)]
pub(super) struct Lane {
    pub(super) is_present: bool,
    /// Jobs, by key.
    pub(super) queue: FairQueue<u64>,
    /// Attempts that the node has or will have, by number.
    pub(super) sent: BTreeSet<u64>,
    /// Everything below is over, and is so on disk.
    pub(super) told_below: u64,
    /// Whether somebody will look after it.
    pub(super) is_reminded: bool,
}
