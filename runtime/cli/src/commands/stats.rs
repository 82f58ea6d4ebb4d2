//! `drover stats`: what the programs on a node use.

use std::io::IsTerminal;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use drover_api::NodeStatus;
use drover_wamp::Client;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::jobs::Usage;
use crate::{controller, output, render};

const EXAMPLES: &str = "\
Examples:
    drover stats web-1
    drover stats web-1 startup.shop --watch
    drover stats web-1 --domain web --watch=10s --json";

/// Shows what the programs use that a node runs, with all processes that they
/// have started: of one job, or of all, where jobs that share domain and name
/// are added up.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Stats {
    /// The node, by name or id
    node: String,
    /// The job, by its id
    job: Option<String>,
    /// Only jobs with this domain
    #[arg(long, conflicts_with = "job")]
    domain: Option<String>,
    /// Only jobs with this name
    #[arg(long, conflicts_with = "job")]
    name: Option<String>,
    /// Show it again and again until Ctrl-C, every 2s or as often as said
    /// behind =
    #[arg(long, value_name = "TIME", num_args = 0..=1, require_equals = true,
        default_missing_value = "2s", value_parser = pause)]
    watch: Option<Duration>,
    /// Print it as JSON; with --watch one line each time
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// What jobs of one domain and name use, or one job alone.
#[derive(Debug, Deserialize)]
struct Used {
    domain: String,
    name: String,
    /// None for a job alone.
    jobs: Option<Vec<String>>,
    #[serde(flatten)]
    usage: Usage,
}

pub(crate) fn run(stats: &Stats) -> Result<Exit, Failure> {
    controller::runtime()?.block_on(async {
        let session = stats.address.connect().await?;
        let nodes = controller::nodes(&session).await?;
        let node = controller::find_present(&nodes, &stats.node)?;
        let exit = match stats.watch {
            None => stats.show(&session, node).await.map(|()| Exit::Done)?,
            Some(pause) => tokio::select! {
                failure = stats.watch(&session, node, pause) => return Err(failure),
                signalled = tokio::signal::ctrl_c() => {
                    signalled.context("cannot listen for Ctrl-C")?;
                    Exit::Cancelled
                }
            },
        };
        session.close().await;
        Ok(exit)
    })
}

impl Stats {
    /// Shows it until that fails.
    async fn watch(&self, session: &Client, node: &NodeStatus, pause: Duration) -> Failure {
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(failure) = self.show(session, node).await {
                return failure;
            }
        }
    }

    async fn show(&self, session: &Client, node: &NodeStatus) -> Result<(), Failure> {
        let (cmd, arguments) = match &self.job {
            Some(job) => ("process.stats", json!({ "id": job })),
            None => ("process.stats_all", json!({ "domain": self.domain, "name": self.name })),
        };
        let answer: Value = controller::ask(session, node, cmd, &arguments).await?;
        if self.json && self.watch.is_some() {
            return Ok(output::answer(&answer.to_string())?);
        }
        if self.json {
            return Ok(output::json(&answer)?);
        }
        let list = if answer.is_array() { answer } else { Value::Array(vec![answer]) };
        let used: Vec<Used> = serde_json::from_value(list)?;
        if used.is_empty() && self.watch.is_none() {
            output::note(&format!("no such program runs on node {}", self.node));
            return Ok(());
        }
        let table = render::table(
            &[
                "name",
                "jobs",
                "processes",
                "threads",
                "cpu",
                "rss",
                "vms",
                "swap",
                "files",
                "read",
                "written",
            ],
            used.iter().map(row),
        );
        let shown = match self.watch {
            Some(_) if std::io::stdout().is_terminal() => format!("{CLEAR}{table}"),
            Some(_) => format!("{table}\n\n"),
            None => table,
        };
        Ok(output::answer(&shown)?)
    }
}

/// What empties a terminal.
const CLEAR: &str = "\u{1b}[H\u{1b}[2J";

fn row(used: &Used) -> [String; 11] {
    let Used { domain, name, jobs, usage } = used;
    [
        render::job_name(domain, name),
        jobs.as_ref().map_or(1, Vec::len).to_string(),
        usage.processes.to_string(),
        usage.threads.to_string(),
        format!("{:.1}%", usage.cpu),
        render::bytes(usage.rss),
        render::bytes(usage.vms),
        render::bytes(usage.swap),
        usage.open_files.to_string(),
        render::bytes(usage.read_bytes),
        render::bytes(usage.written_bytes),
    ]
}

fn pause(text: &str) -> Result<Duration, String> {
    let pause = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    match pause < Duration::from_millis(100) {
        true => Err("at least 100ms, such as 2s".to_owned()),
        false => Ok(pause),
    }
}
