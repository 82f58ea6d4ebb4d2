//! A queue that nobody can have for himself: of those who wait, whoever has the least
//! under way is next.

use std::collections::{BTreeMap, VecDeque};

/// What waits, by whom it belongs to.
#[derive(Debug)]
pub(crate) struct FairQueue<T> {
    parties: BTreeMap<Box<str>, Party<T>>,
    waiting: usize,
    turns: u64,
}

#[derive(Debug)]
struct Party<T> {
    queue: VecDeque<T>,
    under_way: usize,
    /// When it had its last turn.
    turn: u64,
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self { parties: BTreeMap::new(), waiting: 0, turns: 0 }
    }
}

impl<T: PartialEq> FairQueue<T> {
    pub(crate) fn len(&self) -> usize {
        self.waiting
    }

    /// How much of one party waits.
    pub(crate) fn len_of(&self, party: &str) -> usize {
        self.parties.get(party).map_or(0, |party| party.queue.len())
    }

    /// All that waits, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.parties.values().flat_map(|party| &party.queue)
    }

    pub(crate) fn push(&mut self, party: &str, item: T) {
        self.party(party).queue.push_back(item);
        self.waiting += 1;
    }

    /// The next one, which is under way from now on.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let waiting = self.parties.values_mut().filter(|party| !party.queue.is_empty());
        let next = waiting.min_by_key(|party| (party.under_way, party.turn))?;
        self.turns += 1;
        next.turn = self.turns;
        next.under_way += 1;
        self.waiting -= 1;
        next.queue.pop_front()
    }

    /// Takes out what waits.
    pub(crate) fn remove(&mut self, party: &str, item: &T) {
        let queue = &mut self.party(party).queue;
        if let Some(place) = queue.iter().position(|one| one == item) {
            queue.remove(place);
            self.waiting -= 1;
        }
        self.forget(party);
    }

    /// Counts one as under way that never waited here.
    pub(crate) fn add_under_way(&mut self, party: &str) {
        self.party(party).under_way += 1;
    }

    /// One that was under way has ended.
    pub(crate) fn done(&mut self, party: &str) {
        let under_way = &mut self.party(party).under_way;
        *under_way = under_way.saturating_sub(1);
        self.forget(party);
    }

    fn party(&mut self, party: &str) -> &mut Party<T> {
        self.parties.entry(party.into()).or_insert_with(|| Party {
            queue: VecDeque::new(),
            under_way: 0,
            turn: 0,
        })
    }

    fn forget(&mut self, party: &str) {
        let is_idle = |party: &Party<T>| party.queue.is_empty() && party.under_way == 0;
        if self.parties.get(party).is_some_and(is_idle) {
            self.parties.remove(party);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn somebody_with_much_to_do_does_not_hold_up_somebody_with_little() {
        let mut queue = FairQueue::default();
        let (ada, bob) = ("ada", "bob");
        for number in 0..100 {
            queue.push(ada, number);
        }
        assert_eq!([queue.pop(), queue.pop()], [Some(0), Some(1)]);
        queue.push(bob, 1000);
        queue.push(bob, 1001);
        // Ada has two under way, so both of Bob's come before hers.
        assert_eq!([queue.pop(), queue.pop(), queue.pop()], [Some(1000), Some(1001), Some(2)]);
        assert_eq!((queue.len(), queue.len_of("ada"), queue.len_of("bob")), (97, 97, 0));
    }

    #[test]
    fn what_is_taken_out_does_not_come_and_who_has_nothing_is_forgotten() {
        let mut queue = FairQueue::default();
        let ada = "ada";
        queue.push(ada, 1);
        queue.push(ada, 2);
        queue.remove(ada, &1);
        assert_eq!((queue.pop(), queue.pop()), (Some(2), None));
        queue.done(ada);
        assert!(queue.parties.is_empty());
    }
}
