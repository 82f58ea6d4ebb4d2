//! The way back: every node that took the version, or may have, goes back to what it
//! had.

use super::{
    BACK_AT_ONCE, Effect, Machine, NodeId, Outcome, Phase, RETRY, RolloutNode, RolloutOutcome,
    State, Timestamp, after, millis,
};

impl Machine {
    pub(super) fn begin_to_go_back(
        &mut self,
        reason: String,
        now: Timestamp,
        effects: &mut Vec<Effect>,
    ) {
        self.note(format!("goes back: {reason}"), now);
        self.enter(Phase::GoingBack { reason }, now);
        for node in self.nodes_in(&[State::Updating]) {
            effects.push(Effect::Leave(node));
        }
        let to_revert =
            self.nodes_in(&[State::Updating, State::Interrupted, State::Confirmed, State::Overdue]);
        for node in to_revert {
            let had_it = self.nodes[&node].before.as_ref() == Some(&self.rollout.target.hash);
            self.turn(node, if had_it { State::Reverted } else { State::ToRevert }, now);
            if let Some(node) = self.nodes.get_mut(&node) {
                (node.asked, node.reason) = (None, None);
            }
        }
    }

    pub(super) fn went_back(&mut self, node: NodeId, outcome: Outcome, now: Timestamp) {
        let Some(known) = self.nodes.get(&node) else { return };
        if known.state != State::Reverting {
            return;
        }
        match outcome {
            Outcome::Done => self.turn(node, State::Reverted, now),
            Outcome::Failed(reason) => self.stay(node, reason, now),
            Outcome::Lost(reason) => self.turn_because(node, State::ToRevert, reason, now),
        }
    }

    fn stay(&mut self, node: NodeId, reason: String, now: Timestamp) {
        let name = self.nodes.get(&node).map(|node| node.name.clone()).unwrap_or_default();
        self.note(format!("{name} ({node}) could not go back: {reason}"), now);
        self.turn_because(node, State::Stayed, reason, now);
    }

    /// Sends nodes back, and ends when all of them are, or cannot be in time.
    pub(super) fn go_back(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let (plan, since) = (&self.rollout.plan, self.rollout.since);
        let (node_ms, is_late) =
            (plan.node_ms, after(since, plan.away_ms.saturating_add(plan.node_ms)) <= now);
        for node in self.nodes_in(&[State::Reverting]) {
            if after(self.nodes[&node].since, node_ms) <= now {
                effects.push(Effect::Leave(node));
                self.stay(node, "it did not say in time that it is back".to_owned(), now);
            }
        }
        for node in self.nodes_in(&[State::ToRevert]) {
            if is_late {
                let lost = self.nodes[&node].reason.clone();
                self.stay(node, lost.unwrap_or_else(|| "it was away".to_owned()), now);
            }
        }
        let busy = self.nodes_in(&[State::Reverting]).len();
        let is_ready = |node: &&RolloutNode| {
            let may_ask = node.asked.is_none() || after(node.since, millis(RETRY)) <= now;
            node.state == State::ToRevert && node.is_here && may_ask
        };
        let ready: Vec<_> = self.nodes.values().filter(is_ready).map(|node| node.node).collect();
        for node in ready.into_iter().take(BACK_AT_ONCE.saturating_sub(busy)) {
            self.turn(node, State::Reverting, now);
            if let Some(known) = self.nodes.get_mut(&node) {
                known.asked = Some(now);
                effects.push(Effect::Revert(node, known.before.clone()));
            }
        }
        if self.nodes_in(&[State::ToRevert, State::Reverting]).is_empty()
            && let Phase::GoingBack { reason } = &self.rollout.phase
        {
            let mut reason = reason.clone();
            let stayed = self.nodes_in(&[State::Stayed]).len();
            if stayed > 0 {
                reason += &format!("; {stayed} nodes could not go back");
            }
            self.end(RolloutOutcome::RolledBack, Some(reason), now);
        }
    }
}
