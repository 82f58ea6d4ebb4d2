//! The job service: a WAMP session that takes submissions, has nodes do them, and
//! answers questions about them.
//!
//! ```text
//!   calls ──▶ service ──▶ keeper (ledger) ──steps──▶ journal ──▶ store (SQLite)
//!                │           ▲    ◀──────── safe ───────┘           │
//!                │           └── deliveries to nodes, their reports  │
//!                └──────────────────── questions ───────────────────┘
//! ```
//!
//! One task, the [`keeper`], has the ledger. It hears of submissions, of nodes and of
//! their reports, and does what may be done once the journal has it on disk. Another
//! one, of [`schedules`], submits like everybody else when the time has come.

mod asker;
mod keeper;
mod outgoing;
mod schedules;
mod store;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use drover_api::{
    DEEPEST, ErrorCode, JobError, JobId, JobKill, JobList, JobQuery, JobReport, JobState,
    JobSubmit, JobSubmitted, NodeStatus, Selector, Submission, Timestamp, is_too_deep, job_on,
    procedures,
};
use drover_jobs::{Journal, KeptSchedule, Ledger};
use drover_wamp::{
    ApplicationError, Client, CloseReason, Invocation, MatchPolicy, RegisterOptions, Registration,
    Router, SubscribeOptions,
};
use serde::Serialize;
use serde_json::json;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::Ending;
use crate::access::{Access, speaks_for};
use crate::calls::{self, Answer, argument, caller, encode, unless_cancelled};
use crate::config::JobSettings;
use crate::refusal::{refuse, refused};
use crate::vitals::Vitals;
use asker::{Asker, Kill};
use keeper::{Keeper, Parts};
use schedules::{Requests, Schedules};
use store::{Store, StoreWrite};

/// Calls of each kind that are answered at the same time. More wait at the
/// registration, and beyond its bound callers are told to come again.
const REPORTS_AT_ONCE: usize = 1024;
const KILLS_AT_ONCE: usize = 64;
const WAITS_AT_ONCE: usize = 10_000;
const OTHERS_AT_ONCE: usize = 512;

/// How often the nodes are listed again, so that those are left out that the
/// controller has forgotten.
const LIST_AGAIN: Duration = Duration::from_secs(600);

/// When whoever is refused as the controller ends may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Jobs that are kept, before anybody asks for them.
pub(crate) struct Jobs {
    store: Store,
    settings: JobSettings,
    answer_bytes: usize,
    parts: Parts,
    schedules: Vec<String>,
}

impl Jobs {
    /// Opens the store. An answer holds at most `answer_bytes`.
    pub(crate) fn open(settings: &JobSettings, answer_bytes: usize) -> anyhow::Result<Self> {
        let (store, connection, saved) = Store::open(&settings.dir)
            .with_context(|| format!("cannot open jobs.db in {}", settings.dir.display()))?;
        let now = Timestamp::now();
        let mut ledger = Ledger::restore(settings.rules(), saved.next, saved.submissions, now);
        let mut schedules = saved.schedules;
        if let Some(backup) = saved.restored {
            go_on_from(backup, &mut ledger, &mut schedules, &connection, now)
                .context("cannot go on from a backup")?;
        }
        let journal = Journal::start("jobs", connection, store::write)
            .context("cannot start the thread that writes jobs")?;
        if ledger.unfinished() > 0 {
            tracing::info!(jobs = ledger.unfinished(), "going on with jobs that had not ended");
        }
        let parts = Parts { store_id: saved.id, ledger, journal, dir: settings.dir.clone() };
        let settings = settings.clone();
        Ok(Self { store, settings, answer_bytes, parts, schedules })
    }
}

/// Has the controller that starts on a restored store run nothing again that may have
/// been run since the backup: neither jobs nor times of schedules.
fn go_on_from(
    backup: Timestamp,
    ledger: &mut Ledger,
    schedules: &mut [String],
    connection: &rusqlite::Connection,
    now: Timestamp,
) -> anyhow::Result<()> {
    let backup = in_words(backup);
    let ended = ledger.restored(&backup, now).writes;
    tracing::warn!(
        backup,
        ended = ended.len(),
        "going on from a backup: jobs that may have run since are ended, and times of schedules \
         since are left out"
    );
    let mut writes: Vec<_> = ended.into_iter().map(StoreWrite::Job).collect();
    for text in schedules {
        // One that cannot be read is told when it is to be used.
        let Ok(mut kept) = serde_json::from_str::<KeptSchedule>(text) else { continue };
        kept.done_until = kept.done_until.max(now);
        *text = serde_json::to_string(&kept)?;
        writes.push(StoreWrite::Schedule { name: kept.schedule.name, schedule: text.clone() });
    }
    Ok(store::go_on(connection, writes)?)
}

