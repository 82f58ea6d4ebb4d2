//! `drover call`: runs one operation on one node.

mod streamed;

use std::time::Duration;

use anyhow::Context;
use bytesize::ByteSize;
use clap::Args;
use data_encoding::BASE64;
use drover_api::{Command, JobId, JobLimits, JobResult, NodeStatus, Progress, procedures};
use drover_wamp::{CallError, CallOptions, Client, Payload};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::report;
use crate::address::Address;
use crate::arguments::Arguments;
use crate::exit::{Exit, Failure};
use crate::transfer::Files;
use crate::{controller, input, output};

/// What the link may take on top of the job's own deadline.
const LINK_GRACE: Duration = Duration::from_secs(10);

/// How long a node may take to confirm that a job is cancelled.
const CANCEL_GRACE: Duration = Duration::from_secs(5);

/// Runs an operation on a node, waits for it and shows its answer.
/// `drover ops NODE` lists what there is. Ctrl-C cancels the job.
#[derive(Debug, Args)]
pub(crate) struct Call {
    /// The node, by name or id
    node: String,
    /// The operation: <plugin>.<operation>, such as sysinfo.memory, or one of
    /// the host's own commands, such as log.query
    #[arg(value_name = "OPERATION")]
    cmd: String,
    #[command(flatten)]
    arguments: Arguments,
    #[command(flatten)]
    files: Files,
    #[command(flatten)]
    job: JobFlags,
    #[command(flatten)]
    address: Address,
}

/// What else is told about a job, and how its result is shown.
#[derive(Debug, Args)]
pub(crate) struct JobFlags {
    /// Text for the operation beside its arguments; - reads standard input, which
    /// need not be text
    #[arg(long, value_name = "TEXT")]
    pub(super) data: Option<String>,
    /// How long the job may take, such as 5s; without it the node's default
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(super) timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) limits: LimitFlags,
    /// Print the whole result as JSON
    #[arg(long)]
    pub(super) json: bool,
}

/// What a job may use up, where that is less than what its plugin may.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct LimitFlags {
    /// Memory of the job, such as 16MiB, at most that of its plugin
    #[arg(long, value_name = "SIZE")]
    memory: Option<ByteSize>,
    /// Share of the processors, in cores, such as 0.5, at most that of its plugin
    #[arg(long, value_name = "CORES")]
    cores: Option<f64>,
    /// Longest answer, such as 100kB, at most that of its plugin
    #[arg(long, value_name = "SIZE")]
    max_answer: Option<ByteSize>,
}

impl From<LimitFlags> for JobLimits {
    fn from(LimitFlags { memory, cores, max_answer }: LimitFlags) -> Self {
        let bytes = |size: ByteSize| size.as_u64();
        Self { memory_bytes: memory.map(bytes), cores, answer_bytes: max_answer.map(bytes) }
    }
}

impl JobFlags {
    /// What `--data` says, read from standard input if that is asked for.
    pub(super) fn data(&self) -> Result<Vec<u8>, Failure> {
        match self.data.as_deref() {
            None => Ok(Vec::new()),
            Some("-") => Ok(input::read_bytes("the data")?),
            Some(text) => Ok(text.to_owned().into_bytes()),
        }
    }
}

pub(crate) fn run(call: Call) -> Result<Exit, Failure> {
    one_reads_stdin(&call.arguments, &call.files)?;
    let (data, data_base64) = match String::from_utf8(call.job.data()?) {
        Ok(text) => (text, String::new()),
        Err(error) => (String::new(), BASE64.encode(error.as_bytes())),
    };
    let arguments = call.arguments.with_input()?;
    let result = controller::runtime()?.block_on(async {
        let session = call.address.connect().await?;
        let nodes = controller::nodes(&session).await?;
        let node = controller::find_present(&nodes, &call.node)?;
        let command = Command {
            id: JobId::generate(),
            gid: Some(node.description.gid),
            nid: Some(node.description.nid),
            args: arguments.read(&schema(&session, node, &call.cmd).await?)?,
            cmd: call.cmd,
            data,
            data_base64,
            timeout_ms: call.job.timeout.map(milliseconds),
            limits: call.job.limits.into(),
            streaming: None,
        };
        let result = match call.files.is_none() {
            true => call_node(&session, node, &command).await,
            false => streamed::call_node(&session, node, command, &call.files).await,
        };
        session.close().await;
        result
    })?;
    let place = format!("on node {}", call.node);
    match call.files.writes_stdout() {
        true => report::beside_output(&result, &place, call.job.json),
        false => report::result(&result, &place, call.job.json),
    }
}

/// Checks that only one of them wants standard input.
pub(super) fn one_reads_stdin(arguments: &Arguments, files: &Files) -> Result<(), Failure> {
    if arguments.reads_stdin() && files.reads_stdin() {
        let message = "standard input cannot be both --args and --input";
        return Err(Failure::text(Exit::Usage, message));
    }
    Ok(())
}

/// The schema of an operation's arguments; null where the node does not know
/// it, and then it answers with what there is.
pub(super) async fn schema(
    session: &Client,
    node: &NodeStatus,
    cmd: &str,
) -> Result<Value, Failure> {
    let operations = controller::operations(session, node, Some(cmd)).await?;
    let meant = operations.all().next();
    Ok(meant.map_or(Value::Null, |(_, operation)| operation.arguments.clone()))
}

/// Sends the command and waits for its result; progress is shown meanwhile.
async fn call_node(
    session: &Client,
    node: &NodeStatus,
    command: &Command,
) -> Result<JobResult, Failure> {
    let cancel = CancellationToken::new();
    let timeout = command.timeout_ms.map(|ms| Duration::from_millis(ms).saturating_add(LINK_GRACE));
    let options = CallOptions { timeout, ..CallOptions::default() };
    let procedure = procedures::run(node.description.id());
    let what = format!("cannot call {} on node {}", command.cmd, node.description.name);
    let running = session.start(&procedure, Payload::one(command)?, options).await;
    let mut running = running.map_err(|error| controller::lost(error, &what))?;

    loop {
        tokio::select! {
            report = running.next() => match report {
                Some(report) => show(&report),
                None => break,
            },
            signalled = tokio::signal::ctrl_c(), if !cancel.is_cancelled() => {
                signalled.context("cannot listen for Ctrl-C")?;
                output::note("cancelling; Ctrl-C again leaves without waiting for the node");
                cancel.cancel();
                running.cancel();
            }
            () = gone(&cancel) => {
                let message = format!("job {} was told to end; it has not confirmed", command.id);
                return Err(Failure::text(Exit::Cancelled, message));
            }
        }
    }
    match running.answer().await {
        Ok(payload) => Ok(payload.first()?),
        Err(CallError::Application(error)) if cancel.is_cancelled() => {
            let message = format!("job {} was cancelled ({})", command.id, error.uri);
            Err(Failure::text(Exit::Cancelled, message))
        }
        Err(error) => Err(controller::lost(error, &what)),
    }
}

/// Resolves when nobody should wait for a cancelled job any longer.
async fn gone(cancel: &CancellationToken) {
    cancel.cancelled().await;
    tokio::select! {
        () = tokio::time::sleep(CANCEL_GRACE) => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

fn show(report: &Payload) {
    match report.first::<Progress>() {
        Ok(report) => report::progress(&report.progress),
        Err(error) => output::note(&format!("a progress report cannot be read: {error}")),
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
