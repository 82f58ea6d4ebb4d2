//! The controller's half: what was submitted, and what became of it.
//!
//! ```text
//!             ┌──────────── another attempt ◀─────────────┐
//!             ▼                                           │
//!   held ─▶ delayed ─▶ queued ─▶ sent ─▶ confirmed ─▶ running ─▶ ended
//!     └───────┴──────────┴── deadline, killed ───────────────────▲
//! ```
//!
//! A job is *held* while its submission has as many at work as it may, *delayed*
//! until its place in the spread or its next attempt, and *queued* until its node is
//! there and has room. Until it is sent, its end is the ledger's to decide; from then
//! on it is the node's, unless the deadline for its end has passed.

mod census;
mod ending;
mod job;
mod lane;
mod pace;
mod saved;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use drover_api::{
    DeliveredJob, ErrorCode, Holding, JobDelivered, JobId, JobKilled, JobReport, JobReported,
    JobState, JobSubmit, NodeId, Timestamp, Transition, job_on,
};

use crate::Step;
pub use census::Census;
use job::{Job, Phase};
use lane::Lane;
use pace::{Pace, place_in};
pub use saved::{NewJob, NewSubmission, SavedJob, SavedSubmission, Write};

/// How long the controller waits after the deadline of a job that a node has, before
/// it gives up on the node: the node ends it itself, if it is there.
const GRACE: Duration = Duration::from_secs(10);

/// When a node is asked again that did not answer, or had no room.
const AGAIN: Duration = Duration::from_secs(2);

/// How much the ledger takes.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Jobs that one node is given before it has ended others.
    pub window: usize,
    /// Jobs that wait for one node.
    pub most_per_node: usize,
    /// Jobs that have not ended.
    pub most: usize,
}

/// What the controller does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Deliver these attempts.
    Deliver(NodeId, Vec<u64>),
    /// Ask the node what it has of these, which it took before.
    Ask(NodeId, Vec<u64>),
    /// Have the node end these.
    Cancel(NodeId, Vec<u64>),
    /// Everything of the node below this number is over, and is so on disk.
    Settled(NodeId, u64),
    /// All jobs of a submission have ended.
    Ended(JobId),
}

/// A submission has no room.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what}; try again in {} s", .wait.as_secs().max(1))]
pub struct Refusal {
    /// What is full.
    pub what: String,
    /// When there will be room, about.
    pub wait: Duration,
}

type LedgerStep = Step<Write, Effect>;

/// Everything that has not ended.
#[derive(Debug)]
pub struct Ledger {
    rules: Rules,
    next: u64,
    submissions: HashMap<JobId, Open>,
    jobs: HashMap<u64, Job>,
    /// The jobs by the number of the attempt that was sent.
    sent: HashMap<u64, u64>,
    lanes: BTreeMap<NodeId, Lane>,
    due: BTreeSet<(Timestamp, Due)>,
    pace: Pace,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Job(u64),
    Lane(NodeId),
}

/// A submission that has not ended.
#[derive(Debug)]
struct Open {
    key: u64,
    request: Arc<JobSubmit>,
    by: Arc<str>,
    time: Timestamp,
    start_by: Option<Timestamp>,
    end_by: Option<Timestamp>,
    /// Jobs that have not ended.
    jobs: BTreeMap<NodeId, u64>,
    /// Jobs that are neither held nor ended.
    at_work: usize,
    held: VecDeque<u64>,
}

impl Ledger {
    /// An empty ledger whose numbers begin with `next`.
    #[must_use]
    pub fn new(rules: Rules, next: u64) -> Self {
        Self {
            rules,
            next: next.max(1),
            submissions: HashMap::new(),
            jobs: HashMap::new(),
            sent: HashMap::new(),
            lanes: BTreeMap::new(),
            due: BTreeSet::new(),
            pace: Pace::default(),
        }
    }

    /// The ledger of a controller that starts: `saved` is what had not ended. No node
    /// is there yet.
    #[must_use]
    pub fn restore(rules: Rules, next: u64, saved: Vec<SavedSubmission>, now: Timestamp) -> Self {
        let mut ledger = Self::new(rules, next);
        for submission in saved {
            ledger.take_back(submission, now);
        }
        ledger
    }

    /// Jobs that have not ended.
    #[must_use]
    pub fn unfinished(&self) -> usize {
        self.jobs.len()
    }

    /// Whether a submission has jobs that have not ended.
    #[must_use]
    pub fn is_open(&self, submission: &JobId) -> bool {
        self.submissions.contains_key(submission)
    }