fn in_words(time: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(time.0.cast_signed()).unwrap_or_default();
    format!("{time:.0}")
}

/// Marks the store of jobs in `dir` as one that comes from a backup of this time.
pub(crate) fn mark_restored(dir: &Path, backup: Timestamp) -> anyhow::Result<()> {
    store::mark_restored(dir, backup)
}

/// What answers calls.
#[derive(Clone)]
struct Service {
    access: Access,
    keeper: Asker,
    store: Store,
    settings: Arc<JobSettings>,
    answer_bytes: usize,
    /// Is cancelled when the controller takes no further submissions.
    drain: CancellationToken,
}

/// Serves in a realm of `router` until `stop` is cancelled. A session that is
/// killed by somebody who may do that is followed by another one.
///
/// # Errors
///
/// If there is no such realm, or the router refuses a registration.
pub(crate) async fn run(
    router: Router,
    realm: String,
    jobs: Jobs,
    access: Access,
    vitals: Vitals,
    ending: Ending,
) -> anyhow::Result<()> {
    let Jobs { store, settings, answer_bytes, parts, schedules } = jobs;
    let (keeper, asker) = Keeper::new(parts, access.clone(), vitals);
    let Ending { drain, stop } = ending;
    let settings = Arc::new(settings);
    let service = Service { access, keeper: asker, store, settings, answer_bytes, drain };
    let mut keeping = JoinSet::new();
    keeping.spawn(keeper.run());
    let (schedules, requests) = Schedules::new(service.clone(), schedules);
    let mut scheduling = JoinSet::new();
    scheduling.spawn(schedules.run());
    let mut calls = Calls::default();
    let mut session = router.attach(&realm).context("cannot join the own router")?;
    while let Some(reason) = serve(&session, &service, &requests, &mut calls, &stop).await? {
        tracing::warn!(%reason, "the job service lost its session and opens another one");
        session = router.attach(&realm).context("cannot join the own router again")?;
    }
    session.close().await;
    calls.shutdown().await;
    // Each ends when nobody can ask it any more.
    drop(requests);
    scheduling.join_next().await.transpose().context("the schedules panicked")?;
    drop(service);
    let journal = keeping.join_next().await.context("there is no keeper")?;
    let journal = journal.context("the keeper of jobs panicked")?;
    spawn_blocking(move || journal.close()).await.context("closing the jobs panicked")
}

/// Calls that are being answered: reports and kills behind nobody else.
#[derive(Default)]
struct Calls {
    reports: JoinSet<()>,
    kills: JoinSet<()>,
    waits: JoinSet<()>,
    others: JoinSet<()>,
}

impl Calls {
    async fn shutdown(mut self) {
        for calls in [&mut self.reports, &mut self.kills, &mut self.waits, &mut self.others] {
            calls.shutdown().await;
        }
    }
}

