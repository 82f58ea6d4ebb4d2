//! Child processes: the process manager with what the agent gives it.
//!
//! ```text
//!  process.* ──▶ Processes ──▶ manager ──events──▶ a listener for each job
//!      ▲                                              │       │
//!      └────── live output, how it ended ─────────────┘       └──▶ log, metrics
//! ```
//!
//! Whoever runs a command is expected by its listener and told how it ended.
//! Jobs that nobody waits for, such as those that come back with the agent, have
//! a listener too.

mod handing;
mod listener;
mod of_plugins;
mod unfinished;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use drover_api::{JobError, JobId, JobState};
use drover_plugin_host::Host;
use drover_process::{
    JobEvent, JobInfo, ManagerConfig, ManagerError, ManagerTask, Observer, Outcome, OutputStream,
    ProcessManager, SpecContext, open,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Config;
use crate::logs::Logs;
use crate::vitals::Vitals;

use handing::Handing;
pub(crate) use handing::{Awaited, Output};
pub(crate) use listener::levels_of;
pub(crate) use of_plugins::OfPlugins;
use unfinished::AllBegun;

/// Events of a job between the manager and its listener: few, since each may
/// hold 64 KiB of output, and the child waits where they are full.
const EVENTS: usize = 4;

/// The agent's processes.
#[derive(Clone)]
pub(crate) struct Processes {
    manager: ProcessManager,
    context: Arc<SpecContext>,
    listeners: Arc<Listeners>,
    handing: Arc<Handing>,
    /// Where the tasks are that listen and those that see to programs of plugins.
    runtime: Handle,
}

/// How a job ended, for whoever ran it.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) state: JobState,
    pub(crate) data: Value,
    pub(crate) error: Option<JobError>,
    /// The ends of standard output and standard error.
    pub(crate) streams: [String; 2],
    /// The last message of level 9.
    pub(crate) critical: Option<String>,
    pub(crate) exit: Option<drover_api::Exit>,
    /// The same as the process manager has it.
    pub(crate) outcome: Outcome,
}

/// Output as it comes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Live {
    pub(crate) stream: OutputStream,
    pub(crate) bytes: Vec<u8>,
}

/// Somebody who waits for a job.
struct Expectant {
    live: Option<mpsc::Sender<Live>>,
    /// None once its program has started.
    started: Option<oneshot::Sender<()>>,
    finished: oneshot::Sender<Finished>,
}

/// The listeners, and those whom they are to tell.
struct Listeners {
    logs: Logs,
    /// Who parses lines, until the shutdown: it has a handle on the processes too.
    host: Mutex<Option<Host>>,
    tasks: Mutex<JoinSet<()>>,
    expectants: Mutex<HashMap<JobId, Expectant>>,
    /// Lines and blocks that have begun, from the agent before and for the next one.
    begun: Arc<AllBegun>,
    vitals: Vitals,
    /// Cancelled when the agent ends.
    closing: CancellationToken,
}

/// What a caller waits for.
pub(crate) struct Expected {
    listeners: Arc<Listeners>,
    id: JobId,
    /// Comes when its program has started, if it does.
    pub(crate) started: oneshot::Receiver<()>,
    pub(crate) finished: oneshot::Receiver<Finished>,
}

impl Drop for Expected {
    fn drop(&mut self) {
        lock(&self.listeners.expectants).remove(&self.id);
    }
}

impl Processes {
    /// Reads the remembered jobs. They come back as soon as the task runs. To be
    /// called on the runtime that it will run on.
    ///
    /// # Errors
    ///
    /// If a file or directory cannot be used.
    pub(crate) fn open(
        config: &Config,
        keeper: &KeeperCommand,
        logs: Logs,
        vitals: Vitals,
    ) -> anyhow::Result<(Self, ManagerTask)> {
        let (host, tasks, expectants, closing) = Default::default();
        let path = config.data_dir.join("begun.json");
        let begun = AllBegun::open(path.clone());
        let begun = Arc::new(begun.with_context(|| format!("cannot read {}", path.display()))?);
        let listeners =
            Arc::new(Listeners { logs, host, tasks, expectants, begun, vitals, closing });
        let observer: Observer = {
            let listeners = Arc::clone(&listeners);
            Arc::new(move |job: &JobInfo| listeners.listen(job))
        };
        let (manager, task) = open(manager_config(config, keeper), observer)
            .context("cannot start the process manager")?;
        let (context, runtime) = (Arc::new(config.spec_context()), Handle::current());
        let handed = task.handed_over();
        let handing = Arc::new(Handing::came(&handed));
        let processes = Self { manager, context, listeners, handing, runtime };
        processes.await_handed(handed);
        Ok((processes, task))
    }

