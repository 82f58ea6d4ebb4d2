//! What nodes are given, and what they say of it.

use std::time::Duration;

use drover_api::{
    DeliveredJob, ErrorCode, Holding, JobDelivered, JobId, JobReport, JobReported, JobState,
    NodeId, Timestamp,
};

use super::job::Phase;
use super::lane::Presence;
use super::saved::Write;
use super::{Due, Effect, Ledger, LedgerStep, later};

/// When a node is asked again that did not answer, or had no room.
const AGAIN: Duration = Duration::from_secs(2);

impl Ledger {
    /// A node has answered a delivery, or not.
    pub fn delivered(
        &mut self,
        node: NodeId,
        answer: Option<&JobDelivered>,
        now: Timestamp,
    ) -> LedgerStep {
        let mut step = LedgerStep::default();
        let Some(answer) = answer else {
            // It may have been asked in vain about what it has.
            self.lane(node).is_to_be_asked = true;
            self.remind_later(node, now);
            return step;
        };
        for (number, holding) in &answer.jobs {
            let Some(key) = self.sent.get(number).copied() else { continue };
            let Some(job) = self.jobs.get_mut(&key).filter(|job| job.node == node) else {
                continue;
            };
            match holding {
                Holding::Waiting | Holding::Ended | Holding::Running => job.confirm(),
                Holding::Full => self.remind_later(node, now),
                Holding::Unknown => {
                    let message = "the node no longer knows of the job, which may have done its \
                                   work, some of it, or none: has its `data_dir` been emptied, or the \
                                   controller been restored from a backup?";
                    let result = self.without_answer(
                        key,
                        JobState::Error,
                        ErrorCode::Interrupted,
                        message,
                        now,
                    );
                    self.take_result(&mut step, key, result, now);
                }
            }
        }
        step
    }

    /// A node tells what became of its jobs. The answer is to be given when the step
    /// is safe.
    pub fn reported(&mut self, report: JobReport, now: Timestamp) -> (LedgerStep, JobReported) {
        let mut step = LedgerStep::default();
        let JobReport { node, started, ended, .. } = report;
        let of_node = |ledger: &Self, number: u64| {
            let key = ledger.sent.get(&number).copied()?;
            (ledger.jobs[&key].node == node).then_some(key)
        };
        for (number, time) in started {
            if let Some(key) = of_node(self, number) {
                self.started(&mut step, key, time);
            }
        }
        let mut acknowledged = Vec::with_capacity(ended.len());
        for (number, result) in ended {
            acknowledged.push(number);
            if let Some(key) = of_node(self, number) {
                self.take_result(&mut step, key, result, now);
            }
        }
        let settled_below = self.settled_below(node);
        step.effects.push(Effect::Settled(node, settled_below));
        (step, JobReported { acknowledged, settled_below })
    }

    /// What was settled is so on disk.
    pub fn settled(&mut self, node: NodeId, below: u64) {
        let lane = self.lane(node);
        lane.told_below = lane.told_below.max(below);
    }

    /// Everything of a node below this number is over, and is so on disk.
    #[must_use]
    pub fn told_below(&self, node: NodeId) -> u64 {
        self.lanes.get(&node).map_or(0, |lane| lane.told_below)
    }

    /// An attempt as it is delivered; none if it is over.
    #[must_use]
    pub fn delivery(&self, number: u64, now: Timestamp) -> Option<DeliveredJob> {
        let job = &self.jobs[self.sent.get(&number)?];
        let open = &self.submissions[&job.submission];
        let left = |by: Option<Timestamp>| by.map(|by| by.0.saturating_sub(now.0));
        let mut command = open.request.command.clone();
        command.id = job.id.clone();
        (command.gid, command.nid) = (Some(job.node.gid), Some(job.node.nid));
        Some(DeliveredJob {
            number,
            command,
            start_within_ms: left(open.start_by.filter(|_| job.attempt == 1)),
            end_within_ms: left(open.end_by),
            by: open.by.to_string(),
        })
    }

    /// The id of the job whose attempt this is; none if it is over.
    #[must_use]
    pub fn job_of(&self, number: u64) -> Option<&JobId> {
        Some(&self.jobs[self.sent.get(&number)?].id)
    }

    /// The attempts of a submission that nodes have or will have, by number.
    pub fn with_nodes(&self, submission: &JobId) -> impl Iterator<Item = (NodeId, u64)> {
        let keys = self.submissions.get(submission).into_iter().flat_map(|open| open.jobs.values());
        let jobs = keys.filter_map(|key| self.jobs.get(key)).filter(|job| job.is_with_node());
        jobs.map(|job| (job.node, job.number))
    }

    /// Gives a node what it may have.
    pub(super) fn pump(&mut self, step: &mut LedgerStep, node: NodeId, now: Timestamp) {
        let window = self.rules.window;
        let mut numbers = Vec::new();
        loop {
            let lane = self.lane(node);
            if lane.presence != Presence::There || lane.sent.len() >= window {
                break;
            }
            let Some(key) = lane.queue.pop() else { break };
            let number = self.number();
            self.lane(node).sent.insert(number);
            self.sent.insert(number, key);
            let job = self.jobs.get_mut(&key).expect("what is queued is there");
            job.number = number;
            job.phase = Phase::Sent { is_confirmed: false };
            step.writes.push(Write::Sent { key, number });
            self.schedule(key);
            numbers.push(number);
        }
        if !numbers.is_empty() {
            step.effects.push(Effect::Deliver(node, numbers));
            self.remind_later(node, now);
        }
    }

    /// Has a node told again of what it did not answer about, or of everything.
    pub(super) fn remind(&mut self, step: &mut LedgerStep, node: NodeId, everything: bool) {
        let lane = self.lane(node);
        if lane.presence != Presence::There {
            return;
        }
        let sent: Vec<_> = lane.sent.iter().copied().collect();
        let (mut deliver, mut ask, mut cancel) = (Vec::new(), Vec::new(), Vec::new());
        for number in sent {
            let job = &self.jobs[&self.sent[&number]];
            match job.phase {
                _ if job.is_killed => cancel.push(number),
                Phase::Sent { is_confirmed: false } => deliver.push(number),
                _ if everything => ask.push(number),
                _ => {}
            }
        }
        for (numbers, effect) in [
            (deliver, Effect::Deliver as fn(NodeId, Vec<u64>) -> Effect),
            (ask, Effect::Ask),
            (cancel, Effect::Cancel),
        ] {
            if !numbers.is_empty() {
                step.effects.push(effect(node, numbers));
            }
        }
    }

    /// Looks after the node again in a while.
    pub(super) fn remind_later(&mut self, node: NodeId, now: Timestamp) {
        let lane = self.lane(node);
        if !std::mem::replace(&mut lane.is_reminded, true) {
            self.due.insert((later(now, AGAIN), Due::Lane(node)));
        }
    }

    fn settled_below(&self, node: NodeId) -> u64 {
        let lane = self.lanes.get(&node);
        lane.and_then(|lane| lane.sent.first().copied()).unwrap_or(self.next)
    }
}
