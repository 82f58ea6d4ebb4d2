//! `drover service`: operations that run until they are stopped.

mod feed;

use clap::{Args, Subcommand, ValueEnum};
use drover_api::{Restart, ServiceState, ServiceStatus};
use serde_json::json;

use super::call;
use crate::address::Address;
use crate::arguments::Arguments;
use crate::exit::{Exit, Failure};
use crate::{controller, output, render};

const EXAMPLES: &str = "\
Examples:
    drover service start web-1 ticker.count every_ms=500 --name tick
    drover service status web-1
    drover service feed web-1 tick
    drover service stop web-1 tick";

/// Starts, stops and follows services: operations of plugins that run until
/// they are stopped
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Service {
    #[command(subcommand)]
    command: ServiceCommand,
}

#[derive(Debug, Subcommand)]
enum ServiceCommand {
    /// Start a service
    Start(Box<Start>),
    /// Stop a service, and wait until it has ended
    Stop(OneService),
    /// Have a service begin anew, whether it runs or not
    Restart(OneService),
    /// Show the services of a node
    Status(Status),
    /// Follow what a service publishes, as JSON lines
    Feed(feed::Feed),
}

/// Starts a service. It is started again when it fails, when its plugin is
/// replaced, and when the agent or the host restarts, until it is stopped.
#[derive(Debug, Args)]
struct Start {
    /// The node, by name or id
    node: String,
    /// What runs: <plugin>.<operation>, such as ticker.count
    operation: String,
    #[command(flatten)]
    arguments: Arguments,
    /// What the service is called; like its operation by default
    #[arg(long)]
    name: Option<String>,
    /// When it is started again by itself
    #[arg(long, value_name = "WHEN", default_value = "on-failure")]
    restart: When,
    /// How many failures within five minutes are followed by a restart
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    max_restart: u32,
    /// Put what it publishes into the node's log too
    #[arg(long)]
    log_feed: bool,
    /// Print its status as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// When a service is started again by itself.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum When {
    /// Not at all
    Never,
    /// When it failed or crashed
    OnFailure,
    /// However it ended
    Always,
}

/// One service of a node.
#[derive(Debug, Args)]
struct OneService {
    /// The node, by name or id
    node: String,
    /// What the service is called
    name: String,
    /// Print its status as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// Shows the services of a node: what each runs, its state and since when, how
/// often it was started again, its memory and when it last published.
#[derive(Debug, Args)]
struct Status {
    /// The node, by name or id
    node: String,
    /// What the service is called; all without it
    name: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

pub(crate) fn run(service: Service) -> Result<Exit, Failure> {
    let runtime = controller::runtime()?;
    match service.command {
        ServiceCommand::Start(command) => runtime.block_on(start(*command)),
        ServiceCommand::Stop(command) => runtime.block_on(ask(&command, "service.stop")),
        ServiceCommand::Restart(command) => runtime.block_on(ask(&command, "service.restart")),
        ServiceCommand::Status(command) => runtime.block_on(status(&command)),
        ServiceCommand::Feed(command) => runtime.block_on(feed::run(&command)),
    }
}

async fn start(start: Start) -> Result<Exit, Failure> {
    let arguments = start.arguments.with_input()?;
    let session = start.address.connect().await?;
    let nodes = controller::nodes(&session).await?;
    let node = controller::find_present(&nodes, &start.node)?;
    let schema = call::schema(&session, node, &start.operation).await?;
    let mut request = json!({
        "operation": start.operation,
        "args": arguments.read(&schema)?,
        "restart": Restart::from(start.restart),
        "max_restart": start.max_restart,
        "log_feed": start.log_feed,
    });
    if let Some(name) = start.name {
        request["name"] = name.into();
    }
    let status: ServiceStatus = controller::ask(&session, node, "service.start", &request).await?;
    session.close().await;
    show(&[status], start.json)
}

async fn ask(command: &OneService, cmd: &str) -> Result<Exit, Failure> {
    let session = command.address.connect().await?;
    let nodes = controller::nodes(&session).await?;
    let node = controller::find_present(&nodes, &command.node)?;
    let request = json!({ "name": command.name });
    let status: ServiceStatus = controller::ask(&session, node, cmd, &request).await?;
    session.close().await;
    show(&[status], command.json)
}

async fn status(command: &Status) -> Result<Exit, Failure> {
    let session = command.address.connect().await?;
    let nodes = controller::nodes(&session).await?;
    let node = controller::find_present(&nodes, &command.node)?;
    let statuses: Vec<ServiceStatus> = match &command.name {
        Some(name) => {
            let request = json!({ "name": name });
            vec![controller::ask(&session, node, "service.status", &request).await?]
        }
        None => controller::ask(&session, node, "service.list", &json!({})).await?,
    };
    session.close().await;
    if statuses.is_empty() && !command.json {
        output::note("no services; `drover service start` starts one");
        return Ok(Exit::Done);
    }
    if command.name.is_none() && command.json {
        output::json(&statuses)?;
        return Ok(Exit::Done);
    }
    show(&statuses, command.json)
}

/// Prints services, and why those do not run that do not.
fn show(statuses: &[ServiceStatus], as_json: bool) -> Result<Exit, Failure> {
    if as_json {
        statuses.iter().try_for_each(output::json)?;
        return Ok(Exit::Done);
    }
    output::answer(&render::table(
        &["service", "operation", "state", "since", "restarts", "version", "memory", "published"],
        statuses.iter().map(row),
    ))?;
    for status in statuses {
        if let Some(error) = &status.error {
            output::note(&format!("{}: {error}", status.name));
        }
    }
    Ok(Exit::Done)
}

fn row(status: &ServiceStatus) -> [String; 8] {
    let none = || "-".to_owned();
    let hash = status.hash.as_ref().map(|hash| hash.chars().take(12).collect());
    [
        status.name.clone(),
        status.operation.clone(),
        state(status.state).to_owned(),
        render::ago(status.since),
        status.restarts.to_string(),
        status.version.clone().or(hash).unwrap_or_else(none),
        status.memory_bytes.map_or_else(none, render::bytes),
        status.published.map_or_else(none, render::ago),
    ]
}

fn state(state: ServiceState) -> &'static str {
    match state {
        ServiceState::Running => "running",
        ServiceState::Stopping => "stopping",
        ServiceState::Waiting => "WAITING",
        ServiceState::BackingOff => "BACKING OFF",
        ServiceState::Stopped => "stopped",
        ServiceState::Failed => "FAILED",
        ServiceState::Unknown => "unknown",
    }
}

impl From<When> for Restart {
    fn from(when: When) -> Self {
        match when {
            When::Never => Self::Never,
            When::OnFailure => Self::OnFailure,
            When::Always => Self::Always,
        }
    }
}
