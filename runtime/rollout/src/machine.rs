//! One rollout and what follows from what happens to it.
//!
//! ```text
//!   a node:
//!
//!     waiting ──its turn, and here──▶ updating ──did well──▶ confirmed
//!                                    ▲  │  │
//!                             here   │  │  `──refused, fell back──▶ failed
//!                                    │  └──took too long──▶ overdue
//!                                interrupted
//!
//!   and when all go back, from any of these but waiting and failed:
//!
//!     to-revert ──here──▶ reverting ──▶ reverted, or stayed
//! ```

mod going_back;
mod orders;
mod progress;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_api::{
    NodeId, Rollout, RolloutCounts, RolloutDetail, RolloutNode, RolloutNodeState as State,
    RolloutNote, RolloutOrder, RolloutOutcome, RolloutPhase as Phase, Timestamp, UpdateStatus,
    UpdateStep,
};

pub use orders::OrderError;

/// The wait before a node whose answer was lost, and which is here, is asked again.
const RETRY: Duration = Duration::from_secs(2);

/// How long nodes may take to come back to a controller that was started again before
/// they count as away.
pub const SETTLE: Duration = Duration::from_secs(30);

/// Nodes that go back at the same time: there is nothing to fetch.
const BACK_AT_ONCE: usize = 200;

/// A rollout, and what of it is not on disk yet.
#[derive(Debug, Clone)]
pub struct Machine {
    rollout: Rollout,
    nodes: BTreeMap<NodeId, RolloutNode>,
    changed: BTreeSet<NodeId>,
    notes: Vec<RolloutNote>,
    is_changed: bool,
    /// Until when nodes may yet come that a restarted controller does not see.
    settles: Timestamp,
    /// When it was last looked at what follows from the time.
    looked: Timestamp,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The controller has started; what nodes were asked, nobody waits for.
    Restarted,
    /// A node can be called.
    Here(NodeId),
    /// A node cannot be called.
    Gone(NodeId),
    /// A node tells how far its update is.
    Told(NodeId, UpdateStatus),
    /// What a node was asked, to take the version, has ended.
    Updated(NodeId, Outcome),
    /// What a node was asked, to go back, has ended.
    WentBack(NodeId, Outcome),
    /// Time has passed.
    Tick,
}

/// How something that a node was asked ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Well.
    Done,
    /// Badly, for this reason.
    Failed(String),
    /// Nobody knows, for this reason: the node is away, or had no time.
    Lost(String),
}

/// Something to do. All of it can be done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask a node to take the version, and listen to it.
    Update(NodeId),
    /// Ask a node to go back to this content, or to nothing.
    Revert(NodeId, Option<String>),
    /// Listen to a node no longer.
    Leave(NodeId),
}

impl Machine {
    /// A rollout that begins. `rollout.waves` and `rollout.counts` are set here.
    #[must_use]
    pub fn begin(rollout: Rollout, nodes: Vec<RolloutNode>, now: Timestamp) -> Self {
        let mut machine = Self::restore(rollout, nodes);
        let waves = machine.nodes.values().map(|node| node.wave).max().map_or(0, |last| last + 1);
        let count = |wave| machine.nodes.values().filter(|node| node.wave == wave).count();
        machine.rollout.waves = (0..waves).map(|wave| number(count(wave))).collect();
        machine.changed = machine.nodes.keys().copied().collect();
        let (target, count) = (&machine.rollout.target, machine.nodes.len());
        let text = format!("started {}@{} for {count} nodes", target.plugin, target.version);
        machine.note_by(machine.rollout.by.clone(), text, now);
        machine.count();
        machine
    }

    /// A rollout as it was on disk.
    #[must_use]
    pub fn restore(rollout: Rollout, nodes: Vec<RolloutNode>) -> Self {
        let nodes = nodes.into_iter().map(|node| (node.node, node)).collect();
        let (changed, notes) = (BTreeSet::new(), Vec::new());
        let (settles, looked) = (Timestamp(0), Timestamp(0));
        Self { rollout, nodes, changed, notes, is_changed: false, settles, looked }
    }

