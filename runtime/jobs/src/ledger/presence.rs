//! Nodes that come and go, and what becomes of the jobs of those that stay away.
//!
//! - What waits for a node waits until it is there. If it is for any of several, it
//!   moves to one that is there when its own has stayed away for a while.
//! - What a node was given stays with it, and says why: it may have begun there, and is
//!   to begin once at most.
//! - Where only so many may be at work, their places are for nodes that are there.
//!   What waits gives its place up at once, and what its node was given when that has
//!   been away for a minute.

use std::sync::Arc;
use std::time::Duration;

use drover_api::{ErrorCode, JobId, JobState, JobSubmit, NodeId, Timestamp, Transition, job_on};

use super::job::Phase;
use super::lane::Presence;
use super::saved::Write;
use super::{Due, Ledger, LedgerStep, later};

/// How long a node may be away before another does what is for any of several: agents
/// and controllers are restarted in less.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long the place of a job is kept whose node was given it and is away.
const PLACE_KEPT: Duration = Duration::from_secs(60);

/// A job that waits for a node and may be another's.
#[derive(Debug, Clone)]
pub struct Stranded {
    /// The node.
    pub node: NodeId,
    /// The job.
    pub key: u64,
    /// What was submitted.
    pub request: Arc<JobSubmit>,
}

impl Ledger {
    /// A node has come, or has come back: it is told of everything again.
    pub fn node_joined(&mut self, node: NodeId, now: Timestamp) -> LedgerStep {
        let mut step = LedgerStep::default();
        self.lane(node).presence = Presence::There;
        self.remind(&mut step, node, true);
        self.take_places(&mut step, node, now);
        self.pump(&mut step, node, now);
        step
    }

    /// A node has gone. What it was given stays with it.
    pub fn node_left(&mut self, node: NodeId, now: Timestamp) -> LedgerStep {
        let mut step = LedgerStep::default();
        if matches!(self.lane(node).presence, Presence::Away(_)) {
            return step;
        }
        self.go_away(node, now);
        for key in self.lane(node).flexible.clone() {
            let job = &self.jobs[&key];
            if job.phase == Phase::Queued && self.is_limited(&job.submission) {
                let submission = job.submission.clone();
                self.hold(key);
                self.release(&mut step, &submission, now);
            }
        }
        step
    }

    /// A node is gone for good, and so are its jobs.
    pub fn node_forgotten(&mut self, node: NodeId, now: Timestamp) -> LedgerStep {
        self.lane(node).presence = Presence::Away(now);
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
        step
    }

    /// Jobs whose node has stayed away, and that may be another's: at most so many, in
    /// the order of nodes and keys, beginning behind `after`.
    #[must_use]
    pub fn stranded(
        &self,
        after: Option<(NodeId, u64)>,
        most: usize,
        now: Timestamp,
    ) -> Vec<Stranded> {
        let (first, last_seen) = after.unwrap_or((NodeId::new(0, 0), 0));
        let mut stranded = Vec::new();
        for (node, lane) in self.lanes.range(first..) {
            let from = if *node == first { last_seen + 1 } else { 0 };
            if lane.has_stayed_away(PATIENCE, now) {
                stranded.extend(self.movable(*node, from).take(most - stranded.len()));
            }
            if stranded.len() == most {
                break;
            }
        }
        stranded
    }

    /// Jobs that wait for a node, and may be another's.
    #[must_use]
    pub fn movable_from(&self, node: NodeId) -> Vec<Stranded> {
        self.movable(node, 0).collect()
    }

    /// Whether a job may be this node's from now on: the node is there and has room, and
    /// its submission has and had no other job on it.
    #[must_use]
    pub fn may_move(&self, key: u64, to: NodeId) -> bool {
        let Some(job) = self.jobs.get(&key).filter(|job| job.may_move()) else { return false };
        let open = &self.submissions[&job.submission];
        open.request.any.is_some()
            && self.is_there(to)
            && !open.jobs.contains_key(&to)
            && !open.done.contains(&to)
            && self.excess(to, &open.by).is_none()
    }

    /// Has a job that waits for a node wait for another one. Nothing happens unless it
    /// [may](Self::may_move).
    pub fn move_on(&mut self, key: u64, to: NodeId, now: Timestamp) -> LedgerStep {
        let mut step = LedgerStep::default();
        if !self.may_move(key, to) {
            return step;
        }
        let Ok(id) = job_on(&self.jobs[&key].submission, to) else { return step };
        self.hold(key);
        let job = self.jobs.get_mut(&key).expect("it may move");
        let (from, submission) = (job.node, job.submission.clone());
        (job.node, job.id) = (to, id);
        let reason = format!("node {from} is away and was not given the job: it goes to node {to}");
        let transition = Transition { time: now, state: job.state(), reason };
        step.writes.push(Write::Moved { key, node: to, transition });
        let open = self.submissions.get_mut(&submission).expect("its jobs have not ended");
        open.jobs.remove(&from);
        open.jobs.insert(to, key);
        self.lane(from).flexible.remove(&key);
        self.lane(to).flexible.insert(key);
        self.release(&mut step, &submission, now);
        self.schedule(key);
        step
    }

