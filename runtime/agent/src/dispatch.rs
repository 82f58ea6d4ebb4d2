//! From an invocation to a job, and from its outcome to an answer.
//!
//! Three kinds of names are called on a node, all under its prefix: `run`,
//! `describe` and `operations`; `deliver` and `cancel`, by which the controller hands
//! over durable jobs; and for callers without envelopes `<plugin>.<operation>`, the
//! host's own commands and their older names.

use std::time::{Duration, Instant};

use data_encoding::BASE64;
use drover_api::{
    Command, DEEPEST, Data, ErrorCode, JobError, JobId, JobResult, JobState, NodeOperations,
    OperationKind, Progress, Timestamp, is_too_deep, procedures,
};
use drover_logs::Source;
use drover_plugin_host::{Caller, Job, Outcome};
use drover_wamp::{ApplicationError, Invocation, Payload, Principal, SessionId};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::asker::Asker;
use crate::commands::{self as own, Ends, Ready, Request, passed};
use crate::drain;
use crate::logs::JobLevels;
use crate::node::{Node, Reserved};
use crate::recording::{self, Unwritten};
use crate::streams::{self, Streams};
use crate::vitals::Ending;

/// Progress reports between a plugin and the link; more make the plugin wait.
const PROGRESS_BACKLOG: usize = 8;

/// What envelope and framing add to an answer, generously.
const ENVELOPE_BYTES: usize = 4096;

type Answer = Result<Payload, ApplicationError>;

/// Answers one call.
pub(crate) async fn answer(node: Node, call: Invocation) {
    let (answer, unwritten) = match call.procedure.strip_prefix(node.prefix()).unwrap_or_default() {
        procedures::DESCRIBE => (encode(&node.description()), None),
        procedures::OPERATIONS => (encode(&operations(&node, &call)), None),
        procedures::RUN => run(&node, &call).await,
        procedures::DELIVER => (deliver(&node, &call).await, None),
        procedures::CANCEL => (cancel(&node, &call).await, None),
        command => run_bare(&node, &call, command).await,
    };
    call.finish(answer).await;
    if let Some(unwritten) = unwritten {
        unwritten.await;
    }
}

/// All that can be called, or what the call's argument names.
fn operations(node: &Node, call: &Invocation) -> NodeOperations {
    node.operations(call.payload.first::<String>().ok().as_deref())
}

/// Runs the command in the call's first argument.
async fn run(node: &Node, call: &Invocation) -> (Answer, Option<Unwritten>) {
    let command: Command = match call.payload.first() {
        Ok(command) => command,
        Err(error) => {
            let reason = format!("the call carries no command as its first argument: {error}");
            return (Err(refuse(&JobError::new(ErrorCode::InvalidCommand, reason))), None);
        }
    };
    let (result, unwritten) = run_command(node, Asker::of(call), command).await;
    let answer = encode(&result).and_then(|answer| match too_long(node, &answer) {
        Some(error) => encode(&without_answer(result, error)),
        None => Ok(answer),
    });
    (answer, unwritten)
}

/// Takes durable jobs.
async fn deliver(node: &Node, call: &Invocation) -> Answer {
    let delivered = node.inbox().deliver(argument(call)?).await;
    encode(&delivered.map_err(|error| refuse(&error))?)
}

/// Ends durable jobs.
async fn cancel(node: &Node, call: &Invocation) -> Answer {
    let cancelled = node.inbox().cancel(argument(call)?).await;
    encode(&cancelled.map_err(|error| refuse(&error))?)
}

fn argument<T: DeserializeOwned>(call: &Invocation) -> Result<T, ApplicationError> {
    call.payload.first().map_err(|error| {
        let message = format!("{} cannot take this argument: {error}", call.procedure);
        refuse(&JobError::new(ErrorCode::InvalidCommand, message))
    })
}

