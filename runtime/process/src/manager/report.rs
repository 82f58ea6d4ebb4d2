//! What the manager tells: of one job as it happens, and of all when asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use drover_api::{JobId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::keeper::Found;
use crate::lifecycle::{Outcome, RunEnd};
use crate::spec::ProcessSpec;
use crate::usage::TreeUsage;

/// A job, as its observer gets to know it.
#[derive(Debug, Clone)]
pub struct JobInfo {
    /// Its id.
    pub id: JobId,
    /// What it runs. Of a child of an earlier agent that is not on disk only what
    /// its end needs: program, domain, name, levels and times.
    pub spec: Arc<ProcessSpec>,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a job comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Somebody has just submitted it.
    Submitted,
    /// It is remembered from an earlier agent, and begins anew.
    Remembered,
    /// Its child runs since an earlier agent, which has died.
    Adopted,
    /// An earlier agent has handed it over as it was, whether it runs or waits.
    HandedOver,
}

impl Origin {
    /// Whether the job is in the middle of what an earlier agent had of it.
    #[must_use]
    pub fn goes_on(self) -> bool {
        matches!(self, Self::Adopted | Self::HandedOver)
    }
}

/// A job that an earlier agent has handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedJob {
    /// Its id.
    pub id: JobId,
    /// When it was accepted.
    pub accepted: Timestamp,
}

/// One of the two streams of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What happens to a job. `Started` to `RunEnded` make one run; a job can have
/// many; `Ended` is the last of all.
#[derive(Debug, Clone, PartialEq)]
pub enum JobEvent {
    /// The program was started, or taken over from an earlier agent.
    Started {
        /// The number of the run; the first is 1.
        run: u64,
        /// The child.
        pid: u32,
        /// When it started.
        time: Timestamp,
    },
    /// The child, or somebody who has its output, wrote these bytes: never empty,
    /// 64 KiB at most, cut anywhere.
    Output {
        /// Where to.
        stream: OutputStream,
        /// What.
        bytes: Bytes,
    },
    /// A line of the output matched the pattern for readiness.
    Ready,
    /// What the processes of the run use, at the interval of the command.
    Usage {
        /// How much.
        usage: TreeUsage,
        /// When it was measured.
        time: Timestamp,
    },
    /// Nothing of the run is left, and its output is complete. Also of a run
    /// whose program could not be started, which has no `Started`.
    RunEnded {
        /// Its number.
        run: u64,
        /// How.
        end: RunEnd,
        /// How long it took.
        took: Duration,
    },
    /// A failed run will be followed by another one.
    Restarting {
        /// After this wait.
        delay: Duration,
        /// How many runs have failed within five minutes.
        failures: usize,
    },
    /// The job waits for its next occurrence.
    Recurs {
        /// When, by the wall clock as it is now.
        at: Timestamp,
    },
    /// Somebody should be woken: a record of level 9.
    Critical {
        /// Why.
        message: String,
    },
    /// The job has ended for good.
    Ended {
        /// How.
        outcome: Outcome,
    },
}

/// A job that has not ended.
#[derive(Debug, Clone, PartialEq)]
pub struct JobStatus {
    /// Its id.
    pub id: JobId,
    /// What it runs.
    pub spec: Arc<ProcessSpec>,
    /// How far it has come.
    pub phase: Phase,
    /// How often its program was started.
    pub runs: u64,
    /// When it was accepted, or came back with the agent.
    pub accepted: Timestamp,
}

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waits for other jobs.
    WaitingForOthers,
    /// Waits for its serial queue, or for one of the running jobs to end.
    WaitingForTurn,
    /// Waits until then, by the wall clock as it is now: for its start, a
    /// restart or its next occurrence.
    WaitingForTime(Timestamp),
    /// Its program is being started.
    Starting,
    /// Its program runs.
    Running {
        /// The child.
        pid: u32,
        /// Since when.
        since: Timestamp,
        /// Whether it has said that it is ready, if it is to say so.
        is_ready: bool,
    },
    /// Its processes have been told to end.
    Stopping,
    /// The first process has ended; the rest of its tree or output not yet.
    Settling,
}

/// What the processes of one job use.
#[derive(Debug, Clone, PartialEq)]
pub struct JobUsage {
    /// The job.
    pub id: JobId,
    /// What it runs.
    pub spec: Arc<ProcessSpec>,
    /// How much.
    pub usage: TreeUsage,
    /// When it was measured.
    pub time: Timestamp,
}

/// What the jobs of one domain and name use together.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupUsage {
    /// The domain; may be empty.
    pub domain: String,
    /// The name.
    pub name: String,
    /// The jobs.
    pub jobs: Vec<JobId>,
    /// The sum over them.
    pub usage: TreeUsage,
}

/// Sums up jobs of the same domain and name, sorted by both.
pub(super) fn group(usages: Vec<JobUsage>) -> Vec<GroupUsage> {
    let mut groups = BTreeMap::<_, (Vec<JobId>, TreeUsage)>::new();
    for JobUsage { id, spec, usage, .. } in usages {
        let key = (spec.domain.clone(), spec.name.clone());
        let (jobs, sum) = groups.entry(key).or_default();
        jobs.push(id);
        *sum = TreeUsage {
            processes: sum.processes + usage.processes,
            threads: sum.threads + usage.threads,
            cpu_percent: sum.cpu_percent + usage.cpu_percent,
            cpu_ms: sum.cpu_ms + usage.cpu_ms,
            rss: sum.rss + usage.rss,
            vms: sum.vms + usage.vms,
            swap: sum.swap + usage.swap,
            open_files: sum.open_files + usage.open_files,
            read_bytes: sum.read_bytes + usage.read_bytes,
            written_bytes: sum.written_bytes + usage.written_bytes,
        };
    }
    let groups = groups.into_iter();
    groups.map(|((domain, name), (jobs, usage))| GroupUsage { domain, name, jobs, usage }).collect()
}

/// What was found and ended by a kill. No process of the job is left, except
/// those in `left`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillReport {
    /// The job.
    pub id: JobId,
    /// Every process that was found while the tree was ended; empty if the job
    /// was waiting, or its program had just ended.
    pub found: Vec<Found>,
    /// Whether TERM was not enough for all of them.
    pub killed: bool,
    /// What is still there after all: empty, unless the kernel itself is stuck
    /// in a process.
    pub left: Vec<Found>,
}
