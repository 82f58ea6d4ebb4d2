//! `process.*`: child processes of the node.

use std::time::Duration;

use data_encoding::BASE64;
use drover_api::{Command, ErrorCode, JobError, JobId, JobState, OperationKind, Progress};
use drover_process::{
    Found, JobStatus, KillReport, ManagerError, OutputStream, Phase, ProcessSpec, SpecError,
};
use drover_wamp::Payload;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{Alias, Answer, Ends, Request, Row, arguments_of, no_arguments, passed};
use crate::processes::{Expected, Live, levels_of};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "process.execute",
        aliases: &[Alias::new("execute")],
        kind: OperationKind::Task,
        ends: Ends::ByItself,
        doc: "Runs a program and answers when it has ended, with the ends of its output and its \
              exit status.\nNo shell is involved; `data` goes to standard input. Callers that \
              listen to progress get the output as it comes. Cancelling ends the whole tree. A \
              job that is remembered (`max_time` -1, `recurring_period`, `cron`) is answered at \
              once, and goes on when the caller has gone. Times are numbers of seconds, or texts \
              such as 10s.",
        arguments: || execute_schema(false),
        returns: || Value::Bool(true),
        run: |request| Box::pin(execute(request, ProcessSpec::execute)),
    },
    Row {
        name: "process.execute_script",
        aliases: &[
            Alias { given: &[("interpreter", "python")], ..Alias::new("execute_js_py") },
            Alias { given: &[("interpreter", "lua")], ..Alias::new("execute_js_lua") },
        ],
        kind: OperationKind::Task,
        ends: Ends::ByItself,
        doc: "Runs the script in `data` with an interpreter that the node's configuration \
              allows.\nOtherwise as `process.execute`.",
        arguments: || execute_schema(true),
        returns: || Value::Bool(true),
        run: |request| Box::pin(execute(request, ProcessSpec::execute_script)),
    },
    Row {
        name: "process.stdin",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Writes to the standard input of a job that was run with `stdin=open`.\nAnswers \
              when the program's pipe has taken all of it; `eof=true` closes it after that.",
        arguments: arguments_of::<StdinArguments>,
        returns: || json!({ "type": "null" }),
        run: |request| Box::pin(stdin(request)),
    },
    Row {
        name: "process.kill",
        aliases: &[Alias { renamed: &[("id", "id")], ..Alias::new("kill") }],
        kind: OperationKind::Task,
        ends: Ends::ByItself,
        doc: "Ends a job for good, with its whole tree of processes: TERM, the grace of its \
              command, KILL.\nAnswers when every process is gone, and says which there were.",
        arguments: arguments_of::<KillArguments>,
        returns: || json!({ "type": "object" }),
        run: |request| Box::pin(kill(request)),
    },
    Row {
        name: "process.killall",
        aliases: &[Alias::new("killall")],
        kind: OperationKind::Task,
        ends: Ends::ByItself,
        doc: "Ends all processes. Jobs that are remembered are scheduled again.\nAnswers as \
              `process.kill` for each job.",
        arguments: no_arguments,
        returns: || json!({ "type": "array", "items": { "type": "object" } }),
        run: |request| Box::pin(kill_all(request)),
    },
    Row {
        name: "process.list",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Lists the jobs of the process manager that have not ended, the oldest first.",
        arguments: no_arguments,
        returns: || json!({ "type": "array", "items": { "type": "object" } }),
        run: |request| Box::pin(list(request)),
    },
];

/// Chunks of output between a listener and its caller; more hold the child back.
const LIVE_BACKLOG: usize = 4;

type ReadSpec = fn(
    &drover_process::SpecContext,
    &serde_json::Map<String, Value>,
    &str,
) -> Result<ProcessSpec, SpecError>;

async fn execute(request: Request<'_>, read: ReadSpec) -> Result<Answer, JobError> {
    let Request { node, call, command } = request;
    let Command { id, args, data, timeout_ms, .. } = command;
    let processes = node.processes();
    let spec = read(processes.context(), args, data)
        .map_err(|error| JobError::new(ErrorCode::InvalidArguments, error.to_string()))?;
    levels_of(&spec)?;
    if spec.is_remembered() {
        processes.manager().submit(id.clone(), spec).await.map_err(|error| in_words(&error))?;
        return Ok(json!({ "id": id, "remembered": true }).into());
    }
    let (live, mut output) = mpsc::channel(LIVE_BACKLOG);
    let mut expected = processes.expect(id, call.wants_progress.then_some(live));
    processes.manager().submit(id.clone(), spec).await.map_err(|error| in_words(&error))?;

    let limit = timeout_ms.map(Duration::from_millis);
    let interruption = loop {
        tokio::select! {
            biased;
            Some(live) = output.recv() => tell(request, &live).await?,
            finished = &mut expected.finished => {
                return finished.map(Answer::from).map_err(|_| lost(id));
            }
            () = call.cancelled().cancelled() => break Interruption::Cancelled,
            limit = passed(limit) => break Interruption::TimedOut(limit),
            () = node.stop().cancelled() => {
                let message = format!("the node is shutting down, and job {id} may go on there");
                return Err(JobError::new(ErrorCode::ShuttingDown, message));
            }
        }
    };
    end(request, expected, output, interruption).await
}

