//! The life of one service, as a pure machine: no clock, no I/O.
//!
//! ```text
//!               the plugin can run it            ended by itself, or failed
//!   Waiting ──────────────────────────▶ Running ─────────────┬─────────────▶ Stopped
//!     ▲  ▲                              │  ▲  ▲              │
//!     │  │ plugin gone, grants revoked  │  │  │ time         ├─────────────▶ Failed
//!     │  └──────────────┬───────────────┘  │  │              │  too often
//!     │                 ▼  stop, restart,  │  └─ BackingOff ◀┘
//!     └───────────── Stopping ─────────────┘         new code
//!                       │
//!                       └──────────▶ Stopped
//! ```
//!
//! A run begins with [`Action::Launch`] and is over with [`Event::Ended`] of the
//! same number, so there is never more than one. What the plugin does by itself
//! is counted as the process manager counts: see [`Failures`].

use std::time::{Duration, Instant};

use drover_api::{Level, Restart};
use drover_process::{AfterFailure, Failures, RestartPolicy};

/// The wait before a service that ended well is started again.
const PAUSE: Duration = Duration::from_secs(1);

/// By which rules a service lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Whether it is started again.
    pub(crate) restart: Restart,
    /// How often, and when.
    pub(crate) failures: RestartPolicy,
}

/// How far a service has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is to run, and its plugin cannot run it; looked at again when
    /// something changes, and at the latest then.
    Waiting { until: Option<Instant> },
    /// It has an instance.
    Running,
    /// It has been told to stop.
    Stopping { then: Then },
    /// It is started again then.
    BackingOff { until: Instant },
    /// It is not to run.
    Stopped,
    /// It failed too often, or is not to be started again.
    Failed,
}

/// What follows when a service has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    Stay,
    Launch,
    Wait,
}

/// What happens to a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// Somebody wants it to run.
    Start,
    /// Somebody wants it to stop.
    Stop,
    /// Somebody wants it to begin anew.
    Restart,
    /// Something has changed, and its plugin was looked at.
    Ground(Ground),
    /// Time has passed.
    Tick,
    /// The run of this number is over.
    Ended { run: u64, end: End },
}

/// What the plugin offers a service to run on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ground {
    /// What it had when it was last looked at.
    Same,
    /// Other code, or other grants.
    Changed,
    /// Nothing, and why.
    Gone(String),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// By itself, and well.
    Done,
    /// It failed or crashed, or could not be started.
    Failed(String),
    /// It could not be started, and never will with this plugin and these arguments.
    Refused(String),
    /// It could not be started at present; perhaps when this time has passed.
    NotNow(String, Duration),
    /// There is nothing that it could run on.
    NoGround(String),
    /// The agent ends.
    ShuttingDown,
}

/// What is to be done for a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// Start it, as the run of this number.
    Launch { run: u64 },
    /// Tell this run to stop.
    Cancel { run: u64 },
    /// Write a record.
    Tell { level: Level, text: String },
}

/// One service.
#[derive(Debug, Clone)]
pub(super) struct Life {
    rules: Rules,
    stage: Stage,
    /// The number of the last run; the first is 1.
    run: u64,
    /// Runs that began since somebody started it.
    begun: u64,
    failures: Failures,
    error: Option<String>,
}

impl Life {
    /// One that does not run yet.
    pub(super) fn new(rules: Rules) -> Self {
        let (run, begun, failures, error) = Default::default();
        Self { rules, stage: Stage::Stopped, run, begun, failures, error }
    }

    pub(super) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// How often it was started again by itself since somebody started it.
    pub(super) fn restarts(&self) -> u64 {
        self.begun.saturating_sub(1)
    }

    /// Why it does not run, or what the last run ended in.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Whether it runs, or is to run as soon as it can. One that failed comes
    /// back with the next agent or the next version of its plugin.
    pub(super) fn is_wanted(&self) -> bool {
        !matches!(self.stage, Stage::Stopped | Stage::Stopping { then: Then::Stay })
    }

