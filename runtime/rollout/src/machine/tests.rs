//! Rollouts as stories, and what holds in every one of them.

mod model;

use drover_api::{RolloutId, RolloutPlan, RolloutTarget, Selector, Share};

use super::*;
use crate::{Candidate, plan};

const SECOND: u64 = 1000;

fn at(seconds: u64) -> Timestamp {
    Timestamp(1_000_000 + seconds * SECOND)
}

fn id(nid: u32) -> NodeId {
    NodeId::new(1, nid)
}

fn a_plan() -> RolloutPlan {
    RolloutPlan {
        to: Selector::everything(),
        canary: 1,
        then: vec![Share::Percent(50)],
        pause_ms: 10 * SECOND,
        max_failures: 1,
        watch_ms: 5 * SECOND,
        node_ms: 60 * SECOND,
        away_ms: 300 * SECOND,
        at_once: 10,
        again: false,
        keep: false,
    }
}

/// A rollout of `2` to so many nodes, which have `1`; those named are away.
fn rollout(of: RolloutPlan, nodes: u32, away: &[u32]) -> Machine {
    let candidate = |nid| Candidate {
        node: id(nid),
        name: format!("n{nid}"),
        is_here: !away.contains(&nid),
        before: Some("1".to_owned()),
    };
    let target = RolloutTarget {
        plugin: "hello".to_owned(),
        version: "2.0.0".to_owned(),
        hash: "2".to_owned(),
        length: 1,
        signature: String::new(),
    };
    let nodes = plan(&of, (1..=nodes).map(candidate).collect(), at(0));
    let rollout = Rollout {
        id: RolloutId(1),
        target,
        plan: of,
        by: "ada".to_owned(),
        authority: None,
        started: at(0),
        phase: Phase::Running,
        since: at(0),
        wave: 0,
        waves: Vec::new(),
        counts: RolloutCounts::default(),
    };
    Machine::begin(rollout, nodes, at(0))
}

impl Machine {
    fn tick(&mut self, seconds: u64) -> Vec<Effect> {
        self.happened(Event::Tick, at(seconds))
    }

    fn confirm(&mut self, nid: u32, seconds: u64) -> Vec<Effect> {
        self.happened(Event::Updated(id(nid), Outcome::Done), at(seconds))
    }

    fn fail_one(&mut self, nid: u32, seconds: u64) -> Vec<Effect> {
        let outcome = Outcome::Failed("it traps".to_owned());
        self.happened(Event::Updated(id(nid), outcome), at(seconds))
    }

    fn state(&self, nid: u32) -> State {
        self.nodes[&id(nid)].state
    }

    fn outcome(&self) -> Option<RolloutOutcome> {
        match self.rollout.phase {
            Phase::Ended { outcome, .. } => Some(outcome),
            _ => None,
        }
    }
}

fn updates(nids: &[u32]) -> Vec<Effect> {
    nids.iter().map(|nid| Effect::Update(id(*nid))).collect()
}

fn back(nids: &[u32]) -> Vec<Effect> {
    nids.iter().map(|nid| Effect::Revert(id(*nid), Some("1".to_owned()))).collect()
}

#[test]
fn waves_follow_each_other_when_their_gates_open() {
    let mut rollout = rollout(a_plan(), 4, &[]);
    assert_eq!(rollout.rollout().waves, [1, 1, 2]);
    assert_eq!(rollout.tick(0), updates(&[1]));
    assert_eq!(rollout.tick(20), []);
    assert_eq!(rollout.confirm(1, 30), []);
    assert_eq!(rollout.next_tick(), Some(at(40)));
    assert_eq!(rollout.tick(39), [], "the pause is not over");
    assert_eq!(rollout.next_tick(), Some(at(40)), "also when that has passed");
    assert_eq!(rollout.tick(40), updates(&[2]));
    rollout.confirm(2, 50);
    assert_eq!(rollout.tick(60), updates(&[3, 4]));
    rollout.confirm(4, 65);
    assert_eq!(rollout.outcome(), None);
    rollout.confirm(3, 66);
    assert_eq!(rollout.outcome(), Some(RolloutOutcome::Done));
    assert_eq!(rollout.rollout().counts.confirmed, 4);
    let changes = rollout.take_changes().unwrap();
    assert_eq!(changes.history.last().unwrap().text, "done");
    assert_eq!(changes.history[0].by.as_deref(), Some("ada"));
    assert_eq!(rollout.take_changes(), None);
}

#[test]
fn a_canary_that_fails_ends_it_before_the_second_wave() {
    let mut rollout = rollout(a_plan(), 4, &[]);
    rollout.tick(0);
    assert_eq!(rollout.fail_one(1, 10), []);
    assert_eq!(rollout.outcome(), Some(RolloutOutcome::RolledBack));
    assert_eq!(rollout.tick(1000), []);
    assert_eq!(rollout.state(2), State::Waiting);
}

