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

use super::keeper::Kill;
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

struct Entry {
    kept: KeptSchedule,
    timetable: Timetable,
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
        for text in saved {
            let read = serde_json::from_str::<KeptSchedule>(&text).map_err(anyhow::Error::new);
            let read = read.and_then(|kept| Ok((Timetable::of(&kept.schedule)?, kept)));
            match read {
                Ok((timetable, kept)) => {
                    entries.insert(kept.schedule.name.clone(), Entry { kept, timetable });
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
            let next = self.entries.values().filter_map(|entry| {
                let after = entry.kept.done_until;
                let is_paused = entry.kept.is_paused;
                let next = entry.timetable.next_after(entry.kept.added, after);
                next.filter(|_| !is_paused)
            });
            let wait = next.min().map_or(LONGEST_SLEEP, |next| next.since(now)).min(LONGEST_SLEEP);
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some(request) => self.take(request).await,
                    None => return,
                },
                () = sleep_until(Instant::now() + wait + Duration::from_millis(1)) => {}
            }
            self.submit_due().await;
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
        let entry = Entry { kept, timetable };
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
        let Some(entry) = self.entries.get_mut(name) else {
            let known: Vec<_> = self.entries.keys().map(String::as_str).collect();
            let message = match known.is_empty() {
                true => format!("there is no schedule `{name}`, nor any other"),
                false => format!("there is no schedule `{name}`; there are: {}", known.join(", ")),
            };
            return Err(JobError::new(ErrorCode::UnknownJob, message));
        };
        match change {
            Change::None => return Ok(entry.status()),
            Change::Pause => entry.kept.is_paused = true,
            Change::Resume => {
                // What came while it was paused was not missed.
                entry.kept.is_paused = false;
                entry.kept.done_until = entry.kept.done_until.max(Timestamp::now());
            }
            Change::Remove => {
                let status = entry.status();
                self.service.keeper.write(StoreWrite::Unschedule(name.to_owned())).await?;
                self.entries.remove(name);
                return Ok(status);
            }
        }
        let entry = &self.entries[name];
        self.write(entry).await?;
        Ok(entry.status())
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
            let times = entry.kept.due(&entry.timetable, now);
            let passed = entry.timetable.next_after(entry.kept.added, entry.kept.done_until);
            if entry.kept.is_paused || passed.is_none_or(|passed| passed > now) {
                continue;
            }
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
