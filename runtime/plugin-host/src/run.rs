//! Running one operation as a job, from the request to its outcome.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use drover_api::{ErrorCode, JobError, JobId, JobState, OperationKind, Record, Timestamp};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::bindings::exports::drover::plugin::operations::Error as GuestError;
use crate::call::{Call, Cancellation, Log};
use crate::failure;
use crate::host::Shared;
use crate::instance::{self, Streams};
use crate::plugin::Loaded;
use crate::queue::Place;
use crate::records::cut;
use crate::schema::report;

/// Time that a plugin which watches for it has after a cancellation; see
/// `wit/job.wit`.
const CANCEL_GRACE: Duration = Duration::from_secs(2);

/// A request to run an operation.
#[derive(Debug)]
pub struct Job {
    /// The job's id, which the plugin can ask for.
    pub id: JobId,
    /// The plugin's name.
    pub plugin: String,
    /// The operation's name.
    pub operation: String,
    /// The arguments, not yet checked.
    pub arguments: Map<String, Value>,
    /// What the plugin gets beside the arguments.
    pub data: Vec<u8>,
    /// Time from now to the job's end, waiting included; none: the default.
    pub timeout: Option<Duration>,
    /// Gets the progress reports. The plugin waits while it is full.
    pub progress: Option<mpsc::Sender<Value>>,
    /// Ends the job when it is cancelled.
    pub cancel: CancellationToken,
}

/// How a job ended.
#[derive(Debug)]
pub struct Outcome {
    /// One of the final states.
    pub state: JobState,
    /// The answer; null unless `state` is [`JobState::Ok`].
    pub data: Value,
    /// Why there is no answer; none if `state` is [`JobState::Ok`].
    pub error: Option<JobError>,
    /// Standard output and standard error, the last 64 KiB of each.
    pub streams: [String; 2],
    /// What the plugin logged, oldest first.
    pub records: Vec<Record>,
    /// When the job began to run, or was refused.
    pub started: Timestamp,
    /// How long it ran.
    pub took: Duration,
}

impl Outcome {
    /// The outcome of a job that did not start.
    pub(crate) fn refused(error: JobError) -> Self {
        Self {
            state: JobState::Error,
            data: Value::Null,
            error: Some(error),
            streams: Default::default(),
            records: Vec::new(),
            started: Timestamp::now(),
            took: Duration::ZERO,
        }
    }
}

/// A job whose plugin and operation exist.
pub(crate) struct Run {
    pub(crate) shared: Arc<Shared>,
    pub(crate) plugin: Arc<Loaded>,
    pub(crate) job: Job,
    pub(crate) place: Place,
    pub(crate) deadline: Instant,
    pub(crate) timeout: Duration,
}

/// What ends a job from outside.
enum Interruption {
    Deadline,
    Cancelled,
    ShuttingDown,
}

/// What remains of a job beside its answer.
struct Traces {
    streams: Streams,
    log: Log,
    started: Timestamp,
    start: Instant,
}

impl Run {
    /// Waits for the job's turn and runs it, unless something ends it before.
    pub(crate) async fn perform(self) -> Outcome {
        let Self { shared, plugin, job, place, deadline, timeout } = self;
        let subject = format!("{}.{}", job.plugin, job.operation);
        let cancellation = Cancellation::new(job.cancel.clone());
        let mut traces = Traces::new();

        let watch = Watch { cancellation: &cancellation, deadline, shared: &shared };
        let answer = match watch.until_interrupted(place.turn()).await {
            Err(interruption) => Err(interruption),
            Ok(_turn) => {
                traces.start_now();
                let call = call(&shared, &plugin, job, deadline, &cancellation, &traces, &subject);
                watch.with_grace(call).await
            }
        };
        match answer {
            Ok(Ok(data)) => traces.outcome(JobState::Ok, data, None),
            Ok(Err(error)) => traces.outcome(JobState::Error, Value::Null, Some(error)),
            Err(interruption) => {
                let (state, error) = interruption.explain(&subject, timeout);
                traces.outcome(state, Value::Null, Some(error))
            }
        }
    }
}

/// Looks out for what ends a job from outside.
struct Watch<'a> {
    cancellation: &'a Cancellation,
    deadline: Instant,
    shared: &'a Shared,
}

