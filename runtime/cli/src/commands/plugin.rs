//! `drover plugin`: tries plugins without a controller, grants them what they
//! ask for, and shows those of nodes.

mod grant;
mod pack;
mod status;
mod trial;

use std::fs::{self, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use clap::{Args, Subcommand};
use drover_api::{Command, NodeId};
use drover_grants::{Grants, Manifest};
use drover_plugin_host::{Host, HostConfig, Inspection, Job, Limits, Meters};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::call::JobFlags;
use super::{compile, daemon, ops, report};
use crate::arguments::Arguments;
use crate::exit::{Exit, Failure};
use crate::{controller, output};

/// Tries plugins without a controller, grants them what they ask for, and shows
/// those of nodes
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
    /// Put a manifest into a component
    Pack(pack::Pack),
    /// Grant a plugin of this host what it asks for
    Grant(grant::Grant),
    /// Show the plugins of a node, and what became of their files
    Status(status::Status),
    /// Let a plugin of a node out of its quarantine
    Release(status::Release),
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
    /// Show what the plugin measures, on standard error
    #[arg(long)]
    metrics: bool,
    #[command(flatten)]
    surroundings: Surroundings,
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
    surroundings: Surroundings,
}

/// What a plugin runs with.
#[derive(Debug, Args)]
struct Surroundings {
    /// Directory for compiled plugins; by default the one of this user
    #[arg(long = "cache", value_name = "DIR")]
    dir: Option<PathBuf>,
    /// What the plugin may touch; by default what this user's agent grants
    #[arg(long, value_name = "FILE")]
    grants: Option<PathBuf>,
}

impl Surroundings {
    fn host(&self, around: drover_plugin_host::Surroundings) -> anyhow::Result<Host> {
        let data_dir = drover_agent::default_data_dir();
        let cache_dir = self.dir.clone().unwrap_or_else(|| data_dir.join("cache"));
        let usual = || data_dir.join("grants.toml");
        let file = self.grants.clone().unwrap_or_else(usual);
        let grants = Grants::load(&file, &file.with_extension("d"))?;
        Host::start(HostConfig {
            cache_dir,
            compiler: compile::compiler(),
            limits: Limits::default(),
            // So that `inspect` says what an agent will say.
            reserved: drover_agent::reserved(),
            grants,
            state_dir: data_dir.join("state"),
            surroundings: around,
        })
        .context("cannot start the plugin host (--cache names another directory)")
    }
}

pub(crate) fn run(plugin: Plugin) -> Result<Exit, Failure> {
    match plugin.command {
        PluginCommand::Run(command) => daemon::runtime()?.block_on(run_operation(command)),
        PluginCommand::Inspect(command) => daemon::runtime()?.block_on(inspect(&command)),
        PluginCommand::Status(command) => controller::runtime()?.block_on(status::status(&command)),
        PluginCommand::Release(command) => {
            controller::runtime()?.block_on(status::release(&command))
        }
        PluginCommand::Pack(command) => pack::run(&command),
        PluginCommand::Grant(command) => grant::run(&command),
    }
}

/// Writes a file that others see whole or not at all. One that is there keeps
/// who may read it.
fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    // A link stays one, and its target is written.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let write = || {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let permissions = match fs::metadata(&path) {
            Ok(metadata) => metadata.permissions(),
            Err(_) => Permissions::from_mode(0o644),
        };
        let mut file = tempfile::NamedTempFile::new_in(dir.unwrap_or(Path::new(".")))?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(permissions)?;
        file.as_file().sync_all()?;
        file.persist(&path).map_err(|error| error.error)?;
        Ok::<_, io::Error>(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

async fn run_operation(run: Run) -> Result<Exit, Failure> {
    let data = run.job.data()?;
    let arguments = run.arguments.with_input()?;
    let meters = run.metrics.then(|| -> Arc<dyn Meters> { Arc::new(trial::Shown) });
    let host = run.surroundings.host(trial::around(meters))?;
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
        caller: None,
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
    let host = command.surroundings.host(trial::around(None))?;
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
    text.push_str(&manifest(&inspection.manifest));
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
    for format in &inspection.formats {
        text.push_str(&format!("\n{}", ops::describe_format(&inspection.name, &[], format)));
    }
    text
}

/// What the plugin says of itself, a line each.
fn manifest(manifest: &Manifest) -> String {
    let Manifest { version, description, authors, license, min_host, asks, .. } = manifest;
    let mut text = String::new();
    let mut line = |what: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("    {what}: {value}\n"));
        }
    };
    line("version", &version.as_ref().map(ToString::to_string).unwrap_or_default());
    line("description", description);
    line("authors", &authors.join(", "));
    line("license", license);
    line("needs", &min_host.as_ref().map(|host| format!("Drover {host}")).unwrap_or_default());
    text.push_str("\nasks for\n");
    let asked = asks.describe();
    if asked.is_empty() {
        text.push_str("    nothing\n");
    }
    for (what, reason) in asked {
        text.push_str(&format!("    {what}: {reason}\n"));
    }
    text
}
