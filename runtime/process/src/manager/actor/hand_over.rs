//! Handing every job over to the manager that comes next, and taking over what the
//! last one handed over.
//!
//! ```text
//!  asked ─▶ settling ─▶ writing ─▶ letting go ─▶ handed over
//!           no launch,   nothing    the tasks of
//!           what begins  moves      the jobs stop
//!           or ends is              reading
//!           waited for
//! ```
//!
//! What is written is true at the moment at which nothing moves, and stays so: the
//! children run on, and the keeper holds what they write and how they end. So a manager
//! that dies at any point of this leaves all jobs to the next one, as they were before
//! or as they were handed over.
//!
//! A job that was handed over stays on disk until it ends, and what of it begins later
//! is on disk before it begins. So a manager that dies after it has taken the jobs
//! over, as one does that is no good, has not lost what runs, nor does it run twice.

use std::collections::HashSet;
use std::sync::Arc;

use drover_api::JobId;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::perform::Newcomer;
use super::restore::{Child, Taken};
use super::{Actor, Done, Mode, Running, now};
use crate::lifecycle::{Event, Interval, Life, Stage};
use crate::manager::job::{Adoption, Order};
use crate::manager::remembered::{Entry, Handed};
use crate::manager::{ManagerError, Origin, Reply};
use crate::scheduler::Key;
use crate::spec::{OnAgentRestart, ProcessSpec};

/// A hand-over under way.
pub(super) struct HandOver {
    step: Step,
    /// Jobs that the scheduler has launched since; they are not begun.
    held: HashSet<Key>,
    replies: Vec<Reply<Vec<JobId>>>,
}

enum Step {
    Settling,
    Writing(Vec<Key>),
    LettingGo {
        ids: Vec<JobId>,
        /// Closed once the job's task has ended, and its observer was told all.
        tasks: Vec<mpsc::Sender<Order>>,
    },
}

impl Entry {
    /// Whether it was handed over with this run of its.
    pub(super) fn is_of_run(&self, run: u64) -> bool {
        self.handed.as_ref().is_some_and(|handed| handed.life.has_child() && handed.life.run == run)
    }

    /// Whether it was handed over without a run.
    pub(super) fn waits(&self) -> bool {
        self.handed.as_ref().is_some_and(|handed| !handed.life.has_child())
    }
}

impl Actor {
    /// Begins to hand all jobs over.
    pub(super) fn hand_over(&mut self, reply: Reply<Vec<JobId>>) {
        match &mut self.mode {
            Mode::Serving => {
                let (step, held, replies) = (Step::Settling, HashSet::new(), vec![reply]);
                self.mode = Mode::HandingOver(HandOver { step, held, replies });
            }
            Mode::HandingOver(HandOver { replies, .. }) => replies.push(reply),
            Mode::HandedOver => drop(reply.send(Ok(self.handed.iter().cloned().collect()))),
            // The keeper cannot be reached: what is on disk stays there as it is.
            Mode::Restoring(_) => {
                self.mode = Mode::HandedOver;
                drop(reply.send(Ok(Vec::new())));
            }
            Mode::Closing(_) => drop(reply.send(Err(ManagerError::ShuttingDown))),
        }
    }

    /// Whether nothing may change, since it is being written down.
    pub(super) fn is_frozen(&self) -> bool {
        matches!(&self.mode, Mode::HandingOver(HandOver { step: Step::Writing(_), .. }))
    }

    /// Gives a hand-over up, since the manager ends: what it holds has not begun.
    pub(super) fn give_up_hand_over(&mut self) -> HashSet<Key> {
        match &mut self.mode {
            Mode::HandingOver(HandOver { held, .. }) => std::mem::take(held),
            _ => HashSet::new(),
        }
    }

    /// Has jobs end that were told to, and were not begun.
    pub(super) fn end_unbegun(&mut self, held: impl IntoIterator<Item = Key>) {
        for key in held {
            if let Some(run) = self.scheduler.life(key).map(Life::run) {
                let message = "it was ended before it began".to_owned();
                self.apply(key, Event::NotLaunched { run, message });
            }
        }
    }

    /// Whether a job is not to begin any more. It begins with the next manager.
    pub(super) fn holds_back(&mut self, key: Key) -> bool {
        let is_own = self.is_own(key);
        match &mut self.mode {
            Mode::HandingOver(HandOver { held, .. }) if !is_own => {
                held.insert(key);
                true
            }
            _ => false,
        }
    }

