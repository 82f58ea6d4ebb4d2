//! Counters by a name that comes from elsewhere, of which there may not be ever more.

use std::hash::BuildHasher;
use std::sync::OnceLock;

use foldhash::fast::FixedState;

/// How far from its place a name is looked for.
const STEPS: usize = 32;

/// The name of what found no place.
const OTHERS: &str = "other";

/// A name and what is counted under it, once there is one; most are never used.
type Place<T> = OnceLock<Box<(Box<str>, T)>>;

/// What is counted under each name. Names stay for the life of the program, and those
/// beyond the capacity share one place, so that nobody can make a program grow, or
/// Prometheus, by names of their own.
///
/// Finding a name takes no lock, and allocates the first time only.
#[derive(Debug)]
pub struct Table<T> {
    places: Box<[Place<T>]>,
    others: T,
    has_others: OnceLock<()>,
}

impl<T: Default> Table<T> {
    /// A table for about so many names.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        let places = (0..capacity.max(1)).map(|_| OnceLock::new()).collect();
        Self { places, others: T::default(), has_others: OnceLock::new() }
    }

    /// What is counted under a name.
    pub fn of(&self, name: &str) -> &T {
        let count = self.places.len();
        let hash = FixedState::default().hash_one(name);
        let first = usize::try_from(hash % count as u64).unwrap_or_default();
        let near = (first..first + STEPS.min(count)).map(|place| &self.places[place % count]);
        let entries =
            near.map(|place| &**place.get_or_init(|| Box::new((name.into(), T::default()))));
        let found = entries.into_iter().find(|(entry, _)| **entry == *name);
        found.map_or_else(
            || {
                self.has_others.get_or_init(|| ());
                &self.others
            },
            |(_, counted)| counted,
        )
    }

    /// Every name that was asked for, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        let known = self.places.iter().filter_map(OnceLock::get);
        let known = known.map(|entry| (&*entry.0, &entry.1));
        known.chain(self.has_others.get().map(|()| (OTHERS, &self.others)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::Counter;

    #[test]
    fn a_name_is_counted_under_itself_whoever_comes_between() {
        let table = Table::<Counter>::new(64);
        for name in ["a.b", "c.d", "a.b", "e.f", "a.b"] {
            table.of(name).one();
        }
        let counts: BTreeMap<_, _> =
            table.iter().map(|(name, count)| (name, count.read())).collect();
        assert_eq!(counts, BTreeMap::from([("a.b", 3), ("c.d", 1), ("e.f", 1)]));
    }

    #[test]
    fn names_without_end_do_not_make_it_grow_and_nothing_is_left_out() {
        let table = Table::<Counter>::new(8);
        for number in 0..1000 {
            table.of(&format!("name-{number}")).one();
        }
        assert!(table.iter().count() <= 9);
        assert_eq!(table.iter().map(|(_, count)| count.read()).sum::<u64>(), 1000);
        assert!(table.iter().any(|(name, _)| name == OTHERS));
    }

    #[test]
    fn many_threads_find_the_same_place() {
        let table = Table::<Counter>::new(16);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..1000).for_each(|number| table.of(["x", "y"][number % 2]).one()));
            }
        });
        assert_eq!((table.of("x").read(), table.of("y").read()), (4000, 4000));
    }
}
