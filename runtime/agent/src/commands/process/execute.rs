//! `process.execute` and `process.execute_script`: a job is run for a caller who
//! waits for it, hears its output as it comes, and ends it by going away.

use std::pin::pin;
use std::time::Duration;

use data_encoding::BASE64;
use drover_api::{Command, ErrorCode, JobError, JobId, JobState, Progress};
use drover_process::{OutputStream, ProcessSpec, SpecContext, SpecError};
use drover_wamp::Payload;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::{Answer, Request, passed};
use super::{handed_over, in_words, lost};
use crate::drain::not_begun;
use crate::node::Node;
use crate::processes::{Expected, Live, Output, Processes, levels_of};
use crate::streams::Window;

/// Chunks of output between a listener and its caller; more hold the child back.
const LIVE_BACKLOG: usize = 4;

/// Reads the arguments of one of the two commands.
pub(super) type ReadSpec =
    fn(&SpecContext, &Map<String, Value>, &str) -> Result<ProcessSpec, SpecError>;

/// Why a job is ended before its time.
enum Interruption {
    Cancelled,
    TimedOut(Duration),
}

pub(super) async fn execute(request: Request<'_>, read: ReadSpec) -> Result<Answer, JobError> {
    let Request { node, call, command } = request;
    let Command { id, args, data, .. } = command;
    let processes = node.processes();
    let mut args = args.clone();
    let window = args.remove("window").and_then(|size| size.as_u64());
    let spec = read(processes.context(), &args, data)
        .map_err(|error| JobError::new(ErrorCode::InvalidArguments, error.to_string()))?;
    levels_of(&spec)?;
    if spec.is_remembered() {
        let submitted = processes.manager().submit(id.clone(), spec).await;
        submitted.map_err(|error| not_begun(in_words(&error)))?;
        return Ok(json!({ "id": id, "remembered": true }).into());
    }
    let (live, output) = mpsc::channel(LIVE_BACKLOG);
    let expected = processes.expect(id, call.wants_progress.then_some(live));
    if let Err(error) = processes.manager().submit(id.clone(), spec).await {
        return Err(not_begun(in_words(&error)));
    }
    let whole = Whole { id, expected, output: Output::of(output), window };
    whole.wait_for(request).await
}

/// A job of the process manager that a caller waits for.
pub(super) struct Whole<'a> {
    pub(super) id: &'a JobId,
    pub(super) expected: Expected,
    pub(super) output: Output,
    /// Bytes of output that may be on their way.
    pub(super) window: Option<u64>,
}

impl Whole<'_> {
    /// Waits for the end, and passes on what is written until then. Whoever goes away
    /// ends the job.
    pub(super) async fn wait_for(self, request: Request<'_>) -> Result<Answer, JobError> {
        let Request { node, call, command } = request;
        let Self { id, mut expected, output, window } = self;
        let processes = node.processes();
        let window = window.map(|size| node.windows().open(id, size));
        let is_cut_short = CancellationToken::new();
        let telling = tell_all(request, output, window, is_cut_short.clone());
        // All that was written comes before the answer.
        let mut whole = pin!(async { tokio::join!(&mut expected.finished, telling).0 });
        let interruption = tokio::select! {
            biased;
            finished = &mut whole => {
                return finished.map(Answer::from).map_err(|_| gone_on(processes, id));
            }
            () = call.cancelled().cancelled() => Interruption::Cancelled,
            limit = passed(command.timeout_ms.map(Duration::from_millis)) => {
                Interruption::TimedOut(limit)
            }
            () = ends_without_successor(node) => {
                let message = format!("the agent is shutting down while job {id} runs");
                return Err(JobError::new(ErrorCode::ShuttingDown, message));
            }
        };
        is_cut_short.cancel();
        let (killed, finished) = tokio::join!(processes.manager().kill(id), whole);
        if let Err(error) = killed {
            tracing::debug!(job = %id, %error, "the job ended before it was killed");
        }
        let answer = Answer::from(finished.map_err(|_| gone_on(processes, id))?);
        Ok(interrupted(id, answer, &interruption))
    }
}

/// Why nobody here hears of the end of a job.
fn gone_on(processes: &Processes, id: &JobId) -> JobError {
    match processes.leaving().is_cancelled() {
        true => handed_over(id),
        false => lost(id),
    }
}

/// Resolves when the agent ends, unless its jobs are another agent's by then.
async fn ends_without_successor(node: &Node) {
    node.stop().cancelled().await;
    if node.processes().leaving().is_cancelled() {
        std::future::pending::<()>().await;
    }
}

/// The answer to a command that was interrupted: it says by whom.
fn interrupted(id: &JobId, mut answer: Answer, interruption: &Interruption) -> Answer {
    // It may have ended by itself at the same time.
    if answer.state == JobState::Killed {
        let (state, code, message) = match interruption {
            Interruption::Cancelled => {
                let message = format!("job {id} was cancelled by its caller");
                (JobState::Killed, ErrorCode::Cancelled, message)
            }
            Interruption::TimedOut(limit) => {
                let message = format!("job {id} had not ended after {limit:?}");
                (JobState::Timeout, ErrorCode::Timeout, message)
            }
        };
        answer.state = state;
        answer.error = Some(JobError::new(code, message));
    }
    answer
}

/// Tells all output, as fast as the caller takes it. Once the job is cut short,
/// what the caller has no room for is left to the log: nobody waits for it. Once it is
/// handed over there is room for all that is left: it is little, and the next agent does
/// not have it.
async fn tell_all(
    request: Request<'_>,
    mut output: Output,
    mut window: Option<Window>,
    is_cut_short: CancellationToken,
) {
    if window.is_some() {
        tell(request, json!({ "accepted": true })).await;
    }
    let leaving = request.node.processes().leaving();
    while let Some(live) = output.next().await {
        if let Some(window) = &mut window {
            tokio::select! {
                _ = window.room() => {}
                () = is_cut_short.cancelled() => {}
                () = leaving.cancelled() => {}
            }
            if !window.has_room() && !leaving.is_cancelled() {
                continue;
            }
            window.send(live.bytes.len());
        }
        tell(request, in_json(&live)).await;
    }
}

/// `{stdout}` or `{stderr}` with a text, or with `_base64` behind the name where
/// the bytes are no text.
fn in_json(live: &Live) -> Value {
    let stream = match live.stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    };
    match std::str::from_utf8(&live.bytes) {
        Ok(text) => json!({ stream: text }),
        Err(_) => json!({ format!("{stream}_base64"): BASE64.encode(&live.bytes) }),
    }
}

async fn tell(request: Request<'_>, progress: Value) {
    let report = Progress::report(request.command.id.clone(), progress);
    match Payload::one(&report) {
        // A session that has ended cancels the job by itself.
        Ok(payload) => drop(request.call.progress(payload).await),
        Err(error) => {
            tracing::error!(job = %report.id, %error, "cannot encode a progress report");
        }
    }
}

/// The arguments for people and completion; the spec itself checks them.
pub(super) fn schema(is_script: bool) -> Value {
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
        "parse": json!({ "type": ["object", "null"], "description":
            "What parses lines of its output that have no level: plugin, format, options." }),
        "user": number_or_text("The user that it runs as."),
        "group": number_or_text("Its group."),
        "limits": json!({ "type": ["object", "null"], "description":
            "What it may use: memory, processes, open_files, nice." }),
    });
    properties["window"] = json!({ "type": "integer", "minimum": 1, "description":
        "Bytes of live output that may be on their way before process.taken is called." });
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