/// Runs a durable job to its end. Nobody listens meanwhile; `cancelled` ends it.
pub(crate) async fn run_durable(
    node: &Node,
    work: &drover_jobs::Work,
    cancelled: &CancellationToken,
) -> (JobResult, Option<Unwritten>) {
    let mut command = work.command.clone();
    if let Some(left) = work.time_left(Timestamp::now()) {
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        command.timeout_ms = Some(command.timeout_ms.map_or(left, |wanted| wanted.min(left)));
    }
    // The session that submitted it may be over, and its number another's.
    let (session, authid, authrole) = (SessionId(0), work.by.clone(), String::new());
    let submitter = Principal { session, authid, authrole };
    let asker = Asker::absent(Some(&submitter), cancelled);
    let (result, unwritten) = run_command(node, asker, command).await;
    // It goes back in one message, as the answer of a call would.
    let trouble = match encode(&result) {
        Ok(answer) => too_long(node, &answer),
        Err(error) => Some(JobError::new(
            ErrorCode::InvalidAnswer,
            error.message().unwrap_or_else(|| "the answer cannot be sent".to_owned()),
        )),
    };
    match trouble {
        Some(error) => (without_answer(result, error), unwritten),
        None => (result, unwritten),
    }
}

/// Goes on waiting for a durable job whose process the agent before has handed over.
pub(crate) async fn go_on_durable(
    node: &Node,
    work: &drover_jobs::Work,
    cancelled: &CancellationToken,
) -> JobResult {
    let asker = Asker::absent(None, cancelled);
    let command = work.command.clone();
    let _reserved = node.reserve(&command, false);
    let now = Timestamp::now();
    let started = node.processes().came().get(&command.id).copied().unwrap_or(now);
    let elapsed = now.since(started);
    let wanted =
        command.timeout_ms.map(|limit| Duration::from_millis(limit).saturating_sub(elapsed));
    let left = wanted.into_iter().chain(work.time_left(now)).min();
    let left = left.map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
    let rest = Command { timeout_ms: left, ..command.clone() };
    let request = Request { node, call: asker, command: &rest };
    let answer = own::go_on(request, &command.id, None).await;
    let took = Timestamp::now().since(started);
    answered(node, command, answer.unwrap_or_else(own::Answer::from), (started, took))
}

/// Runs one operation with the call's keyword arguments; the answer is its
/// data alone.
async fn run_bare(node: &Node, call: &Invocation, name: &str) -> (Answer, Option<Unwritten>) {
    let command = match bare_command(call, name) {
        Ok(command) => command,
        Err(error) => return (Err(refuse(&error)), None),
    };
    let (result, unwritten) = run_command(node, Asker::of(call), command).await;
    let answer = match &result.error {
        Some(error) => Err(refuse(error)),
        None => encode(&result.data).and_then(|answer| {
            too_long(node, &answer).map_or(Ok(answer), |error| Err(refuse(&error)))
        }),
    };
    (answer, unwritten)
}

fn bare_command(call: &Invocation, name: &str) -> Result<Command, JobError> {
    let invalid = |reason| JobError::new(ErrorCode::InvalidArguments, reason);
    let args = call.payload.kwargs().map_err(|error| {
        invalid(format!("the keyword arguments of {name} cannot be read: {error}"))
    })?;
    if !call.payload.args::<Vec<Value>>().is_ok_and(|positional| positional.is_empty()) {
        return Err(invalid(format!("{name} takes keyword arguments only")));
    }
    Ok(Command { args, ..Command::new(name) })
}

async fn run_command(
    node: &Node,
    asker: Asker<'_>,
    command: Command,
) -> (JobResult, Option<Unwritten>) {
    let way = asker.way();
    let count = |name: Option<&str>, ending| node.vitals().ended(way, name, ending);
    // The caller is told of the command as it sent it.
    match accept(node, &command) {
        Ok(Accepted { work: Work::Own { command: own, ready }, _reserved }) => {
            let (started, start) = (Timestamp::now(), Instant::now());
            let answer = run_own(Request { node, call: asker, command: &own }, ready).await;
            let (took, error) = (start.elapsed(), answer.error.as_ref().map(|error| error.code));
            let state = answer.state;
            count(Some(ready.row.name), Ending { state, error, took, memory_bytes: 0 });
            (answered(node, command, answer, (started, took)), None)
        }
        Ok(Accepted { work: Work::OfPlugin { command: own, plugin, operation }, _reserved }) => {
            let ran = run_job(node, asker, own, plugin, operation).await;
            let (outcome, unwritten) = ran.unwrap_or_else(|error| (Outcome::refused(error), None));
            count(Some(own::operation_of(&command.cmd)), ending_of(&outcome));
            (outcome.into_result(node.id(), command), unwritten)
        }
        Err(error) => {
            let outcome = Outcome::refused(error);
            count(None, ending_of(&outcome));
            (outcome.into_result(node.id(), command), None)
        }
    }
}

