//! A life on its way from one manager to the next: it goes on where it stood.

use std::time::Duration;

use drover_api::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Action, Delay, Due, Life, Now, Policy, Stage, Stop};
use crate::failures::Failures;

/// How far a job has come, in words that mean the same to another process: points on
/// the machine's clock are told by how long ago or how far off they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct HandedLife {
    /// The number of the last run.
    pub(crate) run: u64,
    stage: HandedStage,
    begun: Option<Begun>,
    failed_ago: Vec<Duration>,
    has_provided: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum HandedStage {
    /// Waits so long.
    Delayed {
        left: Duration,
        reason: Delay,
    },
    /// Waits for the wall clock.
    DelayedTo {
        time: Timestamp,
        reason: Delay,
    },
    Waiting,
    Running {
        is_ready: bool,
    },
    Stopping {
        stop: Stop,
    },
}

/// When the last occurrence began, by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Begun {
    ago: Duration,
    at: Timestamp,
}

/// What passed while nobody had a job in hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Interval {
    /// Since the job was handed over.
    pub(crate) away: Duration,
    /// Since its program was started, if it runs.
    pub(crate) ran_for: Duration,
}

impl HandedLife {
    /// When the last occurrence began.
    pub(crate) fn begun_at(&self) -> Option<Timestamp> {
        self.begun.map(|begun| begun.at)
    }

    /// Whether a child belongs to it.
    pub(crate) fn has_child(&self) -> bool {
        matches!(self.stage, HandedStage::Running { .. } | HandedStage::Stopping { .. })
    }
}

impl Life {
    /// What the next manager is to know. None of a job that is just being started, is
    /// told to end for good, is read to its end, or has ended: it is handed over when
    /// that is done. `is_held` says that the launch that was decided last was left
    /// undone.
    pub(crate) fn handed(&self, is_held: bool, now: Now) -> Option<HandedLife> {
        let stage = match &self.stage {
            Stage::Delayed { until: Due::OnWall(time), reason } => {
                HandedStage::DelayedTo { time: *time, reason: *reason }
            }
            Stage::Delayed { until, reason } => {
                HandedStage::Delayed { left: until.after(now), reason: *reason }
            }
            Stage::Waiting => HandedStage::Waiting,
            // It keeps its turn.
            Stage::Starting { stop: None } if is_held => {
                HandedStage::Delayed { left: Duration::ZERO, reason: Delay::BackOff }
            }
            Stage::Running { is_ready, .. } => HandedStage::Running { is_ready: *is_ready },
            Stage::Stopping { stop } if *stop != Stop::Kill => {
                HandedStage::Stopping { stop: *stop }
            }
            Stage::Starting { .. }
            | Stage::Stopping { .. }
            | Stage::Settling { .. }
            | Stage::Ended(_) => return None,
        };
        let run = if is_held { self.run.saturating_sub(1) } else { self.run };
        Some(HandedLife { run, ..self.told(stage, now) })
    }

    /// What the next manager is to know if it finds the run that is about to begin.
    pub(crate) fn beginning(&self, now: Now) -> HandedLife {
        self.told(HandedStage::Running { is_ready: false }, now)
    }

    fn told(&self, stage: HandedStage, now: Now) -> HandedLife {
        let begun = self.begun.map(|begun| Begun {
            ago: now.instant.saturating_duration_since(begun.instant),
            at: begun.wall,
        });
        let failed_ago = self.failures.ages(now.instant);
        HandedLife { run: self.run, stage, begun, failed_ago, has_provided: self.has_provided }
    }

    /// Goes on where another manager stood, and says what is to be done at once.
    pub(crate) fn resume(
        policy: Policy,
        handed: &HandedLife,
        interval: Interval,
        now: Now,
    ) -> (Self, Vec<Action>) {
        let Interval { away, ran_for } = interval;
        let begun = handed.begun.map(|Begun { ago, at }| Now {
            instant: now.instant.checked_sub(ago + away).unwrap_or(now.instant),
            wall: at,
        });
        let ages: Vec<_> = handed.failed_ago.iter().map(|ago| *ago + away).collect();
        let mut life = Self {
            policy,
            stage: Stage::Waiting,
            run: handed.run,
            begun,
            failures: Failures::of_ages(&ages, now.instant),
            has_provided: handed.has_provided,
        };
        let mut actions = Vec::new();
        match handed.stage {
            HandedStage::Delayed { left, reason } => {
                let until = Due::At(now.instant + left.saturating_sub(away));
                life.stage = Stage::Delayed { until, reason };
            }
            HandedStage::DelayedTo { time, reason } => {
                life.stage = Stage::Delayed { until: Due::OnWall(time), reason };
            }
            HandedStage::Waiting => {}
            HandedStage::Running { is_ready: was_ready } => {
                life.running(ran_for, now);
                if let Stage::Running { is_ready, .. } = &mut life.stage {
                    *is_ready |= was_ready;
                }
            }
            HandedStage::Stopping { stop } => {
                life.running(ran_for, now);
                life.stop(stop, &mut actions);
            }
        }
        (life, actions)
    }
}
