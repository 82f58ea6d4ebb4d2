//! The manager: the agent's handle on all processes.
//!
//! [`open`] gives a [`ProcessManager`], which clones share, and the
//! [`ManagerTask`] that its owner spawns. Inside:
//!
//! ```text
//!  ProcessManager ──requests──> actor ──orders──> one task for each job ──> its observer
//!                               │  ^ <───news────  (starts the child,     (events, bytes)
//!                   decides with│  │                reads its output)
//!                     scheduler │  └─exits── keeper <──spawn, acknowledge─┘
//!                               └─writes──> remembered jobs on disk
//! ```
//!
//! The actor never waits for an observer: only the task of the job does, so a
//! slow reader slows its own child and the end of its own job, and no kill.

mod actor;
mod job;
mod launch;
mod pump;
mod remembered;
mod report;
mod stdin;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drover_api::JobId;
use tokio::sync::{mpsc, oneshot};

use crate::lifecycle::Outcome;
use crate::spec::ProcessSpec;
use actor::Actor;
use remembered::Remembered;

pub use actor::ManagerTask;
pub use report::{
    GroupUsage, HandedJob, JobEvent, JobInfo, JobStatus, JobUsage, KillReport, Origin,
    OutputStream, Phase,
};
pub use stdin::StdinWriter;

/// Requests on their way to the actor; whoever asks more waits.
const REQUESTS: usize = 256;

/// What the manager needs to know of its node.
#[derive(Debug, Clone)]
pub struct ManagerConfig {
    /// Where the keeper has its socket and its files; made if missing.
    pub keeper_dir: PathBuf,
    /// The program and the arguments that run the keeper, see
    /// [`run_keeper`](crate::run_keeper).
    pub keeper_command: Vec<String>,
    /// The file of the remembered jobs; its directory must be there.
    pub remembered_file: PathBuf,
    /// Where scripts are written while they run; made if missing.
    pub script_dir: PathBuf,
    /// How many jobs run at the same time; those that run for ever not counted.
    pub max_jobs: usize,
    /// How many jobs there may be at all; more are refused.
    pub max_accepted: usize,
    /// What every child has in its environment, below what its command sets.
    pub environment: BTreeMap<String, String>,
    /// The agent's own environment, for commands that inherit of it.
    pub agent_environment: BTreeMap<String, String>,
    /// How long the output of a child that has ended may stay open without a
    /// byte, because somebody else holds it.
    pub leak_timeout: Duration,
}

/// Where the events of a job go; asked once for each job, when it is accepted
/// or comes back after a start of the agent.
///
/// Everything of one job comes in order and ends with [`JobEvent::Ended`]. While
/// the channel is full, the child is not read from, and the next run does not
/// begin. If its receiver is dropped, the output is read and thrown away. The
/// call must not block.
pub type Observer = Arc<dyn Fn(&JobInfo) -> mpsc::Sender<JobEvent> + Send + Sync>;

/// The agent's handle on all processes; clones share them.
#[derive(Debug, Clone)]
pub struct ProcessManager {
    requests: mpsc::Sender<Request>,
}

/// Why the manager did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManagerError {
    /// There is a job with this id that has not ended.
    #[error("a job with the id {0} is running or waits: choose another id, or kill it first")]
    Duplicate(JobId),
    /// No such job lives, and none has ended lately.
    #[error("no job with the id {0} is running or waits: it never was, or it has ended")]
    Unknown(JobId),
    /// `after` names something that is no job.
    #[error("`after`: no job has the id or the name `{0}`: submit that one first")]
    UnknownDependency(String),
    /// `after` names a job that cannot provide any more.
    #[error("`after`: job {0} has ended without success: run it again first")]
    FailedDependency(JobId),
    /// There are as many jobs as there may be.
    #[error("the node holds {0} jobs, and may hold no more: try again when some have ended")]
    Busy(usize),
    /// The list of remembered jobs cannot be written.
    #[error("cannot write the remembered jobs to {path}: {reason}; try again when there is room")]
    Disk {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The job has ended, and the list of remembered jobs cannot be written yet.
    #[error(
        "job {id} has ended, but comes back if the agent ends before it can write {path} \
         ({reason}); it tries again until there is room"
    )]
    NotForgotten {
        /// The job.
        id: JobId,
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The standard input of the job is not open for more.
    #[error("the standard input of job {0} is closed: run it with `stdin` = \"open\"")]
    NoStdin(JobId),
    /// The job runs no program at the moment.
    #[error("job {0} runs no program at the moment")]
    NotRunning(JobId),
    /// The job goes on with the next manager.
    #[error("job {0} is handed over to another version of the agent: ask again in a moment")]
    HandedOver(JobId),
    /// The manager is shutting down.
    #[error("the process manager is shutting down")]
    ShuttingDown,
}

