//! The task that submits when schedules come.
//!
//! A submission's id is made of the schedule and the time, and the same id is done
//! once: a controller that dies between submitting and writing so down submits
//! nothing twice.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_api::{
    Authority, ErrorCode, JobError, JobId, JobSubmit, LastTime, Overlap, Schedule, ScheduleName,
    ScheduleStatus, Timestamp, procedures,
};
use drover_jobs::{KeptSchedule, Timetable};
use drover_wamp::{ApplicationError, Invocation};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::asker::Kill;
use super::store::StoreWrite;
use super::{Service, checked};
use crate::access::Access;
use crate::calls::{Answer, argument, caller, encode};
use crate::refusal::{refuse, refused};

/// Requests that wait.
const BACKLOG: usize = 16;

/// Times that are told to come next.
const TOLD: usize = 3;

/// The longest sleep, so that a clock that was set is noticed.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// When to look again whether jobs can be written down.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Those who ask for schedules.
pub(super) type Requests = mpsc::Sender<Request>;

/// Something about schedules.
pub(super) enum Request {
    /// Add one, or have one of this name be so.
    Add(Box<Schedule>, String, Reply<ScheduleStatus>),
    /// All of them, by name.
    List(oneshot::Sender<Vec<ScheduleStatus>>),
    /// Change one on somebody's word.
    Change(String, Change, Option<Authority>, Reply<ScheduleStatus>),
}

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing: it is only shown.
    None,
    Pause,
    Resume,
    Remove,
}

type Reply<T> = oneshot::Sender<Result<T, JobError>>;

#[derive(Clone)]
struct Entry {
    kept: KeptSchedule,
    timetable: Timetable,
    /// Nothing is submitted before that: the nodes come back.
    not_before: Option<Instant>,
}

/// The task.
pub(super) struct Schedules {
    service: Service,
    entries: BTreeMap<String, Entry>,
    requests: mpsc::Receiver<Request>,
}

impl Schedules {
    /// Goes on with what was written down.
    pub(super) fn new(service: Service, saved: Vec<String>) -> (Self, Requests) {
        let (sender, requests) = mpsc::channel(BACKLOG);
        let mut entries = BTreeMap::new();
        let not_before = Instant::now().checked_add(service.settings.schedules_wait);
        for text in saved {
            let read = serde_json::from_str::<KeptSchedule>(&text).map_err(anyhow::Error::new);
            let read = read.and_then(|kept| Ok((Timetable::of(&kept.schedule)?, kept)));
            match read {
                Ok((timetable, kept)) => {
                    let name = kept.schedule.name.clone();
                    entries.insert(name, Entry { kept, timetable, not_before });
                }
                Err(error) => tracing::error!("a schedule cannot be used: {error:#}"),
            }
        }
        (Self { service, entries, requests }, sender)
    }

