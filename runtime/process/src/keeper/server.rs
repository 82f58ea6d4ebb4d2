//! The loop: waits for whatever happens, and does what follows from it.

mod children;
mod requests;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use drover_api::JobId;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::agent::Agent;
use super::ending::Endings;
use super::fork::SingleThread;
use super::groups::{Groups, RunGroups};
use super::journal::Journal;
use super::launch::Exit;
use super::mounts::Mounts;
use super::run::{Run, Starter, Starting};
use super::{RUNS, SOCKET};
use crate::tree::{Process, Tree};

/// Children that may be on the way to their programs at once: more would only
/// take the processor from each other.
const STARTS: usize = 16;

/// What trees get to end by themselves when the keeper has to end: at SIGTERM, and
/// those that a killed keeper left.
const GRACE: Duration = Duration::from_secs(5);

/// How often a keeper without an agent looks whether its directory is still there.
const HOME_CHECK: Duration = Duration::from_secs(30);

/// Everything that a keeper has.
pub(crate) struct Server {
    pid: u32,
    names: Names,
    home: Home,
    listener: OwnedFd,
    signals: SignalFd,
    starter: Starter,
    agent: Option<Agent>,
    groups: Groups,
    journal: Journal,
    started: u64,
    starting: Vec<Starting>,
    runs: BTreeMap<JobId, Run>,
    /// Runs that nobody wants to know of any more, while their trees are ended.
    leaving: HashMap<String, Leaving>,
    endings: Endings,
    /// The children that have not been waited for.
    unreaped: HashMap<u32, Tree>,
    /// The trees of a killed keeper that are not ended yet.
    recovering: HashSet<String>,
    is_stopping: bool,
}

/// A run that is acknowledged, or failed to start, and not gone yet.
#[derive(Debug)]
struct Leaving {
    tree: Tree,
    groups: RunGroups,
}

/// The names that this keeper's trees and groups have, and those that every keeper
/// of its directory gives.
#[derive(Debug)]
struct Names {
    marks: String,
    own_marks: String,
    groups: String,
    own_group: String,
}

/// Where agents find this keeper.
#[derive(Debug)]
struct Home {
    socket: PathBuf,
    inode: u64,
    next_check: Instant,
}

/// What [`Server::wait`] has seen.
#[derive(Debug, Default)]
struct Ready {
    signals: bool,
    listener: bool,
    agent: bool,
    starting: Vec<bool>,
}

