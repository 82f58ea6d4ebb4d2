//! Which nodes are brought to what they are to have, and when.
//!
//! A few at a time, and no further ones once several have failed with a version: to
//! change what many nodes run is what rollouts are for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_api::{DriftState, NodeId, Timestamp};

use crate::Outcome;

/// Nodes that are brought to something at the same time.
const AT_ONCE: usize = 20;

/// Nodes that may fail with a version before no further ones try it.
const MOST_FAILURES: usize = 3;

/// The wait before a node that failed is asked again; it doubles …
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// … up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// The wait before a node whose answer was lost is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// How long a node may take, its watch not counted.
const NODE_TIME: Duration = Duration::from_secs(600);

/// Something that a node does not have and is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The node, which can be called.
    pub node: NodeId,
    /// The plugin's name.
    pub plugin: String,
    /// SHA-256 of the version, in hexadecimal.
    pub hash: String,
    /// How long the node watches it, in milliseconds.
    pub watch_ms: u64,
}

/// What was tried.
#[derive(Debug, Clone, Default)]
pub struct Mender {
    tries: BTreeMap<(NodeId, String), Try>,
    /// When it was last looked at what follows from the time.
    looked: Option<Timestamp>,
}

#[derive(Debug, Clone)]
struct Try {
    hash: String,
    failures: u32,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// It says what it waits for, if it does.
    Asked {
        until: Timestamp,
        waits: Option<String>,
    },
    /// Its answer was lost.
    Lost {
        reason: String,
        next: Timestamp,
    },
    Failed {
        reason: String,
        next: Timestamp,
    },
}

impl Mender {
    /// Says which of these wishes are to be asked for now. They are all there are: a
    /// try that nobody wishes any more is forgotten.
    pub fn mend<'a>(&mut self, wishes: &'a [Wish], now: Timestamp) -> Vec<&'a Wish> {
        self.looked = Some(now);
        let wished: BTreeSet<_> = wishes.iter().map(|wish| (wish.node, &*wish.plugin)).collect();
        self.tries.retain(|(node, plugin), tried| {
            matches!(tried.state, State::Asked { .. }) || wished.contains(&(*node, &**plugin))
        });
        for tried in self.tries.values_mut() {
            if matches!(tried.state, State::Asked { until, .. } if until <= now) {
                let waits = match &tried.state {
                    State::Asked { waits: Some(waits), .. } => format!(": {waits}"),
                    _ => String::new(),
                };
                tried.fail(format!("it did not end in time{waits}"), now);
            }
        }
        let is_asked = |tried: &&Try| matches!(tried.state, State::Asked { .. });
        let mut room = AT_ONCE.saturating_sub(self.tries.values().filter(is_asked).count());
        let mut asked = Vec::new();
        for wish in wishes {
            if room == 0 {
                break;
            }
            if self.may_ask(wish, now) {
                room -= 1;
                let until = later(now, NODE_TIME, wish.watch_ms);
                let place = (wish.node, wish.plugin.clone());
                let failures = self.tries.get(&place).filter(|one| one.hash == wish.hash);
                let failures = failures.map_or(0, |one| one.failures);
                let state = State::Asked { until, waits: None };
                self.tries.insert(place, Try { hash: wish.hash.clone(), failures, state });
                asked.push(wish);
            }
        }
        asked
    }

    fn may_ask(&self, wish: &Wish, now: Timestamp) -> bool {
        let tried = self.tries.get(&(wish.node, wish.plugin.clone()));
        match tried.filter(|tried| tried.hash == wish.hash).map(|tried| &tried.state) {
            None => !self.is_halted(&wish.plugin, &wish.hash),
            Some(State::Asked { .. }) => false,
            Some(State::Lost { next, .. } | State::Failed { next, .. }) => *next <= now,
        }
    }

    /// Whether so many nodes failed with a version that no further ones try it.
    #[must_use]
    pub fn is_halted(&self, plugin: &str, hash: &str) -> bool {
        let of_version =
            self.tries.iter().filter(|((_, of), one)| of == plugin && one.hash == hash);
        of_version.filter(|(_, one)| one.failures > 0).count() >= MOST_FAILURES
    }

    /// Takes what a node that was asked says it waits for.
    pub fn told(&mut self, node: NodeId, plugin: &str, reason: Option<String>) {
        let tried = self.tries.get_mut(&(node, plugin.to_owned())).map(|tried| &mut tried.state);
        if let Some(State::Asked { waits, .. }) = tried {
            *waits = reason;
        }
    }

    /// Takes the end of what a node was asked for.
    pub fn ended(&mut self, node: NodeId, plugin: &str, outcome: Outcome, now: Timestamp) {
        let place = (node, plugin.to_owned());
        let Some(tried) = self.tries.get_mut(&place) else { return };
        match outcome {
            Outcome::Done => {
                self.tries.remove(&place);
            }
            Outcome::Failed(reason) => tried.fail(reason, now),
            Outcome::Lost(reason) => {
                tried.state = State::Lost { reason, next: later(now, RETRY, 0) };
            }
        }
    }

    /// What is done about a wish, and why it waits.
    #[must_use]
    pub fn state(&self, node: NodeId, plugin: &str, hash: &str) -> (DriftState, Option<String>) {
        let tried = self.tries.get(&(node, plugin.to_owned())).filter(|one| one.hash == hash);
        match tried.map(|tried| &tried.state) {
            None if self.is_halted(plugin, hash) => {
                let reason = format!("{MOST_FAILURES} other nodes failed with this version");
                (DriftState::Halted, Some(reason))
            }
            None => (DriftState::Waiting, None),
            Some(State::Asked { waits, .. }) => (DriftState::Mending, waits.clone()),
            Some(State::Lost { reason, .. }) => (DriftState::Waiting, Some(reason.clone())),
            Some(State::Failed { reason, .. }) => (DriftState::Failed, Some(reason.clone())),
        }
    }

    /// Forgets what was tried of a plugin, as its rules are new; says which nodes are
    /// at something.
    pub fn forget(&mut self, plugin: &str) -> Vec<NodeId> {
        let of_plugin = self.tries.extract_if(.., |(_, of), _| of == plugin);
        let asked = of_plugin.filter(|(_, tried)| matches!(tried.state, State::Asked { .. }));
        asked.map(|((node, _), _)| node).collect()
    }

    /// When something follows from time alone, which may have passed; none if nothing
    /// does.
    #[must_use]
    pub fn next_tick(&self) -> Option<Timestamp> {
        let times = self.tries.values().map(|tried| match tried.state {
            State::Asked { until, .. } => until,
            State::Lost { next, .. } | State::Failed { next, .. } => next,
        });
        times.filter(|time| Some(*time) > self.looked).min()
    }
}

