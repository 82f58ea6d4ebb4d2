//! The node's half: what was delivered, and what became of it.
//!
//! ```text
//!   delivered ──▶ waiting ──▶ running ──▶ ended ──acknowledged──▶ told
//!                    └──── deadline, cancelled ────▲                │
//!                                                      settled ──▶ forgotten
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use drover_api::{
    Command, DeliveredJob, ErrorCode, Holding, JobCancel, JobDelivered, JobDelivery, JobError,
    JobId, JobReported, JobResult, JobState, NodeId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::Step;

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

/// One attempt at a job, as the node keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// The store that its number belongs to.
    pub store: String,
    /// The attempt's number.
    pub number: u64,
    /// What to do.
    pub command: Command,
    /// When it must have started, by the node's clock.
    #[serde(default)]
    pub start_by: Option<Timestamp>,
    /// When it must have ended, by the node's clock.
    #[serde(default)]
    pub end_by: Option<Timestamp>,
    /// Who submitted it.
    #[serde(default)]
    pub by: String,
}

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

/// What a node has of durable jobs.
#[derive(Debug)]
pub struct Inbox {
    node: NodeId,
    rules: InboxRules,
    store: String,
    settled_below: u64,
    jobs: BTreeMap<u64, Phase>,
    waiting: BTreeSet<u64>,
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
            waiting: BTreeSet::new(),
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
            *phase = Phase::Waiting(Arc::clone(work));
            self.waiting.insert(number);
            step.writes.push(InboxWrite::PutBack(number));
        }
        step
    }

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
        for number in self.waiting.clone() {
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
        self.waiting.insert(number);
        self.jobs.insert(number, Phase::Waiting(work));
    }

    /// Takes up a job that runs already.
    fn go_on(&mut self, step: &mut InboxStep, number: u64, work: Arc<Work>) {
        self.bytes += size_of(&work.command);
        self.unsettled += 1;
        self.running.insert(number);
        step.effects.push(InboxEffect::GoOn(Arc::clone(&work)));
        self.jobs.insert(number, Phase::Running(work));
    }

    /// Starts what may start, in the order in which it was submitted.
    fn start(&mut self, step: &mut InboxStep, now: Timestamp) {
        while self.running.len() < self.rules.at_once {
            let Some(number) = self.waiting.first().copied() else { return };
            let Some(Phase::Waiting(work)) = self.jobs.get(&number) else {
                self.waiting.remove(&number);
                continue;
            };
            let work = Arc::clone(work);
            if is_late(&work, now) {
                self.end_late(step, &work, now);
                continue;
            }
            self.waiting.remove(&number);
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
        self.waiting.remove(&number);
        if let Some(Phase::Waiting(work) | Phase::Running(work)) = self.jobs.remove(&number) {
            self.bytes = self.bytes.saturating_sub(size_of(&work.command));
        }
    }

    /// Forgets what is settled.
    fn settle(&mut self, step: &mut InboxStep, below: u64) {
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
            self.waiting.remove(number);
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
    fn belong_to(&mut self, step: &mut InboxStep, store: &str) {
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
        self.waiting.clear();
        self.running.clear();
        (self.settled_below, self.bytes, self.unsettled) = (0, 0, 0);
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

fn unfinished(jobs: &BTreeMap<u64, Phase>) -> Vec<JobId> {
    let ids = jobs.values().filter_map(|phase| match phase {
        Phase::Waiting(work) | Phase::Running(work) => Some(work.id().clone()),
        Phase::Ended | Phase::Told => None,
    });
    ids.collect()
}

/// The result of a job that did not run to its end.
pub(crate) fn result_without_answer(
    node: NodeId,
    command: &Command,
    state: JobState,
    error: JobError,
    now: Timestamp,
) -> JobResult {
    JobResult {
        id: command.id.clone(),
        gid: node.gid,
        nid: node.nid,
        cmd: command.cmd.clone(),
        args: command.args.clone(),
        state,
        data: serde_json::Value::Null,
        error: Some(error),
        streams: Default::default(),
        exit: None,
        critical: None,
        records: Vec::new(),
        starttime: now,
        time: 0.0,
    }
}

fn is_late(work: &Work, now: Timestamp) -> bool {
    work.start_by.is_some_and(|by| now > by) || work.end_by.is_some_and(|by| now >= by)
}

/// About what a command takes in memory, in bytes.
#[must_use]
pub fn size_of(command: &Command) -> usize {
    let args: usize = command.args.iter().map(|(key, value)| key.len() + depth(value)).sum();
    256 + command.data.len() + command.data_base64.len() + args
}

fn depth(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => 32 + text.len(),
        serde_json::Value::Array(items) => 32 + items.iter().map(depth).sum::<usize>(),
        serde_json::Value::Object(fields) => {
            32 + fields.iter().map(|(key, value)| key.len() + depth(value)).sum::<usize>()
        }
        _ => 32,
    }
}

impl Work {
    /// How long the job may run from `now` on, if it must have ended at some time.
    #[must_use]
    pub fn time_left(&self, now: Timestamp) -> Option<Duration> {
        self.end_by.map(|by| by.since(now))
    }

    /// The id of the job.
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.command.id
    }
}

#[cfg(test)]
mod tests;