    /// What was submitted, and for how many nodes that have not ended, if it is open.
    #[must_use]
    pub fn request(&self, submission: &JobId) -> Option<(&Arc<JobSubmit>, usize)> {
        self.submissions.get(submission).map(|open| (&open.request, open.jobs.len()))
    }

    /// The nodes of a submission on which it has not ended.
    pub fn nodes_of(&self, submission: &JobId) -> impl Iterator<Item = NodeId> {
        self.submissions.get(submission).into_iter().flat_map(|open| open.jobs.keys().copied())
    }

    /// Jobs that a node has, or waits for.
    #[must_use]
    pub fn load_of(&self, node: NodeId) -> usize {
        self.lanes.get(&node).map_or(0, |lane| lane.queue.len() + lane.sent.len())
    }

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
            jobs: BTreeMap::new(),
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
                is_killed: false,
            };
            open.jobs.insert(*node, key);
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

    /// A node has come, or has come back: it is told of everything again.
    pub fn node_joined(&mut self, node: NodeId, now: Timestamp) -> LedgerStep {
        let mut step = LedgerStep::default();
        self.lane(node).is_present = true;
        self.remind(&mut step, node, true);
        self.pump(&mut step, node, now);
        step
    }

    /// A node has gone. What it has stays with it.
    pub fn node_left(&mut self, node: NodeId) {
        self.lane(node).is_present = false;
    }

    /// A node is gone for good, and so are its jobs.
    pub fn node_forgotten(&mut self, node: NodeId, now: Timestamp) -> LedgerStep {
        let is_there = |one: NodeId| match one == node {
            true => Err("the node was forgotten"),
            false => Ok(()),
        };
        let mut step = self.judge(|_, one| is_there(one).map_err(str::to_owned), now);
        let sent = self.lanes.get(&node).map(|lane| lane.sent.clone()).unwrap_or_default();
        for number in sent {
            let Some(key) = self.sent.get(&number).copied() else { continue };
            let message = "the node was forgotten: what became of it there is not known";
            let (state, code) = (JobState::Error, ErrorCode::Interrupted);
            let result = self.without_answer(key, state, code, message, now);
            self.end(&mut step, key, result, now);
        }
        self.lane(node).is_present = false;
        step
    }

    /// A node has answered a delivery, or not.
    pub fn delivered(
        &mut self,
        node: NodeId,
        answer: Option<&JobDelivered>,
        now: Timestamp,
    ) -> LedgerStep {
        let mut step = LedgerStep::default();
        let Some(answer) = answer else {
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

    /// Ends the jobs of a submission, or the one on `node`.
    pub fn kill(
        &mut self,
        submission: &JobId,
        node: Option<NodeId>,
        force: bool,
        by: &str,
        now: Timestamp,
    ) -> (LedgerStep, JobKilled) {
        let mut step = LedgerStep::default();
        let mut killed = JobKilled { ended: 0, told: 0 };
        let Some(open) = self.submissions.get_mut(submission) else { return (step, killed) };
        let is_meant = |one: &NodeId| node.is_none_or(|node| node == *one);
        let keys: Vec<_> =
            open.jobs.iter().filter(|(node, _)| is_meant(node)).map(|(_, key)| *key).collect();
        // None of them is to take the place of another.
        open.held.retain(|key| !keys.contains(key));
        for key in keys {
            let job = self.jobs.get_mut(&key).expect("it is open");
            let (node, number) = (job.node, job.number);
            if job.is_with_node() {
                let is_first = !std::mem::replace(&mut job.is_killed, true);
                step.effects.push(Effect::Cancel(node, vec![number]));
                if !force {
                    killed.told += 1;
                    if is_first {
                        let reason = format!("{by} ends it; the node is told");
                        let state = job.state();
                        let transition = Transition { time: now, state, reason };
                        step.writes.push(Write::Killing { key, transition });
                    }
                    self.remind_later(node, now);
                    continue;
                }
            }
            killed.ended += 1;
            let message = match self.jobs[&key].is_with_node() {
                true => format!("{by} gave it up: what became of it on the node is not known"),
                false => format!("{by} ended it before it started"),
            };
            let result =
                self.without_answer(key, JobState::Killed, ErrorCode::Cancelled, &message, now);
            self.end(&mut step, key, result, now);
        }
        (step, killed)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Timestamp) -> LedgerStep {
        let mut step = LedgerStep::default();
        while let Some((time, due)) = self.due.first().copied() {
            if time > now {
                break;
            }
            self.due.pop_first();
            match due {
                Due::Lane(node) => {
                    self.lane(node).is_reminded = false;
                    self.remind(&mut step, node, false);
                    self.pump(&mut step, node, now);
                }
                Due::Job(key) => self.job_due(&mut step, key, now),
            }
        }
        step
    }

    /// When `tick` has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(time, _)| *time)
    }

    fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    fn lane(&mut self, node: NodeId) -> &mut Lane {
        self.lanes.entry(node).or_default()
    }

    /// Whether there is room for one more job on each of these nodes.
    fn admit(&self, nodes: &[NodeId], by: &str, now: Timestamp) -> Result<(), Refusal> {
        let over = |have: usize, more: usize, most: usize| (have + more).saturating_sub(most);
        let excess = over(self.jobs.len(), nodes.len(), self.rules.most);
        if excess > 0 {
            let what = format!(
                "the controller has {} jobs that have not ended, and takes {} (`jobs.max_queued`)",
                self.jobs.len(),
                self.rules.most
            );
            return Err(Refusal { what, wait: self.pace.wait(excess, now) });
        }
        for node in nodes {
            let Some(lane) = self.lanes.get(node) else { continue };
            let most = self.rules.most_per_node;
            let all = over(lane.queue.len(), 1, most);
            // One alone cannot fill the queue for all.
            let own = over(lane.queue.len_of(by), 1, most.div_ceil(2));
            if all.max(own) > 0 {
                let whose = if own > 0 { format!(" of {by}") } else { String::new() };
                let what = format!(
                    "{} jobs{whose} wait for node {node} (`jobs.max_queued_per_node` is {most})",
                    if own > 0 { lane.queue.len_of(by) } else { lane.queue.len() },
                );
                let wait = self.pace.wait(all.max(own), now);
                return Err(Refusal { what, wait });
            }
        }
        Ok(())
    }

    /// Lets go of as many held jobs as may be at work.
    fn release(&mut self, step: &mut LedgerStep, submission: &JobId, now: Timestamp) {
        let most = |open: &Open| open.request.at_once.map_or(usize::MAX, |most| most as usize);
        let mut nodes = Vec::new();
        while let Some(open) = self.submissions.get_mut(submission) {
            if open.at_work >= most(open) {
                break;
            }
            let Some(key) = open.held.pop_front() else { break };
            let by = Arc::clone(&open.by);
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            let Phase::Held(ready) = job.phase else { continue };
            open.at_work += 1;
            if ready > now {
                job.phase = Phase::Delayed(ready);
                self.schedule(key);
            } else {
                job.phase = Phase::Queued;
                let node = job.node;
                self.lane(node).queue.push(&by, key);
                nodes.push(node);
            }
        }
        for node in nodes {
            self.pump(step, node, now);
        }
    }

    /// Gives a node what it may have.
    fn pump(&mut self, step: &mut LedgerStep, node: NodeId, now: Timestamp) {
        let window = self.rules.window;
        let mut numbers = Vec::new();
        loop {
            let lane = self.lane(node);
            if !lane.is_present || lane.sent.len() >= window {
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
    fn remind(&mut self, step: &mut LedgerStep, node: NodeId, everything: bool) {
        let lane = self.lane(node);
        if !lane.is_present {
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
    fn remind_later(&mut self, node: NodeId, now: Timestamp) {
        let lane = self.lane(node);
        if !std::mem::replace(&mut lane.is_reminded, true) {
            self.due.insert((later(now, AGAIN), Due::Lane(node)));
        }
    }

    /// Has `tick` look at a job when there is something to do about it.
    fn schedule(&mut self, key: u64) {
        let Some(job) = self.jobs.get(&key) else { return };
        let Some(open) = self.submissions.get(&job.submission) else { return };
        let first = job.attempt == 1;
        let by = match job.phase {
            Phase::Sent { .. } | Phase::Running => open.end_by.map(|by| later(by, GRACE)),
            Phase::Held(_) | Phase::Delayed(_) | Phase::Queued => {
                let start_by = open.start_by.filter(|_| first);
                let by = start_by.into_iter().chain(open.end_by).min();
                let ready = match job.phase {
                    Phase::Delayed(ready) => Some(ready),
                    _ => None,
                };
                by.into_iter().chain(ready).min()
            }
        };
        if let Some(by) = by {
            self.due.insert((by, Due::Job(key)));
        }
    }

    fn settled_below(&self, node: NodeId) -> u64 {
        let lane = self.lanes.get(&node);
        lane.and_then(|lane| lane.sent.first().copied()).unwrap_or(self.next)
    }
}

fn later(time: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
