//! `process.*`: child processes of the node.

mod execute;
mod follow;
mod stats;

use std::collections::HashMap;

use drover_api::{ErrorCode, JobError, JobId, OperationKind};
use drover_process::{Found, JobStatus, KillReport, ManagerError, Phase, ProcessSpec};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::streams::{InputArguments, TakenArguments, input, taken};
use super::{Alias, Answer, Ends, Request, Row, arguments_of, no_arguments};
use execute::execute;
pub(crate) use follow::go_on;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "process.execute",
        aliases: &[Alias::new("execute")],
        kind: OperationKind::Task,
        ends: Ends::ByItself,
        doc: "Runs a program and answers when it has ended, with the ends of its output and its \
              exit status.\nNo shell is involved; `data` goes to standard input. Callers that \
              listen to progress get the output as it comes; with `window`, as fast as they say \
              by `process.taken`. Cancelling ends the whole tree. A job that is remembered (`max_time` -1, `recurring_period`, `cron`) is answered at \
              once, and goes on when the caller has gone. Times are numbers of seconds, or texts \
              such as 10s.",
        arguments: || execute::schema(false),
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
        arguments: || execute::schema(true),
        returns: || Value::Bool(true),
        run: |request| Box::pin(execute(request, ProcessSpec::execute_script)),
    },
    Row {
        name: "process.follow",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::ByItself,
        doc: "Waits for the end of a job that is running, and answers as `process.execute` does.\n\
              When the agent's program is replaced, `process.execute` ends with the error \
              `handed-over`, and the job goes on: the first who follows it within a minute gets \
              the rest of the output, and the result; cancelling ends the job then. Of any other \
              job only the end is told.",
        arguments: arguments_of::<follow::FollowArguments>,
        returns: || Value::Bool(true),
        run: |request| Box::pin(follow::follow(request)),
    },
    Row {
        name: "process.stdin",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::ByItself,
        doc: "Writes to the standard input of a job that was run with `stdin=open`.\nAnswers \
              when the program's pipe has taken all of it; `eof=true` closes it after that. The \
              error `handed-over` tells as `written` of its detail how many bytes were taken: the \
              rest is for the agent that comes next.",
        arguments: arguments_of::<InputArguments>,
        returns: || json!({ "type": "null" }),
        run: |request| Box::pin(input(request)),
    },
    Row {
        name: "process.taken",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Says that the caller of a job with a `window` has taken so many bytes of its output.",
        arguments: arguments_of::<TakenArguments>,
        returns: || json!({ "type": "null" }),
        run: |request| Box::pin(async move { taken(request) }),
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
        arguments: arguments_of::<ListArguments>,
        returns: || json!({ "type": "array", "items": { "type": "object" } }),
        run: |request| Box::pin(list(request)),
    },
    Row {
        name: "process.stats",
        aliases: &[Alias { renamed: &[("id", "id")], ..Alias::new("get_process_stats") }],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Measures what the processes of a job use: percent of a core, bytes of memory, and \
              more.\nThe percentage is that since the last measurement.",
        arguments: arguments_of::<stats::StatsArguments>,
        returns: || json!({ "type": "object" }),
        run: |request| Box::pin(stats::stats(request)),
    },
    Row {
        name: "process.stats_all",
        aliases: &[Alias {
            renamed: &[("domain", "domain"), ("name", "name")],
            ..Alias::new("get_processes_stats")
        }],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Measures what all jobs use that run a program, or those of a domain, a name or \
              both.\nJobs that share domain and name are added up.",
        arguments: arguments_of::<stats::StatsAllArguments>,
        returns: || json!({ "type": "array", "items": { "type": "object" } }),
        run: |request| Box::pin(stats::stats_all(request)),
    },
];

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

/// Arguments of `process.list`.
#[derive(Debug, Deserialize, JsonSchema)]
struct ListArguments {
    /// Whether to measure what those use that run.
    #[serde(default)]
    usage: bool,
}

async fn list(request: Request<'_>) -> Result<Answer, JobError> {
    let ListArguments { usage } = request.arguments()?;
    let manager = request.node.processes().manager();
    let jobs = manager.list().await.map_err(|error| in_words(&error))?;
    let mut usages = HashMap::new();
    if usage {
        let measured = manager.usages(None, None).await.map_err(|error| in_words(&error))?;
        usages.extend(measured.into_iter().map(|job| (job.id, job.usage)));
    }
    let described = jobs.iter().map(|job| {
        let mut status = status(job);
        if let Some(usage) = usages.get(&job.id) {
            status["usage"] = stats::in_json(usage);
        }
        status
    });
    Ok(described.collect::<Value>().into())
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

pub(super) fn in_words(error: &ManagerError) -> JobError {
    let code = match error {
        ManagerError::HandedOver(id) => return handed_over(id),
        ManagerError::Duplicate(_) => ErrorCode::DuplicateId,
        ManagerError::Unknown(_) | ManagerError::NotRunning(_) => ErrorCode::UnknownJob,
        ManagerError::UnknownDependency(_)
        | ManagerError::FailedDependency(_)
        | ManagerError::NoStdin(_) => ErrorCode::InvalidArguments,
        ManagerError::Busy(_) => ErrorCode::Busy,
        ManagerError::Disk { .. } | ManagerError::NotForgotten { .. } => ErrorCode::Internal,
        ManagerError::ShuttingDown => ErrorCode::ShuttingDown,
    };
    JobError::new(code, error.to_string())
}

/// The answer to whoever waits for a job that goes on with another agent.
pub(super) fn handed_over(id: &JobId) -> JobError {
    let message = format!(
        "the agent's program is being replaced while job {id} runs; the job goes on: follow it \
         with `drover call NODE process.follow id={id}`"
    );
    let detail = json!({ "follow": { "cmd": "process.follow", "args": { "id": id } } });
    JobError::new(ErrorCode::HandedOver, message).with_detail(detail)
}

fn lost(id: &JobId) -> JobError {
    let message = format!("how job {id} ended is not known: the node is shutting down");
    JobError::new(ErrorCode::ShuttingDown, message)
}
