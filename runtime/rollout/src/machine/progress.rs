//! The way forward: nodes have their turns, gates open, waves pass.

use super::{
    Effect, Machine, NodeId, Outcome, Phase, RETRY, RolloutNode, RolloutOutcome, State, Timestamp,
    UpdateStatus, UpdateStep, after, millis,
};

/// Where a wave stands.
struct Wave {
    confirmed: usize,
    failed: usize,
    /// Nodes that may yet confirm or fail without anybody coming back.
    at_work: usize,
    away: usize,
}

impl Machine {
    pub(super) fn told(&mut self, node: NodeId, status: UpdateStatus) {
        let Some(node) = self.nodes.get_mut(&node) else { return };
        if node.state == State::Updating && node.step != Some(status.step) {
            node.step = Some(status.step);
            node.reason = status.reason;
            self.changed.insert(node.node);
        }
    }

    pub(super) fn updated(&mut self, node: NodeId, outcome: Outcome, now: Timestamp) {
        let Some(known) = self.nodes.get(&node) else { return };
        if known.state != State::Updating {
            return;
        }
        match outcome {
            Outcome::Done => {
                self.turn(node, State::Confirmed, now);
                if let Some(node) = self.nodes.get_mut(&node) {
                    node.reason = None;
                }
            }
            Outcome::Failed(reason) => self.fail(node, State::Failed, reason, now),
            Outcome::Lost(reason) => self.turn_because(node, State::Interrupted, reason, now),
        }
    }

    fn fail(&mut self, node: NodeId, state: State, reason: String, now: Timestamp) {
        let name = self.nodes.get(&node).map(|node| node.name.clone()).unwrap_or_default();
        self.note(format!("{name} ({node}) failed: {reason}"), now);
        self.turn_because(node, state, reason, now);
    }

    /// Counts nodes as failed that had all the time that they may take.
    pub(super) fn give_up_overdue(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        for node in self.nodes_in(&[State::Updating, State::Interrupted]) {
            let known = &self.nodes[&node];
            if now < self.update_ends(known) {
                continue;
            }
            let waits = known.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            let reason = match (known.state, known.step) {
                (State::Updating, Some(step)) => {
                    format!("it did not end in time, and is at `{}`{waits}", step.as_str())
                }
                (State::Updating, None) => "it did not end in time".to_owned(),
                _ => format!("it was asked, and did not come back in time{waits}"),
            };
            if known.state == State::Updating {
                effects.push(Effect::Leave(node));
            }
            self.fail(node, State::Overdue, reason, now);
        }
    }

    /// When a node that was asked has had all its time.
    pub(super) fn update_ends(&self, node: &RolloutNode) -> Timestamp {
        let plan = &self.rollout.plan;
        let own = plan.watch_ms.saturating_add(plan.node_ms);
        let whole = after(node.asked.unwrap_or(node.since), own.saturating_add(plan.away_ms));
        match node.state {
            State::Updating => after(node.since, own).min(whole),
            _ => whole,
        }
    }

    /// Decides whether the rollout goes on, waits, goes back or is over.
    pub(super) fn judge(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let failed = self.nodes_in(&[State::Failed, State::Overdue]).len();
        let most = usize::try_from(self.rollout.plan.max_failures).unwrap_or(usize::MAX);
        if failed > most {
            let reason = format!("{failed} nodes failed, and {most} may");
            return self.begin_to_go_back(reason, now, effects);
        }
        match self.rollout.phase {
            Phase::Running => self.look_at_gate(now, effects),
            Phase::Between { until } if until <= now => {
                self.rollout.wave += 1;
                self.enter(Phase::Running, now);
                let (wave, waves) = (self.rollout.wave + 1, self.rollout.waves.len());
                self.note(format!("wave {wave} of {waves} began"), now);
            }
            _ => {}
        }
    }

