//! Finding the keeper of a directory, or starting one.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::driver::Driver;
use super::{Connection, Keeper, KeeperError, Kept, Pipes};
use crate::keeper::Force;
use crate::keeper::message::{Answer, Request, VERSION};
use crate::keeper::socket::{self, Packet};

/// How long a keeper may take to say who it is. One that follows a killed keeper
/// ends first what that one left.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two tries, when the keeper is just about to end or to begin, or still
/// believes in an agent that has just been killed.
const PAUSE: Duration = Duration::from_millis(20);

/// How many keepers are started at most before it is an error that they end.
const STARTS: u32 = 5;

/// What a keeper writes to its standard error, in its directory.
const LOG: &str = "keeper.log";

/// Requests on their way to the task: enough for a burst to be written together.
const ASKS: usize = 64;

/// Events on their way to the manager; more wait in the task.
const EVENTS: usize = 64;

/// Connects to the keeper whose directory is `dir`; if there is none, runs
/// `program`, which must call [`run_keeper`](crate::run_keeper) for `dir`.
///
/// The program is started in `dir`, in a session of its own, with what it writes
/// to its standard error appended to `keeper.log` there, and outlives this
/// process. `dir` is made if it is missing.
///
/// # Errors
/// Any of [`KeeperError`] but those of a request.
pub async fn connect_or_start(
    dir: &Path,
    program: impl Fn() -> std::process::Command,
    tasks: &mut JoinSet<()>,
) -> Result<Connection, KeeperError> {
    let cannot_connect = |source| KeeperError::Connect { dir: dir.to_owned(), source };
    crate::keeper::make_dir(dir).map_err(cannot_connect)?;
    let give_up = Instant::now() + PATIENCE;
    let mut starts_left = STARTS;
    loop {
        let socket = match connect(dir).map_err(cannot_connect)? {
            Some(socket) => socket,
            None => {
                starts_left -= 1;
                start(dir, program())?
            }
        };
        let socket = UnixStream::from_std(socket.into()).map_err(cannot_connect)?;
        let greeting = tokio::time::timeout_at(give_up, greet(&socket)).await;
        let may_pass = starts_left > 0 && Instant::now() < give_up;
        match greeting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(Greeting::Welcome { pid, force, kept }) => {
                return Ok(begin(socket, pid, force, kept, tasks));
            }
            Ok(Greeting::Refused { message, may_pass: true }) if may_pass => {
                tracing::debug!(message, "the keeper of the processes refuses for now");
            }
            Ok(Greeting::Refused { message, .. }) => {
                return Err(KeeperError::Refused { dir: dir.to_owned(), message });
            }
            Err(_) if may_pass => {}
            Err(error) => return Err(cannot_connect(error)),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What the keeper says to `Hello`.
enum Greeting {
    Welcome { pid: u32, force: Force, kept: Vec<Kept> },
    Refused { message: String, may_pass: bool },
}

/// Connects to a running keeper; `None` when there is none.
fn connect(dir: &Path) -> io::Result<Option<OwnedFd>> {
    use rustix::io::Errno;
    // A path below /proc is short whatever the directory's own is: the name of a
    // socket may not be longer than 107 bytes.
    let handle = std::fs::File::open(dir)?;
    let address = crate::keeper::socket_address(&handle)?;
    let socket = crate::keeper::socket::open()?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) => Ok(Some(socket)),
        Err(Errno::NOENT | Errno::CONNREFUSED) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Starts a keeper, with one end of a new connection as its standard input.
fn start(dir: &Path, program: std::process::Command) -> Result<OwnedFd, KeeperError> {
    let name = program.get_program().to_string_lossy().into_owned();
    let failed = |source| KeeperError::Start { program: name.clone(), source };
    let (ours, theirs) = socket::pair().map_err(failed)?;
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join(LOG))
        .map_err(failed)?;
    let mut program = tokio::process::Command::from(program);
    program.current_dir(dir).stdin(theirs).stdout(Stdio::null()).stderr(log);
    // It outlives this process; until then tokio reaps it when it ends.
    drop(program.spawn().map_err(failed)?);
    Ok(ours)
}

/// Says hello and takes what the keeper tells of itself and its runs.
async fn greet(socket: &UnixStream) -> io::Result<Greeting> {
    Packet::new(&Request::Hello { version: VERSION }, Vec::new())?.send(socket)?;
    let mut buffer = Vec::new();
    let (pid, force, count) = match receive(socket, &mut buffer).await?.message {
        Answer::Welcome { pid, force, kept, .. } => (pid, force, kept),
        Answer::Refused { message, may_pass } => {
            return Ok(Greeting::Refused { message, may_pass });
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    let mut kept = Vec::new();
    while kept.len() < count {
        let received = receive(socket, &mut buffer).await?;
        let Answer::Kept { run } = received.message else {
            return Err(io::ErrorKind::InvalidData.into());
        };
        if received.descriptors_lost {
            return Err(io::Error::other(
                "this process has no file descriptors left for the output of its children; \
                 raise its limit of open files",
            ));
        }
        kept.push(Kept { run, pipes: Pipes::from_packet(received.descriptors) });
    }
    Ok(Greeting::Welcome { pid, force, kept })
}

async fn receive(
    socket: &UnixStream,
    buffer: &mut Vec<u8>,
) -> io::Result<socket::Received<Answer>> {
    socket
        .async_io(Interest::READABLE, || socket::receive(socket, buffer))
        .await?
        .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

fn begin(
    socket: UnixStream,
    pid: u32,
    force: Force,
    kept: Vec<Kept>,
    tasks: &mut JoinSet<()>,
) -> Connection {
    let (asks, asked) = mpsc::channel(ASKS);
    let (tell, events) = mpsc::channel(EVENTS);
    let driver = Driver { socket, asks: asked, events: tell, inbox: VecDeque::new() };
    tasks.spawn(driver.run());
    Connection { keeper: Keeper { asks, pid, force }, kept, events }
}