/// Serves until `stop` is cancelled, or the session ends; then says why.
async fn serve(
    session: &Client,
    service: &Service,
    schedules: &Requests,
    calls: &mut Calls,
    stop: &CancellationToken,
) -> anyhow::Result<Option<CloseReason>> {
    let exact = async |name| register(session, name, MatchPolicy::Exact).await;
    let set_up = async {
        let changes = session
            .subscribe(procedures::NODE_CHANGED, SubscribeOptions::default())
            .await
            .context("cannot subscribe to changes of nodes")?;
        let farewells = session
            .subscribe(procedures::NODE_FORGOTTEN, SubscribeOptions::default())
            .await
            .context("cannot subscribe to nodes that are forgotten")?;
        service.keeper.session(session.clone()).await;
        let registered = (
            (changes, farewells),
            exact(procedures::JOB_REPORT).await?,
            exact(procedures::JOB_KILL).await?,
            exact(procedures::JOB_WAIT).await?,
            register(session, procedures::JOB_PREFIX, MatchPolicy::Prefix).await?,
            register(session, procedures::SCHEDULE_PREFIX, MatchPolicy::Prefix).await?,
        );
        // Who submits already waits until it is known for whom.
        let nodes = calls::nodes_at_start(session).await.context("cannot ask for the nodes")?;
        service.keeper.nodes(nodes).await;
        anyhow::Ok(registered)
    };
    let (events, mut reports, mut kills, mut waits, mut others, mut timed) = tokio::select! {
        () = stop.cancelled() => return Ok(None),
        reason = session.closed() => return Ok(Some(reason)),
        ready = set_up => ready?,
    };
    let (mut changes, mut farewells) = events;
    let mut list_again = tokio::time::interval(LIST_AGAIN);
    list_again.reset();
    loop {
        let Calls { reports: reporting, kills: killing, waits: waiting, others: answering } = calls;
        let (call, by) = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(None),
            reason = session.closed() => return Ok(Some(reason)),
            Some(change) = changes.next() => {
                match change.payload.first::<NodeStatus>() {
                    Ok(node) => service.keeper.node(node).await,
                    Err(error) => tracing::warn!(%error, "ignored a change of a node that is none"),
                }
                if change.missed > 0 {
                    service.list_nodes(session).await;
                }
                continue;
            }
            Some(farewell) = farewells.next() => {
                if let Ok(node) = farewell.payload.first() {
                    service.keeper.forgotten(node).await;
                }
                continue;
            }
            Some(ended) = reporting.join_next() => { panicked(ended)?; continue }
            Some(ended) = killing.join_next() => { panicked(ended)?; continue }
            Some(ended) = waiting.join_next() => { panicked(ended)?; continue }
            Some(ended) = answering.join_next() => { panicked(ended)?; continue }
            Some(call) = kills.next(), if killing.len() < KILLS_AT_ONCE => (call, killing),
            Some(call) = reports.next(), if reporting.len() < REPORTS_AT_ONCE => (call, reporting),
            Some(call) = others.next(), if answering.len() < OTHERS_AT_ONCE => (call, answering),
            Some(call) = timed.next(), if answering.len() < OTHERS_AT_ONCE => (call, answering),
            Some(call) = waits.next(), if waiting.len() < WAITS_AT_ONCE => (call, waiting),
            _ = list_again.tick() => {
                service.list_nodes(session).await;
                continue;
            }
        };
        by.spawn(answer(service.clone(), schedules.clone(), call));
    }
}

async fn register(
    session: &Client,
    name: &str,
    policy: MatchPolicy,
) -> anyhow::Result<Registration> {
    let options = RegisterOptions { policy, ..RegisterOptions::default() };
    let registered = session.register(name, options).await;
    registered.with_context(|| format!("cannot register {name}"))
}

fn panicked(ended: Result<(), tokio::task::JoinError>) -> anyhow::Result<()> {
    ended.context("answering a call about jobs panicked")
}

/// Answers one call.
async fn answer(service: Service, schedules: Requests, call: Invocation) {
    let answering = async {
        match call.procedure.as_str() {
            procedures::JOB_SUBMIT => service.submit(&call).await,
            procedures::JOB_LIST => {
                let wanted: JobList = argument(&call)?;
                service.read(move |connection| store::list(connection, &wanted)).await
            }
            procedures::JOB_SHOW => {
                let wanted: JobQuery = argument(&call)?;
                let id = wanted.id.clone();
                let shown = move |connection: &_| store::show(connection, &wanted);
                service.read_one(&id, shown).await
            }
            procedures::JOB_RESULT => {
                let wanted: JobQuery = argument(&call)?;
                let (id, most) = (wanted.id.clone(), service.answer_bytes);
                let results = move |connection: &_| store::results(connection, &wanted, most);
                service.read_one(&id, results).await
            }
            procedures::JOB_WAIT => service.wait(&call).await,
            procedures::JOB_KILL => service.kill(&call).await,
            procedures::JOB_RETRY => service.retry(&call).await,
            procedures::JOB_REPORT => {
                let report: JobReport = argument(&call)?;
                if !speaks_for(call.caller.as_deref(), report.node) {
                    let message = format!("this is of node {}, and you are another", report.node);
                    return Err(refuse(ErrorCode::Denied, message));
                }
                encode(&service.keeper.report(report).await.map_err(|e| refused(&e))?)
            }
            name if name.starts_with(procedures::SCHEDULE_PREFIX) => {
                schedules::answer(&schedules, &service.access, &call).await
            }
            unknown => {
                let message = format!("there is no procedure {unknown}");
                Err(refuse(ErrorCode::UnknownCommand, message))
            }
        }
    };
    let answer = unless_cancelled(&call, answering).await;
    call.finish(answer).await;
}

