//! Answering what handles ask.

use std::sync::Arc;
use std::time::Duration;

use drover_api::{JobId, JobState};
use tokio::sync::oneshot;

use super::perform::{Newcomer, on_wall};
use super::{Actor, Done, Job, Mode, now};
use crate::keeper::TreeEnd;
use crate::lifecycle::{Event, Outcome, Stage};
use crate::manager::job::Order;
use crate::manager::remembered::Entry;
use crate::manager::{
    JobStatus, KillReport, ManagerError, Origin, Phase, Reply, Request, StdinWriter,
};
use crate::scheduler::{Key, WaitsFor};
use crate::spec::{OnAgentRestart, ProcessSpec, StdinPolicy};

/// How long the answer to a kill waits for the job to be over, when its processes
/// are gone but its observer is slow.
const OBSERVER_PATIENCE: Duration = Duration::from_secs(1);

impl Actor {
    pub(super) fn answer(&mut self, request: Request) {
        match request {
            Request::Submit { id, spec, reply } => self.submit(id, spec, reply),
            Request::Kill { id, reply } => self.kill(&id, reply),
            Request::KillAll { reply } => self.kill_all(reply),
            Request::List { reply } => drop(reply.send(Ok(self.list()))),
            Request::Wait { id, reply } => self.wait(&id, reply),
            Request::Usage { id, reply } => self.usage_of(&id, reply),
            Request::UsageOfAll { domain, name, reply } => {
                let keys = self.running_under(domain.as_deref(), name.as_deref());
                self.ask_usage(keys, reply);
            }
            Request::Stdin { id, reply } => self.stdin(id, reply),
            Request::HandOver { reply } => self.hand_over(reply),
            Request::Shutdown { reply } => self.close(Some(reply)),
        }
    }

    fn submit(&mut self, id: JobId, spec: Box<ProcessSpec>, reply: Reply<()>) {
        if let Err(refusal) = self.check(&id, &spec) {
            drop(reply.send(Err(refusal)));
            return;
        }
        if !spec.is_remembered() && spec.on_agent_restart != OnAgentRestart::Adopt {
            let accepted = self.accept(id, *spec, false);
            drop(reply.send(accepted));
            return;
        }
        self.storing.insert(id.clone());
        let (memory, entry) = (self.memory.clone(), Entry::new(*spec.clone()));
        self.tasks.spawn(async move {
            let outcome = memory.remember(id.clone(), entry).await;
            Done::Stored { id, spec, outcome, reply }
        });
    }

    fn check(&self, id: &JobId, spec: &ProcessSpec) -> Result<(), ManagerError> {
        self.check_open(spec)?;
        let is_restored = match &self.mode {
            Mode::Restoring(jobs) => jobs.contains_key(id),
            _ => false,
        };
        if is_restored || self.ids.contains_key(id) || self.storing.contains(id) {
            return Err(ManagerError::Duplicate(id.clone()));
        }
        let count = self.jobs.len() + self.storing.len();
        if count >= self.config.max_accepted {
            return Err(ManagerError::Busy(count));
        }
        self.dependencies(&spec.after).map(drop)
    }

    /// Whether jobs are taken at all.
    fn check_open(&self, spec: &ProcessSpec) -> Result<(), ManagerError> {
        let is_own = spec.on_agent_restart == OnAgentRestart::EndWithAgent;
        match self.mode {
            Mode::Closing(_) => Err(ManagerError::ShuttingDown),
            Mode::HandedOver if !is_own => Err(ManagerError::ShuttingDown),
            _ => Ok(()),
        }
    }

    /// Why nothing can be done to a job that is not here.
    pub(super) fn unknown(&self, id: &JobId) -> ManagerError {
        match self.handed.contains(id) {
            true => ManagerError::HandedOver(id.clone()),
            false => ManagerError::Unknown(id.clone()),
        }
    }

    pub(super) fn accept_stored(
        &mut self,
        id: JobId,
        spec: ProcessSpec,
        outcome: Result<(), ManagerError>,
        reply: Reply<()>,
    ) {
        self.storing.remove(&id);
        let accepted = outcome.and_then(|()| self.accept(id.clone(), spec, true));
        if accepted.is_err() {
            let memory = self.memory.clone();
            self.tasks.spawn(async move {
                drop(memory.forget(id).await);
                Done::Nothing
            });
        }
        drop(reply.send(accepted));
    }