    /// Does what follows when a node stays away.
    pub(super) fn still_away(&mut self, step: &mut LedgerStep, node: NodeId, now: Timestamp) {
        let lane = self.lane(node);
        let (is_missed, is_given_up) =
            (lane.has_stayed_away(PATIENCE, now), lane.has_stayed_away(PLACE_KEPT, now));
        for key in lane.flexible.clone() {
            if is_missed {
                self.say_why_it_stays(step, key, now);
            }
            if is_given_up {
                self.give_place_up(step, key, now);
            }
        }
    }

    /// A node is away from now on, and looked after while it stays so.
    pub(super) fn go_away(&mut self, node: NodeId, now: Timestamp) {
        let lane = self.lane(node);
        lane.presence = Presence::Away(now);
        if !lane.flexible.is_empty() {
            self.due.insert((later(now, PATIENCE), Due::Away(node)));
            self.due.insert((later(now, PLACE_KEPT), Due::Away(node)));
        }
    }

    /// Whether a job has to give way to others of its submission before it is queued.
    pub(super) fn gives_way(&self, key: u64) -> bool {
        let job = &self.jobs[&key];
        self.is_limited(&job.submission) && !(job.has_place && self.is_there(job.node))
    }

    fn is_there(&self, node: NodeId) -> bool {
        self.lanes.get(&node).is_some_and(|lane| lane.presence == Presence::There)
    }

    /// Takes a job that waits out of its queue, and its place from it.
    pub(super) fn hold(&mut self, key: u64) {
        let job = self.jobs.get_mut(&key).expect("whoever asks has looked");
        let (node, phase) = (job.node, job.phase);
        let had_place = std::mem::replace(&mut job.has_place, false);
        job.phase = match phase {
            Phase::Held(ready) | Phase::Delayed(ready) => Phase::Held(ready),
            _ => Phase::Held(Timestamp(0)),
        };
        let open = self.submissions.get_mut(&job.submission).expect("its jobs have not ended");
        if had_place {
            open.at_work -= 1;
        }
        if !matches!(phase, Phase::Held(_)) {
            open.held.push_back(key);
        }
        let by = Arc::clone(&open.by);
        if phase == Phase::Queued {
            self.lane(node).queue.remove(&by, &key);
        }
    }

    fn movable(&self, node: NodeId, from: u64) -> impl Iterator<Item = Stranded> {
        let keys =
            self.lanes.get(&node).into_iter().flat_map(move |lane| lane.flexible.range(from..));
        keys.filter_map(move |key| {
            let job = self.jobs.get(key).filter(|job| job.may_move())?;
            let request = &self.submissions[&job.submission].request;
            let is_for_any = request.any.is_some();
            is_for_any.then(|| Stranded { node, key: *key, request: Arc::clone(request) })
        })
    }

    fn is_limited(&self, submission: &JobId) -> bool {
        self.submissions[submission].request.at_once.is_some()
    }

    /// A node is there: what it has is at work, and what waits for it may have a place.
    fn take_places(&mut self, step: &mut LedgerStep, node: NodeId, now: Timestamp) {
        for key in self.lane(node).flexible.clone() {
            let job = self.jobs.get_mut(&key).expect("it has not ended");
            let submission = job.submission.clone();
            let open = self.submissions.get_mut(&submission).expect("its jobs have not ended");
            if open.request.at_once.is_some() {
                if job.is_with_node() && !std::mem::replace(&mut job.has_place, true) {
                    open.at_work += 1;
                }
                self.release(step, &submission, now);
            }
        }
    }

    /// Another one may be at work instead of a job whose node was given it and is away.
    fn give_place_up(&mut self, step: &mut LedgerStep, key: u64, now: Timestamp) {
        let job = self.jobs.get_mut(&key).expect("it has not ended");
        let submission = job.submission.clone();
        let open = self.submissions.get_mut(&submission).expect("its jobs have not ended");
        if open.request.at_once.is_some()
            && job.is_with_node()
            && std::mem::replace(&mut job.has_place, false)
        {
            open.at_work -= 1;
            self.release(step, &submission, now);
        }
    }

    /// Whoever asks for a job that is for any of several nodes is told why it stays with
    /// one that is away; once.
    fn say_why_it_stays(&mut self, step: &mut LedgerStep, key: u64, now: Timestamp) {
        let job = self.jobs.get_mut(&key).expect("it has not ended");
        let is_for_any = self.submissions[&job.submission].request.any.is_some();
        if !is_for_any || job.may_move() || std::mem::replace(&mut job.is_known_to_stay, true) {
            return;
        }
        let node = job.node;
        let why = match job.phase {
            Phase::Running => "it has begun there",
            Phase::Sent { .. } => "it was given to that node and may have begun there",
            _ => "it has been tried there",
        };
        let reason = format!("node {node} is away, and the job stays with it: {why}");
        let transition = Transition { time: now, state: job.state(), reason };
        step.writes.push(Write::Noted { key, transition });
    }
}
