//! The life of one job, as a pure machine: no clock, no I/O.
//!
//! ```text
//!             due                 admitted           launched
//!  Delayed ────────> Waiting ────────────> Starting ──────────> Running
//!     ^  ^              │                     │  not started     │   │ stop
//!     │  │              │ a dependency        │                  │   v
//!     │  │              │ failed, kill        │           exit   │  Stopping
//!     │  │ back-off,    v                     v                  v   │ exit
//!     │  └──────────  Ended <───────────── Settling <────────────┴───┘
//!     └─ next occurrence                  (the rest of the tree is ended,
//!                                          the output read to its end)
//! ```
//!
//! A run begins with [`Action::Launch`] and is over when [`Event::Settled`]
//! says that nothing of it is left. Every event of a run carries its number, so
//! that a late or doubled one changes nothing. Waiting for a turn is the
//! [scheduler](crate::scheduler)'s business: it sends [`Event::Admitted`].

mod handed;
mod policy;

use std::time::{Duration, Instant};

use drover_api::{JobState, Timestamp};
use serde::{Deserialize, Serialize};

use crate::failures::{AfterFailure, Failures};
use crate::keeper::Exit;

pub(crate) use handed::{HandedLife, Interval};
pub(crate) use policy::{Due, Policy};

/// Both clocks: durations are measured on the first, schedules on the second.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Now {
    pub(crate) instant: Instant,
    pub(crate) wall: Timestamp,
}

/// How far a job has come.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Stage {
    /// Waits for a time.
    Delayed { until: Due, reason: Delay },
    /// Waits for its dependencies and its turn.
    Waiting,
    /// The keeper has been asked to start the program.
    Starting { stop: Option<Stop> },
    /// The program runs.
    Running { is_ready: bool, deadline: Option<Instant> },
    /// The tree has been told to end. The keeper kills what is left of it when
    /// the grace is over.
    Stopping { stop: Stop },
    /// The first process is gone; the rest of its tree and of its output not yet.
    Settling { end: RunEnd },
    /// For good.
    Ended(Outcome),
}

/// What a job waits for that only time brings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Delay {
    Start,
    BackOff,
    Recurrence,
}

/// Why a run was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It took too long.
    Timeout,
    /// It is to start anew.
    Recycle,
    /// The job is to end for good.
    Kill,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    /// Why the manager stopped it, if it did.
    pub stop: Option<Stop>,
    /// What became of it.
    pub cause: Cause,
}

/// What became of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The program ended.
    Exited(Exit),
    /// The program could not be started; the text says why and what to do.
    NotStarted(String),
}

/// How a job ended, once and for all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// `Ok`, `Error`, `Timeout` or `Killed`.
    pub state: JobState,
    /// How the last run ended; none if there was none.
    pub exit: Option<Exit>,
    /// What happened, for people; empty if all went well.
    pub message: String,
    /// How often the program was started.
    pub runs: u64,
}

/// What happens to a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// Time has passed.
    Tick,
    /// Its turn has come.
    Admitted,
    /// The program was started.
    Launched { run: u64 },
    /// A child of an earlier agent goes on as this run.
    Adopted { run: u64, ran_for: Duration },
    /// The program was not started.
    NotLaunched { run: u64, message: String },
    /// A line of the output said that the program is ready.
    Ready { run: u64 },
    /// The first process ended.
    Exited { run: u64, exit: Exit },
    /// Nothing of the run is left, and its output is read.
    Settled { run: u64 },
    /// A job that it waits for ended without success.
    DependencyFailed { message: String },
    /// Somebody wants it to end for good.
    Kill,
    /// Somebody wants its run to end; what is remembered begins again.
    Recycle,
}

