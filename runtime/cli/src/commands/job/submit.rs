//! `drover job submit`.

use std::time::Duration;

use clap::{Args, ValueEnum};
use data_encoding::BASE64;
use drover_api::{
    Command, JobId, JobSubmit, JobSubmitted, NodeStatus, Presence, Retry, RetryCause, Selector,
    procedures,
};
use drover_wamp::Client;
use serde_json::Value;

use super::super::call::{self, LimitFlags, milliseconds};
use super::{ask, interrupts, result, wait_for};
use crate::address::Address;
use crate::arguments::Arguments;
use crate::exit::{Exit, Failure};
use crate::{controller, input, output};

/// Has every node that a selector matches run an operation, now or when it is there
/// again. Prints the id of the submission, which is safe on the controller's disk by
/// then.
#[derive(Debug, Args)]
pub(super) struct Submit {
    /// The nodes: a label, a name, an id, or an expression such as 'web and not eu'
    selector: String,
    /// The operation: <plugin>.<operation>, such as sysinfo.memory, or one of
    /// the host's own commands, such as process.execute
    #[arg(value_name = "OPERATION")]
    cmd: String,
    #[command(flatten)]
    arguments: Arguments,
    #[command(flatten)]
    plan: Plan,
    /// The id of the submission; the same again, with the same id, is not done twice
    #[arg(long, value_name = "ID")]
    id: Option<JobId>,
    /// Wait for the results and show them
    #[arg(long)]
    wait: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// How something is done on many nodes.
#[derive(Debug, Clone, Args)]
pub(in super::super) struct Plan {
    /// Text for the operation beside its arguments; - reads standard input
    #[arg(long, value_name = "TEXT")]
    data: Option<String>,
    /// How long each job may run, such as 5s; without it the node's default
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    limits: LimitFlags,
    /// Only so many of the nodes that match; those that are there and have the least
    /// to do. One that stays away before it was given its job is replaced by another
    #[arg(long, value_name = "NUMBER")]
    any: Option<u32>,
    /// How many nodes are at it at the same time. One that is away does not count, or
    /// no longer after a minute if it was given its job
    #[arg(long, value_name = "NUMBER")]
    at_once: Option<u32>,
    /// Jobs that have not started so long after the submission are given up
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    start_within: Option<Duration>,
    /// Jobs that have not ended so long after the submission are ended
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    end_within: Option<Duration>,
    /// How often a job is run that does not end well, all in all
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    attempts: u32,
    /// The wait before the second attempt; it doubles with each that follows, up to 5
    /// minutes
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1s")]
    retry_wait: Duration,
    /// What is tried again; all of it by default
    #[arg(long, value_name = "CAUSES", value_delimiter = ',')]
    retry_on: Vec<Cause>,
    /// Spread the starts over this time
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    spread: Option<Duration>,
    /// How long results are kept; without it as the controller's configuration says
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    keep: Option<Duration>,
}

/// Why a job did not end well.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Cause {
    /// It ran, and failed
    Failed,
    /// It ran out of time
    Timeout,
    /// The agent ended while it ran
    Interrupted,
    /// The node had no room for it
    Busy,
}

pub(super) async fn run(submit: Submit) -> Result<Exit, Failure> {
    let arguments = submit.arguments.with_input()?;
    let session = submit.address.connect().await?;
    let request = submit.plan.request(&session, &submit.selector, submit.cmd, &arguments).await?;
    let request = match submit.id {
        Some(id) => JobSubmit { command: Command { id, ..request.command }, ..request },
        None => request,
    };
    let mut interrupts = interrupts()?;
    let submitted: JobSubmitted = tokio::select! {
        submitted = ask(&session, procedures::JOB_SUBMIT, &request) => submitted?,
        _ = interrupts.recv() => {
            let id = &request.command.id;
            output::note(&format!(
                "whether it was submitted is not known yet: `drover job show {id}` tells"
            ));
            return Ok(Exit::Cancelled);
        }
    };
    if !submit.wait {
        session.close().await;
        return told(&submitted, submit.json);
    }
    output::note(&format!("submitted {} for {}", submitted.id, nodes(submitted.nodes)));
    let Some(ended) = wait_for(&session, &submitted.id, &mut interrupts).await? else {
        return Ok(Exit::Cancelled);
    };
    let exit = result::show(&session, &submitted.id, None, submit.json).await?;
    session.close().await;
    output::note(&super::list::in_words(&ended));
    Ok(exit)
}