    fn accept(
        &mut self,
        id: JobId,
        spec: ProcessSpec,
        is_on_disk: bool,
    ) -> Result<(), ManagerError> {
        self.check_open(&spec)?;
        let after = self.dependencies(&spec.after)?;
        let (key, actions) = self.scheduler.submit(self.submission(&spec, after), now());
        let origin = Origin::Submitted;
        self.enter(key, Newcomer { id, spec: Arc::new(spec), origin, is_on_disk });
        self.perform(actions);
        Ok(())
    }

    /// The jobs that ids and names stand for. One that has ended well is done.
    fn dependencies(&self, after: &[String]) -> Result<Vec<Key>, ManagerError> {
        let mut keys = Vec::new();
        for wanted in after {
            let found = self.named(wanted);
            if !found.is_empty() {
                keys.extend(found);
                continue;
            }
            let closing =
                self.jobs.values().filter_map(|job| Some((&job.id, job.outcome.as_ref()?)));
            let closed = self.history.iter().rev().map(|(id, outcome)| (id, outcome));
            match closing.chain(closed).find(|(id, _)| id.as_str() == wanted) {
                Some((_, outcome)) if outcome.state == JobState::Ok => {}
                Some((id, _)) => return Err(ManagerError::FailedDependency(id.clone())),
                None => return Err(ManagerError::UnknownDependency(wanted.clone())),
            }
        }
        Ok(keys)
    }

    /// The jobs that live with this id or, if there is none, with this name.
    pub(super) fn named(&self, wanted: &str) -> Vec<Key> {
        let lives = |key: &Key| self.scheduler.life(*key).is_some();
        let by_id = wanted.parse::<JobId>().ok().and_then(|id| self.ids.get(&id).copied());
        if let Some(key) = by_id.filter(lives) {
            return vec![key];
        }
        let jobs = self.jobs.iter().filter(|(key, job)| job.spec.name == wanted && lives(key));
        jobs.map(|(key, _)| *key).collect()
    }

    fn kill(&mut self, id: &JobId, reply: Reply<KillReport>) {
        let Some(key) = self.ids.get(id).copied().filter(|key| self.scheduler.life(*key).is_some())
        else {
            drop(reply.send(Err(self.unknown(id))));
            return;
        };
        let gone = self.stop(key, Event::Kill);
        let memory = self.memory.clone();
        let id = id.clone();
        self.tasks.spawn(async move {
            let forgotten = memory.forget(id.clone()).await;
            let report = gone.report(id.clone()).await;
            let answer = forgotten.map(|()| report).map_err(|error| match error {
                ManagerError::Disk { path, reason } => {
                    ManagerError::NotForgotten { id, path, reason }
                }
                other => other,
            });
            drop(reply.send(answer));
            Done::Nothing
        });
    }

    fn kill_all(&mut self, reply: Reply<Vec<KillReport>>) {
        let mut keys: Vec<_> = self.jobs.keys().copied().collect();
        keys.sort_unstable();
        let mut ends = Vec::new();
        for key in keys {
            let Some(job) = self.jobs.get(&key).filter(|job| job.outcome.is_none()) else {
                continue;
            };
            let (id, is_remembered) = (job.id.clone(), job.spec.is_remembered());
            let runs = self.scheduler.life(key).is_some_and(|life| life.stage().has_run());
            // What is remembered and waits for its time goes on waiting.
            if runs || !is_remembered {
                let event = if is_remembered { Event::Recycle } else { Event::Kill };
                ends.push((id, self.stop(key, event)));
            }
        }
        self.tasks.spawn(async move {
            let mut reports = Vec::new();
            for (id, gone) in ends {
                reports.push(gone.report(id).await);
            }
            drop(reply.send(Ok(reports)));
            Done::Nothing
        });
    }

    /// Stops a job for one reason or another, and has what is left of it ended.
    fn stop(&mut self, key: Key, event: Event) -> Gone {
        let is_final = event == Event::Kill;
        let is_settling = self
            .scheduler
            .life(key)
            .is_some_and(|life| matches!(life.stage(), Stage::Settling { .. }));
        let (ended, is_over) = oneshot::channel();
        let tree = match self.jobs.get_mut(&key) {
            Some(job) => {
                if is_final {
                    job.waiters.push(ended);
                }
                job.ending.wait()
            }
            None => oneshot::channel().1,
        };
        if is_settling {
            self.end_tree(key);
        }
        self.apply(key, event);
        Gone { tree, is_over }
    }

    fn list(&self) -> Vec<JobStatus> {
        let mut keys: Vec<_> = self.jobs.keys().copied().collect();
        keys.sort_unstable();
        keys.into_iter().filter_map(|key| self.status(key)).collect()
    }