fn ending_of(outcome: &Outcome) -> Ending {
    let Outcome { state, took, memory_bytes, .. } = *outcome;
    let error = outcome.error.as_ref().map(|error| error.code);
    Ending { state, error, took, memory_bytes }
}

/// The result of one of the host's own commands.
fn answered(
    node: &Node,
    command: Command,
    answer: own::Answer,
    (started, took): (Timestamp, Duration),
) -> JobResult {
    let answer = match is_too_deep(&answer.data) {
        true => own::Answer::from(JobError::new(
            ErrorCode::InvalidAnswer,
            format!("the answer is nested deeper than {DEEPEST}, so it cannot be sent"),
        )),
        false => answer,
    };
    let own::Answer { state, data, error, streams, exit, critical } = answer;
    let data = data.into();
    let records = Vec::new();
    let memory_bytes = 0;
    let outcome = Outcome { state, data, error, streams, records, started, took, memory_bytes };
    JobResult { exit, critical, ..outcome.into_result(node.id(), command) }
}

/// A command that the node takes.
struct Accepted {
    work: Work,
    _reserved: Reserved,
}

/// Who does what a command says, with the command in today's words.
enum Work {
    Own { command: Command, ready: &'static Ready },
    OfPlugin { command: Command, plugin: String, operation: String },
}

/// Checks that the node can take the command, and reserves its id.
fn accept(node: &Node, command: &Command) -> Result<Accepted, JobError> {
    if !command.is_for(node.id()) {
        let message = format!(
            "the command is for node {}.{}, and this is node {}",
            command.gid.map_or_else(|| "*".to_owned(), |gid| gid.to_string()),
            command.nid.map_or_else(|| "*".to_owned(), |nid| nid.to_string()),
            node.id()
        );
        return Err(JobError::new(ErrorCode::WrongNode, message));
    }
    let work = work(own::in_new_words(command).unwrap_or_else(|| command.clone()))?;
    let (own, looks_on) = match &work {
        Work::Own { ready, .. } => (Some(ready.row.name), ready.row.kind == OperationKind::Service),
        Work::OfPlugin { .. } => (None, false),
    };
    drain::admit(node, own)?;
    let reserved = node.reserve(command, looks_on).ok_or_else(|| {
        let message = format!("a job with the id {} is running on this node", command.id);
        JobError::new(ErrorCode::DuplicateId, message)
    })?;
    Ok(Accepted { work, _reserved: reserved })
}

fn work(command: Command) -> Result<Work, JobError> {
    if let Some(ready) = own::find(&command.cmd)? {
        if command.streaming.is_some() {
            let message = format!(
                "`{}` has no streams: `streaming` is for operations of plugins",
                command.cmd
            );
            return Err(JobError::new(ErrorCode::InvalidCommand, message));
        }
        if !command.limits.are_those_of_the_plugin() {
            let message = format!(
                "`{}` is no operation of a plugin, for which `limits` are: what a program may use \
                 is in the arguments of `process.execute`",
                command.cmd
            );
            return Err(JobError::new(ErrorCode::InvalidCommand, message));
        }
        if !command.data_base64.is_empty() {
            let message = format!(
                "`{}` is no operation of a plugin, for which `data_base64` is: send a program what \
                 is no text by `job.input`, with `stdin=open`",
                command.cmd
            );
            return Err(JobError::new(ErrorCode::InvalidCommand, message));
        }
        return Ok(Work::Own { command, ready });
    }
    let Some((plugin, operation)) = command.target() else {
        let message = format!(
            "`{}` is no command: write <plugin>.<operation>, such as sysinfo.memory, or one of \
             the node's own, such as log.query",
            command.cmd
        );
        return Err(JobError::new(ErrorCode::UnknownCommand, message));
    };
    let (plugin, operation) = (plugin.to_owned(), operation.to_owned());
    Ok(Work::OfPlugin { command, plugin, operation })
}

/// Runs one of the host's own commands, unless something ends it before.
async fn run_own(request: Request<'_>, ready: &Ready) -> own::Answer {
    let Request { node, call, command } = request;
    let name = ready.row.name;
    let answer = async {
        ready.check(&Value::Object(command.args.clone()))?;
        (ready.row.run)(request).await
    };
    if ready.row.ends == Ends::ByItself {
        return answer.await.unwrap_or_else(own::Answer::from);
    }
    let limits = node.host().limits();
    let wanted = command.timeout_ms.map(Duration::from_millis);
    let timeout = match ready.row.kind {
        OperationKind::Task => Some(wanted.unwrap_or(limits.deadline).min(limits.max_deadline)),
        OperationKind::Service => wanted,
    };
    let ended = |state, code, message: String| own::Answer {
        state,
        ..own::Answer::from(JobError::new(code, message))
    };
    tokio::select! {
        biased;
        answer = answer => answer.unwrap_or_else(own::Answer::from),
        () = call.cancelled().cancelled() => {
            let message = format!("`{name}` was cancelled by its caller");
            ended(JobState::Killed, ErrorCode::Cancelled, message)
        }
        limit = passed(timeout) => {
            let message = format!("`{name}` was not done after {limit:?}");
            ended(JobState::Timeout, ErrorCode::Timeout, message)
        }
        () = node.stop().cancelled() => {
            let message = format!("`{name}` ends with the agent, which is shutting down");
            ended(JobState::Error, ErrorCode::ShuttingDown, message)
        }
    }
}

/// Runs a job of a plugin to its end, passes on its progress and its streams, and
/// takes down what it says meanwhile.
///
/// # Errors
///
/// If the data is no base64, or the caller wants streams that it could not hear of.
async fn run_job(
    node: &Node,
    call: Asker<'_>,
    command: Command,
    plugin: String,
    operation: String,
) -> Result<(Outcome, Option<Unwritten>), JobError> {
    let data = data_of(&command)?;
    let (streams, of_plugin) = streams::open(node, call, &command).await?;
    let (reports, progress) = mpsc::channel(PROGRESS_BACKLOG);
    let Command { id, args, timeout_ms, limits, .. } = command;
    let source = Source { job: id.clone(), domain: plugin.clone(), name: operation.clone() };
    let log = node.logs().of_job(source, JobLevels::default());
    let job = Job {
        id: id.clone(),
        plugin,
        operation,
        arguments: args,
        data,
        timeout: timeout_ms.map(Duration::from_millis),
        limits,
        progress: call.wants_progress.then_some(reports),
        said: None,
        cancel: call.cancelled().clone(),
        caller: call.caller.map(caller),
        streams: of_plugin,
    };
    let running = recording::run(node.host(), job, log);
    if !call.wants_progress {
        return Ok(running.await);
    }
    let Streams { input, outlet } = streams;
    let has_failed = CancellationToken::new();
    let running = async {
        let ran = running.await;
        drop(input);
        if ran.0.state != JobState::Ok {
            has_failed.cancel();
        }
        ran
    };
    let passing = async {
        if let Some(outlet) = outlet {
            streams::pass_on(outlet, node, call, &id, &has_failed).await;
        }
    };
    // The job holds the sender, so passing ends with the job, and after its
    // last report.
    let (ran, (), ()) = tokio::join!(running, pass_progress(call, &id, progress), passing);
    Ok(ran)
}

/// What the plugin gets beside the arguments.
fn data_of(command: &Command) -> Result<Vec<u8>, JobError> {
    let mut data = command.data.clone().into_bytes();
    let binary = BASE64.decode(command.data_base64.as_bytes()).map_err(|error| {
        JobError::new(ErrorCode::InvalidCommand, format!("`data_base64` is none: {error}"))
    })?;
    data.extend(binary);
    Ok(data)
}

/// Who calls, as the plugin gets to know it. What the router does not tell is empty.
fn caller(principal: &Principal) -> Caller {
    let told = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Caller {
        session: principal.session.0,
        name: told(&principal.authid),
        role: told(&principal.authrole),
    }
}

async fn pass_progress(call: Asker<'_>, id: &JobId, mut reports: mpsc::Receiver<Value>) {
    while let Some(progress) = reports.recv().await {
        let report = Progress::report(id.clone(), progress);
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
        data: Data::default(),
        error: Some(error),
        streams: Default::default(),
        records: Vec::new(),
        ..result
    }
}
