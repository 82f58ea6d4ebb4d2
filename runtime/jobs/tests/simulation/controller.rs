//! A controller with a disk.

use std::collections::BTreeMap;

use drover_api::{
    JobCancel, JobDelivery, JobId, JobReported, JobResult, JobState, JobSubmit, NodeId, Timestamp,
};
use drover_jobs::{
    Effect, Ledger, NewSubmission, Refusal, Rules, SavedJob, SavedSubmission, Step, Stranded, Write,
};

use crate::history::History;
use crate::network::{Message, Network};

pub(crate) const STORE: &str = "store";

const RULES: Rules = Rules { window: 4, most_per_node: 100, most: 1000 };

/// What is safe.
#[derive(Debug, Default)]
struct Disk {
    submissions: BTreeMap<u64, Submission>,
    highest: u64,
}

#[derive(Debug)]
struct Submission {
    request: JobSubmit,
    by: String,
    time: Timestamp,
    start_by: Option<Timestamp>,
    end_by: Option<Timestamp>,
    jobs: BTreeMap<u64, Row>,
}

#[derive(Debug)]
struct Row {
    node: NodeId,
    number: u64,
    attempt: u32,
    ready: Timestamp,
    state: JobState,
    is_killed: bool,
}

/// What is done when a step is safe.
enum Then {
    Effects(Vec<Effect>),
    /// Jobs, by key.
    Accepted(Vec<u64>, Vec<Effect>),
    Reported(NodeId, JobReported, Vec<Effect>),
}

pub(crate) struct Controller {
    disk: Disk,
    /// Steps that are not safe yet, oldest first.
    unsafe_steps: Vec<(Vec<Write>, Then)>,
    pub(crate) ledger: Ledger,
}

impl Controller {
    pub(crate) fn new() -> Self {
        let disk = Disk::default();
        Self { disk, unsafe_steps: Vec::new(), ledger: Ledger::new(RULES, 1) }
    }

    /// Dies, and begins again with what is safe.
    pub(crate) fn crash(&mut self, now: Timestamp) {
        self.unsafe_steps.clear();
        let saved = self.disk.submissions.iter().map(|(key, submission)| SavedSubmission {
            key: *key,
            request: submission.request.clone(),
            by: submission.by.clone(),
            time: submission.time,
            start_by: submission.start_by,
            end_by: submission.end_by,
            nodes: submission.jobs.len() as u64,
            jobs: submission.jobs.iter().filter_map(|(key, row)| row.saved(*key)).collect(),
            done: submission.done().collect(),
        });
        let saved = saved.filter(|submission| !submission.jobs.is_empty()).collect();
        self.ledger = Ledger::restore(RULES, self.disk.highest + 1, saved, now);
    }

    pub(crate) fn submit(
        &mut self,
        request: JobSubmit,
        nodes: &[NodeId],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let step = self.ledger.submit(request, nodes, "ada", now)?;
        let jobs = step.writes.iter().flat_map(|write| match write {
            Write::Submitted(new) => &new.jobs[..],
            _ => &[],
        });
        let keys = jobs.map(|job| job.key).collect();
        self.unsafe_steps.push((step.writes, Then::Accepted(keys, step.effects)));
        Ok(())
    }

    pub(crate) fn take(&mut self, step: Step<Write, Effect>) {
        if !step.is_empty() {
            self.unsafe_steps.push((step.writes, Then::Effects(step.effects)));
        }
    }

    pub(crate) fn hear(&mut self, message: Message, now: Timestamp) {
        match message {
            Message::Delivered(node, answer) => {
                let step = self.ledger.delivered(node, Some(&answer), now);
                self.take(step);
            }
            Message::Report(report) => {
                let node = report.node;
                let (step, answer) = self.ledger.reported(report, now);
                self.unsafe_steps.push((step.writes, Then::Reported(node, answer, step.effects)));
            }
            other => panic!("{other:?} is not for the controller"),
        }
    }

    /// Has what waits in vain move to the first node of those that it may move to.
    pub(crate) fn move_on(&mut self, nodes: &[NodeId], now: Timestamp) {
        for Stranded { key, .. } in self.ledger.stranded(None, 1000, now) {
            if let Some(to) = nodes.iter().find(|node| self.ledger.may_move(key, **node)) {
                let step = self.ledger.move_on(key, *to, now);
                self.take(step);
            }
        }
    }

    /// Checks that everything which has not ended waits for one of the nodes that are
    /// gone, and may not wait for one that is there.
    pub(crate) fn judge_waiting(&self, is_there: impl Fn(NodeId) -> bool, nodes: &[NodeId]) {
        for submission in self.disk.submissions.values() {
            let has_job = |node: &NodeId| submission.jobs.values().any(|row| row.node == *node);
            for (key, row) in submission.jobs.iter().filter(|(_, row)| !row.has_ended()) {
                let id = &submission.request.command.id;
                assert!(!is_there(row.node), "{key} of {id} waits for {}: {row:?}", row.node);
                let may_move =
                    submission.request.any.is_some() && (row.number, row.attempt) == (0, 1);
                let free = nodes.iter().find(|node| is_there(**node) && !has_job(node));
                assert!(!may_move || free.is_none(), "{key} of {id} is not for {free:?}: {row:?}");
            }
        }
    }

    pub(crate) fn has_unsafe(&self) -> bool {
        !self.unsafe_steps.is_empty()
    }