impl Watch<'_> {
    /// Drops `work` at the first interruption.
    async fn until_interrupted<T>(&self, work: impl Future<Output = T>) -> Result<T, Interruption> {
        tokio::select! {
            biased;
            () = self.shared.stopping.cancelled() => Err(Interruption::ShuttingDown),
            () = self.cancellation.cancelled() => Err(Interruption::Cancelled),
            () = sleep_until(self.deadline) => Err(Interruption::Deadline),
            output = work => Ok(output),
        }
    }

    /// Drops `work` at the first interruption, but leaves a plugin that looks
    /// for its cancellation some time to tidy up. Its answer then is lost.
    async fn with_grace<T>(&self, work: impl Future<Output = T>) -> Result<T, Interruption> {
        let mut work = pin!(work);
        let result = self.until_interrupted(&mut work).await;
        if let Err(Interruption::Cancelled) = result
            && self.cancellation.was_asked()
        {
            let end = self.deadline.min(Instant::now() + CANCEL_GRACE);
            tokio::select! {
                biased;
                () = self.shared.stopping.cancelled() => {}
                () = sleep_until(end) => {}
                _ = &mut work => {}
            }
        }
        result
    }
}

/// Checks the arguments and runs the operation in a fresh instance.
async fn call(
    shared: &Shared,
    plugin: &Loaded,
    job: Job,
    deadline: Instant,
    cancellation: &Cancellation,
    traces: &Traces,
    subject: &str,
) -> Result<Value, JobError> {
    let arguments = check_arguments(plugin, &job.operation, job.arguments, subject)?;
    let call = Call {
        job: job.id.into(),
        plugin: plugin.name.clone(),
        data: job.data,
        deadline,
        progress: job.progress,
        cancellation: cancellation.clone(),
        log: traces.log.clone(),
    };
    let _ticking = shared.ticker.enter();
    let system = shared.system.clone();
    let mut store = instance::store(&shared.engine, &shared.limits, &traces.streams, system, call);
    let result = async {
        let instance = plugin.component.instantiate_async(&mut store).await?;
        let operations = instance.drover_plugin_operations();
        operations.call_run(&mut store, &job.operation, &arguments).await
    }
    .await;
    match result {
        Ok(Ok(answer)) => parse_answer(&answer, subject, shared.limits.answer_bytes),
        Ok(Err(error)) => Err(refusal(error, subject)),
        Err(error) => {
            let has_refused = store.data().memory.has_refused();
            let stderr = traces.streams.stderr.text();
            Err(failure::explain(subject, &error, &stderr, has_refused, &shared.limits))
        }
    }
}

/// The arguments as JSON text, if they fit the operation's schema.
fn check_arguments(
    plugin: &Loaded,
    operation: &str,
    arguments: Map<String, Value>,
    subject: &str,
) -> Result<String, JobError> {
    let arguments = Value::Object(arguments);
    let schema = plugin.operations.get(operation).map(|operation| &operation.arguments);
    let problems = schema.map(|schema| schema.problems(&arguments)).unwrap_or_default();
    if problems.is_empty() {
        return Ok(arguments.to_string());
    }
    let (text, list) = report(&problems);
    let message = format!("`{subject}` cannot run with these arguments: {text}");
    Err(JobError::new(ErrorCode::InvalidArguments, message).with_detail(list))
}

fn parse_answer(answer: &str, subject: &str, limit: usize) -> Result<Value, JobError> {
    if answer.len() > limit {
        let length = answer.len();
        let message = format!("`{subject}` answered with {length} bytes, and {limit} are allowed");
        return Err(JobError::new(ErrorCode::InvalidAnswer, message));
    }
    serde_json::from_str(answer).map_err(|error| {
        let message = format!("`{subject}` answered with something that is no JSON: {error}");
        let start = json!({ "answer": cut(answer, failure::WORDS) });
        JobError::new(ErrorCode::InvalidAnswer, message).with_detail(start)
    })
}

/// An error that the plugin itself gave as its answer.
fn refusal(error: GuestError, subject: &str) -> JobError {
    match error {
        GuestError::UnknownOperation => {
            let message = format!("`{subject}` is described by its plugin, which does not know it");
            JobError::new(ErrorCode::UnknownCommand, message)
        }
        GuestError::InvalidArguments(reason) => {
            let reason = cut(&reason, failure::WORDS);
            let message = format!("`{subject}` cannot run with these arguments: {reason}");
            JobError::new(ErrorCode::InvalidArguments, message)
        }
        GuestError::Failed(failure) => {
            let message = cut(&failure.message, failure::WORDS);
            let code = cut(&failure.code, failure::WORDS);
            JobError::new(ErrorCode::Failed, message).with_detail(json!({ "code": code }))
        }
    }
}

