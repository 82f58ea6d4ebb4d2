//! Running one operation as a job or as a service, from the request to its
//! outcome.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use drover_api::{Data, ErrorCode, JobError, JobState, Level, NoJson, OperationKind, Timestamp};
use drover_grants::Allowance;
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::time::Instant;
use wasmtime::Store;

use crate::bindings::exports::drover::plugin::operations::{
    Error as GuestError, Failure as GuestFailure,
};
use crate::call::{Call, Cancellation, Log};
use crate::children::Children;
use crate::failure::{self, plain};
use crate::feed::Feed;
use crate::host::Shared;
use crate::instance::{self, Base, State, Streams};
use crate::job::{Job, Outcome, Said};
use crate::names::unknown;
use crate::notice::Notice;
use crate::plugin::{Loaded, LoadedOperation};
use crate::queue::{Entrance, Turns};
use crate::share;
use crate::terms::Bounds;
use crate::threads::Remnant;
use crate::watch::Watch;

/// A job whose plugin and operation exist.
pub(crate) struct Run {
    pub(crate) shared: Arc<Shared>,
    pub(crate) plugin: Arc<Loaded>,
    pub(crate) job: Job,
    pub(crate) allowance: Arc<Allowance>,
    pub(crate) bounds: Bounds,
    pub(crate) entrance: Entrance,
    /// None: it may run for ever, as a service.
    pub(crate) limit: Option<TimeLimit>,
    /// None of a task.
    pub(crate) feed: Option<Feed>,
    /// Shows how much memory the instance has, in bytes.
    pub(crate) memory: Arc<AtomicU64>,
}

/// How long a job may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimit {
    pub(crate) deadline: Instant,
    pub(crate) timeout: Duration,
}

impl TimeLimit {
    /// From now on.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { deadline: Instant::now() + timeout, timeout }
    }
}

/// What is left of a job when its outcome is known. Cleaning it up takes a
/// fifth of a short job's time, for which nobody should have to wait.
pub(crate) struct Remains {
    // The fields are dropped in this order: the next job gets its turn when
    // the instance has given back its place in the pool.
    store: Option<Store<State>>,
    turns: Option<Turns>,
}

impl Remnant for Remains {
    fn let_go(&mut self) {
        self.turns = None;
    }
}

