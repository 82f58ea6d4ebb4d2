//! `drover plugin dev`: builds a plugin again with every save, and runs it.
//!
//! ```text
//!  sources ──changed──▶ build ──▶ checked ──▶ load or copy ──▶ run again
//!     ▲                   │ no            │ no
//!     └───────────────────┴───────────────┘  what serves goes on serving
//! ```

mod sources;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use clap::Args;
use drover_api::{JobLimits, OperationKind};
use drover_plugin_host::{Host, JobStreams};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::sources::Sources;
use super::super::report;
use super::build::{check, copy, near};
use super::live::{self, Wish};
use super::project::{Built, Project, ProjectFlags};
use super::surroundings::{Lines, State, explain};
use super::trial;
use crate::arguments::Arguments;
use crate::exit::{Exit, Failure};
use crate::output;

/// Builds the plugin of a project whenever its sources change, and runs an
/// operation of it, or hands it to an agent. A build that fails leaves what there
/// was. Ctrl-C ends it.
#[derive(Debug, Args)]
pub(super) struct Dev {
    #[command(flatten)]
    project: ProjectFlags,
    /// Run this operation after every build, with the arguments
    #[arg(long, value_name = "OPERATION")]
    run: Option<String>,
    #[command(flatten)]
    arguments: Arguments,
    /// Put the plugin into this directory, the plugin directory of an agent
    #[arg(long, value_name = "DIR", conflicts_with = "run")]
    into: Option<PathBuf>,
    #[command(flatten)]
    state: State,
    #[command(flatten)]
    lines: Lines,
}

pub(super) async fn run(mut dev: Dev) -> Result<Exit, Failure> {
    dev.arguments = dev.arguments.with_input()?;
    let project = Project::open(&dev.project)?;
    let mut sources = Sources::watch(&project.dir)?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut shop = Shop { dev, project, host: None, jobs: JoinSet::new(), job: None };
    let ended = loop {
        let turn = async {
            shop.turn().await;
            sources.changed().await
        };
        tokio::select! {
            _ = interrupt.recv() => break Ok(Exit::Done),
            _ = terminate.recv() => break Ok(Exit::Done),
            changed = turn => if let Err(error) = changed {
                break Err(error.into());
            },
        }
    };
    shop.close().await;
    ended
}

/// Where the plugin is made and runs.
struct Shop {
    dev: Dev,
    project: Project,
    /// The host with the last version that was good.
    host: Option<Host>,
    /// The job under way.
    jobs: JoinSet<()>,
    job: Option<CancellationToken>,
}

impl Shop {
    /// Builds once, and tells what became of it.
    async fn turn(&mut self) {
        let begin = Instant::now();
        output::note(&format!("building {}", near(&self.project.dir).display()));
        let built = match self.project.build().await {
            Ok(built) => check(&built, &self.project.dir).map(|()| built),
            Err(failure) => Err(failure),
        };
        let served = match built {
            Ok(built) => self.serve(&built, begin).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = served {
            // How the program would end is no matter: it goes on.
            let _ = failure.report();
            let what = if self.host.is_some() {
                "the version before serves on"
            } else {
                "no version serves yet"
            };
            output::note(&format!("waiting for a change; {what}"));
        }
    }

    async fn serve(&mut self, built: &Built, begin: Instant) -> Result<(), Failure> {
        let seconds = begin.elapsed().as_secs_f64();
        let name = format!("{}.wasm", built.name);
        if let Some(directory) = &self.dev.into {
            let target = directory.join(name);
            copy(built, &target)?;
            output::note(&format!("{} is new, after {seconds:.1} s", near(&target).display()));
            return Ok(());
        }
        let grants = self.dev.lines.grants(&built.file)?;
        let host = match &self.host {
            Some(host) => host.clone(),
            None => {
                let (cache, state) = (&self.dev.project.cache, self.dev.state.dir());
                cache.host(grants.clone(), state, Some(Arc::new(trial::Shown)))?
            }
        };
        host.set_grants(grants);
        let plugin = host.load_file(&built.file).await.map_err(explain)?;
        self.host = Some(host.clone());
        output::note(&format!("{} serves, after {seconds:.1} s", plugin.name));
        let Some(operation) = &self.dev.run else {
            let names = plugin.operations.iter().map(|operation| operation.name.as_str());
            let names = names.collect::<Vec<_>>().join(", ");
            output::note(&format!("--run would run one of its operations: {names}"));
            return Ok(());
        };
        let described = plugin.operations.iter().find(|described| described.name == *operation);
        let schema = described.map(|operation| operation.arguments.clone()).unwrap_or_default();
        let wish = Wish {
            plugin: plugin.name,
            operation: operation.clone(),
            arguments: self.dev.arguments.read(&schema)?,
            kind: described.map_or(OperationKind::Task, |operation| operation.kind),
            data: Vec::new(),
            timeout: None,
            limits: JobLimits::default(),
        };
        self.stop_job().await;
        let cancel = CancellationToken::new();
        self.job = Some(cancel.clone());
        self.jobs.spawn(async move {
            let shown = live::run(&host, wish, JobStreams::default(), &cancel).await;
            let shown = shown
                .map_err(Failure::from)
                .and_then(|result| report::ending(&result, "", false).map(drop));
            if let Err(failure) = shown {
                let _ = failure.report();
            }
        });
        Ok(())
    }

    /// Cancels the job of the version before, and waits for its end.
    async fn stop_job(&mut self) {
        if let Some(job) = self.job.take() {
            job.cancel();
        }
        while self.jobs.join_next().await.is_some() {}
    }

    async fn close(mut self) {
        self.stop_job().await;
        if let Some(host) = &self.host {
            host.shutdown().await;
        }
    }
}
