//! From an invocation to a job, and from its outcome to an answer.
//!
//! Three kinds of names are called on a node, all under its prefix: `run`,
//! `describe`, and `<plugin>.<operation>` for callers without envelopes.

use std::time::Duration;

use drover_api::{Command, ErrorCode, JobError, JobId, JobResult, JobState, Progress, procedures};
use drover_plugin_host::{Job, Outcome};
use drover_wamp::{ApplicationError, Invocation, Payload};
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::sync::mpsc;

use crate::node::{Node, Reserved};

/// Progress reports between a plugin and the link; more make the plugin wait.
const PROGRESS_BACKLOG: usize = 8;

/// What envelope and framing add to an answer, generously.
const ENVELOPE_BYTES: usize = 4096;

type Answer = Result<Payload, ApplicationError>;

/// Answers one call.
pub(crate) async fn answer(node: Node, call: Invocation) {
    let answer = match call.procedure.strip_prefix(node.prefix()).unwrap_or_default() {
        procedures::DESCRIBE => encode(&node.description()),
        procedures::RUN => run(&node, &call).await,
        command => run_bare(&node, &call, command).await,
    };
    call.finish(answer).await;
}

/// Runs the command in the call's first argument.
async fn run(node: &Node, call: &Invocation) -> Answer {
    let command: Command = call.payload.first().map_err(|error| {
        let reason = format!("the call carries no command as its first argument: {error}");
        refuse(&JobError::new(ErrorCode::InvalidCommand, reason))
    })?;
    let result = run_command(node, call, command).await;
    let answer = encode(&result)?;
    match too_long(node, &answer) {
        Some(error) => encode(&without_answer(result, error)),
        None => Ok(answer),
    }
}

/// Runs one operation with the call's keyword arguments; the answer is its
/// data alone.
async fn run_bare(node: &Node, call: &Invocation, name: &str) -> Answer {
    let mut command = Command::new(name);
    command.args = call.payload.kwargs().map_err(|error| {
        let reason = format!("the keyword arguments of {name} cannot be read: {error}");
        refuse(&JobError::new(ErrorCode::InvalidArguments, reason))
    })?;
    if !call.payload.args::<Vec<Value>>().is_ok_and(|positional| positional.is_empty()) {
        let reason = format!("{name} takes keyword arguments only");
        return Err(refuse(&JobError::new(ErrorCode::InvalidArguments, reason)));
    }
    let result = run_command(node, call, command).await;
    if let Some(error) = result.error {
        return Err(refuse(&error));
    }
    let answer = encode(&result.data)?;
    too_long(node, &answer).map_or(Ok(answer), |error| Err(refuse(&error)))
}

async fn run_command(node: &Node, call: &Invocation, command: Command) -> JobResult {
    let outcome = match accept(node, &command) {
        Ok((_reserved, plugin, operation)) => {
            run_job(node, call, &command, plugin, operation).await
        }
        Err(error) => Outcome::refused(error),
    };
    outcome.into_result(node.id(), command)
}

/// Checks that the node can take the command, and reserves its id.
fn accept(node: &Node, command: &Command) -> Result<(Reserved, String, String), JobError> {
    if !command.is_for(node.id()) {
        let message = format!(
            "the command is for node {}.{}, and this is node {}",
            command.gid.map_or_else(|| "*".to_owned(), |gid| gid.to_string()),
            command.nid.map_or_else(|| "*".to_owned(), |nid| nid.to_string()),
            node.id()
        );
        return Err(JobError::new(ErrorCode::WrongNode, message));
    }
    let Some((plugin, operation)) = command.target() else {
        let message = format!(
            "`{}` is no command: write <plugin>.<operation>, such as sysinfo.memory",
            command.cmd
        );
        return Err(JobError::new(ErrorCode::UnknownCommand, message));
    };
    let reserved = node.reserve(&command.id).ok_or_else(|| {
        let message = format!("a job with the id {} is running on this node", command.id);
        JobError::new(ErrorCode::DuplicateId, message)
    })?;
    Ok((reserved, plugin.to_owned(), operation.to_owned()))
}

/// Runs a job to its end and passes its progress on meanwhile.
async fn run_job(
    node: &Node,
    call: &Invocation,
    command: &Command,
    plugin: String,
    operation: String,
) -> Outcome {
    let (reports, progress) = mpsc::channel(PROGRESS_BACKLOG);
    let job = Job {
        id: command.id.clone(),
        plugin,
        operation,
        arguments: command.args.clone(),
        data: command.data.clone().into_bytes(),
        timeout: command.timeout_ms.map(Duration::from_millis),
        progress: call.wants_progress.then_some(reports),
        cancel: call.cancelled().clone(),
    };
    if !call.wants_progress {
        return node.host().run(job).await;
    }
    // The job holds the sender, so passing ends with the job, and after its
    // last report.
    let (outcome, ()) =
        tokio::join!(node.host().run(job), pass_progress(call, &command.id, progress));
    outcome
}

async fn pass_progress(call: &Invocation, id: &JobId, mut reports: mpsc::Receiver<Value>) {
    while let Some(progress) = reports.recv().await {
        let report = Progress { id: id.clone(), progress };
        match Payload::one(&report) {
            // A session that has ended cancels the job by itself.
            Ok(payload) => drop(call.progress(payload).await),
            Err(error) => tracing::error!(job = %id, %error, "cannot encode a progress report"),
        }
    }
}

fn encode<T: Serialize>(value: &T) -> Answer {
    Payload::one(value).map_err(|error| {
        refuse(&JobError::new(ErrorCode::Internal, format!("cannot encode the answer: {error}")))
    })
}

/// An error as WAMP has it: the message for people, then all of it for programs.
fn refuse(error: &JobError) -> ApplicationError {
    ApplicationError {
        uri: procedures::error_uri(error.code),
        payload: Payload::positional(&(&error.message, error)).unwrap_or_else(|_| Payload::empty()),
    }
}

/// Why an answer does not fit into one message, if it does not.
fn too_long(node: &Node, answer: &Payload) -> Option<JobError> {
    let (bytes, limit) = (answer.encoded_len(), node.max_message_bytes());
    (bytes + ENVELOPE_BYTES > limit).then(|| {
        let message = format!(
            "the answer has {bytes} bytes, and one message carries {limit} \
             (`max_message` of the agent and the controller)"
        );
        JobError::new(ErrorCode::InvalidAnswer, message)
    })
}

/// The result with an error in place of everything that can be long.
fn without_answer(result: JobResult, error: JobError) -> JobResult {
    JobResult {
        state: JobState::Error,
        args: Map::new(),
        data: Value::Null,
        error: Some(error),
        streams: Default::default(),
        records: Vec::new(),
        ..result
    }
}