/// Prints what was submitted.
pub(super) fn told(submitted: &JobSubmitted, as_json: bool) -> Result<Exit, Failure> {
    if as_json {
        output::json(submitted)?;
        return Ok(Exit::Done);
    }
    output::answer(submitted.id.as_str())?;
    let before = if submitted.is_old { ", and was submitted before" } else { "" };
    output::note(&format!("it is for {}{before}", nodes(submitted.nodes)));
    Ok(Exit::Done)
}

fn nodes(count: u64) -> String {
    if count == 1 { "1 node".to_owned() } else { format!("{count} nodes") }
}

impl Plan {
    /// What is submitted. Arguments are read as a node understands them that matches
    /// and is there; where none is, all that looks like JSON is taken for that.
    pub(in super::super) async fn request(
        &self,
        session: &Client,
        selector: &str,
        cmd: String,
        arguments: &Arguments,
    ) -> Result<JobSubmit, Failure> {
        let known = controller::nodes(session).await?;
        let meant = meant(&known, selector)?;
        let schema = match present(&known, &meant) {
            Some(node) => call::schema(session, node, &cmd).await?,
            None => Value::Null,
        };
        let (data, data_base64) = self.data()?;
        let command = Command {
            args: arguments.read(&schema)?,
            data,
            data_base64,
            timeout_ms: self.timeout.map(milliseconds),
            limits: self.limits.into(),
            ..Command::new(cmd)
        };
        let mut retry = Retry {
            attempts: self.attempts,
            first_wait_ms: milliseconds(self.retry_wait),
            ..Retry::default()
        };
        if !self.retry_on.is_empty() {
            retry.on = self.retry_on.iter().map(|cause| RetryCause::from(*cause)).collect();
        }
        Ok(JobSubmit {
            any: self.any,
            at_once: self.at_once,
            start_within_ms: self.start_within.map(milliseconds),
            end_within_ms: self.end_within.map(milliseconds),
            retry,
            spread_ms: self.spread.map_or(0, milliseconds),
            keep_ms: self.keep.map(milliseconds),
            ..JobSubmit::new(command, meant.to_string())
        })
    }

    fn data(&self) -> Result<(String, String), Failure> {
        let bytes = match self.data.as_deref() {
            None => Vec::new(),
            Some("-") => input::read_bytes("the data")?,
            Some(text) => text.as_bytes().to_vec(),
        };
        Ok(match String::from_utf8(bytes) {
            Ok(text) => (text, String::new()),
            Err(error) => (String::new(), BASE64.encode(error.as_bytes())),
        })
    }
}

/// The selector, or the node that is called so where no other has such a label.
fn meant(nodes: &[NodeStatus], text: &str) -> Result<Selector, Failure> {
    let selector: Selector = text.parse().map_err(|error| Failure::new(Exit::Usage, error))?;
    let matches_none = !nodes.iter().any(|node| selector.matches(&node.description));
    let is_named = |node: &&NodeStatus| node.description.name == text;
    let mut named = nodes.iter().filter(is_named);
    match (named.next(), named.next()) {
        (Some(node), None) if matches_none => Ok(Selector::node(node.description.id())),
        _ => Ok(selector),
    }
}

fn present<'a>(nodes: &'a [NodeStatus], meant: &Selector) -> Option<&'a NodeStatus> {
    nodes.iter().find(|node| node.presence == Presence::Present && meant.matches(&node.description))
}

impl From<Cause> for RetryCause {
    fn from(cause: Cause) -> Self {
        match cause {
            Cause::Failed => Self::Failed,
            Cause::Timeout => Self::Timeout,
            Cause::Interrupted => Self::Interrupted,
            Cause::Busy => Self::Busy,
        }
    }
}
