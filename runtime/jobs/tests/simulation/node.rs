//! A node with a disk, and jobs that take their time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use drover_api::{
    ErrorCode, JobDelivered, JobError, JobReport, JobResult, JobState, NodeId, Timestamp,
};
use drover_jobs::{
    Inbox, InboxEffect, InboxRules, InboxWrite, KeptJob, KeptPhase, SavedInbox, Step, Work,
};

use crate::history::History;
use crate::network::{Message, Network};

const RULES: InboxRules = InboxRules { at_once: 2, most: 6, most_bytes: 100_000 };

/// What is safe.
#[derive(Debug, Default)]
struct Disk {
    store: String,
    settled_below: u64,
    jobs: BTreeMap<u64, Kept>,
}

#[derive(Debug)]
enum Kept {
    Waiting(Arc<Work>),
    Running(Arc<Work>),
    Ended(Arc<JobResult>),
    Told,
}

enum Then {
    Effects(Vec<InboxEffect>),
    Delivered(JobDelivered, Vec<InboxEffect>),
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    disk: Disk,
    unsafe_steps: Vec<(Vec<InboxWrite>, Then)>,
    pub(crate) inbox: Inbox,
    /// Jobs that run, and when they end by themselves.
    running: BTreeMap<u64, (Arc<Work>, u64)>,
    stopped: BTreeSet<u64>,
    unreported: BTreeSet<u64>,
    started: Vec<(u64, Timestamp)>,
}

impl Node {
    pub(crate) fn new(id: NodeId) -> Self {
        let (inbox, _) = Inbox::restore(id, RULES, SavedInbox::default(), Timestamp(0));
        Self {
            id,
            disk: Disk::default(),
            unsafe_steps: Vec::new(),
            inbox,
            running: BTreeMap::new(),
            stopped: BTreeSet::new(),
            unreported: BTreeSet::new(),
            started: Vec::new(),
        }
    }

    /// Dies with everything that runs, and begins again with what is safe.
    pub(crate) fn crash(&mut self, now: Timestamp) {
        self.unsafe_steps.clear();
        self.running.clear();
        self.stopped.clear();
        self.begin_again(now);
    }

    /// Ends in order, and begins again with what is safe and what runs. `left` of the
    /// jobs that run had not really begun.
    pub(crate) fn hand_over(&mut self, left: usize, history: &mut History, now: Timestamp) {
        assert!(self.unsafe_steps.is_empty(), "it ends in order");
        let unbegun: Vec<_> = self.running.keys().copied().take(left).collect();
        for number in unbegun {
            let Some((work, _)) = self.running.remove(&number) else { continue };
            // It is not the agent's to begin any more.
            *history.starts.entry(number).or_default() -= 1;
            history.places.remove(&number);
            let step = self.inbox.put_back(&work);
            assert!(step.effects.is_empty());
            step.writes.into_iter().for_each(|write| self.disk.write(write));
        }
        self.begin_again(now);
    }

    fn begin_again(&mut self, now: Timestamp) {
        self.unreported.clear();
        self.started.clear();
        let kept = |(number, kept): (&u64, &Kept)| KeptJob {
            number: *number,
            phase: match kept {
                Kept::Waiting(work) => KeptPhase::Waiting(Work::clone(work)),
                Kept::Running(work) => KeptPhase::Running(Work::clone(work)),
                Kept::Ended(_) => KeptPhase::Ended,
                Kept::Told => KeptPhase::Told,
            },
        };
        let saved = SavedInbox {
            store: self.disk.store.clone(),
            settled_below: self.disk.settled_below,
            jobs: self.disk.jobs.iter().map(kept).collect(),
            going_on: self.running.values().map(|(work, _)| work.id().clone()).collect(),
        };
        let (inbox, step) = Inbox::restore(self.id, RULES, saved, now);
        self.inbox = inbox;
        self.take(step);
        let again = self.inbox.report_again();
        self.take(again);
    }

    pub(crate) fn take(&mut self, step: Step<InboxWrite, InboxEffect>) {
        if !step.is_empty() {
            self.unsafe_steps.push((step.writes, Then::Effects(step.effects)));
        }
    }

    pub(crate) fn hear(&mut self, message: Message, now: Timestamp) {
        match message {
            Message::Deliver(_, delivery) => {
                let (step, answer) = self.inbox.deliver(delivery, now);
                self.unsafe_steps.push((step.writes, Then::Delivered(answer, step.effects)));
            }
            Message::Cancel(_, cancel) => {
                let step = self.inbox.cancel(&cancel, now);
                self.take(step);
            }
            Message::Reported(_, store, answer) => {
                let step = self.inbox.acknowledged(&store, &answer);
                self.take(step);
            }
            other => panic!("{other:?} is not for a node"),
        }
    }

