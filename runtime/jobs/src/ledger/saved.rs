//! What the controller writes down, and how it goes on from there.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use drover_api::{JobId, JobResult, JobState, JobSubmit, NodeId, Timestamp, Transition, job_on};

use super::job::{Job, Phase};
use super::{Ledger, Open};

/// What the controller writes. Keys and numbers come from one series, which never
/// repeats, also when what has ended is deleted.
#[derive(Debug)]
pub enum Write {
    /// A submission with all its jobs, which are queued.
    Submitted(Box<NewSubmission>),
    /// A job is about to be delivered.
    Sent {
        /// The job.
        key: u64,
        /// The number of the attempt.
        number: u64,
    },
    /// A job is `RUNNING`.
    Started {
        /// The job.
        key: u64,
        /// What became of it.
        transition: Transition,
    },
    /// A job is to end; its state stays.
    Killing {
        /// The job.
        key: u64,
        /// What became of it.
        transition: Transition,
    },
    /// Something was found out about a job; its state stays.
    Noted {
        /// The job.
        key: u64,
        /// What.
        transition: Transition,
    },
    /// A job that no node has is another node's.
    Moved {
        /// The job.
        key: u64,
        /// The node.
        node: NodeId,
        /// What became of it.
        transition: Transition,
    },
    /// A job is `QUEUED` for another attempt, and not with its node.
    Again {
        /// The job.
        key: u64,
        /// Which one.
        attempt: u32,
        /// Not before.
        ready: Timestamp,
        /// What became of it.
        transitions: Vec<Transition>,
    },
    /// A job has ended.
    Ended {
        /// The job.
        key: u64,
        /// The submission.
        submission: u64,
        /// When that was made.
        submitted: Timestamp,
        /// The state that it was in.
        was: JobState,
        /// What became of it.
        transitions: Vec<Transition>,
        /// Its result, whose state it is in.
        result: Box<JobResult>,
    },
}

impl Write {
    /// The highest key or number in it.
    #[must_use]
    pub fn highest(&self) -> u64 {
        match self {
            Self::Submitted(new) => {
                let jobs = new.jobs.iter().map(|job| job.key.max(job.number));
                jobs.max().unwrap_or_default().max(new.key)
            }
            Self::Sent { number, .. } => *number,
            _ => 0,
        }
    }
}

/// A submission, about to be written.
#[derive(Debug)]
pub struct NewSubmission {
    /// Its key.
    pub key: u64,
    /// What was submitted.
    pub request: Arc<JobSubmit>,
    /// By whom.
    pub by: Arc<str>,
    /// When.
    pub time: Timestamp,
    /// The deadline for starting.
    pub start_by: Option<Timestamp>,
    /// The deadline for ending.
    pub end_by: Option<Timestamp>,
    /// Its jobs.
    pub jobs: Vec<NewJob>,
}

/// A job, about to be written.
#[derive(Debug)]
pub struct NewJob {
    /// Its key.
    pub key: u64,
    /// Its node.
    pub node: NodeId,
    /// The number of the attempt that is about to be delivered; 0: none.
    pub number: u64,
    /// Not before.
    pub ready: Timestamp,
}

/// A submission that has not ended, as it was written.
#[derive(Debug)]
pub struct SavedSubmission {
    /// Its key.
    pub key: u64,
    /// What was submitted.
    pub request: JobSubmit,
    /// By whom.
    pub by: String,
    /// When.
    pub time: Timestamp,
    /// The deadline for starting.
    pub start_by: Option<Timestamp>,
    /// The deadline for ending.
    pub end_by: Option<Timestamp>,
    /// How many nodes it is for.
    pub nodes: u64,
    /// Those of its jobs that have not ended.
    pub jobs: Vec<SavedJob>,
    /// The nodes of those that have, if it is for any of several.
    pub done: Vec<NodeId>,
}

/// A job that has not ended, as it was written.
#[derive(Debug)]
pub struct SavedJob {
    /// Its key.
    pub key: u64,
    /// Its node.
    pub node: NodeId,
    /// The number of the attempt that was delivered, or was about to be; 0: none.
    pub number: u64,
    /// Which attempt.
    pub attempt: u32,
    /// Not before.
    pub ready: Timestamp,
    /// Whether it is known to run.
    pub is_running: bool,
    /// Whether it is to end.
    pub is_killed: bool,
}

impl Ledger {
    pub(super) fn take_back(&mut self, saved: SavedSubmission, now: Timestamp) {
        let SavedSubmission { key, request, by, time, start_by, end_by, nodes, jobs, done } = saved;
        let id: JobId = request.command.id.clone();
        let by: Arc<str> = by.into();
        let mut open = Open {
            key,
            request: Arc::new(request),
            nodes,
            by: Arc::clone(&by),
            time,
            start_by,
            end_by,
            jobs: BTreeMap::new(),
            done: done.into_iter().collect(),
            at_work: 0,
            held: VecDeque::new(),
        };
        let mut keys = Vec::with_capacity(jobs.len());
        for saved in jobs {
            // It was written, so the name fits.
            let Ok(job_id) = job_on(&id, saved.node) else { continue };
            let phase = match saved.number {
                // An attempt after the first has its place among those at work.
                0 if saved.attempt > 1 => Phase::Delayed(saved.ready),
                0 => Phase::Held(saved.ready),
                _ if saved.is_running => Phase::Running,
                _ => Phase::Sent { is_confirmed: false },
            };
            let has_place = !matches!(phase, Phase::Held(_));
            match has_place {
                true => open.at_work += 1,
                false => open.held.push_back(saved.key),
            }
            if saved.number > 0 {
                self.sent.insert(saved.number, saved.key);
                let lane = self.lane(saved.node);
                lane.sent.insert(saved.number);
                lane.queue.add_under_way(&by);
            }
            self.mind(&open, saved.node, saved.key);
            open.jobs.insert(saved.node, saved.key);
            keys.push(saved.key);
            self.jobs.insert(
                saved.key,
                Job {
                    key: saved.key,
                    id: job_id,
                    submission: id.clone(),
                    node: saved.node,
                    number: saved.number,
                    attempt: saved.attempt,
                    phase,
                    has_place,
                    is_killed: saved.is_killed,
                    is_known_to_stay: false,
                },
            );
        }
        if open.jobs.is_empty() {
            return;
        }
        self.submissions.insert(id.clone(), open);
        // No node is there, so nothing is sent.
        let _ = {
            let mut step = super::LedgerStep::default();
            self.release(&mut step, &id, now);
            step
        };
        for key in keys {
            self.schedule(key);
        }
    }
}
