//! `drover plugin`: tries plugins without a controller.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use drover_api::{Command, NodeId};
use drover_plugin_host::{Host, HostConfig, Inspection, Job, Limits};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::call::JobFlags;
use super::{compile, daemon, ops, report};
use crate::arguments::Arguments;
use crate::exit::{Exit, Failure};
use crate::output;

/// Tries plugins without a controller
#[derive(Debug, Args)]
pub(crate) struct Plugin {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Run one operation of a plugin file
    Run(Run),
    /// Show what a plugin file offers and what it wants
    Inspect(Inspect),
}

/// Loads a plugin file as an agent would and runs one of its operations.
#[derive(Debug, Args)]
struct Run {
    /// The component
    file: PathBuf,
    /// The name of the operation, without the plugin's
    operation: String,
    #[command(flatten)]
    arguments: Arguments,
    #[command(flatten)]
    job: JobFlags,
    #[command(flatten)]
    cache: Cache,
}

/// Shows a plugin file: operations with their arguments, imports, size.
#[derive(Debug, Args)]
struct Inspect {
    /// The component
    file: PathBuf,
    /// Print it as JSON, with the schemas
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: Cache,
}

/// Where compiled plugins are kept.
#[derive(Debug, Args)]
struct Cache {
    /// Directory for compiled plugins; by default the one of this user
    #[arg(long = "cache", value_name = "DIR")]
    dir: Option<PathBuf>,
}

impl Cache {
    fn host(&self) -> anyhow::Result<Host> {
        let usual = || drover_agent::default_data_dir().join("cache");
        let cache_dir = self.dir.clone().unwrap_or_else(usual);
        Host::start(HostConfig {
            cache_dir,
            compiler: compile::compiler(),
            limits: Limits::default(),
            // So that `inspect` says what an agent will say.
            reserved: drover_agent::reserved(),
        })
        .context("cannot start the plugin host (--cache names another directory)")
    }
}

pub(crate) fn run(plugin: Plugin) -> Result<Exit, Failure> {
    daemon::runtime()?.block_on(async {
        match plugin.command {
            PluginCommand::Run(command) => run_operation(command).await,
            PluginCommand::Inspect(command) => inspect(&command).await,
        }
    })
}

async fn run_operation(run: Run) -> Result<Exit, Failure> {
    let data = run.job.data()?;
    let arguments = run.arguments.with_input()?;
    let host = run.cache.host()?;
    let plugin = host.load_file(&run.file).await?;
    let operation = plugin.operations.iter().find(|operation| operation.name == run.operation);
    let schema = operation.map(|operation| operation.arguments.clone()).unwrap_or_default();
    let mut command = Command::new(format!("{}.{}", plugin.name, run.operation));
    command.args = arguments.read(&schema)?;

    let (reports, mut progress) = mpsc::channel(8);
    let cancel = CancellationToken::new();
    let job = Job {
        id: command.id.clone(),
        plugin: plugin.name.clone(),
        operation: run.operation,
        arguments: command.args.clone(),
        data: data.into_bytes(),
        timeout: run.job.timeout,
        progress: Some(reports),
        said: None,
        cancel: cancel.clone(),
    };
    let ending = host.run(job);
    tokio::pin!(ending);
    let outcome = loop {
        tokio::select! {
            biased;
            Some(report) = progress.recv() => report::progress(&report),
            outcome = &mut ending => break outcome,
            signalled = tokio::signal::ctrl_c(), if !cancel.is_cancelled() => {
                signalled.context("cannot listen for Ctrl-C")?;
                cancel.cancel();
            }
        }
    };
    while let Ok(report) = progress.try_recv() {
        report::progress(&report);
    }
    host.shutdown().await;
    // No node ran it, and 0.0 is none's id.
    let result = outcome.into_result(NodeId::new(0, 0), command);
    report::result(&result, "", run.job.json)
}

async fn inspect(command: &Inspect) -> Result<Exit, Failure> {
    let host = command.cache.host()?;
    let inspection = host.inspect(&command.file).await?;
    host.shutdown().await;
    if command.json {
        output::json(&inspection)?;
    } else {
        output::answer(&describe(&command.file, &inspection))?;
    }
    match inspection.refusal {
        None => Ok(Exit::Done),
        Some(reason) => {
            output::note(&format!("an agent refuses this plugin: {reason}"));
            Ok(Exit::Failed)
        }
    }
}

fn describe(file: &Path, inspection: &Inspection) -> String {
    let mut text = format!(
        "{} from {}: {} bytes, sha256 {}\n",
        inspection.name,
        file.display(),
        inspection.size_bytes,
        inspection.hash
    );
    text.push_str("\nimports\n");
    for name in &inspection.imports {
        let is_offered = !inspection.not_offered.contains(name);
        text.push_str(&format!("    {name}{}\n", if is_offered { "" } else { "  NOT OFFERED" }));
    }
    text.push_str("\nexports\n");
    for name in &inspection.exports {
        text.push_str(&format!("    {name}\n"));
    }
    for operation in &inspection.operations {
        let cmd = format!("{}.{}", inspection.name, operation.name);
        text.push_str(&format!("\n{}", ops::describe(&cmd, &[], operation)));
    }
    text
}
