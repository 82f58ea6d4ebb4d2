//! Ids that the router draws: of sessions, registrations, subscriptions and publications.

use std::collections::HashMap;
use std::fmt;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

/// The largest id: JavaScript can count no further.
pub(crate) const MAX_ID: u64 = 1 << 53;

/// A map by numbers, with a hasher that is quick with them. Texts, which peers
/// choose at will, belong into the standard one, which withstands more.
pub(crate) type IdMap<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The id of a session, drawn by the router and unique there while the session lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

impl SessionId {
    /// Draws one for a session to be.
    pub(crate) fn draw() -> Self {
        Self(rand::random_range(1..=MAX_ID))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Draws ids of the global scope: random in 1..=2^53, as the specification asks.
///
/// Deterministic in its seed, so that a router core is a function of its inputs.
#[derive(Debug)]
pub(crate) struct Ids(SmallRng);

impl Ids {
    pub(crate) fn from_seed(seed: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed))
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0.random_range(1..=MAX_ID)
    }

    /// Draws one of several.
    pub(crate) fn draw_from<T: Copy>(&mut self, several: &[T]) -> Option<T> {
        let index = (!several.is_empty()).then(|| self.0.random_range(..several.len()))?;
        several.get(index).copied()
    }

    /// Draws until `is_taken` says no.
    pub(crate) fn draw_unless(&mut self, is_taken: impl Fn(u64) -> bool) -> u64 {
        loop {
            let id = self.draw();
            if !is_taken(id) {
                return id;
            }
        }
    }
}