impl Server {
    /// Sets everything up, and begins to end what a killed keeper has left.
    ///
    /// # Errors
    /// Whatever cannot be had.
    pub(crate) fn new(
        dir: &Path,
        listener: OwnedFd,
        agent: OwnedFd,
        open_files: Option<u64>,
    ) -> io::Result<Self> {
        match rustix::process::setsid() {
            // It leads a group already: whoever started it has seen to that.
            Ok(_) | Err(rustix::io::Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
        let signals = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
        let signals: SigSet = signals.into_iter().collect();
        signals.thread_block()?;
        let signals =
            SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        let pid = std::process::id();
        let names = Names::new(dir, pid)?;
        let thread = SingleThread::check()?;
        let groups = Groups::new(&Mounts::of_this_process(), &names.own_group, &thread)?;
        let starter = Starter::new(thread, open_files)?;
        let (journal, lost) = Journal::open(&dir.join(RUNS))?;
        let mut server = Self {
            pid,
            names,
            home: Home::new(dir)?,
            listener,
            signals,
            starter,
            agent: Some(Agent::new(agent)?),
            groups,
            journal,
            started: 0,
            starting: Vec::new(),
            runs: BTreeMap::new(),
            leaving: HashMap::new(),
            endings: Endings::default(),
            unreaped: HashMap::new(),
            recovering: HashSet::new(),
            is_stopping: false,
        };
        let lost = lost.into_iter().map(|lost| (lost.tree, lost.exit.unwrap_or(Exit::Lost)));
        server.recover(lost.collect())?;
        Ok(server)
    }

    /// Works until there is nothing left to keep.
    ///
    /// # Errors
    /// The kernel does not let it wait.
    pub(crate) fn serve(&mut self) -> io::Result<()> {
        while !self.is_over() {
            let ready = self.wait()?;
            self.finish_starting(&ready.starting);
            if ready.signals {
                self.take_signals();
            }
            if ready.agent {
                self.take_requests();
            }
            if ready.listener {
                self.take_agent();
            }
            self.look_at_endings();
            if self.agent.is_none() && self.home.is_lost() {
                self.stop();
            }
            self.tidy_journal();
            if self.agent.as_mut().is_some_and(|agent| agent.flush().is_err()) {
                self.lose_agent();
            }
        }
        self.home.leave();
        Ok(())
    }

    /// A keeper that was told to stop keeps nothing but trees: the exits that
    /// nobody has acknowledged are in the journal.
    fn is_over(&self) -> bool {
        let has_trees = !self.starting.is_empty()
            || !self.leaving.is_empty()
            || !self.endings.is_empty()
            || self.runs.values().any(|run| run.exit.is_none());
        !has_trees && (self.is_stopping || (self.agent.is_none() && self.runs.is_empty()))
    }

    /// Whether more requests can be taken now.
    fn has_room(&self) -> bool {
        self.starting.len() < STARTS && !self.agent.as_ref().is_some_and(Agent::is_slow)
    }

    /// Waits until something happens.
    fn wait(&self) -> io::Result<Ready> {
        let mut polled = vec![
            PollFd::new(&self.signals, PollFlags::IN),
            PollFd::new(&self.listener, PollFlags::IN),
        ];
        polled.extend(self.starting.iter().map(|one| PollFd::new(&one.report, PollFlags::IN)));
        if let Some(agent) = &self.agent {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, self.has_room());
            flags.set(PollFlags::OUT, agent.has_unsent());
            polled.push(PollFd::new(agent, flags));
        }
        match rustix::event::poll(&mut polled, self.timeout().as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready: Vec<bool> = polled.iter().map(|one| !one.revents().is_empty()).collect();
        let starts = 2 + self.starting.len();
        Ok(Ready {
            signals: is_ready[0],
            listener: is_ready[1],
            starting: is_ready[2..starts].to_vec(),
            agent: is_ready.get(starts).copied().unwrap_or(false),
        })
    }

    /// Until a tree is to be looked at, or the directory.
    fn timeout(&self) -> Option<Timespec> {
        let home = self.agent.is_none().then_some(self.home.next_check);
        let next = [self.endings.next_look(), home].into_iter().flatten().min()?;
        Timespec::try_from(next.saturating_duration_since(Instant::now())).ok()
    }

    /// Ends every tree, and then itself.
    fn stop(&mut self) {
        self.is_stopping = true;
        let now = Instant::now();
        for run in self.runs.values() {
            self.endings.begin(&run.tree, now + GRACE, None, now);
        }
    }

    /// Writes the journal anew when it has become long. When the disk is full it
    /// stays long.
    fn tidy_journal(&mut self) {
        if self.journal.is_long() {
            let kept = self.runs.values().map(|run| (run.tree.clone(), run.exit));
            let leaving = self.leaving.values().map(|one| (one.tree.clone(), None));
            let runs: Vec<(Tree, Option<Exit>)> = kept.chain(leaving).collect();
            drop(self.journal.rewrite(runs.into_iter()));
        }
    }
}

impl Names {
    fn new(dir: &Path, pid: u32) -> io::Result<Self> {
        let dir = fs::canonicalize(dir)?;
        let started = Process::read(pid).map_or(0, |process| process.start_time);
        let (home, own) = (hash(dir.as_os_str().as_bytes()), format!("{started:x}.{pid:x}"));
        Ok(Self {
            marks: format!("{home:016x}."),
            own_marks: format!("{home:016x}.{own}."),
            groups: format!("drover-{home:016x}-"),
            own_group: format!("drover-{home:016x}-{own}"),
        })
    }

    /// The mark of the run that is started as the `number`th.
    fn mark(&self, number: u64, id: &JobId) -> String {
        format!("{}{number:x}/{id}", self.own_marks)
    }
}

/// FNV-1a: the same in every version of this program.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

impl Home {
    fn new(dir: &Path) -> io::Result<Self> {
        let socket = fs::canonicalize(dir)?.join(SOCKET);
        let inode = fs::symlink_metadata(&socket)?.ino();
        Ok(Self { socket, inode, next_check: Instant::now() + HOME_CHECK })
    }

    fn is_there(&self) -> bool {
        fs::symlink_metadata(&self.socket).is_ok_and(|found| found.ino() == self.inode)
    }

    /// Whether no agent can ever come here again. Looks now and then.
    fn is_lost(&mut self) -> bool {
        let is_due = self.next_check <= Instant::now();
        if is_due {
            self.next_check = Instant::now() + HOME_CHECK;
        }
        is_due && !self.is_there()
    }

    /// Takes the socket away, unless it is another's by now.
    fn leave(&self) {
        if self.is_there() {
            drop(fs::remove_file(&self.socket));
        }
    }
}
