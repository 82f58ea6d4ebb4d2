//! The agent: what runs on every host of a site.
//!
//! [`Agent::start`] starts the plugin host; [`Agent::run`] keeps what is loaded as
//! the plugin directory says, and keeps the link. The parts and who feeds them:
//!
//! ```text
//!   controller <--WAMP--> link ----invocations----> dispatch ----jobs----> plugin host
//!                          |  <---answers, progress---  |
//!                          |                             +----host's own commands
//!                          +--heartbeats on their own timer, never behind work
//! ```
//!
//! [`link`] registers the prefix of the node's procedures and sends heartbeats;
//! what it stands on dials again for ever.
//! [`dispatch`] turns an invocation into a job and its outcome into an answer;
//! the jobs that are not for a plugin are in the table [`commands`].
//! [`processes`] has the child processes, whose parent is a program of its own;
//! [`startup`] runs those that the configuration wants; [`services`] are those that
//! plugins offer.
//! [`sources`] follows log files, whose lines plugins parse.
//! [`quarantine`] and [`reload`] keep what failing plugins are in for, and what the
//! admin changes meanwhile.
//! [`update`] has what the controller pushes: plugins, and other versions of the agent's
//! own program, which the [`launcher`] starts. [`inbox`] has the jobs that it hands over
//! for good.
//! [`identity`] is who the node is to its controller, once it was let in.
//! What jobs say goes into the [`logs`], from where [`forward`] sends on what the
//! controller is to have; [`metrics`] adds up what they measure. What the agent counts of
//! itself is in its [`vitals`].

#![forbid(unsafe_code)]

mod asker;
mod commands;
mod config;
mod dispatch;
mod drain;
mod forward;
mod grants;
mod identity;
mod inbox;
mod launcher;
mod link;
mod logs;
mod metrics;
mod node;
mod plugins;
mod processes;
mod quarantine;
mod recording;
mod reload;
mod services;
mod sources;
mod startup;
mod streams;
mod trial;
mod update;
mod vitals;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use drover_plugin_host::{CompilerCommand, Host, HostConfig, NodeInfo, Surroundings};
use drover_process::ManagerTask;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use commands::reserved;
pub use config::{
    Config, ConfigError, DrainSettings, JobSettings, Limits, LogSettings, MetricsSettings,
    PluginSettings, ProcessSettings, SourceSettings, Startup, StatsdSettings, UpdateSettings,
    WhenFull, default_data_dir,
};

pub use drain::Ending;
pub use drover_process::run_keeper;
pub use identity::{Join, has_joined, join};
pub use launcher::{After, HAND_OVER, Launcher};
pub use link::{client, try_out};
pub use processes::KeeperCommand;
pub use services::ServiceSpec;
pub use trial::TrialPrograms;
pub use update::OwnProgram;

use config::StartupJob;
use inbox::{Inbox, InboxTask};
use logs::Logs;
use metrics::{Metrics, Sockets};
use node::{Node, Parts};
use processes::{OfPlugins, Processes};
use services::{Services, Supervisor};
use update::Updates;
use vitals::{Listening, Vitals};

/// An agent with its directories checked, its log open and its plugin host
/// started.
pub struct Agent {
    config: Config,
    /// The same as it was written, before the node's identity was put over it.
    written: Config,
    /// Where the configuration came from, if changes of it are to be followed.
    config_file: Option<PathBuf>,
    grants: grants::Source,
    granted: grants::Read,
    host: Host,
    quarantines: quarantine::Kept,
    logs: Logs,
    metrics: Metrics,
    sockets: Sockets,
    processes: Processes,
    managing: ManagerTask,
    services: Services,
    supervisor: Supervisor,
    updates: Updates,
    keeper: update::Keeper,
    inbox: Inbox,
    inbox_task: InboxTask,
    vitals: Vitals,
    listening: Listening,
    program: Option<String>,
    startup: Vec<StartupJob>,
}

/// Why an agent has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was stopped.
    Stopped,
    /// Somebody told it to end so that it is started again.
    ToRestart,
    /// Another version of its program is to run.
    ToHandOver,
}

impl Agent {
    /// Makes the directories, opens the log and starts the plugin host.
    /// `compiler` is the program that compiles a component in a process of its
    /// own, and `keeper` the one that keeps the child processes. To be called on the
    /// runtime that the agent will run on.
    ///
    /// # Errors
    ///
    /// If a directory cannot be made or written, another agent has the log
    /// open, or a socket for metrics cannot be opened.
    pub fn start(
        written: Config,
        compiler: CompilerCommand,
        keeper: &KeeperCommand,
    ) -> anyhow::Result<Self> {
        let config = identity::over(&written)?;
        let startup = config.startup_jobs()?;
        for (key, dir) in [("data_dir", &config.data_dir), ("plugin_dir", &config.plugin_dir)] {
            std::fs::create_dir_all(dir).with_context(|| {
                format!(
                    "cannot make the directory {}: set another `{key}`, or make it and give it \
                     to the user of the agent",
                    dir.display()
                )
            })?;
        }
        let metrics = Metrics::default();
        let message = config.max_message_bytes();
        // With room for what is around an answer.
        let answer = config.host_limits().answer_bytes.min(message / 4 * 3);
        let logs = Logs::open(&config.logs, metrics.clone(), answer, message)?;
        let sockets = Sockets::open(&config.statsd, &metrics)?;
        let (vitals, listening) = (Vitals::default(), Listening::bind(&config.metrics)?);
        let grants = grants::Source::new(&config);
        let granted = grants::read(&grants);
        if let Err(error) = &granted {
            tracing::error!(error, "the grants cannot be used, so nothing is granted");
        }
        let (processes, managing) = Processes::open(&config, keeper, logs.clone(), vitals.clone())?;
        let host = Host::start(HostConfig {
            cache_dir: config.cache_dir.clone(),
            compiler,
            limits: config.host_limits(),
            reserved: reserved(),
            grants: granted.clone().unwrap_or_default(),
            state_dir: config.data_dir.join("state"),
            surroundings: Surroundings {
                node: NodeInfo {
                    id: config.node(),
                    name: config.name.clone(),
                    labels: config.labels.clone(),
                },
                meters: Some(Arc::new(metrics.clone())),
                programs: Some(Arc::new(OfPlugins(processes.clone()))),
            },
        })
        .context("cannot start the plugin host")?;
        host.set_pins(config.pins());
        processes.parse_with(host.clone());
        let path = config.data_dir.join("quarantine.json");
        let quarantines = quarantine::Kept::open(path.clone(), &host)
            .with_context(|| format!("cannot read the quarantines in {}", path.display()))?;
        let (services, supervisor) = Services::open(&config)?;
        let (updates, keeper) = Updates::open(&config, host.clone())?;
        let (inbox, inbox_task) = Inbox::new(&config.data_dir, config.jobs.inbox());
        Ok(Self {
            config,
            written,
            config_file: None,
            grants,
            granted,
            host,
            quarantines,
            logs,
            metrics,
            sockets,
            processes,
            managing,
            services,
            supervisor,
            updates,
            keeper,
            inbox,
            inbox_task,
            vitals,
            listening,
            program: None,
            startup,
        })
    }

