//! The keeper: the parent of all children, in a small program of its own.
//!
//! One thread waits on a few descriptors at once: the agent's socket, the one
//! where an agent can connect, signals, and a pipe for each child that is just
//! becoming its program. It never looks at output. It holds a second read end of
//! every pipe, so that a child whose agent is away blocks when the pipe is full
//! instead of being killed, and the next agent reads on where the last one was
//! killed.
//!
//! ```text
//! spawn ─▶ starting ─▶ running ─▶ exited ── acknowledge ─▶ forgotten
//!             │           └─ end tree: TERM, grace, KILL until nothing is left
//!             └▶ failed
//! ```
//!
//! What it keeps in its directory:
//!
//! | file | what |
//! |---|---|
//! | `keeper.sock` | where the agent connects |
//! | `keeper.lock` | held while it lives, so that there is one |
//! | `keeper.runs` | its runs, for the keeper that follows when it is killed |
//! | `keeper.log` | what it says when it fails |
//!
//! It ends when it has neither an agent nor a run, when its directory is removed,
//! and, after ending every tree, at SIGTERM. A service manager that signals all
//! processes of the agent's cgroup ends the keeper too: let it signal the agent
//! alone (systemd: `KillMode=process`) if children shall outlive a restart.

mod agent;
mod child;
mod ending;
mod fork;
mod groups;
mod journal;
mod launch;
pub(crate) mod message;
mod mounts;
mod run;
mod server;
pub(crate) mod socket;

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::net::SocketAddrUnix;

use server::Server;

pub use launch::{
    Exit, Force, Found, KeptRun, Launch, LaunchError, LaunchErrorKind, Limits, Stdin, TreeEnd,
};

const SOCKET: &str = "keeper.sock";
const LOCK: &str = "keeper.lock";
const RUNS: &str = "keeper.runs";

/// Agents that may wait to be taken: there is one.
const BACKLOG: i32 = 8;

/// Why a keeper could not run.
#[derive(Debug, thiserror::Error)]
pub enum RunKeeperError {
    /// It was not started by an agent.
    #[error("the keeper is started by the agent, with a socket as its standard input")]
    NotAsked {
        /// What was found wrong with the standard input.
        source: io::Error,
    },
    /// Another one has the directory.
    #[error("another keeper has {}", dir.display())]
    Taken {
        /// The directory.
        dir: PathBuf,
    },
    /// Something that it needs cannot be had.
    #[error("the keeper cannot use {}", dir.display())]
    Setup {
        /// The directory.
        dir: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot wait for what happens.
    #[error("the keeper cannot go on")]
    Wait {
        /// Why.
        source: io::Error,
    },
}

/// Is the keeper of `dir`, until there is nothing left to keep.
///
/// To be called by a process that has one thread, started by
/// [`connect_or_start`](crate::connect_or_start), before anything else is set up or
/// opened: it closes every descriptor but the standard ones, makes a session, takes
/// the signals, and makes this process the one that orphans of its children go to.
///
/// Children may open as many files as this process may at first, or `open_files`
/// where that is not what programs should have.
///
/// # Errors
/// Any of [`RunKeeperError`]; children then live on, for the keeper that follows.
pub fn run_keeper(dir: &Path, open_files: Option<u64>) -> Result<(), RunKeeperError> {
    let setup = |source| RunKeeperError::Setup { dir: dir.to_owned(), source };
    close_inherited().map_err(setup)?;
    let agent = standard_input().map_err(|source| RunKeeperError::NotAsked { source })?;
    make_dir(dir).map_err(setup)?;
    let lock = File::options().create(true).append(true).open(dir.join(LOCK)).map_err(setup)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(RunKeeperError::Taken { dir: dir.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(setup(source)),
    }
    let listener = listen(dir).map_err(setup)?;
    let mut server = Server::new(dir, listener, agent, open_files).map_err(setup)?;
    server.serve().map_err(|source| RunKeeperError::Wait { source })
}

/// Makes the directory, for this user alone.
pub(crate) fn make_dir(dir: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// The address of the socket in an open directory. The name of a socket may not
/// be longer than 107 bytes, so it goes below `/proc`.
pub(crate) fn socket_address(dir: &File) -> io::Result<SocketAddrUnix> {
    Ok(SocketAddrUnix::new(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))?)
}

/// Closes what the agent itself has inherited: whoever waits for the end of such a
/// pipe must not wait for the keeper, and no child shall have it.
fn close_inherited() -> io::Result<()> {
    let mut numbers: Vec<i32> = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        numbers.extend(entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()));
    }
    for number in numbers.into_iter().filter(|&number| number > 2) {
        match nix::unistd::close(number) {
            // The one that listed them, which is closed already.
            Ok(()) | Err(nix::errno::Errno::EBADF) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The first agent's connection.
fn standard_input() -> io::Result<OwnedFd> {
    let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::net::sockopt::socket_peercred(&input)?;
    // From here on nothing else shall read it, nor a child inherit it.
    rustix::stdio::dup2_stdin(OpenOptions::new().read(true).open("/dev/null")?)?;
    Ok(input)
}

/// Listens in `dir`, in the place of a keeper that was killed.
fn listen(dir: &Path) -> io::Result<OwnedFd> {
    match fs::remove_file(dir.join(SOCKET)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = socket::open()?;
    rustix::net::bind(&listener, &socket_address(&File::open(dir)?)?)?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}
