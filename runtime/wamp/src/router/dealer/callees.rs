//! The callees of one registration, and which of them gets the next call.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use crate::id::{Ids, SessionId};
use crate::message::InvocationPolicy;
use crate::router::entries::Holders;

/// One callee, or several that share.
#[derive(Debug)]
pub(in crate::router) enum Callees {
    /// Nobody else can join.
    Single(SessionId),
    /// Boxed, for nearly all registrations are of one callee.
    Shared(Box<Crew>),
}

/// Callees that share a registration. Choosing, joining and leaving cost the
/// same however many there are, but for the depth of a tree.
#[derive(Debug)]
pub(in crate::router) struct Crew {
    policy: InvocationPolicy,
    /// In the order in which they registered.
    by_turn: BTreeMap<u64, SessionId>,
    /// In no order, to draw one from.
    pool: Vec<SessionId>,
    places: HashMap<SessionId, Place>,
    /// Of the callee that registered last.
    last_turn: u64,
    /// Of the callee that was called last, where they are called in turn.
    called: u64,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    turn: u64,
    /// In the pool.
    index: usize,
}

impl Callees {
    pub(super) fn new(policy: InvocationPolicy, first: SessionId) -> Self {
        if policy == InvocationPolicy::Single {
            return Self::Single(first);
        }
        let mut crew = Crew {
            policy,
            by_turn: BTreeMap::new(),
            pool: Vec::new(),
            places: HashMap::new(),
            last_turn: 0,
            called: 0,
        };
        crew.join(first);
        Self::Shared(Box::new(crew))
    }

    pub(in crate::router) fn policy(&self) -> InvocationPolicy {
        match self {
            Self::Single(_) => InvocationPolicy::Single,
            Self::Shared(crew) => crew.policy,
        }
    }

    pub(super) fn contains(&self, session: SessionId) -> bool {
        match self {
            Self::Single(callee) => *callee == session,
            Self::Shared(crew) => crew.places.contains_key(&session),
        }
    }

    /// Adds a callee where they share; otherwise nothing changes.
    pub(super) fn join(&mut self, session: SessionId) {
        if let Self::Shared(crew) = self {
            crew.join(session);
        }
    }

    /// Removes a callee; true if none is left.
    pub(super) fn leave(&mut self, session: SessionId) -> bool {
        match self {
            Self::Single(callee) => *callee == session,
            Self::Shared(crew) => {
                crew.leave(session);
                crew.pool.is_empty()
            }
        }
    }

    /// Who gets the next call.
    pub(super) fn next(&mut self, ids: &mut Ids) -> Option<SessionId> {
        match self {
            Self::Single(callee) => Some(*callee),
            Self::Shared(crew) => crew.next(ids),
        }
    }
}

impl Holders for Callees {
    fn sessions(&self) -> Vec<SessionId> {
        match self {
            Self::Single(callee) => vec![*callee],
            Self::Shared(crew) => crew.by_turn.values().copied().collect(),
        }
    }

    fn count(&self) -> usize {
        match self {
            Self::Single(_) => 1,
            Self::Shared(crew) => crew.pool.len(),
        }
    }
}

impl Crew {
    fn join(&mut self, session: SessionId) {
        if self.places.contains_key(&session) {
            return;
        }
        self.last_turn += 1;
        self.by_turn.insert(self.last_turn, session);
        self.places.insert(session, Place { turn: self.last_turn, index: self.pool.len() });
        self.pool.push(session);
    }

    fn leave(&mut self, session: SessionId) {
        let Some(place) = self.places.remove(&session) else { return };
        self.by_turn.remove(&place.turn);
        self.pool.swap_remove(place.index);
        if let Some(moved) = self.pool.get(place.index)
            && let Some(moved) = self.places.get_mut(moved)
        {
            moved.index = place.index;
        }
    }

    fn next(&mut self, ids: &mut Ids) -> Option<SessionId> {
        match self.policy {
            InvocationPolicy::Single | InvocationPolicy::First => {
                self.by_turn.first_key_value().map(|(_, callee)| *callee)
            }
            InvocationPolicy::Last => self.by_turn.last_key_value().map(|(_, callee)| *callee),
            InvocationPolicy::Random => ids.draw_from(&self.pool),
            InvocationPolicy::RoundRobin => {
                let after = (Bound::Excluded(self.called), Bound::Unbounded);
                let next = self.by_turn.range(after).next();
                let (turn, callee) = next.or_else(|| self.by_turn.first_key_value())?;
                self.called = *turn;
                Some(*callee)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn crew(policy: InvocationPolicy) -> Callees {
        let mut callees = Callees::new(policy, SessionId(1));
        callees.join(SessionId(2));
        callees.join(SessionId(3));
        callees
    }

    fn calls(callees: &mut Callees, count: usize) -> Vec<u64> {
        let mut ids = Ids::from_seed(1);
        (0..count).filter_map(|_| callees.next(&mut ids)).map(|session| session.0).collect()
    }

    #[test]
    fn each_policy_chooses_its_way_and_goes_on_when_a_callee_leaves() {
        use InvocationPolicy::{First, Last, Random, RoundRobin};
        let mut first = crew(First);
        assert_eq!(calls(&mut first, 2), [1, 1]);
        assert!(!first.leave(SessionId(1)));
        assert_eq!(calls(&mut first, 2), [2, 2]);

        let mut last = crew(Last);
        assert_eq!(calls(&mut last, 2), [3, 3]);
        last.leave(SessionId(3));
        assert_eq!(calls(&mut last, 2), [2, 2]);

        let mut in_turn = crew(RoundRobin);
        assert_eq!(calls(&mut in_turn, 4), [1, 2, 3, 1]);
        in_turn.leave(SessionId(2));
        assert_eq!(calls(&mut in_turn, 3), [3, 1, 3]);

        let mut random = crew(Random);
        let mut drawn = calls(&mut random, 100);
        drawn.sort_unstable();
        drawn.dedup();
        assert_eq!(drawn, [1, 2, 3]);
        random.leave(SessionId(1));
        random.leave(SessionId(3));
        assert_eq!(calls(&mut random, 2), [2, 2]);
        assert!(random.leave(SessionId(2)), "nobody is left");
        assert!(calls(&mut random, 1).is_empty());
    }

    proptest! {
        #[test]
        fn a_call_goes_to_one_who_is_there(
            policy in 0..4_usize,
            steps in prop::collection::vec((any::<bool>(), 0..6_u64), 0..60),
        ) {
            use InvocationPolicy::{First, Last, Random, RoundRobin};
            let policy = [First, Last, Random, RoundRobin][policy];
            let mut ids = Ids::from_seed(1);
            let mut callees = Callees::new(policy, SessionId(0));
            let mut there = vec![SessionId(0)];
            for (joins, session) in steps {
                let session = SessionId(session);
                if joins && !there.contains(&session) {
                    there.push(session);
                    callees.join(session);
                } else if !joins && there.contains(&session) {
                    there.retain(|other| *other != session);
                    prop_assert_eq!(callees.leave(session), there.is_empty());
                }
                prop_assert_eq!(callees.sessions(), there.clone());
                let next = callees.next(&mut ids);
                match policy {
                    First => prop_assert_eq!(next, there.first().copied()),
                    Last => prop_assert_eq!(next, there.last().copied()),
                    _ => prop_assert!(next.map_or(there.is_empty(), |next| there.contains(&next))),
                }
            }
            let round: HashSet<_> = there.iter().filter_map(|_| callees.next(&mut ids)).collect();
            prop_assert!(policy != RoundRobin || round.len() == there.len());
        }
    }
}