impl Interruption {
    fn explain(self, subject: &str, timeout: Duration) -> (JobState, JobError) {
        let (state, code, message) = match self {
            Self::Deadline => (
                JobState::Timeout,
                ErrorCode::Timeout,
                format!(
                    "`{subject}` was not done after {} s and was ended; give it less to do, or more time",
                    timeout.as_secs_f64()
                ),
            ),
            Self::Cancelled => {
                (JobState::Killed, ErrorCode::Cancelled, format!("`{subject}` was cancelled"))
            }
            Self::ShuttingDown => (
                JobState::Killed,
                ErrorCode::ShuttingDown,
                format!("the node is shutting down and ended `{subject}`"),
            ),
        };
        (state, JobError::new(code, message))
    }
}

impl Traces {
    fn new() -> Self {
        Self {
            streams: Streams::default(),
            log: Log::default(),
            started: Timestamp::now(),
            start: Instant::now(),
        }
    }

    /// From now on the job runs; before, it waited.
    fn start_now(&mut self) {
        (self.started, self.start) = (Timestamp::now(), Instant::now());
    }

    fn outcome(self, state: JobState, data: Value, error: Option<JobError>) -> Outcome {
        Outcome {
            state,
            data,
            error,
            streams: [self.streams.stdout.text(), self.streams.stderr.text()],
            records: self.log.take(),
            started: self.started,
            took: self.start.elapsed(),
        }
    }
}

/// Why an operation that exists cannot be run as a job.
///
/// A service has to be kept running by somebody, restarted and stopped, and
/// nobody does that yet. Its plugin loads all the same, with its tasks.
pub(crate) fn check_kind(plugin: &Loaded, operation: &str) -> Result<(), JobError> {
    match plugin.operations.get(operation).map(|operation| operation.kind) {
        Some(OperationKind::Task) => Ok(()),
        Some(OperationKind::Service) => {
            let message = format!(
                "`{}.{operation}` is a service, and this version of Drover runs tasks only",
                plugin.name
            );
            Err(JobError::new(ErrorCode::InvalidCommand, message))
        }
        None => Err(unknown_operation(plugin, operation)),
    }
}

fn unknown_operation(plugin: &Loaded, operation: &str) -> JobError {
    let names = plugin.operations.keys().map(String::as_str).collect();
    unknown(&format!("plugin `{}` has no operation `{operation}`", plugin.name), operation, names)
}

/// Says what there is instead of `wanted`, the most similar first.
pub(crate) fn unknown(what: &str, wanted: &str, mut names: Vec<&str>) -> JobError {
    names.sort_by_cached_key(|name| (distance(name, wanted), name.to_string()));
    let message = match names.is_empty() {
        true => format!("{what}; there is none"),
        false => format!("{what}; there are: {}", names.join(", ")),
    };
    JobError::new(ErrorCode::UnknownCommand, message).with_detail(json!({ "known": names }))
}

/// Letters to insert, remove or replace to get from one word to the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().take(128).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (column, other) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_name_comes_first() {
        let error = unknown("no such plugin", "sysinfos", vec!["hello", "container", "sysinfo"]);
        assert_eq!(error.code, ErrorCode::UnknownCommand);
        assert_eq!(error.message, "no such plugin; there are: sysinfo, hello, container");
        assert_eq!(error.detail["known"][0], "sysinfo");
    }

    #[test]
    fn distances_count_letters() {
        for (one, other, expected) in
            [("", "", 0), ("a", "", 1), ("cpu", "cpu", 0), ("cpu", "gpus", 2), ("disk", "dsik", 2)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn an_answer_must_be_json_and_short_enough() {
        assert_eq!(parse_answer("[1]", "a.b", 3).unwrap(), json!([1]));
        for (answer, words) in [("[1,2]", "5 bytes"), ("{", "no JSON"), ("", "no JSON")] {
            let error = parse_answer(answer, "a.b", 3).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidAnswer);
            assert!(error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn a_deeply_nested_answer_is_refused() {
        let answer = "[".repeat(100_000);
        assert!(parse_answer(&answer, "a.b", 1 << 20).is_err());
    }
}
