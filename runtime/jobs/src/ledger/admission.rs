//! What is taken: submissions for which there is room.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use drover_api::{JobSubmit, NodeId, Timestamp, job_on};

use super::job::{Job, Phase};
use super::pace::place_in;
use super::saved::{NewSubmission, Write};
use super::{Ledger, LedgerStep, Open};

/// A submission has no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; try again in {} s", .wait.as_secs().max(1))]
pub struct Refusal {
    /// What is full.
    pub what: String,
    /// When there will be room, about.
    pub wait: Duration,
}

impl Ledger {
    /// Takes a submission for these nodes. Its id must not be open or ended.
    ///
    /// # Errors
    ///
    /// If there is no room for it.
    ///
    /// # Panics
    ///
    /// If the id is too long to have jobs named after it.
    pub fn submit(
        &mut self,
        request: JobSubmit,
        nodes: &[NodeId],
        by: &str,
        now: Timestamp,
    ) -> Result<LedgerStep, Refusal> {
        self.admit(nodes, by, now)?;
        let id = request.command.id.clone();
        let from_now = |ms: Option<u64>| ms.map(|ms| Timestamp(now.0.saturating_add(ms)));
        let mut open = Open {
            key: self.number(),
            by: by.into(),
            time: now,
            start_by: from_now(request.start_within_ms),
            end_by: from_now(request.end_within_ms),
            request: Arc::new(request),
            nodes: nodes.len() as u64,
            jobs: BTreeMap::new(),
            done: BTreeSet::new(),
            at_work: 0,
            held: VecDeque::new(),
        };
        let spread = open.request.spread_ms;
        let mut keys = Vec::with_capacity(nodes.len());
        for node in nodes {
            let key = self.number();
            let ready = now.0.saturating_add(place_in(spread, *node));
            let job = Job {
                key,
                id: job_on(&id, *node).expect("whoever submits has checked the length"),
                submission: id.clone(),
                node: *node,
                number: 0,
                attempt: 1,
                phase: Phase::Held(Timestamp(ready)),
                has_place: false,
                is_killed: false,
                is_known_to_stay: false,
            };
            open.jobs.insert(*node, key);
            self.mind(&open, *node, key);
            open.held.push_back(key);
            keys.push(key);
            self.jobs.insert(key, job);
        }
        self.submissions.insert(id.clone(), open);
        let mut step = LedgerStep::default();
        self.release(&mut step, &id, now);
        // What was sent at once is written as sent.
        let first = keys.first().copied().unwrap_or(u64::MAX);
        step.writes.retain(|write| !matches!(write, Write::Sent { key, .. } if *key >= first));
        for key in &keys {
            self.schedule(*key);
        }
        let open = &self.submissions[&id];
        let jobs = keys.iter().map(|key| self.jobs[key].row()).collect();
        step.writes.push(Write::Submitted(Box::new(NewSubmission {
            key: open.key,
            request: Arc::clone(&open.request),
            by: Arc::clone(&open.by),
            time: now,
            start_by: open.start_by,
            end_by: open.end_by,
            jobs,
        })));
        Ok(step)
    }

    /// Whether there is room for one more job on each of these nodes.
    fn admit(&self, nodes: &[NodeId], by: &str, now: Timestamp) -> Result<(), Refusal> {
        let excess = (self.jobs.len() + nodes.len()).saturating_sub(self.rules.most);
        if excess > 0 {
            let what = format!(
                "the controller has {} jobs that have not ended, and takes {} (`jobs.max_queued`)",
                self.jobs.len(),
                self.rules.most
            );
            return Err(Refusal { what, wait: self.pace.wait(excess, now) });
        }
        match nodes.iter().find_map(|node| self.excess(*node, by)) {
            Some((what, excess)) => Err(Refusal { what, wait: self.pace.wait(excess, now) }),
            None => Ok(()),
        }
    }

    /// What waits for a node, if there is no room for one more, and how much it is too
    /// much.
    pub(super) fn excess(&self, node: NodeId, by: &str) -> Option<(String, usize)> {
        let lane = self.lanes.get(&node)?;
        let most = self.rules.most_per_node;
        let over = |have: usize, most: usize| (have + 1).saturating_sub(most);
        let all = over(lane.queue.len(), most);
        // One alone cannot fill the queue for all.
        let own = over(lane.queue.len_of(by), most.div_ceil(2));
        if all.max(own) == 0 {
            return None;
        }
        let whose = if own > 0 { format!(" of {by}") } else { String::new() };
        let what = format!(
            "{} jobs{whose} wait for node {node} (`jobs.max_queued_per_node` is {most})",
            if own > 0 { lane.queue.len_of(by) } else { lane.queue.len() },
        );
        Some((what, all.max(own)))
    }
}
