//! `drover logs`: what jobs said.

use std::io::IsTerminal;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use clap::Args;
use drover_api::{Command, JobId, JobResult, NodeId, NodeStatus, Presence, Progress, procedures};
use drover_logs::service::{FollowArguments, Followed, QueryArguments};
use drover_logs::store::{Page, StoredRecord};
use drover_logs::{FieldCondition, LevelSet};
use drover_wamp::{CallError, CallOptions, Client, Payload, RunningCall};
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::log_lines::LogLines;
use crate::{controller, output};

/// Shows records of a node's log or of a job, or, without either, of what all
/// nodes have forwarded to the controller; the newest ones, oldest first.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// A node, by name or id, or a job, by its id
    #[arg(value_name = "NODE|JOB")]
    of: Option<String>,
    /// Go on with records as they are written, until Ctrl-C
    #[arg(short, long, conflicts_with = "until")]
    follow: bool,
    /// Levels, such as 7-9 or 1,2 (3 public, 7 warning, 8 error, 9 critical)
    #[arg(long, value_name = "LEVELS")]
    level: Option<LevelSet>,
    /// Records since then: how long ago, such as 10m, or a time such as
    /// 2026-11-21T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    since: Option<u64>,
    /// Records before then
    #[arg(long, value_name = "TIME", value_parser = point_in_time)]
    until: Option<u64>,
    /// Records in which this text occurs
    #[arg(long, value_name = "TEXT")]
    grep: Option<String>,
    /// Records with such a field, as status>=500 or host=web-1: a name, one of
    /// = != < <= > >= ~ (contains), and a value; several may be given, and all
    /// must hold
    #[arg(long, value_name = "CONDITION")]
    field: Vec<FieldCondition>,
    /// Show the fields of records at the end of their lines
    #[arg(long)]
    show_fields: bool,
    /// Records of this job
    #[arg(long, value_name = "JOB")]
    job: Option<JobId>,
    /// Records of jobs with this domain; a plugin's name for its operations
    #[arg(long)]
    domain: Option<String>,
    /// Records of jobs with this name; an operation's name
    #[arg(long)]
    name: Option<String>,
    /// How many records at most; with --follow, how many to begin with
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Print one JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// Whose log is read.
enum Log<'a> {
    OfNode(&'a NodeStatus),
    OfController,
}

/// The most records that one call answers with.
const PAGE: usize = 10_000;

/// How long a question about a log may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Nodes that are asked for a job at the same time.
const ASKED_AT_ONCE: usize = 64;

pub(crate) fn run(mut logs: Logs) -> Result<Exit, Failure> {
    controller::runtime()?.block_on(async {
        let session = logs.address.connect().await?;
        let nodes = controller::nodes(&session).await?;
        let log = logs.find(&session, &nodes).await?;
        let has_colours = std::io::stdout().is_terminal();
        let lines = match &log {
            Log::OfNode(_) => LogLines::of_node(has_colours),
            Log::OfController => LogLines::of_nodes(has_colours, &nodes),
        };
        let lines = lines.with_fields(logs.show_fields);
        let shown = Shown { lines, as_json: logs.json, node: log.node(), last: None };
        let exit = match logs.follow {
            true => logs.follow(&session, &log, shown).await?,
            false => logs.query(&session, &log, shown).await?,
        };
        session.close().await;
        Ok(exit)
    })
}

