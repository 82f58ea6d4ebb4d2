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
//!
//! What is taken is in [`admission`], what nodes are given in [`delivery`], how jobs
//! end in [`ending`], and what becomes of those whose node is away in [`presence`].

mod admission;
mod census;
mod delivery;
mod ending;
mod job;
mod lane;
mod pace;
mod presence;
mod saved;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use drover_api::{JobId, JobSubmit, NodeId, Timestamp};

use crate::Step;
pub use admission::Refusal;
pub use census::Census;
use job::{Job, Phase};
use lane::{Lane, Presence};
use pace::Pace;
pub use presence::Stranded;
pub use saved::{NewJob, NewSubmission, SavedJob, SavedSubmission, Write};

/// How long the controller waits after the deadline of a job that a node has, before
/// it gives up on the node: the node ends it itself, if it is there.
const GRACE: Duration = Duration::from_secs(10);

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
    /// What has ended since somebody asked, and for how many nodes it was.
    ended: Vec<(Arc<JobSubmit>, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Job(u64),
    Lane(NodeId),
    /// A node has been away for a while.
    Away(NodeId),
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
    /// How many it is for.
    nodes: u64,
    /// Jobs that have not ended.
    jobs: BTreeMap<NodeId, u64>,
    /// Nodes on which one has ended, if it is for any of several: none gets two.
    done: BTreeSet<NodeId>,
    /// Jobs that have a place: those that are neither held nor ended, but for what
    /// nodes were given that are away.
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
            ended: Vec::new(),
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
        // Some of them may be gone for good.
        let nodes: Vec<_> = ledger.lanes.keys().copied().collect();
        for node in nodes {
            ledger.go_away(node, now);
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

    /// What was submitted, and for how many nodes, if it has not ended.
    #[must_use]
    pub fn request(&self, submission: &JobId) -> Option<(&Arc<JobSubmit>, u64)> {
        self.submissions.get(submission).map(|open| (&open.request, open.nodes))
    }

    /// What was submitted and has ended since the last time, and for how many nodes: whoever
    /// looks for it on disk does not find it there yet.
    #[must_use]
    pub fn take_ended(&mut self) -> Vec<(Arc<JobSubmit>, u64)> {
        std::mem::take(&mut self.ended)
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
                    let lane = self.lane(node);
                    lane.is_reminded = false;
                    let everything = std::mem::take(&mut lane.is_to_be_asked);
                    self.remind(&mut step, node, everything);
                    self.pump(&mut step, node, now);
                }
                Due::Job(key) => self.job_due(&mut step, key, now),
                Due::Away(node) => self.still_away(&mut step, node, now),
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

    /// Remembers a job of whose submission others go on while its node is away.
    fn mind(&mut self, open: &Open, node: NodeId, key: u64) {
        if open.request.any.is_some() || open.request.at_once.is_some() {
            self.lane(node).flexible.insert(key);
        }
    }

    /// Lets go of as many held jobs as may be at work. Where that is bounded, places
    /// are for nodes that are there.
    fn release(&mut self, step: &mut LedgerStep, submission: &JobId, now: Timestamp) {
        let most = |open: &Open| open.request.at_once.map_or(usize::MAX, |most| most as usize);
        let mut nodes = Vec::new();
        while let Some(open) = self.submissions.get_mut(submission) {
            if open.at_work >= most(open) {
                break;
            }
            let next = match open.request.at_once {
                None => open.held.pop_front(),
                Some(_) => {
                    let (jobs, lanes) = (&self.jobs, &self.lanes);
                    let is_there = |key: &u64| {
                        let lane = jobs.get(key).and_then(|job| lanes.get(&job.node));
                        lane.is_some_and(|lane| lane.presence == Presence::There)
                    };
                    let place = open.held.iter().position(is_there);
                    place.and_then(|place| open.held.remove(place))
                }
            };
            let Some(key) = next else { break };
            let by = Arc::clone(&open.by);
            let Some(job) = self.jobs.get_mut(&key) else { continue };
            let Phase::Held(ready) = job.phase else { continue };
            open.at_work += 1;
            job.has_place = true;
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
}

fn later(time: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests;
