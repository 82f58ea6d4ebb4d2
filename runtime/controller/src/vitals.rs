//! What the controller counts of itself, and the [`service`] that tells it on a
//! [`page`], over WAMP and at `/metrics` of its port.
//!
//! Each service counts what it does, and says now and then how much there is; nobody
//! is asked when the page is written, so it is there even when somebody is stuck.

mod page;
mod service;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use drover_api::{JobState, Presence, RolloutPhase, Timestamp};
use drover_jobs::{Census, Write};
use drover_vitals::{Counter, Histogram};

pub(crate) use service::{PAGES, Sources, run as serve};

/// The states that jobs end in.
const ENDED: [(JobState, &str); 4] = [
    (JobState::Ok, "OK"),
    (JobState::Error, "ERROR"),
    (JobState::Timeout, "TIMEOUT"),
    (JobState::Killed, "KILLED"),
];

/// What is counted; a handle, cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Vitals(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    heartbeats: Counter,
    submissions: Counter,
    refused_submissions: Counter,
    ended: [Counter; ENDED.len()],
    /// From the submission to the result.
    lasted: Histogram,
    /// On the node.
    ran: Histogram,
    now: Mutex<Now>,
}

/// What there is, as it was said last.
#[derive(Debug, Clone, Default)]
struct Now {
    nodes: BTreeMap<u32, Presences>,
    jobs: Census,
    jobs_cannot_be_written: bool,
    rollouts: BTreeMap<&'static str, u64>,
}

/// The nodes of a grid.
#[derive(Debug, Clone, Copy, Default)]
struct Presences {
    present: u64,
    lost: u64,
}

impl Vitals {
    /// A node has given a sign of life.
    pub(crate) fn heartbeat(&self) {
        self.0.heartbeats.one();
    }

    /// A submission was taken, or refused.
    pub(crate) fn submitted(&self, is_taken: bool) {
        match is_taken {
            true => self.0.submissions.one(),
            false => self.0.refused_submissions.one(),
        }
    }

    /// Jobs change so.
    pub(crate) fn jobs_change(&self, writes: &[Write], now: Timestamp) {
        for write in writes {
            let Write::Ended { submitted, result, .. } = write else { continue };
            let mut counters = ENDED.iter().zip(&self.0.ended);
            if let Some((_, counter)) = counters.find(|((state, _), _)| *state == result.state) {
                counter.one();
            }
            self.0.lasted.observe(now.since(*submitted));
            // What a node says is a number of any kind.
            self.0.ran.observe(Duration::try_from_secs_f64(result.time / 1e3).unwrap_or_default());
        }
    }

    /// These are the nodes: their grids, and whether they are there.
    pub(crate) fn nodes(&self, nodes: impl Iterator<Item = (u32, Presence)>) {
        let mut grids = BTreeMap::<u32, Presences>::new();
        for (grid, presence) in nodes {
            let counted = grids.entry(grid).or_default();
            match presence {
                Presence::Present => counted.present += 1,
                Presence::Lost => counted.lost += 1,
            }
        }
        self.now().nodes = grids;
    }

    /// These are the jobs that have not ended, and whether they can be written down.
    pub(crate) fn jobs(&self, jobs: Census, are_writable: bool) {
        let mut now = self.now();
        (now.jobs, now.jobs_cannot_be_written) = (jobs, !are_writable);
    }

    /// These are the rollouts that are not over.
    pub(crate) fn rollouts<'a>(&self, phases: impl Iterator<Item = &'a RolloutPhase>) {
        let mut counted = BTreeMap::new();
        for phase in phases {
            let word = match phase {
                RolloutPhase::Running => "running",
                RolloutPhase::Between { .. } => "between",
                RolloutPhase::Paused { .. } => "paused",
                RolloutPhase::GoingBack { .. } => "going-back",
                RolloutPhase::Ended { .. } => continue,
            };
            *counted.entry(word).or_default() += 1;
        }
        self.now().rollouts = counted;
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.0.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