    fn status(&self, key: Key) -> Option<JobStatus> {
        let (job, life) = (self.jobs.get(&key)?, self.scheduler.life(key)?);
        let phase = match life.stage() {
            Stage::Delayed { until, .. } => Phase::WaitingForTime(on_wall(*until)),
            Stage::Waiting => match self.scheduler.waits_for(key) {
                Some(WaitsFor::Dependencies) => Phase::WaitingForOthers,
                _ => Phase::WaitingForTurn,
            },
            Stage::Starting { .. } => Phase::Starting,
            Stage::Running { is_ready, .. } => job.running_phase(*is_ready),
            Stage::Stopping { .. } => Phase::Stopping,
            Stage::Settling { .. } | Stage::Ended(_) => Phase::Settling,
        };
        Some(JobStatus {
            id: job.id.clone(),
            spec: job.spec.clone(),
            phase,
            runs: life.run(),
            accepted: job.accepted,
        })
    }

    fn wait(&mut self, id: &JobId, reply: Reply<Outcome>) {
        if let Some(job) = self.ids.get(id).and_then(|key| self.jobs.get_mut(key)) {
            job.waiters.push(reply);
            return;
        }
        let ended = self.history.iter().rev().find(|(ended, _)| ended == id);
        let outcome = ended.map(|(_, outcome)| outcome.clone());
        drop(reply.send(outcome.ok_or_else(|| self.unknown(id))));
    }

    fn stdin(&mut self, id: JobId, reply: Reply<StdinWriter>) {
        let Some(job) = self.ids.get(&id).and_then(|key| self.jobs.get_mut(key)) else {
            drop(reply.send(Err(self.unknown(&id))));
            return;
        };
        match &job.stdin {
            _ if job.spec.stdin == StdinPolicy::Close => {
                drop(reply.send(Err(ManagerError::NoStdin(id))));
            }
            Some(stdin) => drop(reply.send(Ok(stdin.clone()))),
            None if job.outcome.is_some() => {
                drop(reply.send(Err(ManagerError::NotRunning(id))));
            }
            None => job.stdin_waiters.push(reply),
        }
    }

    /// Takes no more jobs, and ends those that are not to outlive the agent.
    pub(super) fn close(&mut self, reply: Option<Reply<()>>) {
        self.requests.close();
        if let Mode::Closing(replies) = &mut self.mode {
            replies.extend(reply);
            return;
        }
        let held = self.give_up_hand_over();
        self.mode = Mode::Closing(reply.into_iter().collect());
        for key in self.jobs.keys().copied().collect::<Vec<_>>() {
            let Some(job) = self.jobs.get(&key).filter(|job| job.outcome.is_none()) else {
                continue;
            };
            let runs = self.scheduler.life(key).is_some_and(|life| life.stage().has_run());
            let goes_on = job.spec.on_agent_restart == OnAgentRestart::Adopt && runs;
            if goes_on || (job.spec.is_remembered() && !runs) {
                self.order(key, Order::Detach);
                if let Some(job) = self.jobs.remove(&key) {
                    self.ids.remove(&job.id);
                }
            } else {
                self.apply(key, Event::Kill);
            }
        }
        self.end_unbegun(held);
    }
}

/// The end of a job that was stopped.
struct Gone {
    tree: oneshot::Receiver<TreeEnd>,
    is_over: oneshot::Receiver<Result<Outcome, ManagerError>>,
}

impl Gone {
    /// Waits until every process is gone.
    async fn report(self, id: JobId) -> KillReport {
        // A job that is gone altogether has no processes either.
        let TreeEnd { found, killed, left } = self.tree.await.unwrap_or_default();
        // Usually the job is over by then, and its id free. One that begins again
        // has dropped the other end.
        drop(tokio::time::timeout(OBSERVER_PATIENCE, self.is_over).await);
        KillReport { id, found, killed, left }
    }
}

impl Job {
    fn running_phase(&self, is_ready: bool) -> Phase {
        match &self.run {
            Some(run) => Phase::Running { pid: run.pid, since: run.since, is_ready },
            None => Phase::Starting,
        }
    }
}

impl Stage {
    /// Whether a run is under way.
    pub(super) fn has_run(&self) -> bool {
        match self {
            Self::Starting { .. }
            | Self::Running { .. }
            | Self::Stopping { .. }
            | Self::Settling { .. } => true,
            Self::Delayed { .. } | Self::Waiting | Self::Ended(_) => false,
        }
    }

    /// Whether the run's tree has been told to end.
    pub(super) fn is_stopping(&self) -> bool {
        matches!(self, Self::Stopping { .. })
    }
}
