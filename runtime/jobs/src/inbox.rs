//! The node's half: what was delivered, and what became of it.
//!
//! ```text
//!   delivered ──▶ waiting ──▶ running ──▶ ended ──acknowledged──▶ told
//!                    └──── deadline, cancelled ────▲                │
//!                                                      settled ──▶ forgotten
//! ```
//!
//! What it writes down is in [`saved`], and what it need not keep in [`forgetting`].

mod forgetting;
mod saved;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_api::{
    Command, DeliveredJob, ErrorCode, Holding, JobCancel, JobDelivered, JobDelivery, JobError,
    JobResult, JobState, NodeId, Timestamp,
};

use crate::Step;
use crate::fair::FairQueue;
pub use forgetting::Dropped;
pub use saved::{InboxWrite, KeptJob, KeptPhase, SavedInbox};
use work::is_late;
pub(crate) use work::result_without_answer;
pub use work::{Work, size_of};

/// How much a node takes.
#[derive(Debug, Clone, Copy)]
pub struct InboxRules {
    /// Jobs that run at the same time.
    pub at_once: usize,
    /// Jobs that wait, run, or have ended and are not yet acknowledged.
    pub most: usize,
    /// The commands of those that wait and run, in bytes.
    pub most_bytes: usize,
}

/// What a node does.
#[derive(Debug, Clone)]
pub enum InboxEffect {
    /// Run a job, and say when it has ended.
    Start(Arc<Work>),
    /// Wait for the end of a job that an agent before this one has begun, and say it.
    GoOn(Arc<Work>),
    /// End a job that runs.
    Stop(u64),
    /// Tell the controller of this result.
    Report(u64),
    /// Tell people of jobs that are dropped.
    Dropped(Dropped),
}

/// What a node has of durable jobs.
#[derive(Debug)]
pub struct Inbox {
    node: NodeId,
    rules: InboxRules,
    store: String,
    settled_below: u64,
    jobs: BTreeMap<u64, Phase>,
    /// By who submitted them: nobody's many hold up somebody else's few. Under way is
    /// what runs.
    waiting: FairQueue<u64>,
    running: BTreeSet<u64>,
    /// Of the commands of those that wait or run.
    bytes: usize,
    /// Jobs that are not told.
    unsettled: usize,
}

/// How many durable jobs a node has, by how far they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// They have not started.
    pub waiting: u64,
    /// They have started, and have not ended.
    pub running: u64,
    /// They have ended, and the controller does not have their results yet.
    pub unreported: u64,
}

#[derive(Debug)]
enum Phase {
    Waiting(Arc<Work>),
    Running(Arc<Work>),
    Ended,
    Told,
}

type InboxStep = Step<InboxWrite, InboxEffect>;

impl Inbox {
    /// Starts nothing more: what waits stays for the next start.
    pub fn drain(&mut self) {
        self.rules.at_once = 0;
    }

    /// The store that the jobs belong to; empty if there never were any.
    #[must_use]
    pub fn store(&self) -> &str {
        &self.store
    }

    /// Everything that has not been acknowledged.
    #[must_use]
    pub fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// How far what has not been acknowledged is.
    #[must_use]
    pub fn held(&self) -> Held {
        let (waiting, running) = (self.waiting.len(), self.running.len());
        let unreported = self.unsettled.saturating_sub(waiting + running);
        Held { waiting: waiting as u64, running: running as u64, unreported: unreported as u64 }
    }