#[test]
fn past_the_limit_all_that_got_it_go_back() {
    let mut rollout = rollout(RolloutPlan { canary: 2, pause_ms: 0, ..a_plan() }, 8, &[]);
    rollout.tick(0);
    rollout.confirm(1, 1);
    assert_eq!(rollout.confirm(2, 1), updates(&[3, 4]));
    rollout.fail_one(3, 2);
    assert_eq!(rollout.confirm(4, 3), updates(&[5, 6, 7, 8]), "one may fail");
    rollout.confirm(5, 4);
    let mut effects = rollout.fail_one(6, 5);
    assert_eq!(effects.drain(..2).collect::<Vec<_>>(), [7, 8].map(|nid| Effect::Leave(id(nid))));
    assert_eq!(effects, back(&[1, 2, 4, 5, 7, 8]));
    for nid in [1, 2, 4, 5, 7] {
        rollout.happened(Event::WentBack(id(nid), Outcome::Done), at(6));
    }
    assert_eq!(rollout.outcome(), None);
    let outcome = Outcome::Failed("nothing is kept".to_owned());
    rollout.happened(Event::WentBack(id(8), outcome), at(6));
    assert_eq!(rollout.outcome(), Some(RolloutOutcome::RolledBack));
    let Phase::Ended { reason, .. } = &rollout.rollout().phase else { panic!() };
    assert_eq!(reason.as_deref(), Some("2 nodes failed, and 1 may; 1 nodes could not go back"));
}

#[test]
fn nodes_that_are_away_are_passed_by_and_caught_up_when_they_return() {
    let mut rollout = rollout(RolloutPlan { pause_ms: 0, ..a_plan() }, 4, &[4]);
    rollout.tick(0);
    rollout.confirm(1, 1);
    assert_eq!(rollout.confirm(2, 2), updates(&[3]));
    rollout.confirm(3, 3);
    assert_eq!(rollout.outcome(), None);
    assert_eq!(rollout.rollout().counts.away, 1);
    assert_eq!(rollout.happened(Event::Here(id(4)), at(100)), updates(&[4]));
    rollout.confirm(4, 101);
    assert_eq!(rollout.outcome(), Some(RolloutOutcome::Done));
}

#[test]
fn it_does_not_wait_for_ever_for_who_is_away() {
    for keep in [false, true] {
        let mut rollout = rollout(RolloutPlan { pause_ms: 0, keep, ..a_plan() }, 3, &[3]);
        rollout.tick(0);
        rollout.confirm(1, 1);
        rollout.confirm(2, 2);
        assert_eq!(rollout.outcome().is_some(), keep, "what is kept, others see to");
        rollout.tick(302);
        assert_eq!(rollout.outcome(), Some(RolloutOutcome::Done));
        assert_eq!(rollout.state(3), State::Missed);
    }
}

#[test]
fn with_all_canaries_away_nothing_is_passed() {
    let mut rollout = rollout(a_plan(), 3, &[1, 2, 3]);
    assert_eq!(rollout.tick(0), []);
    assert_eq!(rollout.happened(Event::Here(id(2)), at(9)), [], "its turn has not come");
    assert_eq!(rollout.tick(300), []);
    assert_eq!(rollout.outcome(), Some(RolloutOutcome::Aborted));
}

#[test]
fn a_node_that_goes_away_at_it_is_asked_again_and_holds_the_gate() {
    let mut rollout = rollout(RolloutPlan { canary: 2, ..a_plan() }, 4, &[]);
    rollout.tick(0);
    rollout.confirm(1, 1);
    rollout.happened(Event::Gone(id(2)), at(2));
    rollout.happened(Event::Updated(id(2), Outcome::Lost("gone".to_owned())), at(2));
    assert_eq!(rollout.tick(200), []);
    assert_eq!(rollout.rollout().phase, Phase::Running);
    assert_eq!(rollout.happened(Event::Here(id(2)), at(201)), updates(&[2]));
    rollout.happened(Event::Updated(id(2), Outcome::Lost("busy".to_owned())), at(202));
    assert_eq!(rollout.next_tick(), Some(at(204)));
    assert_eq!(rollout.tick(203), []);
    assert_eq!(rollout.tick(204), updates(&[2]));
}