    /// Has changes of the limits and pins of plugins in `file`, where the
    /// configuration came from, count while the agent runs.
    #[must_use]
    pub fn following(self, file: Option<PathBuf>) -> Self {
        Self { config_file: file, ..self }
    }

    /// Lets another version of the agent's program take its place, which ends it with
    /// [`Ended::ToHandOver`].
    #[must_use]
    pub fn replaceable(mut self, program: OwnProgram) -> Self {
        self.program = program.pushed.map(|hash| hash.to_string());
        self.keeper.replacing(program);
        self
    }

    /// Loads the plugins and keeps the link until it is to end, or somebody tells the
    /// agent to restart, which ends it too. If it may take its time, jobs that run end
    /// before.
    ///
    /// What ends first is the link, then plugins, processes and metrics, and last
    /// the log, which takes what all the others say.
    ///
    /// # Errors
    ///
    /// If a task of the agent panicked, or jobs outlived the grace period. A
    /// controller that is away is no error.
    pub async fn run(self, ending: Ending) -> anyhow::Result<Ended> {
        let stop = ending.stop.clone();
        let Self {
            config,
            written,
            config_file,
            grants,
            granted,
            host,
            quarantines,
            logs,
            metrics,
            sockets,
            processes,
            managing,
            services,
            supervisor,
            updates,
            keeper,
            inbox,
            inbox_task,
            vitals,
            listening,
            program,
            startup,
        } = self;
        let store = logs.store().clone();
        let followed = config.sources.clone();
        let parts = Parts { host, logs, processes, services, updates, inbox, vitals, program };
        let node = Node::new(&config, parts, stop.clone());
        let (loaded, restored) = (CancellationToken::new(), CancellationToken::new());

        let mut measuring = JoinSet::new();
        measuring.spawn(async move {
            managing.run().await;
            Ok(())
        });
        let work_is_done = CancellationToken::new();
        let settings = config.statsd.clone();
        measuring.spawn(metrics::run(
            metrics,
            sockets,
            settings,
            store.clone(),
            work_is_done.clone(),
        ));

        let mut tasks = JoinSet::new();
        let directory = config.plugin_dir.clone();
        tasks.spawn(plugins::keep(directory, node.clone(), loaded.clone(), stop.clone()));
        tasks.spawn(grants::watch(grants, granted, node.clone(), stop.clone()));
        if let Some(file) = config_file {
            tasks.spawn(reload::watch(file, written, node.clone(), stop.clone()));
        }
        tasks.spawn(quarantines.follow(node.clone(), stop.clone()));
        tasks.spawn(supervisor.run(node.clone(), stop.clone()));
        tasks.spawn(keeper.run(node.clone(), restored.clone(), stop.clone()));
        tasks.spawn(inbox_task.run(node.clone(), stop.clone()));
        tasks.spawn(startup::run(node.clone(), startup, stop.clone()));
        tasks.spawn(sources::run(node.clone(), followed, stop.clone()));
        tasks.spawn(drain::run(node.clone(), ending, config.drain.patience));
        tasks.spawn(watch_disk(node.clone(), stop.clone()));
        tasks.spawn(vitals::serve(node.clone(), listening, stop.clone()));
        tasks.spawn(link::keep(config, node.clone(), [loaded, restored], stop.clone()));
        let mut outcome = Ok(());
        while let Some(ended) = tasks.join_next().await {
            outcome = outcome.and(ended.context("a task panicked").flatten());
            if outcome.is_err() {
                stop.cancel();
            }
        }
        node.host().shutdown().await;
        node.processes().shutdown().await;
        work_is_done.cancel();
        while let Some(ended) = measuring.join_next().await {
            outcome = outcome.and(ended.context("a task panicked").flatten());
        }
        let closed = tokio::task::spawn_blocking(move || store.close()).await;
        outcome.and(closed.context("closing the log panicked"))?;
        Ok(node.ended())
    }
}

/// Tells the controller when the log or durable jobs cannot be written, and when they
/// can again.
async fn watch_disk(node: Node, stop: CancellationToken) -> anyhow::Result<()> {
    let (mut log, mut jobs) = (node.logs().store().trouble(), node.inbox().watch_trouble());
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            Ok(()) = log.changed() => node.changed(),
            Ok(()) = jobs.changed() => node.changed(),
        }
    }
}
