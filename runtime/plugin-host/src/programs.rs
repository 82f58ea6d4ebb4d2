//! What a host wants of whoever runs programs for its plugins.
//!
//! The host decides whether a plugin may run a program; who runs it starts it,
//! passes its output on, and ends it with all that it has started.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use drover_api::JobId;
use tokio::sync::{mpsc, oneshot};

/// Something that is being done.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs programs for plugins. Called on the host's threads.
pub trait Programs: fmt::Debug + Send + Sync {
    /// Begins to start a program, and does not wait for that.
    fn start(&self, program: Program) -> Started;
}

/// A program to run; everything about it is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The plugin that runs it.
    pub plugin: String,
    /// Its path. Nothing is looked up.
    pub path: String,
    /// Its arguments, as they are.
    pub arguments: Vec<String>,
    /// What is set in its environment, as it is.
    pub environment: BTreeMap<String, String>,
    /// Where it starts.
    pub directory: PathBuf,
    /// Whether it gets anything to read on its standard input.
    pub has_input: bool,
    /// The user that it runs as; none: that of who runs it.
    pub user: Option<String>,
    /// What it and its descendants may use of the memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// How many processes it and its descendants may be.
    pub processes: Option<u64>,
    /// How long it may run.
    pub max_time: Option<Duration>,
}

/// A program that is on its way.
pub struct Started {
    /// The job that it is, for who runs programs.
    pub id: JobId,
    /// Whether it runs; comes once.
    pub began: oneshot::Receiver<Result<(), NotStarted>>,
    /// What it writes, until both streams have ended. The program waits while
    /// this is full; once it is dropped, output is thrown away.
    pub output: mpsc::Receiver<ProgramOutput>,
    /// How it ended; comes after all output.
    pub ended: oneshot::Receiver<Ending>,
    /// Writes to it and ends it.
    pub control: Box<dyn ProgramControl>,
}

/// Why a program does not run: for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotStarted(pub String);

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramOutput {
    /// Where it was written.
    pub stream: ProgramStream,
    /// What: never empty, at most 64 KiB.
    pub bytes: Bytes,
}

/// Where a program writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgramStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
    /// For want of the memory that it may use.
    OutOfMemory,
    /// It took too long.
    Timeout,
    /// It was ended by its [`ProgramControl`].
    Killed,
    /// Nobody knows.
    Unknown,
}

/// A program in the hands of its plugin. Dropping it ends the program, and
/// nobody waits for that.
pub trait ProgramControl: Send + Sync {
    /// Writes to its standard input; waits while the program does not read.
    fn write<'a>(&'a self, bytes: &'a [u8]) -> Doing<'a, io::Result<()>>;

    /// Ends its standard input.
    fn close_input(&self) -> Doing<'_, ()>;

    /// Begins to end the program with all that it has started. Again: nothing.
    fn end(&self);

    /// Waits until nothing of it is there any more; gives the processes of which
    /// that cannot be had.
    fn gone(&self) -> Doing<'_, Vec<u32>>;
}
