//! The messages between the agent and the keeper: one JSON text in each packet.
//!
//! A keeper lives on while the agent is replaced, so both may be of different
//! versions of this program. New fields must have a default on the reading side;
//! whatever changes a meaning raises [`VERSION`].

use drover_api::JobId;
use serde::{Deserialize, Serialize};

use super::launch::{Exit, Force, KeptRun, Launch, LaunchError, TreeEnd};
use crate::tree::Tree;

/// The version of the messages.
pub(crate) const VERSION: u32 = 1;

/// What the agent says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// First of all.
    Hello { version: u32 },
    /// Answered by `Spawned` or `SpawnFailed`. With [`StdinKind::Data`] the packet
    /// carries the file to read.
    Spawn { number: u64, launch: Box<Launch>, stdin: StdinKind },
    /// To every process of the tree. Answered by `Done`.
    Signal { number: u64, id: JobId, signal: i32 },
    /// TERM, the grace, KILL. Answered by `Ended`.
    EndTree { number: u64, id: JobId, grace_ms: u64 },
    /// Closes the keeper's copy of the pipe to the child. Not answered.
    CloseStdin { id: JobId },
    /// The exit is written down and the output read: the keeper forgets the run
    /// and kills what is left of it. Not answered.
    Acknowledge { id: JobId },
}

/// Where a child reads from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StdinKind {
    Null,
    Data,
    Pipe,
}

/// What the keeper says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answer {
    /// To `Hello`; as many `Kept` follow as it says.
    Welcome { version: u32, pid: u32, force: Force, kept: usize },
    /// To `Hello`: the connection ends. Whether the reason may pass by itself.
    Refused { message: String, may_pass: bool },
    /// One run, with its descriptors: stdout, stderr and, if it is open, stdin.
    /// A lost run has none.
    Kept { run: KeptRun },
    /// Carries stdout, stderr and, if asked for, stdin.
    Spawned { number: u64, tree: Tree },
    /// Nothing was started.
    SpawnFailed { number: u64, error: LaunchError },
    /// The signal was sent to so many processes; `None`: no such run is kept.
    Done { number: u64, processes: Option<usize> },
    /// The tree has ended; `None`: no such run is kept.
    Ended { number: u64, end: Option<TreeEnd> },
    /// The first process of a run has ended and is reaped.
    Exited { id: JobId, exit: Exit, leftover: bool },
}