impl Service {
    async fn submit(&self, call: &Invocation) -> Answer {
        let mut request: JobSubmit = argument(call)?;
        self.refuse_if_draining()?;
        request.schedule = None;
        request.authority = self.access.of_call(call)?;
        let accepted = self.accept(request, caller(call)).await;
        encode(&accepted.map_err(|error| refused(&error))?)
    }

    /// Takes up the nodes as they are by now, if somebody says.
    async fn list_nodes(&self, session: &Client) {
        match calls::nodes(session).await {
            Ok(nodes) => self.keeper.nodes(nodes).await,
            Err(error) => tracing::warn!(%error, "cannot list the nodes, and tries again later"),
        }
    }

    /// What the controller has taken it sees to, also when it is there again; but whoever
    /// asks for more is better served by one that stays.
    fn refuse_if_draining(&self) -> Result<(), ApplicationError> {
        if !self.drain.is_cancelled() {
            return Ok(());
        }
        let message = "the controller is about to end, and takes no further jobs: submit them \
                       again in a moment, or to another controller";
        let wait = json!({ "retry_after_ms": RETRY_AFTER.as_millis() as u64 });
        Err(refused(&JobError::new(ErrorCode::ShuttingDown, message).with_detail(wait)))
    }

    /// Takes a submission, unless it was taken before.
    async fn accept(&self, mut request: JobSubmit, by: String) -> Result<JobSubmitted, JobError> {
        let selector = checked(&request)?;
        let keep = u64::try_from(self.settings.keep.as_millis()).unwrap_or(u64::MAX);
        request.keep_ms.get_or_insert(keep);
        let id = request.command.id.clone();
        let known = self.store.read(move |connection| store::request(connection, &id)).await;
        if let Some((known, nodes)) = known.map_err(|error| unreadable(&error))? {
            return same(&known, &request, nodes);
        }
        self.keeper.submit(request, selector, by).await
    }

    /// Answers when a submission has ended.
    async fn wait(&self, call: &Invocation) -> Answer {
        let JobQuery { mut id, .. } = argument(call)?;
        loop {
            let (submission, _) = self.find(&id).await?;
            // A job may have another id when it moves to another node.
            id.clone_from(&submission.id);
            let is_open = matches!(submission.state, JobState::Queued | JobState::Running);
            if !is_open {
                return encode(&submission);
            }
            self.keeper.wait(submission.id).await.map_err(|error| refused(&error))?;
        }
    }

    async fn kill(&self, call: &Invocation) -> Answer {
        let JobKill { id, force } = argument(call)?;
        let (submission, node) = self.find(&id).await?;
        let authority = self.access.of_call(call)?;
        let kill = Kill { id: submission.id, node, force, by: caller(call), authority };
        let killed = self.keeper.kill(kill).await;
        encode(&killed.map_err(|error| refused(&error))?)
    }

    /// Submits again what did not end well, for the same nodes.
    async fn retry(&self, call: &Invocation) -> Answer {
        let wanted: JobQuery = argument(call)?;
        self.refuse_if_draining()?;
        let mut request = None;
        let mut nodes = Vec::new();
        let mut page = wanted.clone();
        loop {
            let asked = page.clone();
            let shown = self.store.read(move |connection| store::show(connection, &asked)).await;
            let Some(detail) = shown.map_err(|error| failed(&error))? else {
                return Err(unknown(&wanted.id));
            };
            let is_to_retry = |state| match wanted.state {
                Some(wanted) => state == wanted,
                None => {
                    matches!(state, JobState::Error | JobState::Timeout | JobState::Killed)
                }
            };
            let jobs = detail.jobs.iter().filter(|job| is_to_retry(job.state));
            nodes.extend(jobs.map(|job| job.node.to_string()));
            request.get_or_insert(detail.request);
            match detail.next {
                Some(after) => page.after = Some(after),
                None => break,
            }
        }
        let Some(mut request) = request.filter(|_| !nodes.is_empty()) else {
            let message = format!(
                "nothing of {} is to be tried again: no job of it is ERROR, TIMEOUT or KILLED",
                wanted.id
            );
            return Err(refuse(ErrorCode::NoNode, message));
        };
        request.command.id = JobId::generate();
        (request.nodes, request.any, request.schedule) = (nodes.join(" or "), None, None);
        // It is done again on the word of whoever asks for that.
        request.authority = self.access.of_call(call)?;
        let accepted = self.accept(request, caller(call)).await;
        encode(&accepted.map_err(|error| refused(&error))?)
    }