impl Logs {
    /// Finds out whose log is meant; a job becomes a condition.
    async fn find<'a>(
        &mut self,
        session: &Client,
        nodes: &'a [NodeStatus],
    ) -> Result<Log<'a>, Failure> {
        let Some(wanted) = &self.of else { return Ok(Log::OfController) };
        let Err(unknown) = controller::find(nodes, wanted) else {
            return Ok(Log::OfNode(controller::find_present(nodes, wanted)?));
        };
        let Ok(job) = wanted.parse::<JobId>() else { return Err(unknown) };
        let log = find_job(session, nodes, &job).await?;
        self.job = Some(job);
        log.ok_or_else(|| {
            Failure::text(
                unknown.exit,
                format!("{}; and no log has records of a job `{wanted}`", unknown.error),
            )
        })
    }

    async fn query(
        &self,
        session: &Client,
        log: &Log<'_>,
        mut shown: Shown,
    ) -> Result<Exit, Failure> {
        let mut arguments = QueryArguments {
            job: self.job.clone(),
            domain: self.domain.clone(),
            name: self.name.clone(),
            levels: self.level,
            from: self.since,
            until: self.until,
            text: self.grep.clone(),
            fields: self.field.clone(),
            ..QueryArguments::default()
        };
        let mut records: Vec<StoredRecord> = Vec::new();
        while records.len() < self.limit {
            arguments.limit = Some((self.limit - records.len()).min(PAGE));
            let page = ask(session, log, &arguments).await?;
            records.extend(page.records);
            for path in page.damaged {
                output::note(&format!("{path} is damaged: records in it may be missing"));
            }
            let Some(next) = page.next else { break };
            arguments.cursor = Some(next.to_string());
        }
        for record in records.iter().rev() {
            shown.show(record)?;
        }
        Ok(Exit::Done)
    }

    async fn follow(
        &self,
        session: &Client,
        log: &Log<'_>,
        mut shown: Shown,
    ) -> Result<Exit, Failure> {
        let mut arguments = FollowArguments {
            job: self.job.clone(),
            domain: self.domain.clone(),
            name: self.name.clone(),
            levels: self.level,
            from: self.since,
            text: self.grep.clone(),
            fields: self.field.clone(),
            backlog: Some(self.limit.min(PAGE)),
            ..FollowArguments::default()
        };
        loop {
            let mut running = start(session, log, "log.follow", &arguments).await?;
            let is_cut_off = tokio::select! {
                ended = shown.follow(&mut running) => { ended?; is_cut_off(running).await? }
                signalled = tokio::signal::ctrl_c() => {
                    signalled.context("cannot listen for Ctrl-C")?;
                    return Ok(Exit::Cancelled);
                }
            };
            if !is_cut_off {
                return Ok(Exit::Failed);
            }
            // What was shown is not shown again.
            arguments.after = shown.last;
        }
    }
}

/// What is printed, and how far that has come.
struct Shown {
    lines: LogLines,
    as_json: bool,
    /// Whose log it is, if it is one node's.
    node: Option<NodeId>,
    /// The id of the last record.
    last: Option<u32>,
}

impl Shown {
    fn show(&mut self, record: &StoredRecord) -> Result<(), Failure> {
        self.last = Some(record.id.0);
        if !self.as_json {
            return Ok(output::answer(&self.lines.line(record))?);
        }
        let mut json = serde_json::to_value(record)?;
        if let Some(node) = self.node {
            json["node"] = node.to_string().into();
        }
        Ok(output::answer(&json.to_string())?)
    }

    /// Shows what a call that follows a log tells, until it ends.
    async fn follow(&mut self, running: &mut RunningCall) -> Result<(), Failure> {
        while let Some(report) = running.next().await {
            let report: Value = report.first()?;
            // A node's reports are those of a job.
            let report = match self.node {
                Some(_) => serde_json::from_value::<Progress>(report)?.progress,
                None => report,
            };
            match serde_json::from_value(report)? {
                Followed::Records(records) => {
                    records.iter().try_for_each(|record| self.show(record))?;
                }
                Followed::Missed { first, last } => output::note(&format!(
                    "records {first} to {last} were dropped with age before they could be read"
                )),
            }
        }
        Ok(())
    }
}

impl Log<'_> {
    fn node(&self) -> Option<NodeId> {
        match self {
            Log::OfNode(node) => Some(node.description.id()),
            Log::OfController => None,
        }
    }
}

/// Whether a call that has ended did so because this side reads slowly.
async fn is_cut_off(running: RunningCall) -> Result<bool, Failure> {
    match running.answer().await {
        Err(CallError::SlowReceiver { .. }) => Ok(true),
        Err(error) => Err(controller::lost(error, "cannot follow the log any longer")),
        Ok(answer) => {
            // Following ends by itself only where it fails.
            let result: Option<JobResult> = answer.first().ok();
            let error = result.and_then(|result| result.error);
            let message = error.map_or_else(|| "the log ended".to_owned(), |e| e.message);
            Err(Failure::text(Exit::Failed, message))
        }
    }
}

