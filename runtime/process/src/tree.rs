//! A run's processes: who belongs to it, and how to signal them safely.

pub(crate) mod cgroup;
mod scan;

use std::path::PathBuf;

use drover_api::JobId;
use serde::{Deserialize, Serialize};

pub(crate) use scan::{MARK, Process, ProcessTable, Search};

/// A tree of processes: the first one of a run and all that come from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// The run.
    pub id: JobId,
    /// The first process, which leads a session of its own.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did: with it, a number
    /// that has been given to another process is not taken for this one.
    pub start_time: u64,
    /// `DROVER_RUN` in the environment of its processes: no other run has had it.
    /// Ends with a slash and the id.
    pub mark: String,
    /// The cgroup that is the run's alone, if it has one.
    pub cgroup: Option<PathBuf>,
    /// CPU time that the cgroup had used before, for another run, in microseconds.
    pub cpu_before: u64,
}
