//! Doing what the scheduler says.

use std::sync::Arc;
use std::time::Duration;

use drover_api::{JobId, Timestamp};
use tokio::sync::mpsc;

use super::ending::Ending;
use super::{Actor, Done, HISTORY, Job, Mode, now};
use crate::lifecycle::{Action, Due, Outcome, Policy};
use crate::manager::job::{JobTask, Link, ORDERS, Order};
use crate::manager::remembered::Entry;
use crate::manager::{JobEvent, JobInfo, ManagerError, Origin};
use crate::scheduler::{Actions, Key, Submission};
use crate::spec::{ProcessSpec, Recurrence};

/// Jobs that recur more often than this do not write down when they began.
pub(super) const SLOW: Duration = Duration::from_secs(60);

/// A job that is to be taken in.
pub(super) struct Newcomer {
    pub(super) id: JobId,
    pub(super) spec: Arc<ProcessSpec>,
    pub(super) origin: Origin,
    pub(super) is_on_disk: bool,
}

impl Actor {
    /// The scheduler's view of a newcomer.
    pub(super) fn submission(&self, spec: &ProcessSpec, after: Vec<Key>) -> Submission {
        Submission { policy: Policy::of(spec), queue: spec.queue.clone(), after }
    }

    /// Writes a newcomer down under its key, and begins its task.
    pub(super) fn enter(&mut self, key: Key, newcomer: Newcomer) {
        let Newcomer { id, spec, origin, is_on_disk } = newcomer;
        let info = JobInfo { id: id.clone(), spec: spec.clone(), origin };
        let (orders, ordered) = mpsc::channel(ORDERS);
        let task = JobTask {
            key,
            id: id.clone(),
            spec: spec.clone(),
            config: self.config.clone(),
            observer: (self.observer)(&info),
            orders: ordered,
            link: self.link.subscribe(),
            news: self.tell_news.clone(),
            is_kept: false,
        };
        self.tasks.spawn(async move {
            task.run().await;
            Done::Nothing
        });
        let job = Job {
            id: id.clone(),
            spec,
            accepted: Timestamp::now(),
            is_on_disk,
            is_handed: false,
            orders,
            run: None,
            leftover: false,
            begun: now().instant,
            ending: Ending::default(),
            stdin: None,
            stdin_waiters: Vec::new(),
            waiters: Vec::new(),
            outcome: None,
            sample_due: None,
        };
        self.ids.insert(id, key);
        self.jobs.insert(key, job);
    }

    pub(super) fn perform(&mut self, actions: Actions) {
        for (key, action) in actions {
            self.perform_one(key, action);
        }
    }

    fn perform_one(&mut self, key: Key, action: Action) {
        match action {
            Action::Launch { run } => self.launch(key, run),
            Action::EndTree { .. } => self.end_tree(key),
            Action::Settle { .. } => {
                let leftover = self.jobs.get(&key).is_some_and(|job| job.leftover);
                self.order(key, Order::Settle { leftover });
            }
            Action::Provide => {}
            Action::TellRunEnd { run, end } => {
                let Some(took) = self.jobs.get(&key).map(|job| job.begun.elapsed()) else { return };
                self.tell(key, JobEvent::RunEnded { run, end, took });
            }
            Action::TellRestart { delay, failures } => {
                self.tell(key, JobEvent::Restarting { delay, failures });
            }
            Action::TellNext { due } => self.tell(key, JobEvent::Recurs { at: on_wall(due) }),
            Action::TellCritical { message } => self.tell(key, JobEvent::Critical { message }),
            Action::Finish(outcome) => self.finish_job(key, outcome),
        }
    }

    pub(super) fn launch(&mut self, key: Key, run: u64) {
        if self.holds_back(key) {
            return;
        }
        if matches!(*self.link.borrow(), Link::Away(_)) {
            self.link.send_replace(Link::Sought);
        }
        if matches!(*self.link.borrow(), Link::Sought) {
            self.seek_keeper(Duration::ZERO);
        }
        if let Some(job) = self.jobs.get_mut(&key) {
            job.begun = now().instant;
        }
        if self.note_first(key, run) {
            return;
        }
        self.note_beginning(key);
        self.order(key, Order::Launch { run });
    }

    /// Writes down when a job that recurs slowly has begun, so that a restart of
    /// the agent does not run it too early. Nothing waits for that.
    fn note_beginning(&mut self, key: Key) {
        let Some(job) = self.jobs.get(&key).filter(|job| job.is_on_disk) else { return };
        if !matches!(job.spec.recurrence, Some(Recurrence::Every(period)) if period >= SLOW) {
            return;
        }
        let spec = ProcessSpec::clone(&job.spec);
        let entry = Entry { begun: Some(Timestamp::now()), ..Entry::new(spec) };
        let (memory, id) = (self.memory.clone(), job.id.clone());
        self.tasks.spawn(async move {
            // The writer logs it; the job only runs earlier than it should.
            drop(memory.remember(id, entry).await);
            Done::Nothing
        });
    }

    /// A job has ended. It keeps its id until its observer has heard of it.
    fn finish_job(&mut self, key: Key, outcome: Outcome) {
        self.tell(key, JobEvent::Ended { outcome: outcome.clone() });
        let Some(job) = self.jobs.get_mut(&key) else { return };
        for waiter in job.stdin_waiters.drain(..) {
            drop(waiter.send(Err(ManagerError::NotRunning(job.id.clone()))));
        }
        job.ending.run_is_over();
        job.outcome = Some(outcome);
    }

    /// The observer has heard the end of a job: nothing of it is needed any more.
    pub(super) fn close_job(&mut self, key: Key) {
        let Some(job) = self.jobs.remove(&key) else { return };
        self.ids.remove(&job.id);
        self.keep_ending(key, job.ending);
        let Some(outcome) = job.outcome else { return };
        for waiter in job.waiters {
            drop(waiter.send(Ok(outcome.clone())));
        }
        if job.is_on_disk && !(self.is_closing() && job.spec.is_remembered()) {
            let (memory, id) = (self.memory.clone(), job.id.clone());
            self.tasks.spawn(async move {
                // The writer logs it; the job comes back with the next agent.
                drop(memory.forget(id).await);
                Done::Nothing
            });
        }
        self.history.push_back((job.id, outcome));
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        matches!(self.mode, Mode::Closing(_))
    }

    pub(super) fn tell(&self, key: Key, event: JobEvent) {
        self.order(key, Order::Tell(event));
    }

    pub(super) fn order(&self, key: Key, order: Order) {
        let Some(job) = self.jobs.get(&key) else { return };
        if let Err(error) = job.orders.try_send(order) {
            tracing::error!(job = %job.id, %error, "a job's task does not take its orders");
        }
    }
}

/// A point in time by the wall clock as it is now.
pub(super) fn on_wall(due: Due) -> Timestamp {
    match due {
        Due::OnWall(time) => time,
        Due::At(_) => {
            let now = now();
            let milliseconds = u64::try_from(due.after(now).as_millis()).unwrap_or(u64::MAX);
            Timestamp(now.wall.0.saturating_add(milliseconds))
        }
    }
}