/// Why a job is ended before its time.
enum Interruption {
    Cancelled,
    TimedOut(Duration),
}

/// Ends a job with its whole tree, and tells how that went.
async fn end(
    request: Request<'_>,
    mut expected: Expected,
    mut output: mpsc::Receiver<Live>,
    interruption: Interruption,
) -> Result<Answer, JobError> {
    let Request { node, command, .. } = request;
    let manager = node.processes().manager();
    let mut killing = std::pin::pin!(manager.kill(&command.id));
    let mut is_killed = false;
    let finished = loop {
        tokio::select! {
            biased;
            Some(live) = output.recv() => tell(request, &live).await?,
            finished = &mut expected.finished => break finished,
            killed = &mut killing, if !is_killed => {
                is_killed = true;
                if let Err(error) = killed {
                    tracing::debug!(job = %command.id, %error, "the job ended before it was killed");
                }
            }
        }
    };
    let mut answer = Answer::from(finished.map_err(|_| lost(&command.id))?);
    if answer.state == JobState::Killed {
        (answer.state, answer.error) = match interruption {
            Interruption::Cancelled => {
                let message = format!("job {} was cancelled by its caller", command.id);
                (JobState::Killed, Some(JobError::new(ErrorCode::Cancelled, message)))
            }
            Interruption::TimedOut(limit) => {
                let message = format!("job {} had not ended after {limit:?}", command.id);
                (JobState::Timeout, Some(JobError::new(ErrorCode::Timeout, message)))
            }
        };
    }
    Ok(answer)
}

/// Passes output on as progress: `{stdout}` or `{stderr}` with a text, or with
/// `_base64` behind the name where the bytes are no text.
async fn tell(request: Request<'_>, live: &Live) -> Result<(), JobError> {
    let stream = match live.stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    let progress = match std::str::from_utf8(&live.bytes) {
        Ok(text) => json!({ stream: text }),
        Err(_) => json!({ format!("{stream}_base64"): BASE64.encode(&live.bytes) }),
    };
    let report = Progress { id: request.command.id.clone(), progress };
    let payload = Payload::one(&report)
        .map_err(|error| JobError::new(ErrorCode::Internal, error.to_string()))?;
    // A session that has ended cancels the job by itself.
    let _ = request.call.progress(payload).await;
    Ok(())
}

/// Arguments of `process.stdin`.
#[derive(Debug, Deserialize, JsonSchema)]
struct StdinArguments {
    /// The job.
    #[schemars(with = "String")]
    id: JobId,
    /// What to write.
    #[serde(default)]
    text: String,
    /// The same for what is no text, in base64; comes after `text`.
    #[serde(default)]
    base64: String,
    /// Whether that was the last.
    #[serde(default)]
    eof: bool,
}

async fn stdin(request: Request<'_>) -> Result<Answer, JobError> {
    let StdinArguments { id, text, base64, eof } = request.arguments()?;
    let mut bytes = text.into_bytes();
    let binary = BASE64.decode(base64.as_bytes());
    bytes.extend(binary.map_err(|error| {
        JobError::new(ErrorCode::InvalidArguments, format!("`base64` is none: {error}"))
    })?);
    let writer =
        request.node.processes().manager().stdin(&id).await.map_err(|error| in_words(&error))?;
    if !bytes.is_empty() {
        writer.write(&bytes).await.map_err(|error| {
            let message = format!("job {id} does not read its standard input any more: {error}");
            JobError::new(ErrorCode::Failed, message)
        })?;
    }
    if eof {
        writer.close().await;
    }
    Ok(Value::Null.into())
}

/// Arguments of `process.kill`.
#[derive(Debug, Deserialize, JsonSchema)]
struct KillArguments {
    /// The job.
    #[schemars(with = "String")]
    id: JobId,
}

async fn kill(request: Request<'_>) -> Result<Answer, JobError> {
    let KillArguments { id } = request.arguments()?;
    let report =
        request.node.processes().manager().kill(&id).await.map_err(|error| in_words(&error))?;
    tracing::info!(job = %id, processes = report.found.len(), "job killed");
    Ok(killed(&report).into())
}

async fn kill_all(request: Request<'_>) -> Result<Answer, JobError> {
    let reports =
        request.node.processes().manager().kill_all().await.map_err(|error| in_words(&error))?;
    tracing::info!(jobs = reports.len(), "all processes killed");
    Ok(reports.iter().map(killed).collect::<Value>().into())
}

fn killed(report: &KillReport) -> Value {
    let processes = |found: &[Found]| -> Value {
        found.iter().map(|process| json!({ "pid": process.pid, "name": process.name })).collect()
    };
    json!({
        "id": report.id,
        "found": processes(&report.found),
        "killed": report.killed,
        "left": processes(&report.left),
    })
}

