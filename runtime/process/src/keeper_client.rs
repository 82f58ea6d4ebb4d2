//! The agent's side of the keeper.
//!
//! [`connect_or_start`] finds the keeper of a directory or starts one. It spawns
//! one task into the caller's set, which alone reads and writes the socket:
//! requests come to it from [`Keeper`] handles, and what happens to children goes
//! from it to the [`Events`](Connection::events). The task ends when the last
//! handle is dropped or the keeper is gone; the keeper and its children live on
//! in the first case.

mod books;
mod driver;
mod handshake;

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use drover_api::JobId;
use tokio::sync::{mpsc, oneshot};

use crate::keeper::{Exit, Force, KeptRun, Launch, LaunchError, TreeEnd};
use crate::tree::Tree;
use books::Ask;

pub use handshake::connect_or_start;

/// A connection to the keeper; clones share it.
#[derive(Debug, Clone)]
pub struct Keeper {
    asks: mpsc::Sender<Ask>,
    pid: u32,
    force: Force,
}

/// What [`connect_or_start`] gives.
#[derive(Debug)]
pub struct Connection {
    /// To ask with.
    pub keeper: Keeper,
    /// What the keeper kept from before: to be adopted or ended, and in either
    /// case acknowledged when it has ended.
    pub kept: Vec<Kept>,
    /// Ends when the keeper is gone. The runs it had are then found by the next
    /// [`connect_or_start`], ended, with [`Exit::Lost`]. May be read late: the
    /// requests do not wait for it.
    pub events: mpsc::Receiver<KeeperEvent>,
}

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeeperEvent {
    /// The first process of the run has ended and is reaped. Comes once to a
    /// connection, after the answer to the spawn; not for what was
    /// [`kept`](Connection::kept) with an exit.
    Exited {
        /// Which run.
        id: JobId,
        /// How it ended.
        exit: Exit,
        /// Whether other processes of its tree are still there; they may hold the
        /// pipes open, so that reading does not come to an end.
        leftover: bool,
    },
}

/// A run that has been started.
#[derive(Debug)]
pub struct Spawned {
    /// Its processes: for statistics.
    pub tree: Tree,
    /// The read end of its output. The keeper has it open too, so that closing
    /// it, or dying, loses nothing and does not hurt the child.
    pub stdout: OwnedFd,
    /// The same of its error output.
    pub stderr: OwnedFd,
    /// The write end, for [`Stdin::Pipe`](crate::Stdin::Pipe); end it with
    /// [`Keeper::close_stdin`], since dropping it alone is not the end.
    pub stdin: Option<OwnedFd>,
}

/// A run from before this connection.
#[derive(Debug)]
pub struct Kept {
    /// What is known of it.
    pub run: KeptRun,
    /// Its descriptors; `None` when its keeper was killed.
    pub pipes: Option<Pipes>,
}

/// The descriptors of a kept run, as in [`Spawned`]. What is still in the pipes
/// is all that nobody has read.
#[derive(Debug)]
pub struct Pipes {
    /// The read end of its output.
    pub stdout: OwnedFd,
    /// The read end of its error output.
    pub stderr: OwnedFd,
    /// The write end of its input, unless it was closed.
    pub stdin: Option<OwnedFd>,
}

/// Why the keeper did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// The program was not started.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// The keeper keeps no such run.
    #[error("the keeper has no process of job {id}: it never started, or its end is acknowledged")]
    Unknown {
        /// Which.
        id: JobId,
    },
    /// The keeper is gone, or this connection was shut down.
    #[error("the keeper of the processes is gone: connect again, its processes are ended then")]
    Lost,
    /// No keeper runs and none could be started.
    #[error("cannot start the keeper of the processes ({program})")]
    Start {
        /// What was to be run.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// The keeper cannot be talked to.
    #[error("cannot reach the keeper of the processes in {}", dir.display())]
    Connect {
        /// Where its socket is.
        dir: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The keeper wants nothing of this agent.
    #[error("the keeper of the processes in {} refuses: {message}", dir.display())]
    Refused {
        /// Where its socket is.
        dir: PathBuf,
        /// What it said.
        message: String,
    },
}

impl Keeper {
    /// The keeper's own process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How limits and ends are kept on this machine.
    #[must_use]
    pub fn force(&self) -> &Force {
        &self.force
    }

    /// Starts a program. Many may be asked for at once; they start in order.
    ///
    /// If the caller does not wait for the answer, the run is ended and forgotten.
    ///
    /// # Errors
    /// [`KeeperError::Launch`] says why it did not start; [`KeeperError::Lost`].
    pub async fn spawn(&self, launch: Launch) -> Result<Spawned, KeeperError> {
        self.ask(|reply| Ask::Spawn { launch: Box::new(launch), reply }).await?
    }

    /// Sends a signal, by its number, to every process of a tree, and says to how
    /// many.
    ///
    /// # Errors
    /// [`KeeperError::Unknown`], [`KeeperError::Lost`].
    pub async fn signal(&self, id: &JobId, signal: i32) -> Result<usize, KeeperError> {
        let id = id.clone();
        self.ask(|reply| Ask::Signal { id, signal, reply }).await?
    }

    /// Ends a whole tree: TERM, the grace, then KILL until nothing is left.
    ///
    /// Asked again, the earlier of the two deadlines holds. The run's exit is an
    /// event of its own, which comes before this answer, and is still to be
    /// acknowledged. Fine after the exit too, for what the run has left behind.
    ///
    /// # Errors
    /// [`KeeperError::Unknown`], [`KeeperError::Lost`].
    pub async fn end_tree(&self, id: &JobId, grace: Duration) -> Result<TreeEnd, KeeperError> {
        let id = id.clone();
        self.ask(|reply| Ask::EndTree { id, grace, reply }).await?
    }

    /// Ends a child's [`Stdin::Pipe`](crate::Stdin::Pipe); drop
    /// [`Spawned::stdin`] as well.
    ///
    /// # Errors
    /// [`KeeperError::Lost`].
    pub async fn close_stdin(&self, id: &JobId) -> Result<(), KeeperError> {
        self.tell(Ask::CloseStdin { id: id.clone() }).await
    }

    /// Says that a run's exit is written down and its output read: the keeper
    /// forgets both, closes its ends of the pipes and kills whatever the run has
    /// left behind. A run that is not over is ended as well. The id is free for
    /// the next spawn at once.
    ///
    /// # Errors
    /// [`KeeperError::Lost`].
    pub async fn acknowledge(&self, id: &JobId) -> Result<(), KeeperError> {
        self.tell(Ask::Acknowledge { id: id.clone() }).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, KeeperError> {
        let (reply, answer) = oneshot::channel();
        self.tell(ask(reply)).await?;
        answer.await.map_err(|_| KeeperError::Lost)
    }

    async fn tell(&self, ask: Ask) -> Result<(), KeeperError> {
        self.asks.send(ask).await.map_err(|_| KeeperError::Lost)
    }
}
