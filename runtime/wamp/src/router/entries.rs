//! Registrations or subscriptions by id and by pattern.

use std::collections::BTreeSet;
use std::time::Duration;

use super::patterns::{Patterns, TooManyShapes};
use crate::id::{IdMap, Ids, SessionId};
use crate::uri::MatchPolicy;

/// Everything that is held under a pattern, at most one entry each.
#[derive(Debug)]
pub(super) struct Entries<H> {
    patterns: Patterns<u64>,
    by_id: IdMap<u64, Entry<H>>,
}

/// One pattern, shared by all sessions that hold it.
#[derive(Debug)]
pub(super) struct Entry<H> {
    pub(super) uri: String,
    pub(super) policy: MatchPolicy,
    /// Since the realm began.
    pub(super) created: Duration,
    pub(super) holders: H,
}

/// The sessions that hold an entry.
pub(super) trait Holders {
    /// All of them, in the order in which they came where that is known.
    fn sessions(&self) -> Vec<SessionId>;
    /// How many they are.
    fn count(&self) -> usize;
}

impl Holders for BTreeSet<SessionId> {
    fn sessions(&self) -> Vec<SessionId> {
        self.iter().copied().collect()
    }

    fn count(&self) -> usize {
        self.len()
    }
}

impl<H> Default for Entries<H> {
    fn default() -> Self {
        Self { patterns: Patterns::default(), by_id: IdMap::default() }
    }
}

impl<H> Entries<H> {
    /// The entry of exactly this pattern.
    pub(super) fn lookup(&self, uri: &str, policy: MatchPolicy) -> Option<u64> {
        self.patterns.get(uri, policy)
    }

    /// Makes sure that an entry may be added under this pattern.
    pub(super) fn check_room(&self, uri: &str, policy: MatchPolicy) -> Result<(), TooManyShapes> {
        self.patterns.check_room(uri, policy)
    }

    /// The entry that a call of `uri` goes to.
    pub(super) fn best(&self, uri: &str) -> Option<u64> {
        self.patterns.best(uri)
    }

    /// Every entry that matches `uri`.
    pub(super) fn all(&self, uri: &str) -> Vec<u64> {
        self.patterns.all(uri)
    }

    pub(super) fn get(&self, id: u64) -> Option<&Entry<H>> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Entry<H>> {
        self.by_id.get_mut(&id)
    }

    /// Adds an entry under an id of its own, which it returns.
    pub(super) fn insert(&mut self, entry: Entry<H>, ids: &mut Ids) -> u64 {
        let id = ids.draw_unless(|id| self.by_id.contains_key(&id));
        self.patterns.insert(&entry.uri, entry.policy, id);
        self.by_id.insert(id, entry);
        id
    }

    pub(super) fn remove(&mut self, id: u64) -> Option<Entry<H>> {
        let entry = self.by_id.remove(&id)?;
        self.patterns.remove(&entry.uri, entry.policy);
        Some(entry)
    }

    /// All ids of entries of one policy, in order.
    pub(super) fn of_policy(&self, policy: MatchPolicy) -> Vec<u64> {
        let entries = self.by_id.iter().filter(|(_, entry)| entry.policy == policy);
        let mut ids: Vec<_> = entries.map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids
    }

    #[cfg(any(test, fuzzing))]
    pub(super) fn is_empty(&self) -> bool {
        self.patterns.is_empty() && self.by_id.is_empty()
    }
}