impl Run {
    /// Waits for the job's turn and runs it, unless something ends it before.
    pub(crate) async fn perform(self) -> (Outcome, Remains) {
        let Self { shared, plugin, job, allowance, bounds, mut entrance, limit, feed, memory } =
            self;
        let (deadline, timeout) =
            (limit.map(|limit| limit.deadline), limit.map(|limit| limit.timeout));
        let subject = job.subject();
        let cancellation = Cancellation::new(job.cancel.clone());
        let mut traces = Traces::new(job.said);
        let mut remains = Remains { store: None, turns: None };
        let children = Children::new(bounds.limits().programs, bounds.programs());

        let watch = Watch { cancellation: &cancellation, deadline, stopping: &shared.stopping };
        let answer = match watch.until_interrupted(entrance.turns()).await {
            Err(interruption) => Err(interruption),
            Ok(turns) => {
                remains.turns = Some(turns);
                traces.start_now();
                let call = Call {
                    job: job.id.into(),
                    plugin: plugin.name.clone(),
                    version: plugin.version.clone(),
                    operation: job.operation.clone(),
                    caller: job.caller,
                    data: job.data,
                    streams: job.streams.into(),
                    allowance,
                    denials: Arc::clone(plugin.account.denials()),
                    deadline,
                    progress: job.progress,
                    cancellation: cancellation.clone(),
                    log: limit.is_some().then(|| traces.log.clone()),
                    said: traces.said.take(),
                    feed,
                    memory,
                    children: children.clone(),
                };
                let work = Work {
                    shared: &shared,
                    plugin: &plugin,
                    operation: &job.operation,
                    subject: &subject,
                    bounds: &bounds,
                    streams: &traces.streams,
                };
                let work = work.run(job.arguments, call, &mut remains);
                let work = shared.ticker.while_polled(work);
                match (bounds.share_of_plugin(), bounds.own_share()) {
                    (None, None) => watch.with_grace(work).await,
                    (Some(share), None) | (None, Some(share)) => {
                        watch.with_grace(share::within(share, work)).await
                    }
                    (Some(share), Some(own)) => {
                        watch.with_grace(share::within(share, share::within(own, work))).await
                    }
                }
            }
        };
        let left = children.end().await;
        if !left.is_empty() {
            let text = format!(
                "processes that `{subject}` has started cannot be killed: {left:?}; look at what \
                 they wait for"
            );
            tracing::error!(plugin = &*plugin.name, "{text}");
            shared.news.tell(Notice::new(Level::CRITICAL, &plugin.name, text));
        }
        let mut outcome = match answer {
            Ok(Ok(data)) => traces.outcome(JobState::Ok, data, None),
            Ok(Err(error)) => traces.outcome(JobState::Error, Data::default(), Some(error)),
            Err(interruption) => {
                let (state, error) = interruption.explain(&subject, timeout);
                traces.outcome(state, Data::default(), Some(error))
            }
        };
        let memory = remains.store.as_ref().map(|store| store.data().memory.used());
        outcome.memory_bytes = memory.unwrap_or_default();
        if let Some(pace) = plugin.pace(&job.operation) {
            pace.record(outcome.took);
        }
        // One that never ran has done nothing wrong, and who gives a job less than
        // usual must not be able to blame it.
        if remains.turns.is_some()
            && !bounds.are_lowered()
            && let Some(notice) = plugin.ended(&outcome, timeout)
        {
            tracing::error!(plugin = &*plugin.name, "{}", notice.text);
            shared.news.tell(notice);
            shared.news.changed();
        }
        (outcome, remains)
    }
}

/// One run of an operation.
struct Work<'a> {
    shared: &'a Shared,
    plugin: &'a Loaded,
    operation: &'a str,
    /// Plugin and operation, for messages.
    subject: &'a str,
    bounds: &'a Bounds,
    streams: &'a Streams,
}

impl Work<'_> {
    /// Checks the arguments and runs the operation in a fresh instance, which
    /// stays in `remains` if it came to its end by itself.
    async fn run(
        &self,
        arguments: Map<String, Value>,
        call: Call,
        remains: &mut Remains,
    ) -> Result<Data, JobError> {
        let Self { shared, plugin, operation, subject, bounds, streams } = *self;
        let limits = bounds.limits();
        let arguments = check_arguments(plugin, operation, arguments, subject)?;
        let Some(LoadedOperation { interface, .. }) = plugin.operations.get(operation) else {
            return Err(unknown_operation(plugin, operation));
        };
        let base = Base { shared, engine: interface.engine(), limits };
        let mut store = instance::store(base, streams, call).map_err(|error| {
            JobError::new(ErrorCode::Denied, format!("`{subject}` cannot run: {error}"))
        })?;
        let answer = match interface.run(&mut store, operation, &arguments).await {
            Ok(Ok(answer)) => check_answer(answer, subject, bounds.answer_bytes()),
            Ok(Err(error)) => Err(refusal(error, subject)),
            Err(error) => {
                let has_refused = store.data().memory.has_refused();
                let stderr = streams.stderr.text();
                Err(failure::explain(subject, &error, &stderr, has_refused, limits))
            }
        };
        remains.store = Some(store);
        answer
    }
}

/// What a job leaves behind beside its answer.
struct Traces {
    streams: Streams,
    log: Log,
    /// For the log import; the streams have theirs.
    said: Option<mpsc::Sender<Said>>,
    started: Timestamp,
    start: Instant,
}

/// The arguments as JSON text, if they fit the operation's schema.
pub(crate) fn check_arguments(
    plugin: &Loaded,
    operation: &str,
    arguments: Map<String, Value>,
    subject: &str,
) -> Result<String, JobError> {
    let arguments = Value::Object(arguments);
    let schema = plugin.operations.get(operation).map(|operation| &operation.arguments);
    if let Some(schema) = schema {
        schema.check(subject, &arguments)?;
    }
    Ok(arguments.to_string())
}