    /// Submits until nobody can ask any more.
    pub(super) async fn run(mut self) {
        loop {
            let now = Timestamp::now();
            let waits = self.entries.values().filter_map(|entry| entry.wait(now));
            let mut wait = waits.min().unwrap_or(LONGEST_SLEEP);
            if self.service.keeper.trouble().is_some() {
                wait = wait.max(LOOK_AGAIN);
            }
            let wait = wait.min(LONGEST_SLEEP);
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some(request) => self.take(request).await,
                    None => return,
                },
                () = sleep_until(Instant::now() + wait + Duration::from_millis(1)) => {}
            }
            // Times that come while nothing can be written down are missed ones.
            if self.service.keeper.trouble().is_none() {
                self.submit_due().await;
            }
        }
    }

    async fn take(&mut self, request: Request) {
        match request {
            Request::Add(schedule, by, reply) => drop(reply.send(self.add(*schedule, by).await)),
            Request::List(reply) => {
                drop(reply.send(self.entries.values().map(Entry::status).collect()));
            }
            Request::Change(name, change, authority, reply) => {
                drop(reply.send(self.change(&name, change, authority).await));
            }
        }
    }

    async fn add(&mut self, schedule: Schedule, by: String) -> Result<ScheduleStatus, JobError> {
        let timetable = Timetable::of(&schedule)
            .map_err(|error| JobError::new(ErrorCode::InvalidArguments, error.to_string()))?;
        let now = Timestamp::now();
        let request = submission(&schedule, now)?;
        let name = schedule.name.clone();
        if let Some(former) = self.entries.get(&name) {
            self.judge(&former.kept.schedule, request.authority.clone()).await?;
        }
        let selector = checked(&request)?;
        self.service.keeper.judge(request, selector).await?;
        let kept = KeptSchedule {
            schedule,
            by,
            added: now,
            done_until: now,
            is_paused: false,
            last: self.entries.get(&name).and_then(|entry| entry.kept.last.clone()),
        };
        let entry = Entry { kept, timetable, not_before: None };
        self.write(&entry).await?;
        let status = entry.status();
        self.entries.insert(name, entry);
        Ok(status)
    }

    /// Whoever changes a schedule may have done what it has done.
    async fn judge(
        &self,
        schedule: &Schedule,
        authority: Option<Authority>,
    ) -> Result<(), JobError> {
        let request = JobSubmit { authority, ..schedule.submit.clone() };
        let selector = request.nodes.parse().map_err(|error| {
            JobError::new(ErrorCode::InvalidArguments, format!("`nodes` is no selector: {error}"))
        })?;
        self.service.keeper.judge(request, selector).await
    }

    async fn change(
        &mut self,
        name: &str,
        change: Change,
        authority: Option<Authority>,
    ) -> Result<ScheduleStatus, JobError> {
        if let Some(entry) = self.entries.get(name)
            && change != Change::None
        {
            self.judge(&entry.kept.schedule, authority).await?;
        }
        let Some(entry) = self.entries.get(name) else {
            let known: Vec<_> = self.entries.keys().map(String::as_str).collect();
            let message = match known.is_empty() {
                true => format!("there is no schedule `{name}`, nor any other"),
                false => format!("there is no schedule `{name}`; there are: {}", known.join(", ")),
            };
            return Err(JobError::new(ErrorCode::UnknownJob, message));
        };
        let mut changed = entry.clone();
        match change {
            Change::None => return Ok(entry.status()),
            Change::Pause => changed.kept.is_paused = true,
            Change::Resume => {
                // What came while it was paused was not missed.
                changed.kept.is_paused = false;
                changed.kept.done_until = changed.kept.done_until.max(Timestamp::now());
            }
            Change::Remove => {
                let status = entry.status();
                self.service.keeper.write(StoreWrite::Unschedule(name.to_owned())).await?;
                self.entries.remove(name);
                return Ok(status);
            }
        }
        self.write(&changed).await?;
        let status = changed.status();
        self.entries.insert(name.to_owned(), changed);
        Ok(status)
    }

    async fn write(&self, entry: &Entry) -> Result<(), JobError> {
        let name = entry.kept.schedule.name.clone();
        let schedule = serde_json::to_string(&entry.kept);
        let schedule = schedule.expect("it has no maps but those with texts as keys");
        self.service.keeper.write(StoreWrite::Schedule { name, schedule }).await
    }

    /// Submits for all times that have come.
    async fn submit_due(&mut self) {
        let now = Timestamp::now();
        let names: Vec<_> = self.entries.keys().cloned().collect();
        for name in names {
            let entry = &self.entries[&name];
            if entry.wait(now).is_none_or(|wait| wait > Duration::ZERO) {
                continue;
            }
            let times = entry.kept.due(&entry.timetable, now);
            let mut last = entry.kept.last.clone();
            for time in times {
                last = Some(self.submit(&self.entries[&name].kept, last.as_ref(), time).await);
            }
            let Some(entry) = self.entries.get_mut(&name) else { continue };
            (entry.kept.last, entry.kept.done_until) = (last, now);
            if let Err(error) = self.write(&self.entries[&name]).await {
                tracing::warn!(schedule = name, %error, "what was submitted is not written down");
            }
        }
    }

    /// Submits for one time, if the last one leaves room for it.
    async fn submit(
        &self,
        kept: &KeptSchedule,
        last: Option<&LastTime>,
        time: Timestamp,
    ) -> LastTime {
        let name = &kept.schedule.name;
        match self.try_submit(kept, last, time).await {
            Ok(submission) => {
                tracing::info!(schedule = name, %submission, "submitted");
                LastTime { time, submission: Some(submission), reason: None }
            }
            Err(error) => {
                tracing::warn!(schedule = name, %error, "not submitted");
                // What is under way is remembered, so that the next one does not overlap.
                let submission = last.and_then(|last| last.submission.clone());
                let reason = Some(error.message);
                LastTime { time, submission, reason }
            }
        }
    }

    async fn try_submit(
        &self,
        kept: &KeptSchedule,
        last: Option<&LastTime>,
        time: Timestamp,
    ) -> Result<JobId, JobError> {
        let before = last.and_then(|last| last.submission.clone());
        if let Some(before) = before.filter(|_| kept.schedule.overlap != Overlap::Allow)
            && self.service.keeper.is_open(before.clone()).await?
        {
            if kept.schedule.overlap == Overlap::Skip {
                let message = format!("{before} had not ended, so this time was left out");
                return Err(JobError::new(ErrorCode::Busy, message));
            }
            let by = format!("schedule {}", kept.schedule.name);
            let kill = Kill { id: before, node: None, force: false, by, authority: None };
            self.service.keeper.kill(kill).await?;
        }
        let request = submission(&kept.schedule, time)?;
        Ok(self.service.accept(request, kept.by.clone()).await?.id)
    }
}