    /// The rollout without its nodes.
    #[must_use]
    pub fn rollout(&self) -> &Rollout {
        &self.rollout
    }

    /// Its nodes, by wave and id.
    #[must_use]
    pub fn nodes(&self) -> Vec<RolloutNode> {
        let mut nodes: Vec<_> = self.nodes.values().cloned().collect();
        nodes.sort_by_key(|node| (node.wave, node.node));
        nodes
    }

    /// Whether it means the node.
    #[must_use]
    pub fn has(&self, node: NodeId) -> bool {
        self.nodes.contains_key(&node)
    }

    /// Whether a node is asked for the first time to take the version.
    #[must_use]
    pub fn is_first_try(&self, node: NodeId) -> bool {
        self.nodes.get(&node).is_some_and(|node| node.asked == Some(node.since))
    }

    /// Whether it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.rollout.phase, Phase::Ended { .. })
    }

    /// What changed since this was asked; none if nothing did. It has the rollout as
    /// it is now, and the nodes and notes that are new.
    pub fn take_changes(&mut self) -> Option<RolloutDetail> {
        let notes = std::mem::take(&mut self.notes);
        let changed = std::mem::take(&mut self.changed);
        if !std::mem::take(&mut self.is_changed) && changed.is_empty() && notes.is_empty() {
            return None;
        }
        let nodes = changed.iter().filter_map(|node| self.nodes.get(node).cloned()).collect();
        Some(RolloutDetail { rollout: self.rollout.clone(), nodes, history: notes })
    }

    /// Takes something that has happened. What does not fit, as when it comes late,
    /// changes nothing.
    pub fn happened(&mut self, event: Event, now: Timestamp) -> Vec<Effect> {
        if self.is_over() {
            return Vec::new();
        }
        let mut effects = Vec::new();
        match event {
            Event::Restarted => self.restarted(now),
            Event::Here(node) => self.set_here(node, true),
            Event::Gone(node) => self.set_here(node, false),
            Event::Told(node, status) => self.told(node, status),
            Event::Updated(node, outcome) => self.updated(node, outcome, now),
            Event::WentBack(node, outcome) => self.went_back(node, outcome, now),
            Event::Tick => {}
        }
        self.go_on(now, &mut effects);
        self.count();
        effects
    }

    /// Does what follows from the state and the time until nothing more does.
    fn go_on(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.looked = now;
        loop {
            let before = (self.rollout.phase.clone(), self.rollout.wave);
            match before.0 {
                Phase::Ended { .. } => return,
                Phase::GoingBack { .. } => self.go_back(now, effects),
                Phase::Running | Phase::Between { .. } | Phase::Paused { .. } => {
                    self.give_up_overdue(now, effects);
                    self.judge(now, effects);
                    if matches!(self.rollout.phase, Phase::Running | Phase::Between { .. }) {
                        self.ask_nodes(now, effects);
                    }
                }
            }
            if before == (self.rollout.phase.clone(), self.rollout.wave) {
                return;
            }
        }
    }

    fn restarted(&mut self, now: Timestamp) {
        self.settles = after(now, millis(SETTLE));
        let nodes: Vec<_> = self.nodes.keys().copied().collect();
        for node in nodes {
            self.set_here(node, false);
            match self.nodes[&node].state {
                State::Updating => self.turn(node, State::Interrupted, now),
                State::Reverting => self.turn(node, State::ToRevert, now),
                _ => {}
            }
        }
        self.note("went on after the controller was started again".to_owned(), now);
    }

    fn set_here(&mut self, node: NodeId, is_here: bool) {
        if let Some(node) = self.nodes.get_mut(&node)
            && node.is_here != is_here
        {
            node.is_here = is_here;
            self.changed.insert(node.node);
        }
    }

    /// Enters a state.
    fn turn(&mut self, node: NodeId, state: State, now: Timestamp) {
        if let Some(node) = self.nodes.get_mut(&node) {
            node.state = state;
            node.since = now;
            node.step = None;
            self.changed.insert(node.node);
        }
    }

    fn turn_because(&mut self, node: NodeId, state: State, reason: String, now: Timestamp) {
        self.turn(node, state, now);
        if let Some(node) = self.nodes.get_mut(&node) {
            node.reason = Some(reason);
        }
    }

    fn enter(&mut self, phase: Phase, now: Timestamp) {
        self.rollout.phase = phase;
        self.rollout.since = now;
        self.is_changed = true;
    }

    fn end(&mut self, outcome: RolloutOutcome, reason: Option<String>, now: Timestamp) {
        let text = match (outcome, &reason) {
            (RolloutOutcome::Done, None) => "done".to_owned(),
            (RolloutOutcome::Done, Some(reason)) => format!("done, but {reason}"),
            (RolloutOutcome::RolledBack, _) => "rolled back".to_owned(),
            (RolloutOutcome::Aborted, None) => "given up".to_owned(),
            (RolloutOutcome::Aborted, Some(reason)) => format!("given up: {reason}"),
        };
        self.enter(Phase::Ended { outcome, reason }, now);
        self.note(text, now);
    }

    fn note(&mut self, text: String, now: Timestamp) {
        self.notes.push(RolloutNote { time: now, by: None, text });
    }

    fn note_by(&mut self, by: String, text: String, now: Timestamp) {
        self.notes.push(RolloutNote { time: now, by: Some(by), text });
    }

    fn nodes_in(&self, states: &[State]) -> Vec<NodeId> {
        let is_in = |node: &&RolloutNode| states.contains(&node.state);
        self.nodes.values().filter(is_in).map(|node| node.node).collect()
    }

    fn count(&mut self) {
        let mut counts = RolloutCounts::default();
        for node in self.nodes.values() {
            let has_turn = node.wave <= self.rollout.wave;
            *match node.state {
                State::Waiting | State::Interrupted if has_turn && !node.is_here => {
                    &mut counts.away
                }
                State::Waiting => &mut counts.waiting,
                State::Missed => &mut counts.away,
                State::Updating | State::Interrupted => &mut counts.updating,
                State::Confirmed => &mut counts.confirmed,
                State::Failed | State::Overdue | State::Stayed => &mut counts.failed,
                State::ToRevert | State::Reverting => &mut counts.going_back,
                State::Reverted => &mut counts.back,
            } += 1;
        }
        if counts != self.rollout.counts {
            self.rollout.counts = counts;
            self.is_changed = true;
        }
    }

    /// When something follows from time alone, which may have passed; none if nothing
    /// does.
    #[must_use]
    pub fn next_tick(&self) -> Option<Timestamp> {
        let (plan, since) = (&self.rollout.plan, self.rollout.since);
        let of_phase = match self.rollout.phase {
            Phase::Between { until } => until,
            Phase::Ended { .. } => return None,
            Phase::Running | Phase::Paused { .. } => after(since, plan.away_ms),
            Phase::GoingBack { .. } => after(since, plan.away_ms.saturating_add(plan.node_ms)),
        };
        let retry = |node: &RolloutNode| after(node.since, millis(RETRY));
        let of_nodes = self.nodes.values().filter_map(|node| match node.state {
            State::Interrupted if node.is_here && retry(node) > self.looked => Some(retry(node)),
            State::Updating | State::Interrupted => Some(self.update_ends(node)),
            State::Reverting => Some(after(node.since, plan.node_ms)),
            State::ToRevert if node.is_here => Some(retry(node)),
            _ => None,
        });
        // What was to follow before has followed.
        of_nodes.chain([of_phase, self.settles]).filter(|time| *time > self.looked).min()
    }
}

/// The time so many milliseconds later.
fn after(time: Timestamp, ms: u64) -> Timestamp {
    Timestamp(time.0.saturating_add(ms))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