    /// Says whose parsers are meant where a command has its lines parsed. To be
    /// called before the task runs.
    pub(crate) fn parse_with(&self, host: Host) {
        *lock(&self.listeners.host) = Some(host);
    }

    pub(crate) fn manager(&self) -> &ProcessManager {
        &self.manager
    }

    /// What commands are read against.
    pub(crate) fn context(&self) -> &SpecContext {
        &self.context
    }

    /// Has the listener of a job, which is about to be submitted, tell how it
    /// ends, and what it writes if `live` is there.
    pub(crate) fn expect(&self, id: &JobId, live: Option<mpsc::Sender<Live>>) -> Expected {
        let (tell, finished) = oneshot::channel();
        let (tell_start, started) = oneshot::channel();
        let expectant = Expectant { live, started: Some(tell_start), finished: tell };
        lock(&self.listeners.expectants).insert(id.clone(), expectant);
        Expected { listeners: Arc::clone(&self.listeners), id: id.clone(), started, finished }
    }

    /// Waits for the end of a job that nobody has listened to.
    ///
    /// # Errors
    ///
    /// If it is not known, or goes on with another agent.
    pub(crate) async fn end_of(&self, id: &JobId) -> Result<Finished, ManagerError> {
        Ok(listener::ended(self.manager.wait(id).await?).await)
    }

    /// Has something done that ends with the processes.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.listeners.tasks().spawn_on(task, &self.runtime);
    }

    /// Ends the manager, and waits until all that children said is in the log.
    pub(crate) async fn shutdown(&self) {
        self.listeners.closing.cancel();
        // Somebody may have done it before.
        let _ = self.manager.shutdown().await;
        *lock(&self.listeners.host) = None;
        let mut tasks = std::mem::take(&mut *lock(&self.listeners.tasks));
        let all = async { while tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_WORDS, all).await.is_err() {
            tracing::warn!("the log has not taken all that processes said");
        }
        let begun = Arc::clone(&self.listeners.begun);
        match tokio::task::spawn_blocking(move || begun.write()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(%error, "lines that have begun are lost"),
            Err(error) => tracing::error!(%error, "writing lines that have begun panicked"),
        }
    }
}

/// How long the listeners have at the end for a log that takes nothing.
const LAST_WORDS: std::time::Duration = std::time::Duration::from_secs(5);

impl Listeners {
    /// Begins to listen to a job.
    fn listen(&self, job: &JobInfo) -> mpsc::Sender<JobEvent> {
        let (events, happens) = mpsc::channel(EVENTS);
        let expectant = lock(&self.expectants).remove(&job.id);
        let host = lock(&self.host).clone();
        let listener = listener::Listener::new(self, host, job, expectant);
        self.tasks().spawn(listener.run(happens));
        events
    }

    /// The tasks that have not ended.
    fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        let mut tasks = lock(&self.tasks);
        while let Some(ended) = tasks.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a task that sees to a process panicked");
            }
        }
        tasks
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic happens while one of them is held.
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program that keeps the children, and its arguments before the directory.
#[derive(Debug, Clone)]
pub struct KeeperCommand {
    /// The program.
    pub program: std::path::PathBuf,
    /// Its arguments; the keeper's directory follows them.
    pub args: Vec<String>,
}

fn manager_config(config: &Config, keeper: &KeeperCommand) -> ManagerConfig {
    let settings = &config.processes;
    let keeper_dir = config.data_dir.join("run");
    let text = |path: &Path| path.display().to_string();
    let program = std::iter::once(text(&keeper.program));
    let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
    ManagerConfig {
        keeper_command: program.chain(keeper.args.clone()).chain([text(&keeper_dir)]).collect(),
        keeper_dir,
        remembered_file: config.data_dir.join("jobs.json"),
        script_dir: config.data_dir.join("scripts"),
        max_jobs: count(settings.max_jobs),
        max_accepted: count(settings.max_accepted),
        environment: environment(config),
        agent_environment: std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        leak_timeout: settings.leak_timeout,
    }
}

/// What every child finds in its environment, under the names that JumpScale's
/// scripts know.
fn environment(config: &Config) -> BTreeMap<String, String> {
    [
        ("AGENT_HOME", config.data_dir.display().to_string()),
        ("AGENT_GID", config.gid.to_string()),
        ("AGENT_NID", config.nid.to_string()),
        ("AGENT_CONTROLLER_URL", config.controller.clone()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}