    /// Numbers that are remembered, whatever for.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.jobs.len()
    }

    /// Takes a delivery. The answer is to be given when the step is safe.
    pub fn deliver(&mut self, delivery: JobDelivery, now: Timestamp) -> (InboxStep, JobDelivered) {
        let mut step = InboxStep::default();
        let JobDelivery { store, settled_below, jobs, held } = delivery;
        self.belong_to(&mut step, &store);
        self.settle(&mut step, settled_below);
        let mut numbers = Vec::with_capacity(jobs.len() + held.len());
        let mut full = BTreeSet::new();
        for job in jobs {
            numbers.push(job.number);
            let is_new = job.number >= self.settled_below && !self.jobs.contains_key(&job.number);
            if !is_new {
                continue;
            }
            if !self.has_room_for(&job.command) {
                full.insert(job.number);
                continue;
            }
            let work = Arc::new(self.work(job, now));
            step.writes.push(InboxWrite::Accepted(Arc::clone(&work)));
            self.accept(work.number, work);
        }
        numbers.extend(held);
        self.start(&mut step, now);
        let holding = |number: u64| match self.jobs.get(&number) {
            Some(Phase::Waiting(_)) => Holding::Waiting,
            Some(Phase::Running(_)) => Holding::Running,
            Some(Phase::Ended) => Holding::Ended,
            // A controller that still asks has forgotten the result, and the node too.
            Some(Phase::Told) => Holding::Unknown,
            None if full.contains(&number) => Holding::Full,
            None => Holding::Unknown,
        };
        let jobs = numbers.into_iter().map(|number| (number, holding(number))).collect();
        (step, JobDelivered { jobs })
    }

    /// Ends jobs, also those that have not arrived.
    pub fn cancel(&mut self, cancel: &JobCancel, now: Timestamp) -> InboxStep {
        let mut step = InboxStep::default();
        self.belong_to(&mut step, &cancel.store);
        for (number, id) in &cancel.jobs {
            let command = match self.jobs.get(number) {
                Some(Phase::Running(_)) => {
                    step.effects.push(InboxEffect::Stop(*number));
                    continue;
                }
                Some(Phase::Ended | Phase::Told) => continue,
                Some(Phase::Waiting(work)) => work.command.clone(),
                None if *number < self.settled_below => continue,
                // It comes later, or never: either way it is over.
                None => {
                    self.unsettled += 1;
                    Command { id: id.clone(), ..Command::new("") }
                }
            };
            let message = "the job was ended before it started";
            let result =
                self.without_answer(&command, JobState::Killed, ErrorCode::Cancelled, message, now);
            self.end(&mut step, *number, result);
        }
        self.start(&mut step, now);
        step
    }

    /// A job that was started has ended.
    pub fn ended(&mut self, work: &Work, result: JobResult, now: Timestamp) -> InboxStep {
        let mut step = InboxStep::default();
        if work.store == self.store && self.running.remove(&work.number) {
            self.waiting.done(&work.by);
            // Settled meanwhile: nobody wants the result any more.
            if self.jobs.contains_key(&work.number) {
                self.end(&mut step, work.number, result);
            }
            self.start(&mut step, now);
        }
        step
    }

    /// A job that was to start has not: the agent ends, and begins nothing any more. It
    /// waits for the next one.
    pub fn put_back(&mut self, work: &Work) -> InboxStep {
        let mut step = InboxStep::default();
        self.drain();
        if work.store == self.store
            && self.running.remove(&work.number)
            && let Some(phase) = self.jobs.get_mut(&work.number)
            && let Phase::Running(work) = phase
        {
            let number = work.number;
            self.waiting.push(&work.by, number);
            self.waiting.done(&work.by);
            *phase = Phase::Waiting(Arc::clone(work));
            step.writes.push(InboxWrite::PutBack(number));
        }
        step
    }

    /// Has every result reported that the controller may not have: there is a link
    /// again, or a report was lost.
    pub fn report_again(&self) -> InboxStep {
        let ended = self.jobs.iter().filter(|(_, phase)| matches!(phase, Phase::Ended));
        let effects = ended.map(|(number, _)| InboxEffect::Report(*number)).collect();
        Step { writes: Vec::new(), effects }
    }

    /// Ends what waited too long.
    pub fn tick(&mut self, now: Timestamp) -> InboxStep {
        let mut step = InboxStep::default();
        let mut waiting: Vec<_> = self.waiting.iter().copied().collect();
        waiting.sort_unstable();
        for number in waiting {
            if let Some(Phase::Waiting(work)) = self.jobs.get(&number)
                && is_late(work, now)
            {
                let work = Arc::clone(work);
                self.end_late(&mut step, &work, now);
            }
        }
        self.start(&mut step, now);
        step
    }

    /// When `tick` has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let waiting = self.waiting.iter().filter_map(|number| match self.jobs.get(number) {
            Some(Phase::Waiting(work)) => work.start_by.into_iter().chain(work.end_by).min(),
            _ => None,
        });
        waiting.min()
    }

    /// The work of a job that runs.
    #[must_use]
    pub fn running(&self, number: u64) -> Option<&Arc<Work>> {
        match self.jobs.get(&number) {
            Some(Phase::Running(work)) => Some(work),
            _ => None,
        }
    }

    fn work(&self, job: DeliveredJob, now: Timestamp) -> Work {
        let from_now = |ms: Option<u64>| ms.map(|ms| Timestamp(now.0.saturating_add(ms)));
        let DeliveredJob { number, command, start_within_ms, end_within_ms, by } = job;
        Work {
            store: self.store.clone(),
            number,
            command,
            start_by: from_now(start_within_ms),
            end_by: from_now(end_within_ms),
            by,
        }
    }

    fn has_room_for(&self, command: &Command) -> bool {
        self.unsettled < self.rules.most
            // A single long one is taken if there is nothing else.
            && (self.bytes == 0 || self.bytes + size_of(command) <= self.rules.most_bytes)
    }

    fn accept(&mut self, number: u64, work: Arc<Work>) {
        self.bytes += size_of(&work.command);
        self.unsettled += 1;
        self.waiting.push(&work.by, number);
        self.jobs.insert(number, Phase::Waiting(work));
    }

    /// Starts what may start: of whoever has the least running, what was submitted first.
    fn start(&mut self, step: &mut InboxStep, now: Timestamp) {
        while self.running.len() < self.rules.at_once {
            let Some(number) = self.waiting.pop() else { return };
            let Some(Phase::Waiting(work)) = self.jobs.get(&number) else { continue };
            let work = Arc::clone(work);
            if is_late(&work, now) {
                self.waiting.done(&work.by);
                self.end_late(step, &work, now);
                continue;
            }
            self.running.insert(number);
            step.writes.push(InboxWrite::Started(number));
            step.effects.push(InboxEffect::Start(Arc::clone(&work)));
            self.jobs.insert(number, Phase::Running(work));
        }
    }

    fn end_late(&mut self, step: &mut InboxStep, work: &Work, now: Timestamp) {
        let message = "the job could not start in time: the node had too much to do, or was away";
        let result =
            self.without_answer(&work.command, JobState::Timeout, ErrorCode::Timeout, message, now);
        self.end(step, work.number, result);
    }

    /// Keeps a result until it is acknowledged.
    fn end(&mut self, step: &mut InboxStep, number: u64, result: JobResult) {
        self.take_out(number);
        self.jobs.insert(number, Phase::Ended);
        step.writes.push(InboxWrite::Ended(number, Arc::new(result)));
        step.effects.push(InboxEffect::Report(number));
    }

    fn take_out(&mut self, number: u64) {
        let phase = self.jobs.remove(&number);
        if let Some(Phase::Waiting(work)) = &phase {
            self.waiting.remove(&work.by, &number);
        }
        if let Some(Phase::Waiting(work) | Phase::Running(work)) = phase {
            self.bytes = self.bytes.saturating_sub(size_of(&work.command));
        }
    }

    fn without_answer(
        &self,
        command: &Command,
        state: JobState,
        code: ErrorCode,
        message: &str,
        now: Timestamp,
    ) -> JobResult {
        result_without_answer(self.node, command, state, JobError::new(code, message), now)
    }
}

#[cfg(test)]
mod tests;
