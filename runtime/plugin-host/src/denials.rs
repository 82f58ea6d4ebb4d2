//! How often the calls of one plugin were denied, by interface.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Counted by whoever denies, in all versions of the plugin.
#[derive(Debug, Default)]
pub(crate) struct Denials(Mutex<BTreeMap<String, u64>>);

impl Denials {
    /// Counts a call such as `state.get`, which is of the interface `state`. The host
    /// has the names of calls, so there are as many as it has interfaces.
    pub(crate) fn count(&self, call: &str) {
        let interface = call.split_once('.').map_or(call, |(interface, _)| interface);
        let mut counts = self.counts();
        match counts.get_mut(interface) {
            Some(count) => *count += 1,
            None => drop(counts.insert(interface.to_owned(), 1)),
        }
    }

    pub(crate) fn read(&self) -> BTreeMap<String, u64> {
        self.counts().clone()
    }

    fn counts(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_their_interface() {
        let denials = Denials::default();
        for call in ["state.get", "state.set", "http.send", "state.get"] {
            denials.count(call);
        }
        assert_eq!(
            denials.read(),
            BTreeMap::from([("http".to_owned(), 1), ("state".to_owned(), 3)])
        );
    }
}