/// Why the manager cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or directory cannot be used.
    #[error("cannot use {}: give it to the user of the agent", path.display())]
    Path {
        /// Which one.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

type Reply<T> = oneshot::Sender<Result<T, ManagerError>>;

/// What a handle asks of the actor.
#[derive(Debug)]
enum Request {
    Submit { id: JobId, spec: Box<ProcessSpec>, reply: Reply<()> },
    Kill { id: JobId, reply: Reply<KillReport> },
    KillAll { reply: Reply<Vec<KillReport>> },
    List { reply: Reply<Vec<JobStatus>> },
    Wait { id: JobId, reply: Reply<Outcome> },
    Usage { id: JobId, reply: Reply<Vec<JobUsage>> },
    UsageOfAll { domain: Option<String>, name: Option<String>, reply: Reply<Vec<JobUsage>> },
    Stdin { id: JobId, reply: Reply<StdinWriter> },
    HandOver { reply: Reply<Vec<JobId>> },
    Shutdown { reply: Reply<()> },
}

/// Reads the remembered jobs, and gives the handle and the task that does the
/// work. Jobs come back, and children of an earlier agent are taken over or
/// ended, as soon as the task runs.
///
/// A file of remembered jobs that is damaged is put aside, under a name with
/// `.damaged`, and that is logged as an error.
///
/// # Errors
///
/// If a file or directory cannot be used.
pub fn open(
    config: ManagerConfig,
    observer: Observer,
) -> Result<(ProcessManager, ManagerTask), OpenError> {
    let usable = |path: &PathBuf| {
        let path = path.clone();
        move |source| OpenError::Path { path, source }
    };
    std::fs::create_dir_all(&config.script_dir).map_err(usable(&config.script_dir))?;
    let remembered =
        Remembered::open(&config.remembered_file).map_err(usable(&config.remembered_file))?;
    let (requests, asked) = mpsc::channel(REQUESTS);
    let task = Actor::begin(config, observer, asked, remembered);
    Ok((ProcessManager { requests }, task))
}

impl ProcessManager {
    /// Takes a job. It runs when its time and its turn have come; its end comes
    /// to the observer and to [`ProcessManager::wait`].
    ///
    /// A job that is remembered is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Duplicate`], [`ManagerError::UnknownDependency`],
    /// [`ManagerError::Busy`], [`ManagerError::Disk`]; nothing has been taken
    /// then.
    pub async fn submit(&self, id: JobId, spec: ProcessSpec) -> Result<(), ManagerError> {
        let spec = Box::new(spec);
        self.ask(|reply| Request::Submit { id, spec, reply }).await
    }

    /// Ends a job for good, remembered or not: TERM to its whole tree, the grace
    /// of its command, KILL. The answer comes when every process is gone.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Unknown`]; [`ManagerError::NotForgotten`] if the job has ended
    /// but is still on disk, so that it may come back with the next agent.
    pub async fn kill(&self, id: &JobId) -> Result<KillReport, ManagerError> {
        let id = id.clone();
        self.ask(|reply| Request::Kill { id, reply }).await
    }

    /// Ends what runs and what waits. Jobs that are remembered are scheduled
    /// again: the long-running ones at once, the recurring ones for their next
    /// time. The answer has one report for each job, when every process is gone.
    ///
    /// # Errors
    ///
    /// [`ManagerError::ShuttingDown`].
    pub async fn kill_all(&self) -> Result<Vec<KillReport>, ManagerError> {
        self.ask(|reply| Request::KillAll { reply }).await
    }

    /// Every job that has not ended, oldest first.
    ///
    /// # Errors
    ///
    /// [`ManagerError::ShuttingDown`].
    pub async fn list(&self) -> Result<Vec<JobStatus>, ManagerError> {
        self.ask(|reply| Request::List { reply }).await
    }

    /// Measures what the processes of a job use now. The percentage of CPU is that
    /// since the measurement before, this kind and that of the interval alike.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Unknown`], [`ManagerError::NotRunning`].
    pub async fn stats(&self, id: &JobId) -> Result<JobUsage, ManagerError> {
        let wanted = id.clone();
        let usages = self.ask(|reply| Request::Usage { id: wanted, reply }).await?;
        usages.into_iter().next().ok_or_else(|| ManagerError::NotRunning(id.clone()))
    }

    /// Measures what all jobs use that run a program now, or those of a domain, a
    /// name or both; summed up where several share domain and name.
    ///
    /// # Errors
    ///
    /// [`ManagerError::ShuttingDown`].
    pub async fn stats_all(
        &self,
        domain: Option<String>,
        name: Option<String>,
    ) -> Result<Vec<GroupUsage>, ManagerError> {
        Ok(report::group(self.usages(domain, name).await?))
    }

    /// The same for each job alone, the oldest first.
    ///
    /// # Errors
    ///
    /// [`ManagerError::ShuttingDown`].
    pub async fn usages(
        &self,
        domain: Option<String>,
        name: Option<String>,
    ) -> Result<Vec<JobUsage>, ManagerError> {
        self.ask(|reply| Request::UsageOfAll { domain, name, reply }).await
    }

    /// Waits for a job's end. One that has ended lately is known for a while:
    /// the last thousand are.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Unknown`], at once.
    pub async fn wait(&self, id: &JobId) -> Result<Outcome, ManagerError> {
        let id = id.clone();
        self.ask(|reply| Request::Wait { id, reply }).await
    }

    /// The standard input of a job's run; of a job that waits, that of its next
    /// run, when it begins.
    ///
    /// # Errors
    ///
    /// [`ManagerError::Unknown`], [`ManagerError::NoStdin`],
    /// [`ManagerError::NotRunning`] if the job ends before it runs again.
    pub async fn stdin(&self, id: &JobId) -> Result<StdinWriter, ManagerError> {
        let id = id.clone();
        self.ask(|reply| Request::Stdin { id, reply }).await
    }

    /// Hands every job over to the manager that comes next, as it stands: what runs
    /// goes on and is no longer read from, what waits keeps its place, and all of it is
    /// on disk when this returns, with the jobs. Their observers hear no more.
    ///
    /// What is just being started or killed, or is read to its end, is waited for.
    /// Programs of the agent itself ([`OnAgentRestart::EndWithAgent`]) stay, and may
    /// still be started, until [`ProcessManager::shutdown`].
    ///
    /// [`OnAgentRestart::EndWithAgent`]: crate::OnAgentRestart::EndWithAgent
    ///
    /// # Errors
    ///
    /// [`ManagerError::Disk`]: all is as it was. [`ManagerError::ShuttingDown`].
    pub async fn hand_over(&self) -> Result<Vec<JobId>, ManagerError> {
        self.ask(|reply| Request::HandOver { reply }).await
    }

    /// Ends the manager. Children whose command says `adopt` go on, and the next
    /// agent takes them over; all others are ended, and this returns when they
    /// are gone. Remembered jobs come back with the next agent.
    ///
    /// Dropping the last handle does the same.
    ///
    /// # Errors
    ///
    /// [`ManagerError::ShuttingDown`] if somebody else has asked before.
    pub async fn shutdown(&self) -> Result<(), ManagerError> {
        self.ask(|reply| Request::Shutdown { reply }).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, ManagerError> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| ManagerError::ShuttingDown)?;
        answer.await.map_err(|_| ManagerError::ShuttingDown)?
    }
}