    fn look_at_gate(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let current = self.rollout.wave;
        let is_last = usize::try_from(current).is_ok_and(|at| at + 1 >= self.rollout.waves.len());
        let wave = self.stand(|node| node.wave == current);
        let has_waited = after(self.rollout.since, self.rollout.plan.away_ms) <= now;
        if wave.at_work > 0 || (wave.away > 0 && now < self.settles) {
            return;
        }
        let all = self.stand(|_| true);
        if wave.confirmed == 0 && wave.failed > 0 {
            let reason =
                format!("no node of wave {} has the version, and some failed", current + 1);
            return self.begin_to_go_back(reason, now, effects);
        }
        if all.confirmed == 0 {
            if has_waited {
                let reason = format!("no node of wave {} was there in time", current + 1);
                self.leave_away(now);
                self.end(RolloutOutcome::Aborted, Some(reason), now);
            }
            return;
        }
        if !is_last {
            let until = after(now, self.rollout.plan.pause_ms);
            self.enter(Phase::Between { until }, now);
            let text = format!(
                "wave {} of {} passed: {} confirmed, {} failed, {} away",
                current + 1,
                self.rollout.waves.len(),
                wave.confirmed,
                wave.failed,
                wave.away
            );
            return self.note(text, now);
        }
        if all.at_work > 0 || (all.away > 0 && !has_waited && !self.rollout.plan.keep) {
            return;
        }
        let count = self.leave_away(now);
        let reason = match (count, all.failed) {
            (0, 0) => None,
            (0, failed) => Some(format!("{failed} nodes failed")),
            (away, 0) => Some(format!("{away} nodes were away")),
            (away, failed) => Some(format!("{failed} nodes failed and {away} were away")),
        };
        self.end(RolloutOutcome::Done, reason, now);
    }

    /// Counts what nodes are at.
    fn stand(&self, is_meant: impl Fn(&RolloutNode) -> bool) -> Wave {
        let mut wave = Wave { confirmed: 0, failed: 0, at_work: 0, away: 0 };
        for node in self.nodes.values().filter(|node| is_meant(node)) {
            match node.state {
                State::Confirmed => wave.confirmed += 1,
                State::Failed | State::Overdue => wave.failed += 1,
                State::Waiting if !node.is_here => wave.away += 1,
                // One that went away while it was at it may have done so because of it.
                State::Waiting | State::Interrupted | State::Updating => wave.at_work += 1,
                _ => {}
            }
        }
        wave
    }

    /// Waits no longer for nodes that are away, and says how many there are.
    fn leave_away(&mut self, now: Timestamp) -> usize {
        let away = self.nodes_in(&[State::Waiting, State::Interrupted]);
        for node in &away {
            self.turn_because(*node, State::Missed, "it was away".to_owned(), now);
        }
        away.len()
    }

    /// Has nodes begin whose turn it is, as many as may be at it.
    pub(super) fn ask_nodes(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        let is_busy = |node: &&RolloutNode| {
            node.state == State::Updating && node.step != Some(UpdateStep::Watching)
        };
        let busy = self.nodes.values().filter(is_busy).count();
        let most = usize::try_from(self.rollout.plan.at_once).unwrap_or(usize::MAX);
        let (wave, retry) = (self.rollout.wave, millis(RETRY));
        let is_ready = |node: &&RolloutNode| {
            node.is_here
                && node.wave <= wave
                && match node.state {
                    State::Waiting => true,
                    State::Interrupted => after(node.since, retry) <= now,
                    _ => false,
                }
        };
        let ready = self.nodes.values().filter(is_ready).map(|node| node.node);
        let ready: Vec<_> = ready.take(most.saturating_sub(busy)).collect();
        for node in ready {
            self.turn(node, State::Updating, now);
            if let Some(node) = self.nodes.get_mut(&node) {
                node.asked.get_or_insert(now);
                node.reason = None;
            }
            effects.push(Effect::Update(node));
        }
    }
}
