//! What holds in every rollout, whatever happens: properties over random worlds.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// Something that the world does in one step.
#[derive(Debug, Clone)]
enum Deed {
    /// Time passes.
    Wait(u64),
    /// A node that is at something ends it: the share says which node, and which way.
    End(usize, usize),
    /// An answer that nobody waits for any more.
    Late(u32, bool),
    Leave(u32),
    Come(u32),
    Restart,
    Order(RolloutOrder),
}

fn deeds() -> impl Strategy<Value = Deed> {
    let node = 1..9u32;
    prop_oneof![
        4 => (0..400u64).prop_map(Deed::Wait),
        12 => (any::<usize>(), 0..8usize).prop_map(|(node, way)| Deed::End(node, way)),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, is_good)| Deed::Late(node, is_good)),
        2 => node.clone().prop_map(Deed::Leave),
        3 => node.prop_map(Deed::Come),
        1 => Just(Deed::Restart),
        1 => prop_oneof![
            Just(RolloutOrder::Pause),
            Just(RolloutOrder::Resume),
            Just(RolloutOrder::Resume),
            Just(RolloutOrder::Abort),
            Just(RolloutOrder::GoBack),
        ].prop_map(Deed::Order),
    ]
}

fn plans() -> impl Strategy<Value = RolloutPlan> {
    let then = prop::collection::vec(
        prop_oneof![(1..9u32).prop_map(Share::Count), (1..=100u8).prop_map(Share::Percent)],
        0..3,
    );
    (0..3u32, then, 0..3u32, 1..6u32, any::<bool>(), 0..20u64).prop_map(
        |(canary, then, max_failures, at_once, keep, pause)| RolloutPlan {
            canary,
            then,
            max_failures,
            at_once,
            keep,
            pause_ms: pause * SECOND,
            ..a_plan()
        },
    )
}

/// What a node is at, as the world sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Updating,
    Reverting,
}

/// A rollout in a world that keeps its own books.
struct World {
    machine: Machine,
    now: u64,
    /// What was asked and not ended: what a node does not know it does not do twice.
    work: BTreeMap<NodeId, Work>,
    /// Every node that was ever asked to take the version, and how it ended.
    took: BTreeMap<NodeId, Option<bool>>,
    /// How many gates were passed.
    passed: u32,
    /// What of it would be there after kill -9.
    disk: (Rollout, BTreeMap<NodeId, RolloutNode>),
}

impl World {
    fn new(plan: RolloutPlan, nodes: u32, away: &[u32]) -> Self {
        let machine = rollout(plan, nodes, away);
        let disk = (machine.rollout.clone(), machine.nodes.clone());
        let (work, took) = (BTreeMap::new(), BTreeMap::new());
        Self { machine, now: 0, work, took, passed: 0, disk }
    }