async fn list(request: Request<'_>) -> Result<Answer, JobError> {
    let jobs = request.node.processes().manager().list().await.map_err(|error| in_words(&error))?;
    Ok(jobs.iter().map(status).collect::<Value>().into())
}

fn status(job: &JobStatus) -> Value {
    let (phase, until, running) = match job.phase {
        Phase::WaitingForOthers => ("waiting-for-others", None, None),
        Phase::WaitingForTurn => ("waiting-for-turn", None, None),
        Phase::WaitingForTime(until) => ("waiting-for-time", Some(until), None),
        Phase::Starting => ("starting", None, None),
        Phase::Running { pid, since, is_ready } => ("running", None, Some((pid, since, is_ready))),
        Phase::Stopping => ("stopping", None, None),
        Phase::Settling => ("settling", None, None),
    };
    let mut status = json!({
        "id": job.id,
        "cmd": job.spec.cmd,
        "args": job.spec.args,
        "domain": job.spec.domain,
        "name": job.spec.name,
        "phase": phase,
        "runs": job.runs,
        "accepted": job.accepted,
        "remembered": job.spec.is_remembered(),
    });
    if let Some(until) = until {
        status["until"] = json!(until);
    }
    if let Some((pid, since, is_ready)) = running {
        status["pid"] = pid.into();
        status["since"] = json!(since);
        status["ready"] = is_ready.into();
    }
    status
}

fn in_words(error: &ManagerError) -> JobError {
    let code = match error {
        ManagerError::Duplicate(_) => ErrorCode::DuplicateId,
        ManagerError::Unknown(_) | ManagerError::NotRunning(_) => ErrorCode::UnknownJob,
        ManagerError::UnknownDependency(_)
        | ManagerError::FailedDependency(_)
        | ManagerError::NoStdin(_) => ErrorCode::InvalidArguments,
        ManagerError::Busy(_) => ErrorCode::Busy,
        ManagerError::Disk { .. } => ErrorCode::Internal,
        ManagerError::ShuttingDown => ErrorCode::ShuttingDown,
    };
    JobError::new(code, error.to_string())
}

fn lost(id: &JobId) -> JobError {
    let message = format!("how job {id} ended is not known: the node is shutting down");
    JobError::new(ErrorCode::ShuttingDown, message)
}

/// The arguments for people and completion; the spec itself checks them.
fn execute_schema(is_script: bool) -> Value {
    let time = |doc: &str| json!({ "type": ["number", "string", "null"], "description": doc });
    let text = |doc: &str| json!({ "type": ["string", "null"], "description": doc });
    let number_or_text =
        |doc: &str| json!({ "type": ["integer", "string", "null"], "description": doc });
    let any = |doc: &str| json!({ "description": doc });
    let mut properties = json!({
        "args": any("Its arguments: a list of texts and numbers."),
        "working_dir": text("Where it runs: an absolute path."),
        "workingdir": text("The old name of working_dir."),
        "env": any("Its environment: an object, or a list of NAME=value."),
        "inherit_env": any("What it inherits of the agent's environment: true for all, or names."),
        "stdin": text("What follows the first input: close, or open for process.stdin."),
        "domain": text("What it is sorted under."),
        "name": text("What it is called; the program's name by default."),
        "max_time": time("Time for each run; 0 for none, -1 for ever and remembered."),
        "max_restart": json!({ "type": ["integer", "null"], "description":
            "Failures within five minutes that are followed by a restart; -1 for all." }),
        "restart_delay": time("Wait before the first restart."),
        "restart_delay_max": time("Longest wait before a restart."),
        "recurring_period": time("Time from start to start; 0 for one run."),
        "cron": text("When it runs, as a cron pattern."),
        "timezone": text("The zone that cron is read in; UTC by default."),
        "start_delay": time("Wait before the first run."),
        "after": any("Ids and names of jobs that must be ready or done before."),
        "ready": text("A regular expression for the line that says that it is ready."),
        "queue": text("A serial queue: one of its jobs runs at a time."),
        "grace": time("Time from TERM to KILL."),
        "on_agent_restart": text("What happens to it when the agent restarts: adopt or end."),
        "stats_interval": time("Time between two measurements."),
        "loglevels": number_or_text("Levels that are looked at at all, such as 1-5 or *."),
        "loglevels_db": number_or_text("Levels that are stored on the node."),
        "loglevels_ac": number_or_text("Levels that go to the controller."),
        "user": number_or_text("The user that it runs as."),
        "group": number_or_text("Its group."),
        "limits": json!({ "type": ["object", "null"], "description":
            "What it may use: memory, processes, open_files, nice." }),
    });
    let needed = match is_script {
        false => ("cmd", "The program: a path, or a name in PATH; $agentroot, $root, $tmp."),
        true => ("interpreter", "The interpreter: a name that the node's configuration has."),
    };
    properties[needed.0] = json!({ "type": "string", "description": needed.1 });
    if is_script {
        properties["input"] = text("What the script finds on its standard input.");
    }
    json!({
        "type": "object",
        "properties": properties,
        "required": [needed.0],
        "additionalProperties": false,
    })
}