    /// Does what can be done next.
    pub(super) fn go_on_handing_over(&mut self) {
        let Mode::HandingOver(HandOver { step, .. }) = &mut self.mode else { return };
        match step {
            Step::Settling => {
                self.give_up_held();
                self.write_down();
            }
            Step::Writing(_) => {}
            Step::LettingGo { tasks, .. } => {
                tasks.retain(|task| !task.is_closed());
                if tasks.is_empty() {
                    self.finish_hand_over();
                }
            }
        }
    }

    /// Has those end that were told to end while they were held.
    fn give_up_held(&mut self) {
        let Mode::HandingOver(HandOver { held, .. }) = &mut self.mode else { return };
        let is_stopped = |key: &Key| {
            let life = self.scheduler.life(*key);
            !life.is_some_and(|life| matches!(life.stage(), Stage::Starting { stop: None }))
        };
        let stopped: Vec<_> = held.extract_if(is_stopped).collect();
        self.end_unbegun(stopped);
    }

    /// Writes all jobs down, once each is where it can be handed over.
    fn write_down(&mut self) {
        let now = now();
        let Mode::HandingOver(HandOver { held, .. }) = &self.mode else { return };
        if !self.storing.is_empty() {
            return;
        }
        let mut entries = Vec::new();
        for (place, key) in self.scheduler.in_order().into_iter().enumerate() {
            let Some(job) = self.jobs.get(&key).filter(|_| !self.is_own(key)) else { continue };
            let life =
                self.scheduler.life(key).and_then(|life| life.handed(held.contains(&key), now));
            let Some(life) = life else { return };
            let after = self.scheduler.missing(key).into_iter();
            let after = after.filter_map(|key| Some(self.jobs.get(&key)?.id.clone())).collect();
            let handed = Handed { place, at: now.wall, accepted: job.accepted, after, life };
            let (spec, begun) = (ProcessSpec::clone(&job.spec), handed.life.begun_at());
            let entry = Entry { spec, begun, handed: Some(handed) };
            entries.push((key, job.id.clone(), entry));
        }
        // Those that have ended and are no longer in the scheduler, but not yet told.
        if self.jobs.values().any(|job| job.outcome.is_some() && !is_own(&job.spec)) {
            return;
        }
        let keys = entries.iter().map(|(key, ..)| *key).collect();
        let memory = self.memory.clone();
        self.tasks.spawn(async move {
            let mut writing = JoinSet::new();
            for (_, id, entry) in entries {
                let memory = memory.clone();
                // Together, so that they cost one write.
                writing.spawn(async move { memory.remember(id, entry).await });
            }
            let mut outcome = Ok(());
            while let Some(written) = writing.join_next().await {
                let written = written.unwrap_or(Err(ManagerError::ShuttingDown));
                outcome = outcome.and(written);
            }
            Done::Handed(outcome)
        });
        if let Mode::HandingOver(hand_over) = &mut self.mode {
            hand_over.step = Step::Writing(keys);
        }
    }

    /// Lets all jobs go that are written down, or none.
    pub(super) fn let_go(&mut self, outcome: Result<(), ManagerError>) {
        let mode = std::mem::replace(&mut self.mode, Mode::Serving);
        let Mode::HandingOver(HandOver { step: Step::Writing(keys), held, replies }) = mode else {
            self.mode = mode;
            return;
        };
        if let Err(error) = outcome {
            for key in keys {
                self.take_back(key);
            }
            for reply in replies {
                drop(reply.send(Err(error.clone())));
            }
            for key in held {
                if let Some(run) = self.scheduler.life(key).map(Life::run) {
                    self.launch(key, run);
                }
            }
            return;
        }
        let (mut ids, mut tasks) = (Vec::new(), Vec::new());
        for key in keys {
            self.order(key, Order::Detach);
            self.end_sampling(key);
            self.scheduler.let_go(key);
            if let Some(mut job) = self.jobs.remove(&key) {
                job.ending.leave();
                self.ids.remove(&job.id);
                self.handed.insert(job.id.clone());
                ids.push(job.id);
                tasks.push(job.orders);
            }
        }
        let step = Step::LettingGo { ids, tasks };
        self.mode = Mode::HandingOver(HandOver { step, held: HashSet::new(), replies });
    }

    /// Has the disk say of a job what it said before. What does not come off a full disk
    /// is tried again by the writer.
    fn take_back(&mut self, key: Key) {
        let Some(job) = self.jobs.get(&key) else { return };
        let entry = job.is_on_disk.then(|| Entry::new(ProcessSpec::clone(&job.spec)));
        let (memory, id) = (self.memory.clone(), job.id.clone());
        self.tasks.spawn(async move {
            drop(match entry {
                Some(entry) => memory.remember(id, entry).await,
                None => memory.forget(id).await,
            });
            Done::Nothing
        });
    }