fn check_answer(answer: String, subject: &str, limit: usize) -> Result<Data, JobError> {
    if answer.len() > limit {
        let length = answer.len();
        let message = format!("`{subject}` answered with {length} bytes, and {limit} are allowed");
        return Err(JobError::new(ErrorCode::InvalidAnswer, message));
    }
    Data::from_json(answer).map_err(|NoJson { text, error }| {
        let message = format!("`{subject}` answered with something that is no JSON: {error}");
        let start = json!({ "answer": plain(&text) });
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
            let reason = plain(&reason);
            let message = format!("`{subject}` cannot run with these arguments: {reason}");
            JobError::new(ErrorCode::InvalidArguments, message)
        }
        GuestError::Failed(GuestFailure { code, message }) if is_code(&code) => {
            JobError::new(ErrorCode::Failed, plain(&message)).with_detail(json!({ "code": code }))
        }
        GuestError::Failed(GuestFailure { code, message }) => {
            let (code, message) = (plain(&code), plain(&message));
            let message =
                format!("`{subject}` failed with the code {code:?}, which is none: {message}");
            JobError::new(ErrorCode::InvalidAnswer, message)
        }
    }
}

/// Whether a failure's code is as `wit/operations.wit` says.
fn is_code(code: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    (1..=128).contains(&code.len()) && code.chars().all(is_allowed)
}

impl Traces {
    fn new(said: Option<mpsc::Sender<Said>>) -> Self {
        Self {
            streams: Streams::new(said.as_ref()),
            log: Log::default(),
            said,
            started: Timestamp::now(),
            start: Instant::now(),
        }
    }

    /// From now on the job runs; before, it waited.
    fn start_now(&mut self) {
        (self.started, self.start) = (Timestamp::now(), Instant::now());
    }

    fn outcome(self, state: JobState, data: Data, error: Option<JobError>) -> Outcome {
        Outcome {
            state,
            data,
            error,
            streams: [self.streams.stdout.text(), self.streams.stderr.text()],
            records: self.log.take(),
            started: self.started,
            took: self.start.elapsed(),
            memory_bytes: 0,
        }
    }
}

/// Checks that a plugin has the operation, and that it is to be run like this.
pub(crate) fn check_kind(
    plugin: &Loaded,
    operation: &str,
    wanted: OperationKind,
) -> Result<(), JobError> {
    let Some(found) = plugin.operations.get(operation) else {
        return Err(unknown_operation(plugin, operation));
    };
    if found.kind == wanted {
        return Ok(());
    }
    let cmd = format!("{}.{operation}", plugin.name);
    let message = match found.kind {
        OperationKind::Service => format!(
            "`{cmd}` is a service, which runs until it is stopped: start it with `drover service \
             start NODE {cmd}`"
        ),
        OperationKind::Task => {
            format!("`{cmd}` is a task, which ends by itself: run it with `drover call NODE {cmd}`")
        }
    };
    Err(JobError::new(ErrorCode::InvalidCommand, message))
}

fn unknown_operation(plugin: &Loaded, operation: &str) -> JobError {
    let names = plugin.operations.keys().map(String::as_str).collect();
    unknown(&format!("plugin `{}` has no operation `{operation}`", plugin.name), operation, names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_must_be_json_and_short_enough() {
        assert_eq!(check_answer("[1]".to_owned(), "a.b", 3).unwrap(), json!([1]));
        for (answer, words) in [("[1,2]", "5 bytes"), ("{", "no JSON"), ("", "no JSON")] {
            let error = check_answer(answer.to_owned(), "a.b", 3).unwrap_err();
            assert_eq!(error.code, ErrorCode::InvalidAnswer);
            assert!(error.message.contains(words), "{error}");
        }
    }

    #[test]
    fn a_deeply_nested_answer_is_refused() {
        let answer = "[".repeat(100_000);
        assert!(check_answer(answer, "a.b", 1 << 20).is_err());
    }
}