    fn does(&mut self, deed: &Deed) {
        let happened = match deed {
            Deed::Wait(seconds) => {
                self.now += seconds;
                Event::Tick
            }
            Deed::End(which, way) => {
                let Some((node, work)) = self.work.iter().nth(which % self.work.len().max(1))
                else {
                    return;
                };
                let (node, work) = (*node, *work);
                self.work.remove(&node);
                let outcome = match way {
                    0 => Outcome::Failed("it is bad".to_owned()),
                    1 => Outcome::Lost("it is gone".to_owned()),
                    _ => Outcome::Done,
                };
                match work {
                    Work::Updating => {
                        if !matches!(outcome, Outcome::Lost(_)) {
                            self.took.insert(node, Some(outcome == Outcome::Done));
                        }
                        Event::Updated(node, outcome)
                    }
                    Work::Reverting => Event::WentBack(node, outcome),
                }
            }
            Deed::Late(node, is_good) if !self.work.contains_key(&id(*node)) => {
                let outcome = if *is_good { Outcome::Done } else { Outcome::Failed(String::new()) };
                Event::Updated(id(*node), outcome)
            }
            Deed::Late(..) => return,
            Deed::Leave(node) => Event::Gone(id(*node)),
            Deed::Come(node) => Event::Here(id(*node)),
            Deed::Restart => {
                let (rollout, nodes) = self.disk.clone();
                self.machine = Machine::restore(rollout, nodes.into_values().collect());
                self.work.clear();
                Event::Restarted
            }
            Deed::Order(order) => {
                let effects = self.machine.order(*order, "eve", at(self.now));
                return self.perform(effects.unwrap_or_default());
            }
        };
        let effects = self.machine.happened(happened, at(self.now));
        self.perform(effects);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        // First the disk, then the deed.
        if let Some(changes) = self.machine.take_changes() {
            self.disk.0 = changes.rollout;
            self.disk.1.extend(changes.nodes.into_iter().map(|node| (node.node, node)));
            let is_passed = |note: &&RolloutNote| note.text.contains(" passed: ");
            for _ in changes.history.iter().filter(is_passed) {
                self.pass_gate();
            }
        }
        assert_eq!(self.disk.0, self.machine.rollout);
        assert_eq!(self.disk.1, self.machine.nodes);
        for effect in effects {
            match effect {
                Effect::Update(node) => {
                    let former = self.work.insert(node, Work::Updating);
                    assert_eq!(former, None, "{node} is at something already");
                    let wave = self.machine.nodes[&node].wave;
                    assert!(wave <= self.passed, "{node} began before its turn");
                    self.took.entry(node).or_default();
                }
                Effect::Revert(node, to) => {
                    let former = self.work.insert(node, Work::Reverting);
                    assert_eq!(former, None, "{node} is at something already");
                    assert_eq!(to.as_deref(), Some("1"));
                    assert!(self.took.contains_key(&node), "{node} never had it");
                }
                Effect::Leave(node) => {
                    assert!(self.work.remove(&node).is_some(), "{node} is at nothing");
                }
            }
        }
        let is_at_work = |work| self.work.values().filter(|one| **one == work).count();
        let most = usize::try_from(self.machine.rollout.plan.at_once).unwrap();
        assert!(is_at_work(Work::Updating) <= most);
    }

    /// Looks at the next gate at the moment at which it is passed.
    fn pass_gate(&mut self) {
        let (rollout, wave) = (&self.machine.rollout, self.passed);
        self.passed += 1;
        let ended = |node: &RolloutNode| match node.state {
            // Time has ended it, which the world does not see.
            State::Overdue => Some(Some(false)),
            _ => self.took.get(&node.node).copied(),
        };
        let nodes = self.machine.nodes.values();
        let failed = nodes.clone().filter(|node| ended(node) == Some(Some(false))).count();
        assert!(failed <= usize::try_from(rollout.plan.max_failures).unwrap());
        let is_good = |node: &RolloutNode| ended(node) == Some(Some(true));
        let of_wave: Vec<_> = nodes.clone().filter(|node| node.wave == wave).collect();
        for node in &of_wave {
            let is_away = !node.is_here && ended(node).is_none();
            assert!(is_away || ended(node).flatten().is_some(), "{node:?} is at it");
        }
        let were_away = of_wave.iter().all(|node| ended(node).is_none());
        assert!(
            of_wave.iter().any(|node| is_good(node)) || were_away && nodes.clone().any(is_good),
            "no node of wave {wave} is good"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn gates_hold_nodes_do_one_thing_and_everything_ends(
        plan in plans(),
        nodes in 1..9u32,
        away in prop::collection::vec(1..9u32, 0..4),
        deeds in prop::collection::vec(deeds(), 0..120),
    ) {
        let mut world = World::new(plan, nodes, &away);
        world.does(&Deed::Wait(0));
        for deed in &deeds {
            world.does(deed);
        }
        // From now on nobody does anything: time alone has to end it.
        world.does(&Deed::Order(RolloutOrder::Resume));
        world.does(&Deed::Wait(0));
        let mut ticks = 0;
        while !world.machine.is_over() {
            let now = at(world.now);
            let next = world.machine.next_tick().expect("something follows");
            prop_assert!(next > now);
            world.now += (next.0 - now.0).div_ceil(SECOND);
            world.does(&Deed::Wait(0));
            ticks += 1;
            prop_assert!(ticks < 1000, "{:?}", world.machine);
        }
        prop_assert!(world.work.is_empty(), "it is over, and somebody is at it: {:?}", world.work);
        prop_assert_eq!(world.machine.next_tick(), None);
    }
}