/// What is to be done for a job.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Action {
    /// Start the program, as the run of this number.
    Launch { run: u64 },
    /// End the run's tree: TERM, this long a grace, KILL.
    EndTree { run: u64, grace: Duration },
    /// Read the run's output to its end, and end what is left of its tree.
    Settle { run: u64 },
    /// Jobs that wait for this one need to wait no longer.
    Provide,
    /// Tell how the run ended.
    TellRunEnd { run: u64, end: RunEnd },
    /// Tell that a failed run will be followed by another one.
    TellRestart { delay: Duration, failures: usize },
    /// Tell when the next occurrence is due.
    TellNext { due: Due },
    /// Write a critical record.
    TellCritical { message: String },
    /// The job has ended: the last action of all.
    Finish(Outcome),
}

/// One job.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    policy: Policy,
    stage: Stage,
    run: u64,
    /// When the last occurrence began.
    begun: Option<Now>,
    failures: Failures,
    has_provided: bool,
}

impl Life {
    /// An accepted job.
    pub(crate) fn new(policy: Policy, now: Now) -> Self {
        let stage = match policy.first_due(now) {
            Some((until, reason)) => Stage::Delayed { until, reason },
            None => Stage::Waiting,
        };
        Self {
            policy,
            stage,
            run: 0,
            begun: None,
            failures: Failures::default(),
            has_provided: false,
        }
    }

    pub(crate) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The number of the last run; the first is 1.
    pub(crate) fn run(&self) -> u64 {
        self.run
    }

    /// Whether the job has its turn: it keeps it from admission to the end of an
    /// occurrence, the waits between its restarts included.
    pub(crate) fn has_turn(&self) -> bool {
        match self.stage {
            Stage::Starting { .. }
            | Stage::Running { .. }
            | Stage::Stopping { .. }
            | Stage::Settling { .. } => true,
            Stage::Delayed { reason, .. } => reason == Delay::BackOff,
            Stage::Waiting | Stage::Ended(_) => false,
        }
    }

    /// Whether those that wait for it need to wait no longer.
    pub(crate) fn has_provided(&self) -> bool {
        self.has_provided
    }

    /// When the machine wants its next [`Event::Tick`].
    pub(crate) fn due(&self) -> Option<Due> {
        match self.stage {
            Stage::Delayed { until, .. } => Some(until),
            Stage::Running { deadline, .. } => deadline.map(Due::At),
            _ => None,
        }
    }

    /// Changes the job, and says what is to be done, in this order.
    pub(crate) fn step(&mut self, event: Event, now: Now) -> Vec<Action> {
        let mut actions = Vec::new();
        self.apply(event, now, &mut actions);
        actions
    }

    fn apply(&mut self, event: Event, now: Now, actions: &mut Vec<Action>) {
        match event {
            Event::Tick => self.tick(now, actions),
            Event::Admitted if self.stage == Stage::Waiting => {
                self.begun = Some(now);
                self.launch(actions);
            }
            Event::Adopted { run, ran_for } if !self.has_turn() && !self.has_ended() => {
                self.run = run;
                self.begun = Some(now);
                self.running(ran_for, now);
                // Whoever waited for it did so under an earlier agent.
                self.ready(actions);
                self.provide(actions);
            }
            Event::Kill => self.stop(Stop::Kill, actions),
            Event::Recycle => self.stop(Stop::Recycle, actions),
            Event::DependencyFailed { message } if !self.has_turn() && !self.has_ended() => {
                self.finish(JobState::Error, None, message, actions);
            }
            Event::Launched { run } if run == self.run => self.launched(now, actions),
            Event::NotLaunched { run, message } if run == self.run => {
                if let Stage::Starting { stop } = self.stage {
                    let cause = Cause::NotStarted(message);
                    self.stage = Stage::Settling { end: RunEnd { stop, cause } };
                    self.conclude(now, actions);
                }
            }
            Event::Ready { run } if run == self.run => self.ready(actions),
            Event::Exited { run, exit } if run == self.run => self.exited(exit, actions),
            Event::Settled { run } if run == self.run => self.conclude(now, actions),
            // Of a run that is over, or at a stage at which it means nothing.
            _ => {}
        }
    }