#[test]
fn who_takes_too_long_has_failed_and_goes_back_with_the_others() {
    let plan = RolloutPlan { canary: 2, max_failures: 0, ..a_plan() };
    let mut rollout = rollout(plan, 4, &[]);
    rollout.tick(0);
    rollout.confirm(1, 1);
    let held = UpdateStatus {
        version: "2.0.0".to_owned(),
        hash: "2".to_owned(),
        step: UpdateStep::Held,
        reason: Some("it asks for more".to_owned()),
        fetched: 0,
        length: 1,
        by: None,
        since: at(1),
    };
    rollout.happened(Event::Told(id(2), held), at(1));
    assert_eq!(rollout.next_tick(), Some(at(65)));
    let effects = rollout.tick(65);
    assert_eq!(effects, [vec![Effect::Leave(id(2))], back(&[1, 2])].concat());
    let notes = rollout.take_changes().unwrap().history;
    assert!(notes.iter().any(|note| note.text
        == "n2 (1.2) failed: it did not end in time, and is at `held`: it asks for more"));
}

#[test]
fn a_restarted_controller_asks_again_and_waits_for_nodes_before_it_judges() {
    let mut before = rollout(RolloutPlan { pause_ms: 0, ..a_plan() }, 6, &[]);
    before.tick(0);
    before.confirm(1, 1);
    let nodes = before.nodes();
    let mut rollout = Machine::restore(before.rollout().clone(), nodes);
    assert_eq!(rollout.happened(Event::Restarted, at(10)), []);
    assert_eq!(rollout.state(2), State::Interrupted);
    assert_eq!(rollout.tick(20), [], "its nodes are still on their way");
    assert_eq!(rollout.rollout().wave, 1);
    assert_eq!(rollout.happened(Event::Here(id(3)), at(21)), updates(&[3]));
    assert_eq!(rollout.happened(Event::Here(id(2)), at(22)), updates(&[2]));
    rollout.confirm(2, 23);
    rollout.confirm(3, 23);
    assert_eq!(rollout.rollout().wave, 2);
}

#[test]
fn orders_are_obeyed_where_they_make_sense() {
    let mut rollout = rollout(a_plan(), 4, &[]);
    let order = |rollout: &mut Machine, order, seconds| rollout.order(order, "eve", at(seconds));
    rollout.tick(0);
    assert_eq!(order(&mut rollout, RolloutOrder::Pause, 1), Ok(vec![]));
    let again = order(&mut rollout, RolloutOrder::Pause, 1).unwrap_err();
    assert_eq!(again.to_string(), "rollout 1 is paused, and cannot pause");
    rollout.confirm(1, 2);
    assert_eq!(rollout.tick(1000), []);
    assert_eq!(order(&mut rollout, RolloutOrder::Resume, 1000), Ok(vec![]));
    assert_eq!(rollout.tick(1010), updates(&[2]));
    let effects = order(&mut rollout, RolloutOrder::GoBack, 1011).unwrap();
    assert_eq!(effects, [vec![Effect::Leave(id(2))], back(&[1, 2])].concat());
    assert!(order(&mut rollout, RolloutOrder::Resume, 1012).is_err());
    let effects = order(&mut rollout, RolloutOrder::Abort, 1013).unwrap();
    assert_eq!(effects, [Effect::Leave(id(1)), Effect::Leave(id(2))]);
    assert_eq!(rollout.outcome(), Some(RolloutOutcome::Aborted));
    let over = order(&mut rollout, RolloutOrder::Abort, 1014).unwrap_err();
    assert_eq!(over.to_string(), "rollout 1 is over: nothing about it changes any more");
}

#[test]
fn nodes_that_had_the_version_before_have_nothing_to_go_back_to() {
    let mut rollout = rollout(RolloutPlan { canary: 2, ..a_plan() }, 2, &[]);
    rollout.nodes.get_mut(&id(1)).unwrap().before = Some("2".to_owned());
    rollout.tick(0);
    rollout.confirm(1, 1);
    assert_eq!(rollout.order(RolloutOrder::GoBack, "eve", at(2)).unwrap()[1..], back(&[2]));
    assert_eq!(rollout.state(1), State::Reverted);
}

#[test]
fn no_more_nodes_are_at_it_than_may() {
    let plan = RolloutPlan { canary: 0, then: vec![], at_once: 2, ..a_plan() };
    let mut rollout = rollout(plan, 5, &[]);
    assert_eq!(rollout.tick(0), updates(&[1, 2]));
    let watching = UpdateStatus {
        version: "2.0.0".to_owned(),
        hash: "2".to_owned(),
        step: UpdateStep::Watching,
        reason: None,
        fetched: 1,
        length: 1,
        by: None,
        since: at(1),
    };
    assert_eq!(rollout.happened(Event::Told(id(1), watching), at(1)), updates(&[3]));
    assert_eq!(rollout.confirm(2, 2), updates(&[4]));
}