    /// Makes the first so many steps safe, and does what follows.
    pub(crate) fn sync(
        &mut self,
        count: usize,
        network: &mut Network,
        history: &mut History,
        now: Timestamp,
    ) {
        let count = count.min(self.unsafe_steps.len());
        for (writes, then) in self.unsafe_steps.drain(..count).collect::<Vec<_>>() {
            for write in writes {
                self.disk.write(write, history);
            }
            let effects = match then {
                Then::Effects(effects) => effects,
                Then::Accepted(jobs, effects) => {
                    history.accepted.extend(jobs);
                    effects
                }
                Then::Reported(node, answer, effects) => {
                    network.send(Message::Reported(node, STORE.to_owned(), answer));
                    effects
                }
            };
            for effect in effects {
                self.perform(effect, network, now);
            }
        }
    }

    fn perform(&mut self, effect: Effect, network: &mut Network, now: Timestamp) {
        let delivery = |ledger: &Ledger, node| JobDelivery {
            store: STORE.to_owned(),
            settled_below: ledger.told_below(node),
            jobs: Vec::new(),
            held: Vec::new(),
        };
        match effect {
            Effect::Deliver(node, numbers) => {
                let jobs = numbers.iter().filter_map(|number| self.ledger.delivery(*number, now));
                let jobs: Vec<_> = jobs.collect();
                let delivery = JobDelivery { jobs, ..delivery(&self.ledger, node) };
                network.send(Message::Deliver(node, delivery));
            }
            Effect::Ask(node, held) => {
                let delivery = JobDelivery { held, ..delivery(&self.ledger, node) };
                network.send(Message::Deliver(node, delivery));
            }
            Effect::Cancel(node, numbers) => {
                let job = |number: &u64| Some((*number, self.ledger.job_of(*number)?.clone()));
                let jobs = numbers.iter().filter_map(job).collect();
                let cancel = JobCancel { store: STORE.to_owned(), jobs };
                network.send(Message::Cancel(node, cancel));
            }
            Effect::Settled(node, below) => self.ledger.settled(node, below),
            Effect::Ended(_) => {}
        }
    }
}

impl Submission {
    /// The nodes of jobs that have ended.
    fn done(&self) -> impl Iterator<Item = NodeId> {
        self.jobs.values().filter(|row| row.has_ended()).map(|row| row.node)
    }
}

impl Row {
    fn has_ended(&self) -> bool {
        !matches!(self.state, JobState::Queued | JobState::Running)
    }

    fn saved(&self, key: u64) -> Option<SavedJob> {
        let is_running = match self.state {
            JobState::Running => true,
            JobState::Queued => false,
            _ => return None,
        };
        let Self { node, number, attempt, ready, is_killed, .. } = *self;
        Some(SavedJob { key, node, number, attempt, ready, is_running, is_killed })
    }
}

impl Disk {
    fn write(&mut self, write: Write, history: &mut History) {
        self.highest = self.highest.max(write.highest());
        match write {
            Write::Submitted(new) => self.add(*new, history),
            Write::Sent { key, number } => {
                history.attempts.entry(key).or_default().push(number);
                self.row(key).number = number;
            }
            Write::Started { key, .. } => self.row(key).state = JobState::Running,
            Write::Killing { key, .. } => self.row(key).is_killed = true,
            Write::Noted { .. } => history.notes += 1,
            Write::Moved { key, node, .. } => {
                let of_one = self.submissions.values().find(|one| one.jobs.contains_key(&key));
                let is_used = of_one.unwrap().jobs.values().any(|row| row.node == node);
                assert!(!is_used, "{node} has two jobs of one submission");
                let row = self.row(key);
                assert_eq!((row.number, row.attempt), (0, 1), "it was given to {}", row.node);
                row.node = node;
                history.moves += 1;
            }
            Write::Again { key, attempt, ready, .. } => {
                let row = self.row(key);
                (row.number, row.attempt, row.ready) = (0, attempt, ready);
                row.state = JobState::Queued;
            }
            Write::Ended { key, was, result, .. } => {
                let id = self.id_of(key);
                let row = self.row(key);
                assert_eq!(row.state, was, "{id}");
                row.state = result.state;
                assert_eq!(result.id, id);
                history.results.entry(key).or_default().push(JobResult::clone(&result));
            }
        }
    }

    fn add(&mut self, new: NewSubmission, history: &mut History) {
        let NewSubmission { key, request, by, time, start_by, end_by, jobs } = new;
        let row = |job: &drover_jobs::NewJob| Row {
            node: job.node,
            number: job.number,
            attempt: 1,
            ready: job.ready,
            state: JobState::Queued,
            is_killed: false,
        };
        for job in jobs.iter().filter(|job| job.number > 0) {
            history.attempts.entry(job.key).or_default().push(job.number);
        }
        let jobs = jobs.iter().map(|job| (job.key, row(job))).collect();
        let request = JobSubmit::clone(&request);
        let by = by.to_string();
        let is_new =
            self.submissions.insert(key, Submission { request, by, time, start_by, end_by, jobs });
        assert!(is_new.is_none(), "key {key} is given twice");
    }

    fn row(&mut self, key: u64) -> &mut Row {
        self.submissions.values_mut().find_map(|one| one.jobs.get_mut(&key)).unwrap()
    }

    fn id_of(&self, key: u64) -> JobId {
        let submission = self.submissions.values().find(|one| one.jobs.contains_key(&key)).unwrap();
        drover_api::job_on(&submission.request.command.id, submission.jobs[&key].node).unwrap()
    }
}
