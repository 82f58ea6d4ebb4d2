//! What a node need not keep any more: what the controller has, or does not wait for.

use std::collections::BTreeMap;

use drover_api::{JobId, JobReported};

use super::saved::InboxWrite;
use super::work::size_of;
use super::{Inbox, InboxEffect, InboxStep, Phase};
use crate::fair::FairQueue;

/// Jobs that a node has dropped, since the controller does not wait for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dropped {
    /// Those that waited or ran, by id; what ran is ended.
    pub unfinished: Vec<JobId>,
    /// How many had ended without the controller having the result.
    pub unreported: usize,
    /// Whether the controller has another store than the one before.
    pub is_other_store: bool,
}

impl Inbox {
    /// The controller has taken a report.
    pub fn acknowledged(&mut self, store: &str, reported: &JobReported) -> InboxStep {
        let mut step = InboxStep::default();
        if store != self.store {
            return step;
        }
        for number in &reported.acknowledged {
            if let Some(phase @ Phase::Ended) = self.jobs.get_mut(number) {
                *phase = Phase::Told;
                self.unsettled -= 1;
                if *number >= reported.settled_below {
                    step.writes.push(InboxWrite::Told(*number));
                }
            }
        }
        self.settle(&mut step, reported.settled_below);
        step
    }

    /// Forgets what is settled.
    pub(super) fn settle(&mut self, step: &mut InboxStep, below: u64) {
        if below <= self.settled_below {
            return;
        }
        self.settled_below = below;
        let rest = self.jobs.split_off(&below);
        let settled = std::mem::replace(&mut self.jobs, rest);
        let unfinished = unfinished(&settled);
        if !unfinished.is_empty() {
            let dropped = Dropped { unfinished, unreported: 0, is_other_store: false };
            step.effects.push(InboxEffect::Dropped(dropped));
        }
        for (number, phase) in &settled {
            if let Phase::Waiting(work) = phase {
                self.waiting.remove(&work.by, number);
            }
            if !matches!(phase, Phase::Told) {
                self.unsettled -= 1;
            }
            if let Phase::Waiting(work) | Phase::Running(work) = phase {
                self.bytes = self.bytes.saturating_sub(size_of(&work.command));
            }
            if matches!(phase, Phase::Running(_)) {
                step.effects.push(InboxEffect::Stop(*number));
            }
        }
        step.writes.push(InboxWrite::Settled(below));
    }

    /// Numbers are those of one store. A controller that has another one does not
    /// know of the jobs of the first, and nobody waits for them.
    pub(super) fn belong_to(&mut self, step: &mut InboxStep, store: &str) {
        if self.store == store {
            return;
        }
        step.effects.extend(self.running.iter().map(|number| InboxEffect::Stop(*number)));
        if self.unsettled > 0 {
            let unfinished = unfinished(&self.jobs);
            let unreported = self.unsettled - unfinished.len();
            let dropped = Dropped { unfinished, unreported, is_other_store: true };
            step.effects.push(InboxEffect::Dropped(dropped));
        }
        step.writes.push(InboxWrite::Store(store.to_owned()));
        store.clone_into(&mut self.store);
        self.jobs.clear();
        self.waiting = FairQueue::default();
        self.running.clear();
        (self.settled_below, self.bytes, self.unsettled) = (0, 0, 0);
    }
}

fn unfinished(jobs: &BTreeMap<u64, Phase>) -> Vec<JobId> {
    let ids = jobs.values().filter_map(|phase| match phase {
        Phase::Waiting(work) | Phase::Running(work) => Some(work.id().clone()),
        Phase::Ended | Phase::Told => None,
    });
    ids.collect()
}