    pub(crate) fn has_unsafe(&self) -> bool {
        !self.unsafe_steps.is_empty()
    }

    pub(crate) fn sync(
        &mut self,
        count: usize,
        network: &mut Network,
        history: &mut History,
        (now, length): (Timestamp, u64),
    ) {
        let count = count.min(self.unsafe_steps.len());
        for (writes, then) in self.unsafe_steps.drain(..count).collect::<Vec<_>>() {
            for write in writes {
                self.disk.write(write);
            }
            let effects = match then {
                Then::Effects(effects) => effects,
                Then::Delivered(answer, effects) => {
                    network.send(Message::Delivered(self.id, answer));
                    effects
                }
            };
            for effect in effects {
                match effect {
                    InboxEffect::Start(work) => {
                        *history.starts.entry(work.number).or_default() += 1;
                        history.places.entry(work.number).or_default().insert(self.id);
                        self.started.push((work.number, now));
                        self.running.insert(work.number, (work, now.0 + length));
                    }
                    // It runs all the time.
                    InboxEffect::GoOn(_) => {}
                    InboxEffect::Stop(number) => drop(self.stopped.insert(number)),
                    InboxEffect::Report(number) => drop(self.unreported.insert(number)),
                    // It is for people.
                    InboxEffect::Dropped(_) => {}
                }
            }
        }
    }

    /// Ends what has ended by now, and what was stopped. `fails` says which fail.
    pub(crate) fn work(&mut self, history: &mut History, now: Timestamp, fails: bool) {
        let ended: Vec<_> = self
            .running
            .iter()
            .filter(|(number, (work, until))| {
                let end_by = work.end_by.is_some_and(|by| by <= now);
                *until <= now.0 || end_by || self.stopped.contains(number)
            })
            .map(|(number, _)| *number)
            .collect();
        for number in ended {
            let (work, until) = self.running.remove(&number).unwrap();
            let is_stopped = self.stopped.remove(&number);
            let (state, code) = match () {
                () if is_stopped => (JobState::Killed, Some(ErrorCode::Cancelled)),
                () if until > now.0 => (JobState::Timeout, Some(ErrorCode::Timeout)),
                () if fails => (JobState::Error, Some(ErrorCode::Failed)),
                () => (JobState::Ok, None),
            };
            let result = JobResult {
                id: work.command.id.clone(),
                gid: self.id.gid,
                nid: self.id.nid,
                cmd: work.command.cmd.clone(),
                args: work.command.args.clone(),
                state,
                data: serde_json::Value::from(number).into(),
                error: code.map(|code| JobError::new(code, "it did")),
                streams: Default::default(),
                exit: None,
                critical: None,
                records: Vec::new(),
                starttime: now,
                time: 1.0,
            };
            history.outcomes.insert(number, result.clone());
            let step = self.inbox.ended(&work, result, now);
            self.take(step);
        }
    }

    /// Tells the controller what it does not know.
    pub(crate) fn report(&mut self, network: &mut Network) {
        let mut ended = Vec::new();
        for number in std::mem::take(&mut self.unreported) {
            if let Some(Kept::Ended(result)) = self.disk.jobs.get(&number) {
                ended.push((number, JobResult::clone(result)));
            }
        }
        let started = std::mem::take(&mut self.started);
        if !ended.is_empty() || !started.is_empty() {
            let store = self.disk.store.clone();
            network.send(Message::Report(JobReport { node: self.id, store, started, ended }));
        }
    }
}

impl Disk {
    fn write(&mut self, write: InboxWrite) {
        match write {
            InboxWrite::Store(store) => *self = Self { store, ..Self::default() },
            InboxWrite::Accepted(work) => {
                drop(self.jobs.insert(work.number, Kept::Waiting(work)));
            }
            InboxWrite::Started(number) => {
                let Some(Kept::Waiting(work)) = self.jobs.remove(&number) else {
                    panic!("{number} does not wait");
                };
                self.jobs.insert(number, Kept::Running(work));
            }
            InboxWrite::PutBack(number) => {
                let Some(Kept::Running(work)) = self.jobs.remove(&number) else {
                    panic!("{number} does not run");
                };
                self.jobs.insert(number, Kept::Waiting(work));
            }
            InboxWrite::Ended(number, result) => {
                drop(self.jobs.insert(number, Kept::Ended(result)));
            }
            InboxWrite::Told(number) => drop(self.jobs.insert(number, Kept::Told)),
            InboxWrite::Settled(below) => {
                self.settled_below = below;
                self.jobs = self.jobs.split_off(&below);
            }
        }
    }
}
