//! Programs for plugins that are tried without an agent: a process manager of their
//! own, which is there when the first of them is to run.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use drover_plugin_host::{Doing, Ending, NotStarted, Program, ProgramControl, Programs, Started};
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::config::LogSettings;
use crate::logs::Logs;
use crate::metrics::Metrics;
use crate::processes::{KeeperCommand, OfPlugins, Processes};
use crate::vitals::Vitals;
use crate::{Config, ProcessSettings};

/// Runs the programs of plugins as an agent does. What it keeps meanwhile is in a
/// temporary directory.
pub struct TrialPrograms {
    keeper: KeeperCommand,
    runtime: Handle,
    manager: Mutex<Option<Manager>>,
}

/// A process manager that runs.
struct Manager {
    programs: Arc<OfPlugins>,
    _running: JoinSet<()>,
    _directory: TempDir,
}

impl fmt::Debug for TrialPrograms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrialPrograms").finish_non_exhaustive()
    }
}

impl TrialPrograms {
    /// Starts nothing yet. To be called on the runtime that the process manager is
    /// to run on.
    #[must_use]
    pub fn new(keeper: KeeperCommand) -> Self {
        Self { keeper, runtime: Handle::current(), manager: Mutex::default() }
    }

    fn programs(&self) -> anyhow::Result<Arc<OfPlugins>> {
        let mut manager = self.manager.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(manager) = &*manager {
            return Ok(Arc::clone(&manager.programs));
        }
        let started = Manager::start(&self.keeper, &self.runtime)?;
        Ok(Arc::clone(&manager.insert(started).programs))
    }
}

impl Manager {
    fn start(keeper: &KeeperCommand, runtime: &Handle) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
        let data_dir = directory.path().to_owned();
        let logs = LogSettings { dir: data_dir.join("logs"), ..LogSettings::default() };
        let config =
            Config { data_dir, logs, processes: ProcessSettings::default(), ..Config::default() };
        let message = config.max_message_bytes();
        let logs = Logs::open(&config.logs, Metrics::default(), message, message)?;
        let _entered = runtime.enter();
        let (processes, managing) = Processes::open(&config, keeper, logs, Vitals::default())?;
        let mut running = JoinSet::new();
        running.spawn(managing.run());
        let programs = Arc::new(OfPlugins(processes));
        Ok(Self { programs, _running: running, _directory: directory })
    }
}

impl Programs for TrialPrograms {
    fn start(&self, program: Program) -> Started {
        match self.programs() {
            Ok(programs) => programs.start(program),
            Err(error) => not_started(&program, &format!("{error:#}")),
        }
    }
}

fn not_started(program: &Program, reason: &str) -> Started {
    let (tell, began) = oneshot::channel();
    let reason = format!("cannot run {} without an agent: {reason}", program.path);
    // The other end is in the answer.
    let _ = tell.send(Err(NotStarted(reason)));
    Started {
        id: drover_api::JobId::generate(),
        began,
        output: mpsc::channel(1).1,
        ended: oneshot::channel::<Ending>().1,
        control: Box::new(Never),
    }
}

/// A program that never was.
struct Never;

impl ProgramControl for Never {
    fn write<'a>(&'a self, _bytes: &'a [u8]) -> Doing<'a, io::Result<()>> {
        Box::pin(async { Err(io::ErrorKind::BrokenPipe.into()) })
    }

    fn close_input(&self) -> Doing<'_, ()> {
        Box::pin(async {})
    }

    fn end(&self) {}

    fn gone(&self) -> Doing<'_, Vec<u32>> {
        Box::pin(async { Vec::new() })
    }
}
