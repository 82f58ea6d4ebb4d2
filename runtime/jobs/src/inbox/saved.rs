//! What a node writes down, and how it goes on from there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_api::{ErrorCode, JobId, JobResult, JobState, NodeId, Timestamp};

use super::work::{Work, size_of};
use super::{Inbox, InboxEffect, InboxRules, InboxStep, Phase};
use crate::fair::FairQueue;

/// What a node writes.
#[derive(Debug, Clone)]
pub enum InboxWrite {
    /// Forget everything, and go by this store from now on.
    Store(String),
    /// A job was accepted, and waits.
    Accepted(Arc<Work>),
    /// It runs from now on.
    Started(u64),
    /// It was to run, and did not begin: it waits again.
    PutBack(u64),
    /// It has ended; it may never have been accepted.
    Ended(u64, Arc<JobResult>),
    /// The controller has the result: only the number is still needed.
    Told(u64),
    /// Everything below is settled and forgotten.
    Settled(u64),
}

/// What a node had on its disk when it started.
#[derive(Debug, Clone, Default)]
pub struct SavedInbox {
    /// The controller's store; empty if there was none yet.
    pub store: String,
    /// Everything below is settled.
    pub settled_below: u64,
    /// The jobs.
    pub jobs: Vec<KeptJob>,
    /// Those of them that ran and still do: the agent before has handed them over.
    pub going_on: BTreeSet<JobId>,
}

/// A job as it was on disk.
#[derive(Debug, Clone)]
pub struct KeptJob {
    /// Its number.
    pub number: u64,
    /// How far it was.
    pub phase: KeptPhase,
}

/// How far a job was.
#[derive(Debug, Clone)]
pub enum KeptPhase {
    /// It had not started.
    Waiting(Work),
    /// It had started, and had not ended.
    Running(Work),
    /// It had ended, and the result is to be reported.
    Ended,
    /// The controller had the result.
    Told,
}

impl Inbox {
    /// What a node has that starts. What ran when it ended goes on where it was handed
    /// over, and else was interrupted; what had waited is started.
    pub fn restore(
        node: NodeId,
        rules: InboxRules,
        saved: SavedInbox,
        now: Timestamp,
    ) -> (Self, InboxStep) {
        let mut inbox = Self {
            node,
            rules,
            store: saved.store,
            settled_below: saved.settled_below,
            jobs: BTreeMap::new(),
            waiting: FairQueue::default(),
            running: BTreeSet::new(),
            bytes: 0,
            unsettled: 0,
        };
        let mut step = InboxStep::default();
        for KeptJob { number, phase } in saved.jobs {
            match phase {
                KeptPhase::Running(work) if saved.going_on.contains(&work.command.id) => {
                    inbox.go_on(&mut step, number, Arc::new(work));
                }
                KeptPhase::Waiting(work) => inbox.accept(number, Arc::new(work)),
                KeptPhase::Running(work) => {
                    let result = inbox.without_answer(
                        &work.command,
                        JobState::Error,
                        ErrorCode::Interrupted,
                        "the agent ended while the job ran, so it may have done its work, some of \
                         it, or none; it is not run again by itself",
                        now,
                    );
                    inbox.unsettled += 1;
                    inbox.end(&mut step, number, result);
                }
                KeptPhase::Ended => {
                    inbox.unsettled += 1;
                    inbox.jobs.insert(number, Phase::Ended);
                }
                KeptPhase::Told => {
                    inbox.jobs.insert(number, Phase::Told);
                }
            }
        }
        inbox.start(&mut step, now);
        (inbox, step)
    }

    /// Takes up a job that runs already.
    fn go_on(&mut self, step: &mut InboxStep, number: u64, work: Arc<Work>) {
        self.bytes += size_of(&work.command);
        self.unsettled += 1;
        self.running.insert(number);
        self.waiting.add_under_way(&work.by);
        step.effects.push(InboxEffect::GoOn(Arc::clone(&work)));
        self.jobs.insert(number, Phase::Running(work));
    }
}