    fn has_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended(_))
    }

    fn tick(&mut self, now: Now, actions: &mut Vec<Action>) {
        match self.stage {
            Stage::Delayed { until, reason } if until.has_come(now) => match reason {
                // It still has its turn.
                Delay::BackOff => self.launch(actions),
                Delay::Start | Delay::Recurrence => self.stage = Stage::Waiting,
            },
            Stage::Delayed { until: Due::OnWall(until), reason } => {
                // The clock may have been set back, and the next time be nearer.
                if let Some(Due::OnWall(next)) = self.policy.next_due(self.begun, now) {
                    self.stage = Stage::Delayed { until: Due::OnWall(until.min(next)), reason };
                }
            }
            Stage::Running { deadline: Some(deadline), .. } if deadline <= now.instant => {
                self.stop(Stop::Timeout, actions);
            }
            _ => {}
        }
    }

    fn launch(&mut self, actions: &mut Vec<Action>) {
        self.run += 1;
        self.stage = Stage::Starting { stop: None };
        actions.push(Action::Launch { run: self.run });
    }

    fn launched(&mut self, now: Now, actions: &mut Vec<Action>) {
        match self.stage {
            Stage::Starting { stop: None } => {
                self.running(Duration::ZERO, now);
                if self.policy.is_long_running && !self.policy.has_ready_pattern {
                    self.provide(actions);
                }
            }
            // Somebody wanted the end while the program was being started.
            Stage::Starting { stop: Some(stop) } => self.end_tree(stop, actions),
            _ => {}
        }
    }

    fn running(&mut self, ran_for: Duration, now: Now) {
        let left = self.policy.max_time.map(|max_time| max_time.saturating_sub(ran_for));
        self.stage = Stage::Running {
            is_ready: !self.policy.has_ready_pattern,
            deadline: left.map(|left| now.instant + left),
        };
    }

    fn ready(&mut self, actions: &mut Vec<Action>) {
        if let Stage::Running { is_ready: is_ready @ false, .. } = &mut self.stage {
            *is_ready = true;
            self.provide(actions);
        }
    }

    fn provide(&mut self, actions: &mut Vec<Action>) {
        if !std::mem::replace(&mut self.has_provided, true) {
            actions.push(Action::Provide);
        }
    }

    /// A stop of a job that is being stopped changes at most what follows: its
    /// first deadline stays.
    fn stop(&mut self, stop: Stop, actions: &mut Vec<Action>) {
        match &mut self.stage {
            Stage::Delayed { .. } | Stage::Waiting if stop == Stop::Kill => {
                self.finish(JobState::Killed, None, "killed before it ran".to_owned(), actions);
            }
            // Nothing runs, so there is nothing to begin again.
            Stage::Delayed { .. } | Stage::Waiting | Stage::Ended(_) => {}
            Stage::Starting { stop: wanted }
            | Stage::Settling { end: RunEnd { stop: wanted, .. } } => {
                *wanted = (*wanted).max(Some(stop));
            }
            Stage::Stopping { stop: wanted } => *wanted = (*wanted).max(stop),
            Stage::Running { .. } => self.end_tree(stop, actions),
        }
    }

    fn end_tree(&mut self, stop: Stop, actions: &mut Vec<Action>) {
        self.stage = Stage::Stopping { stop };
        actions.push(Action::EndTree { run: self.run, grace: self.policy.grace });
    }

    fn exited(&mut self, exit: Exit, actions: &mut Vec<Action>) {
        let stop = match self.stage {
            Stage::Running { .. } => None,
            Stage::Starting { stop } => stop,
            Stage::Stopping { stop } => Some(stop),
            _ => return,
        };
        self.stage = Stage::Settling { end: RunEnd { stop, cause: Cause::Exited(exit) } };
        actions.push(Action::Settle { run: self.run });
    }

    /// Decides what follows a run of which nothing is left.
    fn conclude(&mut self, now: Now, actions: &mut Vec<Action>) {
        let Stage::Settling { end } = &self.stage else { return };
        let end = end.clone();
        actions.push(Action::TellRunEnd { run: self.run, end: end.clone() });
        match end.stop {
            Some(Stop::Kill) => self.finish_after(JobState::Killed, &end, actions),
            Some(Stop::Recycle) => self.begin_again(now, &end, actions),
            _ if end.is_success() => self.succeed(now, &end, actions),
            _ => self.fail(now, &end, actions),
        }
    }

    fn begin_again(&mut self, now: Now, end: &RunEnd, actions: &mut Vec<Action>) {
        if self.policy.recurrence.is_some() {
            self.recur(now, end, actions);
        } else if self.policy.is_long_running {
            self.back_off(self.policy.restart.first, now, actions);
        } else {
            self.finish_after(JobState::Killed, end, actions);
        }
    }

    fn succeed(&mut self, now: Now, end: &RunEnd, actions: &mut Vec<Action>) {
        self.provide(actions);
        self.recur(now, end, actions);
    }

    fn fail(&mut self, now: Now, end: &RunEnd, actions: &mut Vec<Action>) {
        let failures = match self.failures.failed(now.instant, &self.policy.restart) {
            AfterFailure::Restart { delay, failures } => {
                actions.push(Action::TellRestart { delay, failures });
                self.back_off(delay, now, actions);
                return;
            }
            AfterFailure::GiveUp { failures } => failures,
        };
        if self.policy.restart.max != Some(0) {
            let message = format!(
                "the program failed {failures} times within {} minutes and is not restarted any \
                 more: {}",
                Failures::WINDOW.as_secs() / 60,
                end.message()
            );
            actions.push(Action::TellCritical { message });
        }
        self.recur(now, end, actions);
    }

    fn back_off(&mut self, delay: Duration, now: Now, actions: &mut Vec<Action>) {
        if delay.is_zero() {
            self.launch(actions);
        } else {
            let until = Due::At(now.instant + delay);
            self.stage = Stage::Delayed { until, reason: Delay::BackOff };
        }
    }

    /// Waits for the next occurrence; without one, the job has ended.
    fn recur(&mut self, now: Now, end: &RunEnd, actions: &mut Vec<Action>) {
        match self.policy.next_due(self.begun, now) {
            Some(due) => {
                self.failures.clear();
                self.stage = Stage::Delayed { until: due, reason: Delay::Recurrence };
                actions.push(Action::TellNext { due });
            }
            None => self.finish_after(end.state(), end, actions),
        }
    }

    fn finish_after(&mut self, state: JobState, end: &RunEnd, actions: &mut Vec<Action>) {
        let exit = match end.cause {
            Cause::Exited(exit) => Some(exit),
            Cause::NotStarted(_) => None,
        };
        let message = if state == JobState::Ok { String::new() } else { end.message() };
        self.finish(state, exit, message, actions);
    }

    fn finish(
        &mut self,
        state: JobState,
        exit: Option<Exit>,
        message: String,
        actions: &mut Vec<Action>,
    ) {
        let outcome = Outcome { state, exit, message, runs: self.run };
        self.stage = Stage::Ended(outcome.clone());
        actions.push(Action::Finish(outcome));
    }
}

impl RunEnd {
    /// Whether the program ended by itself and with status 0.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.state() == JobState::Ok
    }

    /// What the run would make of a job that has no other.
    #[must_use]
    pub fn state(&self) -> JobState {
        match (self.stop, &self.cause) {
            (Some(Stop::Kill | Stop::Recycle), _) => JobState::Killed,
            (Some(Stop::Timeout), Cause::Exited(_)) => JobState::Timeout,
            (None, Cause::Exited(Exit::Code(0))) => JobState::Ok,
            _ => JobState::Error,
        }
    }

    /// What happened, for people.
    #[must_use]
    pub fn message(&self) -> String {
        let cause = match &self.cause {
            Cause::Exited(exit) => format!("the program ended with {exit}"),
            Cause::NotStarted(message) => message.clone(),
        };
        match self.stop {
            None => cause,
            Some(Stop::Timeout) => format!("its time was over, and {cause}"),
            Some(Stop::Recycle | Stop::Kill) => format!("killed: {cause}"),
        }
    }
}

#[cfg(test)]
mod tests;