    fn finish_hand_over(&mut self) {
        let mode = std::mem::replace(&mut self.mode, Mode::Serving);
        if let Mode::HandingOver(HandOver { step: Step::LettingGo { ids, .. }, replies, .. }) = mode
        {
            self.mode = Mode::HandedOver;
            for reply in replies {
                drop(reply.send(Ok(ids.clone())));
            }
        }
    }

    /// Goes on with what the last manager handed over: jobs with their children, and
    /// those that wait.
    pub(super) fn take_over(&mut self, taken: Vec<Taken>) {
        let mut taken: Vec<_> = taken
            .into_iter()
            .filter_map(|Taken { id, entry, child }| Some((id, entry.handed?, entry.spec, child)))
            .collect();
        taken.sort_by_key(|(_, handed, ..)| handed.place);
        let (mut keys, mut then, mut exits, mut waits) =
            <(Vec<_>, Vec<_>, Vec<_>, Vec<_>)>::default();
        for (id, handed, spec, child) in taken {
            let now = now();
            let ran_for = child.as_ref().map(|child| child.ran_for).unwrap_or_default();
            let interval = Interval { away: now.wall.since(handed.at), ran_for };
            let submission = self.submission(&spec, Vec::new());
            let (key, actions) = self.scheduler.resume(submission, &handed.life, interval, now);
            let (spec, origin) = (Arc::new(spec), Origin::HandedOver);
            self.enter(key, Newcomer { id, spec, origin, is_on_disk: true });
            if let Some(job) = self.jobs.get_mut(&key) {
                job.accepted = handed.accepted;
                job.is_handed = true;
                job.begun = now.instant.checked_sub(ran_for).unwrap_or(now.instant);
            }
            if let Some(child) = child {
                if let Some(exit) = child.exit {
                    exits.push((key, handed.life.run, exit));
                }
                self.go_on_with(key, child);
            }
            keys.push(key);
            then.extend(actions);
            waits.push((key, handed.after));
        }
        for (key, after) in waits {
            for on in after {
                if let Some(on) = self.ids.get(&on).copied() {
                    self.scheduler.depend(key, on);
                }
            }
        }
        self.perform(then);
        for (key, run, exit) in exits {
            self.apply(key, Event::Exited { run, exit });
        }
        let actions = self.scheduler.go_on(&keys, now());
        self.perform(actions);
    }

    fn go_on_with(&mut self, key: Key, child: Child) {
        let Child { note, pipes, tree, .. } = child;
        let (run, started, pid) = (note.run, note.started, tree.pid);
        if let Some(job) = self.jobs.get_mut(&key) {
            job.run = Some(Running { tree: Some(tree), pid, since: started });
            job.leftover = true;
        }
        self.begin_sampling(key);
        self.order(key, Order::Adopt(Box::new(Adoption { run, started, pid, pipes })));
    }

    /// Writes down that a run begins of a job that was handed over, before it does;
    /// false if that is not needed. Else whoever comes next would begin it again.
    pub(super) fn note_first(&mut self, key: Key, run: u64) -> bool {
        let now = now();
        let life = self.scheduler.life(key).map(|life| life.beginning(now));
        let Some((job, life)) = self.jobs.get_mut(&key).filter(|job| job.is_handed).zip(life)
        else {
            return false;
        };
        let mut entry = Entry::new(ProcessSpec::clone(&job.spec));
        let (memory, id) = (self.memory.clone(), job.id.clone());
        if job.spec.is_remembered() {
            // It is one that begins again anyway.
            job.is_handed = false;
            entry.begun = Some(now.wall);
        } else {
            let (accepted, at) = (job.accepted, now.wall);
            entry.handed = Some(Handed { place: 0, at, accepted, after: Vec::new(), life });
        }
        self.tasks.spawn(async move {
            // The writer logs it.
            drop(memory.remember(id, entry).await);
            Done::Noted { key, run }
        });
        true
    }

    /// Whether a job ends with the agent.
    fn is_own(&self, key: Key) -> bool {
        self.jobs.get(&key).is_some_and(|job| is_own(&job.spec))
    }
}

fn is_own(spec: &ProcessSpec) -> bool {
    spec.on_agent_restart == OnAgentRestart::EndWithAgent
}
