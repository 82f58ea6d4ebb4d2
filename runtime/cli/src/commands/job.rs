//! `drover job`: what is done on many nodes, whatever dies in between.

mod change;
mod list;
mod logs;
mod result;
mod submit;

use std::time::Duration;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use drover_api::{ErrorCode, JobId, JobQuery, JobState, Submission, procedures};
use drover_wamp::{ApplicationError, CallError, CallOptions, Client, Payload};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) use submit::Plan;

use crate::controller;
use crate::exit::{Exit, Failure};
use crate::output;

const EXAMPLES: &str = "\
Examples:
    drover job submit web-1 sysinfo.memory --wait
    drover job submit 'web,eu' backup.run path=/srv --at-once 5 --attempts 3
    drover job submit '*' process.execute name=/usr/bin/uptime --id uptime-today
    drover job list --state ERROR --since 1d
    drover job result uptime-today
    drover job retry uptime-today

A selector is a node's name or id, a label, or an expression: `(web or db) and not eu`, `grid=2`,
`name=web-*`, `*`. One submission becomes one job on each node that matches.";

/// How long the controller may take for anything but waiting.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Submits durable jobs and shows what became of them. What the controller has
/// accepted is done, once, even if agents, hosts or the controller itself die in
/// between; nodes that are away do it when they return.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Job {
    #[command(subcommand)]
    command: JobCommand,
}

#[derive(Debug, Subcommand)]
enum JobCommand {
    /// Have nodes do something
    Submit(Box<submit::Submit>),
    /// List what was submitted, the newest first
    List(list::List),
    /// Show what became of a submission on each node
    Show(list::Show),
    /// Wait until all jobs of a submission have ended
    Wait(list::Wait),
    /// Show the results of a submission
    Result(result::Results),
    /// Show what the jobs of a submission said
    Logs(logs::Logs),
    /// End the jobs of a submission, or one job
    Kill(change::Kill),
    /// Submit again what did not end well, for the same nodes
    Retry(change::Retry),
}

/// A state, as it is chosen by.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "UPPER")]
enum State {
    Queued,
    Running,
    Ok,
    Error,
    Timeout,
    Killed,
}

impl From<State> for JobState {
    fn from(state: State) -> Self {
        match state {
            State::Queued => Self::Queued,
            State::Running => Self::Running,
            State::Ok => Self::Ok,
            State::Error => Self::Error,
            State::Timeout => Self::Timeout,
            State::Killed => Self::Killed,
        }
    }
}

pub(crate) fn run(job: Job) -> Result<Exit, Failure> {
    let runtime = controller::runtime()?;
    match job.command {
        JobCommand::Submit(command) => runtime.block_on(submit::run(*command)),
        JobCommand::List(command) => runtime.block_on(list::list(&command)),
        JobCommand::Show(command) => runtime.block_on(list::show(&command)),
        JobCommand::Wait(command) => runtime.block_on(list::wait(&command)),
        JobCommand::Result(command) => runtime.block_on(result::run(&command)),
        JobCommand::Logs(command) => runtime.block_on(logs::run(&command)),
        JobCommand::Kill(command) => runtime.block_on(change::kill(&command)),
        JobCommand::Retry(command) => runtime.block_on(change::retry(&command)),
    }
}

/// Calls one of the procedures for durable jobs.
pub(super) async fn ask<T: DeserializeOwned>(
    session: &Client,
    procedure: &str,
    argument: &impl Serialize,
) -> Result<T, Failure> {
    ask_within(session, procedure, argument, Some(TIMEOUT)).await
}

async fn ask_within<T: DeserializeOwned>(
    session: &Client,
    procedure: &str,
    argument: &impl Serialize,
    timeout: Option<Duration>,
) -> Result<T, Failure> {
    let options = CallOptions { timeout, disclose_me: true };
    let answer = session.call(procedure, Payload::one(argument)?, options).await;
    let answer = answer.map_err(|error| refused(error, procedure))?;
    Ok(answer.first_or_null()?)
}

/// Why the controller did not do it, with the status that programs go by.
fn refused(error: CallError, procedure: &str) -> Failure {
    let text = |exit, refused: &ApplicationError| {
        let message = refused.message().unwrap_or_else(|| refused.uri.clone());
        Failure::text(exit, message)
    };
    let CallError::Application(application) = &error else {
        return controller::lost(error, &format!("cannot call {procedure}"));
    };
    let is = |code| application.uri == procedures::error_uri(code);
    if is(ErrorCode::UnknownJob) || is(ErrorCode::NoNode) {
        text(Exit::NotFound, application)
    } else if is(ErrorCode::InvalidArguments) {
        text(Exit::InvalidArguments, application)
    } else if is(ErrorCode::Busy) || is(ErrorCode::DuplicateId) || is(ErrorCode::InvalidCommand) {
        text(Exit::Failed, application)
    } else {
        controller::lost(error, &format!("cannot call {procedure}"))
    }
}

/// Ctrl-C, from now on.
fn interrupts() -> Result<Signal, Failure> {
    Ok(signal(SignalKind::interrupt()).context("cannot listen for Ctrl-C")?)
}

/// Waits until all jobs of a submission have ended; none if whoever waits has enough of
/// it, which the jobs do not hear of.
async fn wait_for(
    session: &Client,
    id: &JobId,
    interrupts: &mut Signal,
) -> Result<Option<Submission>, Failure> {
    let query = JobQuery::new(id.clone());
    tokio::select! {
        ended = ask_within(session, procedures::JOB_WAIT, &query, None) => ended.map(Some),
        _ = interrupts.recv() => {
            output::note(&format!(
                "the jobs go on: `drover job wait {id}` waits again, `drover job kill {id}` ends them"
            ));
            Ok(None)
        }
    }
}

/// How the program ends that was about all jobs of a submission.
fn exit_of(state: JobState) -> Exit {
    match state {
        JobState::Ok => Exit::Done,
        JobState::Timeout => Exit::Timeout,
        JobState::Killed => Exit::Cancelled,
        JobState::Queued | JobState::Running | JobState::Error => Exit::Failed,
    }
}