    /// When time alone changes something.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.stage {
            Stage::Waiting { until } => until,
            Stage::BackingOff { until } => Some(until),
            _ => None,
        }
    }

    /// Decides what follows an event.
    pub(super) fn step(&mut self, event: Event, now: Instant) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Start => self.start(&mut actions),
            Event::Stop => self.stop(&mut actions),
            Event::Restart => self.restart(&mut actions),
            Event::Ground(ground) => self.look(ground, &mut actions),
            Event::Tick if self.due().is_some_and(|due| due <= now) => {
                self.launch(&mut actions);
            }
            Event::Tick => {}
            Event::Ended { run, end } if run == self.run => self.ended(end, now, &mut actions),
            Event::Ended { .. } => {}
        }
        actions
    }

    fn start(&mut self, actions: &mut Vec<Action>) {
        match &mut self.stage {
            Stage::Running => {}
            Stage::Stopping { then } => *then = Then::Launch,
            _ => self.begin(actions),
        }
    }

    fn stop(&mut self, actions: &mut Vec<Action>) {
        match &self.stage {
            Stage::Running | Stage::Stopping { .. } => self.end_run(Then::Stay, actions),
            _ => self.stage = Stage::Stopped,
        }
    }

    fn restart(&mut self, actions: &mut Vec<Action>) {
        match &self.stage {
            Stage::Running | Stage::Stopping { .. } => {
                self.failures.clear();
                self.end_run(Then::Launch, actions);
            }
            _ => self.begin(actions),
        }
    }

    fn look(&mut self, ground: Ground, actions: &mut Vec<Action>) {
        match (&self.stage, ground) {
            (Stage::Running, Ground::Changed) => {
                tell(actions, Level::OPERATOR, "its plugin has changed, so it begins anew");
                self.failures.clear();
                self.end_run(Then::Launch, actions);
            }
            (Stage::Running, Ground::Gone(why)) => {
                tell(actions, Level::WARNING, format!("it is stopped: {why}"));
                self.error = Some(why);
                self.end_run(Then::Wait, actions);
            }
            (Stage::Stopping { then: Then::Launch }, Ground::Gone(why)) => {
                self.error = Some(why);
                self.stage = Stage::Stopping { then: Then::Wait };
            }
            (Stage::Stopping { then: Then::Wait }, Ground::Same | Ground::Changed) => {
                self.stage = Stage::Stopping { then: Then::Launch };
            }
            (Stage::BackingOff { .. } | Stage::Waiting { .. }, Ground::Gone(why)) => {
                self.error = Some(why);
                self.stage = Stage::Waiting { until: None };
            }
            (Stage::Waiting { .. }, Ground::Same | Ground::Changed) => self.launch(actions),
            (Stage::BackingOff { .. }, Ground::Changed) => {
                self.failures.clear();
                self.launch(actions);
            }
            (Stage::Failed, Ground::Changed) if self.rules.restart != Restart::Never => {
                tell(actions, Level::OPERATOR, "its plugin has changed, so it is tried again");
                self.failures.clear();
                self.launch(actions);
            }
            _ => {}
        }
    }

    fn ended(&mut self, end: End, now: Instant, actions: &mut Vec<Action>) {
        match self.stage {
            Stage::Stopping { then: Then::Stay } => self.stage = Stage::Stopped,
            Stage::Stopping { then: Then::Launch } => self.launch(actions),
            Stage::Stopping { then: Then::Wait } => self.stage = Stage::Waiting { until: None },
            Stage::Running => self.ended_by_itself(end, now, actions),
            Stage::Waiting { .. } | Stage::BackingOff { .. } | Stage::Stopped | Stage::Failed => {}
        }
    }

    fn ended_by_itself(&mut self, end: End, now: Instant, actions: &mut Vec<Action>) {
        match end {
            End::Done if self.rules.restart == Restart::Always => {
                self.stage = Stage::BackingOff { until: now + PAUSE };
            }
            End::Done => {
                tell(actions, Level::OPERATOR, "it has ended by itself");
                self.stage = Stage::Stopped;
            }
            End::Failed(why) if self.rules.restart == Restart::Never => {
                tell(actions, Level::ERROR, format!("it failed: {why}"));
                self.fail(why);
            }
            End::Failed(why) => self.failed(why, now, actions),
            End::Refused(why) => {
                tell(actions, Level::ERROR, format!("it cannot be started: {why}"));
                self.fail(why);
            }
            End::NotNow(why, wait) => {
                self.begun -= 1;
                self.error = Some(why);
                self.stage = Stage::Waiting { until: Some(now + wait) };
            }
            End::NoGround(why) => {
                self.begun -= 1;
                self.error = Some(why);
                self.stage = Stage::Waiting { until: None };
            }
            // It is started again with the next agent.
            End::ShuttingDown => self.stage = Stage::Waiting { until: None },
        }
    }

    fn failed(&mut self, why: String, now: Instant, actions: &mut Vec<Action>) {
        match self.failures.failed(now, &self.rules.failures) {
            AfterFailure::Restart { delay, .. } => {
                let text = format!("it failed and is started again in {delay:?}: {why}");
                tell(actions, Level::WARNING, text);
                self.error = Some(why);
                self.stage = Stage::BackingOff { until: now + delay };
            }
            AfterFailure::GiveUp { failures } => {
                let minutes = Failures::WINDOW.as_secs() / 60;
                let text = format!(
                    "it failed {failures} times within {minutes} minutes and is not started \
                     again: {why}; mend it, or start it with `drover service restart`"
                );
                tell(actions, Level::CRITICAL, text);
                self.fail(why);
            }
        }
    }

    fn fail(&mut self, why: String) {
        self.error = Some(why);
        self.stage = Stage::Failed;
    }

    /// Tells the run to stop, unless it was told before.
    fn end_run(&mut self, then: Then, actions: &mut Vec<Action>) {
        if self.stage == Stage::Running {
            actions.push(Action::Cancel { run: self.run });
        }
        self.stage = Stage::Stopping { then };
    }

    /// The first run since somebody started it.
    fn begin(&mut self, actions: &mut Vec<Action>) {
        self.failures.clear();
        self.error = None;
        self.begun = 0;
        self.launch(actions);
    }

    fn launch(&mut self, actions: &mut Vec<Action>) {
        self.run += 1;
        self.begun += 1;
        self.stage = Stage::Running;
        actions.push(Action::Launch { run: self.run });
    }
}

fn tell(actions: &mut Vec<Action>, level: Level, text: impl Into<String>) {
    actions.push(Action::Tell { level, text: text.into() });
}

#[cfg(test)]
mod tests;
