//! `drover plugin run`: runs one operation of a plugin file.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use drover_api::OperationKind;
use drover_plugin_host::Meters;
use tokio_util::sync::CancellationToken;

use super::super::call::JobFlags;
use super::super::report;
use super::live::{self, Wish};
use super::surroundings::{Surroundings, explain};
use super::trial;
use crate::arguments::Arguments;
use crate::exit::{Exit, Failure};

/// Loads a plugin file as an agent would and runs one of its operations; what
/// it says is shown as it says it.
#[derive(Debug, Args)]
pub(super) struct Run {
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

pub(super) async fn run(run: Run) -> Result<Exit, Failure> {
    let data = run.job.data()?;
    let arguments = run.arguments.with_input()?;
    let meters = run.metrics.then(|| -> Arc<dyn Meters> { Arc::new(trial::Shown) });
    let host = run.surroundings.host(&run.file, meters)?;
    let plugin = host.load_file(&run.file).await.map_err(explain)?;
    let operation = plugin.operations.iter().find(|operation| operation.name == run.operation);
    let schema = operation.map(|operation| operation.arguments.clone()).unwrap_or_default();
    let kind = operation.map_or(OperationKind::Task, |operation| operation.kind);
    let wish = Wish {
        plugin: plugin.name,
        operation: run.operation,
        kind,
        arguments: arguments.read(&schema)?,
        data,
        timeout: run.job.timeout,
    };
    let result = live::run(&host, wish, &CancellationToken::new()).await;
    host.shutdown().await;
    report::ending(&result?, "", run.job.json)
}