impl Entry {
    /// How long until there is something to do; none if there never is.
    fn wait(&self, now: Timestamp) -> Option<Duration> {
        if self.kept.is_paused {
            return None;
        }
        let next = self.timetable.next_after(self.kept.added, self.kept.done_until)?;
        let nodes = self.not_before.map(|at| at.saturating_duration_since(Instant::now()));
        Some(next.since(now).max(nodes.unwrap_or_default()))
    }

    fn status(&self) -> ScheduleStatus {
        let KeptSchedule { schedule, by, is_paused, last, .. } = self.kept.clone();
        let next = self.kept.next(&self.timetable, Timestamp::now(), TOLD);
        ScheduleStatus { schedule, by, is_paused, next, last }
    }
}

/// What is submitted at a time.
fn submission(schedule: &Schedule, time: Timestamp) -> Result<JobSubmit, JobError> {
    let mut request = schedule.submit.clone();
    request.schedule = Some(schedule.name.clone());
    request.command.id =
        format!("schedule.{}.{}", schedule.name, time.0).parse().map_err(|_| {
            let message = format!(
                "`{}` is no name of a schedule: it has letters, digits, `-`, `_`, `.` or `:`",
                schedule.name
            );
            JobError::new(ErrorCode::InvalidArguments, message)
        })?;
    checked(&request)?;
    Ok(request)
}

/// Answers a call that is about schedules.
pub(super) async fn answer(requests: &Requests, access: &Access, call: &Invocation) -> Answer {
    let change = match call.procedure.as_str() {
        procedures::SCHEDULE_ADD => {
            let (mut schedule, by): (Schedule, _) = (argument(call)?, caller(call));
            schedule.submit.authority = access.of_call(call)?;
            let added = ask(requests, |reply| Request::Add(Box::new(schedule), by, reply)).await?;
            return encode(&added.map_err(|error| refused(&error))?);
        }
        procedures::SCHEDULE_LIST => return encode(&ask(requests, Request::List).await?),
        procedures::SCHEDULE_SHOW => Change::None,
        procedures::SCHEDULE_PAUSE => Change::Pause,
        procedures::SCHEDULE_RESUME => Change::Resume,
        procedures::SCHEDULE_REMOVE => Change::Remove,
        unknown => {
            let message = format!("there is no procedure {unknown}");
            return Err(refuse(ErrorCode::UnknownCommand, message));
        }
    };
    let ScheduleName { name } = argument(call)?;
    let authority = if change == Change::None { None } else { access.of_call(call)? };
    let changed = ask(requests, |reply| Request::Change(name, change, authority, reply)).await?;
    encode(&changed.map_err(|error| refused(&error))?)
}

async fn ask<T>(
    requests: &Requests,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Result<T, ApplicationError> {
    let gone = || refuse(ErrorCode::ShuttingDown, "the controller is shutting down".to_owned());
    let (reply, answer) = oneshot::channel();
    requests.send(request(reply)).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())
}
