//! One run, from the request to the program, and what is kept of it.

use std::io::{self, PipeReader};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Rlimit;

use super::child::{self, ChildEnds, Plan};
use super::fork::{FAILED, Side, SingleThread, exit_child};
use super::groups::{Group, Groups, RunGroups};
use super::launch::{Exit, KeptRun, Launch, LaunchError, LaunchErrorKind};
use super::message::StdinKind;
use crate::tree::{Process, Tree, cgroup};

/// A run that was started.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) tree: Tree,
    pub(crate) note: String,
    pub(crate) exit: Option<Exit>,
    /// `None` for a run that an earlier keeper had.
    pub(crate) pipes: Option<KeptPipes>,
    pub(crate) groups: RunGroups,
}

/// The second ends of the pipes of a child.
#[derive(Debug)]
pub(crate) struct KeptPipes {
    stdout: Arc<OwnedFd>,
    stderr: Arc<OwnedFd>,
    pub(crate) stdin: Option<Arc<OwnedFd>>,
}

/// A run whose child has not become its program yet.
#[derive(Debug)]
pub(crate) struct Starting {
    /// The request that the answer belongs to, if its agent is still there.
    pub(crate) number: Option<u64>,
    pub(crate) launch: Launch,
    pub(crate) run: Run,
    /// Tells by its end that the child is the program.
    pub(crate) report: PipeReader,
}

/// What every start needs.
#[derive(Debug)]
pub(crate) struct Starter {
    thread: SingleThread,
    open_files: Rlimit,
}

impl KeptPipes {
    /// In the order in which they are sent.
    pub(crate) fn descriptors(&self) -> Vec<Arc<OwnedFd>> {
        let both = [self.stdout.clone(), self.stderr.clone()];
        both.into_iter().chain(self.stdin.clone()).collect()
    }
}

impl Run {
    /// What an agent that connects is told.
    pub(crate) fn kept(&self) -> KeptRun {
        KeptRun { tree: self.tree.clone(), note: self.note.clone(), exit: self.exit }
    }
}

impl Starter {
    /// Takes all the descriptors that this process may have: it keeps three for
    /// each child. The children get the limit that was there before, or `open_files`.
    ///
    /// # Errors
    /// This process may not set the limit.
    pub(crate) fn new(thread: SingleThread, open_files: Option<u64>) -> io::Result<Self> {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let own = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: own.maximum, ..own })?;
        let open_files = Rlimit { current: open_files.or(own.current), ..own };
        Ok(Self { thread, open_files })
    }

    /// Makes the child of a run and returns while it becomes its program.
    ///
    /// # Errors
    /// What there is not enough of, or which limit cannot be kept.
    pub(crate) fn start(
        &self,
        number: u64,
        launch: Launch,
        stdin: (StdinKind, Option<OwnedFd>),
        mark: String,
        groups: &mut Groups,
    ) -> Result<Starting, LaunchError> {
        if let Some(error) = unkept_limit(&launch, groups) {
            return Err(error);
        }
        let placement = groups.place(&launch.limits).map_err(|error| LaunchError {
            kind: LaunchErrorKind::Limit,
            message: format!(
                "cannot start {}: cannot make a cgroup for its limits: {error}",
                launch.program
            ),
        })?;
        let mut run_groups = placement.groups;
        let enter = run_groups.to_enter();
        let plan = Plan {
            launch: &launch,
            mark: &mark,
            open_files: self.open_files,
            enter: &enter,
            memory: placement.memory,
            processes: placement.processes,
        };
        match self.fork(&plan, stdin, run_groups.to_be_made_in()) {
            Ok((child, pipes, report)) => {
                let tree = tree_of(child, &launch, mark, run_groups.own.as_ref());
                let note = launch.note.clone();
                let run = Run { tree, note, exit: None, pipes: Some(pipes), groups: run_groups };
                Ok(Starting { number: Some(number), launch, run, report })
            }
            Err(error) => {
                // Whatever it was, another group is worth a try.
                run_groups.spoil();
                groups.take_back(run_groups);
                Err(exhausted(&launch, &error))
            }
        }
    }

    fn fork(
        &self,
        plan: &Plan<'_>,
        (kind, data): (StdinKind, Option<OwnedFd>),
        group: Option<BorrowedFd<'_>>,
    ) -> io::Result<(u32, KeptPipes, PipeReader)> {
        let (stdout, child_stdout) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, child_stderr) = pipe_with(PipeFlags::CLOEXEC)?;
        let (child_stdin, stdin) = match kind {
            StdinKind::Null => (None, None),
            StdinKind::Data => (data, None),
            StdinKind::Pipe => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                (Some(read), Some(write))
            }
        };
        let (report, child_report) = io::pipe()?;
        let ends = ChildEnds { stdin: child_stdin, stdout: child_stdout, stderr: child_stderr };
        match self.thread.fork(group)? {
            Side::Child => {
                child::run(plan, ends, child_report);
                exit_child(FAILED)
            }
            Side::Parent { child } => {
                let pipes = KeptPipes {
                    stdout: Arc::new(stdout),
                    stderr: Arc::new(stderr),
                    stdin: stdin.map(Arc::new),
                };
                Ok((child, pipes, report))
            }
        }
    }
}

/// The tree of a child that has not been waited for, so that its number is its own.
fn tree_of(child: u32, launch: &Launch, mark: String, group: Option<&Group>) -> Tree {
    let cgroup = group.map(|group| group.path.clone());
    Tree {
        id: launch.id.clone(),
        pid: child,
        start_time: Process::read(child).map_or(0, |process| process.start_time),
        mark,
        cpu_before: cgroup.as_deref().and_then(cgroup::cpu_usec).unwrap_or(0),
        cgroup,
    }
}

/// A limit that would bound nothing is refused, not forgotten.
fn unkept_limit(launch: &Launch, groups: &Groups) -> Option<LaunchError> {
    let is_unkept = launch.limits.processes.is_some()
        && !groups.force().pids_cgroup
        && rustix::process::geteuid().is_root()
        && launch.user.as_deref().is_none_or(|user| user == "root" || user == "0");
    is_unkept.then(|| LaunchError {
        kind: LaunchErrorKind::Limit,
        message: format!(
            "cannot start {}: its processes cannot be limited: this machine has no pids cgroup \
             for it, and root's are not bounded otherwise; give it a user, or leave the limit out",
            launch.program
        ),
    })
}

fn exhausted(launch: &Launch, error: &io::Error) -> LaunchError {
    let cure = match error.raw_os_error() {
        Some(nix::libc::EMFILE | nix::libc::ENFILE) => {
            "the keeper has no file descriptors left; raise the agent's limit of open files"
        }
        Some(nix::libc::EAGAIN) => {
            "the machine or the agent's user has as many processes as it may; end some or raise \
             the limit"
        }
        Some(nix::libc::ENOMEM) => "there is no memory left; free some",
        _ => "try again",
    };
    LaunchError {
        kind: LaunchErrorKind::Exhausted,
        message: format!("cannot start {}: {error}: {cure}", launch.program),
    }
}