    /// The submission that an id means, and the node of the job if it is that of one.
    async fn find(
        &self,
        id: &JobId,
    ) -> Result<(Submission, Option<drover_api::NodeId>), ApplicationError> {
        let wanted = id.clone();
        let found = self.store.read(move |connection| store::find(connection, &wanted)).await;
        let found = found.map_err(|error| failed(&error))?.ok_or_else(|| unknown(id))?;
        Ok((found.submission, found.node))
    }

    async fn read<T: Serialize + Send + 'static>(
        &self,
        ask: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Answer {
        encode(&self.store.read(ask).await.map_err(|error| failed(&error))?)
    }

    async fn read_one<T: Serialize + Send + 'static>(
        &self,
        id: &JobId,
        ask: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<Option<T>> + Send + 'static,
    ) -> Answer {
        let found = self.store.read(ask).await.map_err(|error| failed(&error))?;
        encode(&found.ok_or_else(|| unknown(id))?)
    }
}

/// The selector of a submission that can be done.
fn checked(request: &JobSubmit) -> Result<Selector, JobError> {
    let invalid = |message: String| JobError::new(ErrorCode::InvalidArguments, message);
    let JobSubmit { command, nodes, any, at_once, retry, .. } = request;
    // The longest name that a node can have.
    job_on(&command.id, drover_api::NodeId::new(u32::MAX, u32::MAX))?;
    if command.streaming.is_some() {
        let message = "a durable job has no streams: nobody listens; leave `streaming` out";
        return Err(JobError::new(ErrorCode::InvalidCommand, message));
    }
    if command.cmd.is_empty() {
        return Err(invalid("`cmd` is empty: name what is to be done".to_owned()));
    }
    if command.args.values().any(is_too_deep) {
        return Err(invalid(format!("`args` are nested deeper than {DEEPEST}")));
    }
    for (key, value) in [("any", any), ("at_once", at_once)] {
        if *value == Some(0) {
            return Err(invalid(format!("`{key}` is 0: nothing would ever be done")));
        }
    }
    if !(1..=1000).contains(&retry.attempts) {
        return Err(invalid(format!("`retry.attempts` is {}, and 1 to 1000", retry.attempts)));
    }
    nodes.parse().map_err(|error| invalid(format!("`nodes` is no selector: {error}")))
}

/// What is said where an id is known already.
fn same(known: &JobSubmit, request: &JobSubmit, nodes: u64) -> Result<JobSubmitted, JobError> {
    // The same person may ask again with another token.
    let on_any_word = |one: &JobSubmit| JobSubmit { authority: None, ..one.clone() };
    if on_any_word(known) == on_any_word(request) {
        return Ok(JobSubmitted { id: known.command.id.clone(), nodes, is_old: true });
    }
    let message = format!(
        "something else was submitted with the id {}: leave the id out, or choose another",
        request.command.id
    );
    Err(JobError::new(ErrorCode::DuplicateId, message))
}

fn unknown(id: &JobId) -> ApplicationError {
    let message = format!(
        "there is no submission and no job {id}, or what there was is no longer kept; \
         `drover job list` shows what there is"
    );
    refuse(ErrorCode::UnknownJob, message)
}

fn failed(error: &anyhow::Error) -> ApplicationError {
    refused(&unreadable(error))
}

fn unreadable(error: &anyhow::Error) -> JobError {
    tracing::error!("cannot read the jobs: {error:#}");
    let message = format!("the controller cannot read its jobs: {error:#}");
    JobError::new(ErrorCode::Internal, message)
}
