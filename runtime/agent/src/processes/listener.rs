//! Listens to one job: what its children write and what becomes of them.

use std::sync::Arc;
use std::time::Duration;

use drover_api::{
    ErrorCode, Exit, JobError, JobId, JobState, Level, Record, StreamTail, Timestamp,
};
use drover_logs::store::StoreClosed;
use drover_logs::{
    LevelSet, Message, Part, ResultCollector, ResultData, ResultDataError, Source, Stream,
};
use drover_plugin_host::{Host, ParserSpec};
use drover_process::{
    Cause, JobEvent, JobInfo, Origin, Outcome, OutputStream, ParseSpec, ProcessSpec, TreeUsage,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::unfinished::Earlier;
use super::{AllBegun, Expectant, Finished, Listeners, Live};
use crate::logs::{JobLevels, JobLog, PlainLines};
use crate::vitals::Vitals;

/// How long whoever waits for a job waits for the log to take what it said.
const WRITE_PATIENCE: Duration = Duration::from_secs(1);

/// How long lines are held back that later ones may belong to.
const HELD: Duration = Duration::from_secs(2);

/// The longest text that a result tells of level 9.
const CRITICAL_BYTES: usize = 64 << 10;

/// Listens to one job until it has ended for good.
pub(super) struct Listener {
    id: JobId,
    log: JobLog,
    heard: Heard,
    expectant: Option<Expectant>,
    /// Whether the log has been told what the run uses.
    is_measured: bool,
    /// Where lines and blocks are left that have begun when the agent ends.
    begun: Arc<AllBegun>,
    vitals: Vitals,
}

/// What of the output goes into the result.
#[derive(Serialize, Deserialize)]
pub(super) struct Heard {
    results: ResultCollector,
    /// The last message of level 9 of each stream, as far as it has come.
    critical: [Vec<u8>; 2],
    last_critical: Option<Vec<u8>>,
    tails: [StreamTail; 2],
}

impl Default for Heard {
    fn default() -> Self {
        let (critical, last_critical, tails) = Default::default();
        let results = ResultCollector::new(ResultCollector::MAX_BYTES);
        Self { results, critical, last_critical, tails }
    }
}

/// The levels that a command's arguments say.
///
/// # Errors
///
/// If one of them is no set of levels.
pub(crate) fn levels_of(spec: &ProcessSpec) -> Result<JobLevels, JobError> {
    let texts = &spec.levels;
    let parse = |key: &str, text: &Option<String>| -> Result<Option<LevelSet>, JobError> {
        let set = text.as_deref().map(str::parse::<LevelSet>).transpose();
        set.map_err(|error| JobError::new(ErrorCode::InvalidArguments, format!("`{key}`: {error}")))
    };
    Ok(JobLevels {
        heard: parse("loglevels", &texts.loglevels)?.unwrap_or(LevelSet::ALL),
        store: parse("loglevels_db", &texts.loglevels_db)?.unwrap_or(LevelSet::ALL),
        forward: parse("loglevels_ac", &texts.loglevels_ac)?,
    })
}

impl Listener {
    pub(super) fn new(
        listeners: &Listeners,
        host: Option<Host>,
        job: &JobInfo,
        expectant: Option<Expectant>,
    ) -> Self {
        let JobInfo { id, spec, origin } = job;
        let source =
            Source { job: id.clone(), domain: spec.domain.clone(), name: spec.name.clone() };
        let levels = levels_of(spec).unwrap_or_else(|error| {
            // It was right when the job was accepted.
            tracing::warn!(job = %id, %error, "a remembered job is logged with all levels");
            JobLevels::default()
        });
        let mut log = listeners.logs.of_job(source, levels);
        if let Some((host, parse)) = host.zip(spec.parse.clone()) {
            let ParseSpec { plugin, format, options } = parse;
            let spec = ParserSpec { plugin, format, options: Value::Object(options) };
            log.parse_plain(PlainLines::new(host, &spec));
        }
        let mut listener = Self {
            id: id.clone(),
            log,
            heard: Heard::default(),
            expectant,
            is_measured: false,
            begun: Arc::clone(&listeners.begun),
            vitals: listeners.vitals.clone(),
        };
        listener.go_on(*origin);
        listener
    }

    /// Goes on with what the agent before had of lines and blocks, if the program does.
    fn go_on(&mut self, origin: Origin) {
        let earlier = self.begun.take_earlier(&self.id);
        if let Some(earlier) = earlier.filter(|_| origin.goes_on()) {
            self.heard = earlier.heard;
        }
        let Some(begun) = self.begun.take(&self.id).filter(|_| origin != Origin::Submitted) else {
            return;
        };
        let Self { log, heard, .. } = self;
        log.resume(begun, &mut |stream, message| heard.take(stream, message));
        if origin == Origin::Remembered {
            self.end_output();
        }
    }

    pub(super) async fn run(mut self, mut happens: mpsc::Receiver<JobEvent>) {
        while let Some(event) = self.next(&mut happens).await {
            if let JobEvent::Ended { outcome } = event {
                return self.end(outcome).await;
            }
            self.take(event).await;
            if let Err(StoreClosed) = self.log.write().await {
                // The agent ends; what the child says from now on waits in its pipe.
                tracing::debug!(job = %self.id, "the log is closed");
                return;
            }
        }
        // The manager ended first: the next agent takes the job over.
        let begun = self.log.unfinished();
        let live = self.expectant.as_ref().and_then(|expectant| expectant.live.as_ref());
        let is_followed = live.is_some_and(|live| !live.is_closed());
        self.begun.leave(self.id.clone(), begun, Earlier { heard: self.heard, is_followed });
        let _ = self.log.write().await;
        // Only now is it told that no more comes.
        drop(self.expectant);
    }

    /// What happens next. Lines that a parser holds back meanwhile are written
    /// when nothing does.
    async fn next(&mut self, happens: &mut mpsc::Receiver<JobEvent>) -> Option<JobEvent> {
        if self.log.is_holding() {
            if let Ok(event) = timeout(HELD, happens.recv()).await {
                return event;
            }
            self.log.pause();
            // A log that is closed is met at the next event.
            let _ = self.log.write().await;
        }
        happens.recv().await
    }

    async fn take(&mut self, event: JobEvent) {
        match event {
            JobEvent::Output { stream, bytes } => {
                let of = stream_of(stream);
                self.heard.tails[of as usize].push(&bytes);
                let Self { log, heard, .. } = self;
                log.output(of, &bytes, &mut |stream, message| heard.take(stream, message));
                let live = self.expectant.as_ref().and_then(|expectant| expectant.live.as_ref());
                if let Some(live) = live {
                    // A caller that no longer listens is no matter of the job's.
                    let _ = live.send(Live { stream, bytes: bytes.to_vec() }).await;
                }
            }
            JobEvent::Usage { usage, .. } => {
                self.log.measure(&gauges(&usage));
                self.is_measured = true;
            }
            JobEvent::RunEnded { end, .. } => {
                self.end_output();
                if let Cause::NotStarted(reason) = end.cause {
                    self.vitals.processes().not_started.one();
                    self.note(Level::ERROR, &format!("not started: {reason}"));
                }
            }
            JobEvent::Restarting { delay, failures } => {
                self.vitals.processes().restarts.one();
                self.use_nothing();
                let text = format!(
                    "the run failed, as {failures} did within five minutes; it starts again in \
                     {delay:?}"
                );
                self.note(Level::WARNING, &text);
            }
            JobEvent::Critical { message } => {
                self.note(Level::CRITICAL, &message);
                self.heard.last_critical = Some(message.into_bytes());
            }
            JobEvent::Recurs { .. } => self.use_nothing(),
            JobEvent::Started { .. } => {
                self.vitals.processes().starts.one();
                let started = self.expectant.as_mut().and_then(|waiting| waiting.started.take());
                if let Some(started) = started {
                    // Who waits for the end alone does not listen.
                    let _ = started.send(());
                }
            }
            JobEvent::Ready | JobEvent::Ended { .. } => {}
        }
    }

    /// Between two runs nothing is used.
    fn use_nothing(&mut self) {
        if std::mem::take(&mut self.is_measured) {
            self.log.measure(&gauges(&TreeUsage::default()));
        }
    }

    /// What a run leaves unfinished is whole with its end.
    fn end_output(&mut self) {
        let Self { log, heard, .. } = self;
        log.end_output(&mut |stream, message| heard.take(stream, message));
    }

    fn note(&mut self, level: Level, text: &str) {
        self.log.record(&Record { time: Timestamp::now(), level, data: text.to_owned() });
    }

    async fn end(mut self, outcome: Outcome) {
        self.end_output();
        let Self { id, mut log, heard, expectant, .. } = self;
        let mut writing = Box::pin(async move { log.write().await });
        let is_written = timeout(WRITE_PATIENCE, &mut writing).await;
        if let Some(expectant) = expectant {
            let finished = finish(outcome, heard).await;
            // Whoever waited may have gone.
            let _ = expectant.finished.send(finished);
        }
        if is_written.is_err() && writing.await.is_err() {
            tracing::warn!(job = %id, "what the job said last is not in the log");
        }
    }
}

impl Heard {
    fn take(&mut self, stream: Stream, message: Message<'_>) {
        self.results.take(stream, message);
        if message.level == Level::CRITICAL {
            let text = &mut self.critical[stream as usize];
            let room = CRITICAL_BYTES.saturating_sub(text.len());
            text.extend_from_slice(&message.data[..message.data.len().min(room)]);
            if matches!(message.part, Part::Whole | Part::Last) {
                self.last_critical = Some(std::mem::take(text));
            }
        }
    }
}

/// What is told of a job that has ended, and nothing else is known of.
pub(super) async fn ended(outcome: Outcome) -> Finished {
    finish(outcome, Heard::default()).await
}

/// Puts together what is told of a job that has ended.
async fn finish(outcome: Outcome, heard: Heard) -> Finished {
    let Heard { results, last_critical, tails, .. } = heard;
    // Reading megabytes of YAML takes its time.
    let data = tokio::task::spawn_blocking(|| results.finish()).await;
    let data = data.unwrap_or_else(|error| {
        tracing::error!(%error, "reading a result panicked");
        None
    });
    let exit = outcome.exit.map(|exit| match exit {
        drover_process::Exit::Code(code) => Exit { code: Some(code), signal: None },
        drover_process::Exit::Signal(signal) => Exit { code: None, signal: Some(signal) },
        drover_process::Exit::OutOfMemory { code: Some(code) } => {
            Exit { code: Some(code), signal: None }
        }
        drover_process::Exit::OutOfMemory { code: None } => Exit { code: None, signal: Some(9) },
        drover_process::Exit::Lost => Exit { code: None, signal: None },
    });
    let (state, data, error) = verdict(&outcome, data);
    Finished {
        state,
        data,
        error,
        streams: tails.map(|tail| tail.text()),
        critical: last_critical.map(|text| String::from_utf8_lossy(&text).into_owned()),
        exit,
        outcome,
    }
}

/// A job that went well and left a result that is none has failed.
fn verdict(
    outcome: &Outcome,
    data: Option<Result<ResultData, ResultDataError>>,
) -> (JobState, Value, Option<JobError>) {
    let code = match outcome.state {
        JobState::Timeout => ErrorCode::Timeout,
        JobState::Killed => ErrorCode::Cancelled,
        _ => ErrorCode::Failed,
    };
    match (outcome.state, data) {
        (JobState::Ok, None) => (JobState::Ok, Value::Null, None),
        (JobState::Ok, Some(Ok(data))) => (JobState::Ok, data.value, None),
        (JobState::Ok, Some(Err(error))) => {
            let error = JobError::new(ErrorCode::InvalidAnswer, error.to_string());
            (JobState::Error, Value::Null, Some(error))
        }
        (state, data) => {
            let error = JobError::new(code, outcome.message.clone());
            let detail = match data {
                Some(Ok(data)) => json!({ "runs": outcome.runs, "data": data.value }),
                _ => json!({ "runs": outcome.runs }),
            };
            (state, Value::Null, Some(error.with_detail(detail)))
        }
    }
}

/// What processes use, as series of metrics: the names are JumpScale's.
fn gauges(usage: &TreeUsage) -> String {
    let TreeUsage { cpu_percent, rss, vms, swap, .. } = usage;
    format!("_cpu_:{cpu_percent:.2}|g\n_rss_:{rss}|g\n_vms_:{vms}|g\n_swap_:{swap}|g")
}

fn stream_of(stream: OutputStream) -> Stream {
    match stream {
        OutputStream::Stdout => Stream::Stdout,
        OutputStream::Stderr => Stream::Stderr,
    }
}