async fn ask(session: &Client, log: &Log<'_>, arguments: &QueryArguments) -> Result<Page, Failure> {
    let answer = start(session, log, "log.query", arguments).await?.answer().await;
    let answer = answer.map_err(|error| controller::lost(error, "cannot read the log"))?;
    let Log::OfNode(node) = log else { return Ok(answer.first()?) };
    let result: JobResult = answer.first()?;
    match &result.error {
        None => Ok(serde_json::from_value(result.data.into_value())?),
        Some(error) => {
            let message = format!("cannot read the log of node {}: {error}", node.description.name);
            Err(Failure::text((&result).into(), message))
        }
    }
}

/// Calls a command of a node, or what is like it of the controller.
async fn start<T: Serialize>(
    session: &Client,
    log: &Log<'_>,
    cmd: &str,
    arguments: &T,
) -> Result<RunningCall, Failure> {
    let (procedure, payload) = match log {
        Log::OfController => (format!("drover.controller.{cmd}"), Payload::keyword(arguments)?),
        Log::OfNode(node) => {
            let mut command = Command::new(cmd);
            let Value::Object(args) = serde_json::to_value(arguments)? else {
                return Err(Failure::text(Exit::Failed, "arguments are an object"));
            };
            command.args = args;
            (procedures::run(node.description.id()), Payload::one(&command)?)
        }
    };
    let timeout = (cmd == "log.query").then_some(ANSWER_TIMEOUT);
    let options = CallOptions { timeout, ..CallOptions::default() };
    let started = session.start(&procedure, payload, options).await;
    started.map_err(|error| controller::lost(error, "cannot read the log"))
}

/// Finds the log that has records of a job: that of a node that is present, or
/// else the controller's.
async fn find_job<'a>(
    session: &Client,
    nodes: &'a [NodeStatus],
    job: &JobId,
) -> Result<Option<Log<'a>>, Failure> {
    let question =
        QueryArguments { job: Some(job.clone()), limit: Some(1), ..QueryArguments::default() };
    let present: Vec<_> = nodes.iter().filter(|node| node.presence == Presence::Present).collect();
    for some in present.chunks(ASKED_AT_ONCE) {
        let mut asked = JoinSet::new();
        for node in some {
            let (session, node, question) = (session.clone(), (*node).clone(), question.clone());
            asked.spawn(async move {
                let page = ask(&session, &Log::OfNode(&node), &question).await;
                page.is_ok_and(|page| !page.records.is_empty()).then(|| node.description.id())
            });
        }
        while let Some(answer) = asked.join_next().await {
            let Some(id) = answer.context("asking a node panicked")? else { continue };
            return Ok(nodes.iter().find(|node| node.description.id() == id).map(Log::OfNode));
        }
    }
    let page = ask(session, &Log::OfController, &question).await?;
    Ok((!page.records.is_empty()).then_some(Log::OfController))
}

/// A time as milliseconds since 1970: how long ago, or a date.
fn point_in_time(text: &str) -> Result<u64, String> {
    let time = match humantime::parse_duration(text) {
        Ok(ago) => SystemTime::now().checked_sub(ago),
        Err(_) => humantime::parse_rfc3339_weak(text).ok(),
    };
    let since_1970 = time.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok());
    since_1970.and_then(|time| u64::try_from(time.as_millis()).ok()).ok_or_else(|| {
        "write how long ago, such as 10m or 2days, or a time such as 2026-11-21T08:00:00Z"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_date_or_how_long_ago() {
        assert_eq!(point_in_time("2001-09-09T01:46:40Z"), Ok(1_000_000_000_000));
        assert_eq!(point_in_time("2001-09-09 01:46:40"), Ok(1_000_000_000_000));
        let now = drover_api::Timestamp::now().0;
        let ago = now - point_in_time("10m").unwrap();
        assert!((595_000..605_000).contains(&ago), "{ago}");
        for text in ["", "yesterday", "10", "1000000years"] {
            assert!(point_in_time(text).is_err(), "{text}");
        }
    }
}
