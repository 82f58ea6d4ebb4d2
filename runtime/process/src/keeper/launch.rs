//! What is asked of the keeper, and what it tells of its children.

use std::fmt;
use std::path::PathBuf;

use drover_api::JobId;
use serde::{Deserialize, Serialize};

use crate::tree::Tree;

/// One program to start, with everything decided: nothing is looked up or
/// filled in later but `program`, which is searched in the `PATH` of `env` when
/// it has no slash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Names the run; no two runs that the keeper keeps have the same.
    pub id: JobId,
    /// The program.
    pub program: String,
    /// Its arguments, without the program's own name.
    pub args: Vec<String>,
    /// The whole environment; the keeper adds `DROVER_PROCESS` and `DROVER_RUN`.
    pub env: Vec<(String, String)>,
    /// Where it starts.
    pub working_dir: PathBuf,
    /// What it reads.
    #[serde(skip)]
    pub stdin: Stdin,
    /// Whom it runs as, a name or a number; the keeper's user if absent.
    pub user: Option<String>,
    /// Its group, a name or a number; that of the user if absent.
    pub group: Option<String>,
    /// What it may use.
    pub limits: Limits,
    /// Kept for whoever adopts the run, and not looked at.
    pub note: String,
}

/// What a child reads from its standard input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Stdin {
    /// Nothing: `/dev/null`.
    #[default]
    Null,
    /// These bytes, then the end. They are handed over whole, as a file in
    /// memory, so nobody has to feed the child.
    Data(Vec<u8>),
    /// A pipe. The keeper holds it open as well, so that the child does not
    /// notice when the agent is away; it ends at
    /// [`Keeper::close_stdin`](crate::Keeper::close_stdin).
    Pipe,
}

/// What a tree of processes may use.
///
/// [`Force`] tells how each limit is kept on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Memory in bytes: of the whole tree with a memory controller, else address
    /// space of each process.
    pub memory: Option<u64>,
    /// Processes and threads: of the whole tree with a pids controller, else all
    /// that the user has on the machine.
    pub processes: Option<u64>,
    /// Open files of each process.
    pub open_files: Option<u64>,
    /// Niceness, from -20 (first) to 19 (last).
    pub nice: Option<i32>,
}

/// How limits and ends are kept on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Force {
    /// Every run has a cgroup of its own; without, the tree is found by its
    /// environment, its session and its parents.
    pub own_cgroup: bool,
    /// Memory is bounded for the tree by a cgroup; without, by `RLIMIT_AS`.
    pub memory_cgroup: bool,
    /// Processes are bounded for the tree by a cgroup; without, by `RLIMIT_NPROC`.
    pub pids_cgroup: bool,
}

/// How the first process of a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Exit {
    /// It ended by itself with this status.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// The kernel killed it for want of memory; or others of its tree, and it failed
    /// with this status. Known where a memory cgroup is in force ([`Force`]).
    OutOfMemory {
        /// Its own status; none if it was killed itself, by signal 9.
        code: Option<i32>,
    },
    /// Nobody knows: the keeper was killed, and a new one ended what was left.
    Lost,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::OutOfMemory { code: None } => {
                f.write_str("signal 9: it ran out of memory; raise its limit, or have it use less")
            }
            Self::OutOfMemory { code: Some(code) } => write!(
                f,
                "exit status {code}: processes of it ran out of memory and were killed; raise its \
                 limit, or have them use less"
            ),
            Self::Lost => f.write_str("unknown: its keeper was killed"),
        }
    }
}

/// One process, as it was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// Its number.
    pub pid: u32,
    /// Its short name, as `ps` shows it.
    pub name: String,
}

/// How a tree was ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeEnd {
    /// Every process that was found while it was ended.
    pub found: Vec<Found>,
    /// Whether some had to be killed.
    pub killed: bool,
    /// What is still there after all: empty, unless the kernel itself is stuck
    /// in a process (state D).
    pub left: Vec<Found>,
}

/// A run whose program could not be started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct LaunchError {
    /// What a program can decide by.
    pub kind: LaunchErrorKind,
    /// What happened, to what, and what to do.
    pub message: String,
}

/// Why a program could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LaunchErrorKind {
    /// There is no such program, or its interpreter is missing.
    NoProgram,
    /// It may not be started.
    NotAllowed,
    /// The working directory is missing or closed to the user.
    WorkingDir,
    /// There is no such user or group, or the agent may not become it.
    User,
    /// A limit cannot be kept.
    Limit,
    /// The machine or the keeper has no descriptors, processes or memory left:
    /// the same may go well later.
    Exhausted,
    /// A run with this id is kept already.
    Duplicate,
    /// Anything else.
    Other,
}

/// A run that the keeper keeps, as it tells to an agent that connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptRun {
    /// Its processes.
    pub tree: Tree,
    /// The note of its [`Launch`]; empty when a killed keeper left the run.
    pub note: String,
    /// How it ended, if it did.
    pub exit: Option<Exit>,
}