impl Try {
    fn fail(&mut self, reason: String, now: Timestamp) {
        let wait = FIRST_WAIT.saturating_mul(2u32.saturating_pow(self.failures)).min(LONGEST_WAIT);
        self.failures = self.failures.saturating_add(1);
        self.state = State::Failed { reason, next: later(now, wait, 0) };
    }
}

fn later(now: Timestamp, wait: Duration, more_ms: u64) -> Timestamp {
    let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
    Timestamp(now.0.saturating_add(wait).saturating_add(more_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * 1000)
    }

    fn wishes(count: u32) -> Vec<Wish> {
        let wish = |nid| Wish {
            node: NodeId::new(1, nid),
            plugin: "hello".to_owned(),
            hash: "ab".to_owned(),
            watch_ms: 0,
        };
        (1..=count).map(wish).collect()
    }

    fn asked(mender: &mut Mender, wishes: &[Wish], seconds: u64) -> Vec<u32> {
        mender.mend(wishes, at(seconds)).iter().map(|wish| wish.node.nid.0).collect()
    }

    fn fail(mender: &mut Mender, nid: u32, seconds: u64) {
        let outcome = Outcome::Failed("it traps".to_owned());
        mender.ended(NodeId::new(1, nid), "hello", outcome, at(seconds));
    }

    fn state(mender: &Mender, nid: u32) -> DriftState {
        mender.state(NodeId::new(1, nid), "hello", "ab").0
    }

    #[test]
    fn a_few_nodes_at_a_time_are_brought_to_it() {
        let mut mender = Mender::default();
        let many = wishes(30);
        assert_eq!(asked(&mut mender, &many, 0).len(), 20);
        assert_eq!(asked(&mut mender, &many, 1), [0u32; 0]);
        mender.ended(NodeId::new(1, 7), "hello", Outcome::Done, at(2));
        let rest: Vec<_> = many.into_iter().filter(|wish| wish.node.nid.0 != 7).collect();
        assert_eq!(asked(&mut mender, &rest, 2), [21]);
        assert_eq!(
            (state(&mender, 21), state(&mender, 22)),
            (DriftState::Mending, DriftState::Waiting)
        );
    }

    #[test]
    fn who_failed_is_asked_again_ever_later() {
        let mut mender = Mender::default();
        let one = wishes(1);
        let mut now = 0;
        for wait in [60, 120, 240, 480, 960, 1920, 3600, 3600] {
            assert_eq!(asked(&mut mender, &one, now), [1]);
            fail(&mut mender, 1, now);
            assert_eq!(mender.next_tick(), Some(at(now + wait)));
            assert_eq!(asked(&mut mender, &one, now + wait - 1), [0u32; 0]);
            now += wait;
        }
        let lost = Outcome::Lost("gone".to_owned());
        assert_eq!(asked(&mut mender, &one, now), [1]);
        mender.ended(NodeId::new(1, 1), "hello", lost, at(now));
        assert_eq!(asked(&mut mender, &one, now + 5), [1]);
    }

    #[test]
    fn a_version_with_which_several_failed_goes_no_further() {
        let mut mender = Mender::default();
        let three = wishes(3);
        asked(&mut mender, &three, 0);
        for nid in 1..=3 {
            fail(&mut mender, nid, 1);
        }
        let four = wishes(4);
        assert_eq!(asked(&mut mender, &four, 2), [0u32; 0]);
        assert_eq!(
            (state(&mender, 3), state(&mender, 4)),
            (DriftState::Failed, DriftState::Halted)
        );
        let other = Wish { hash: "cd".to_owned(), ..four[3].clone() };
        assert_eq!(mender.mend(std::slice::from_ref(&other), at(3)), [&other]);
        assert_eq!(mender.forget("hello"), [NodeId::new(1, 4)]);
        assert_eq!(asked(&mut mender, &four, 4).len(), 4);
    }

    #[test]
    fn who_never_answers_has_failed() {
        let mut mender = Mender::default();
        asked(&mut mender, &wishes(1), 0);
        assert_eq!(asked(&mut mender, &wishes(1), 600), [0u32; 0]);
        assert_eq!(state(&mender, 1), DriftState::Failed);
    }
}
