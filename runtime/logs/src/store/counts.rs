//! What a store has done, for whoever watches the program.

use std::sync::atomic::{AtomicU64, Ordering};

/// What went through a store since it was opened, and what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreCounts {
    /// Records that were committed.
    pub records: u64,
    /// Records that found no room and were counted instead; gaps say where.
    pub left_out: u64,
    /// What waits to be committed, in bytes, about.
    pub waiting_bytes: u64,
    /// What the files take, in bytes.
    pub file_bytes: u64,
}

/// What the writer counts.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    records: AtomicU64,
}

impl Tallies {
    /// So many more records are committed.
    pub(super) fn committed(&self, records: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }
}
