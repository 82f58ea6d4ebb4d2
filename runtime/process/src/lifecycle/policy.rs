//! The rules that one job lives by, as numbers.

use std::time::{Duration, Instant};

use drover_api::Timestamp;

use super::{Delay, Now};
use crate::spec::{MaxTime, ProcessSpec, Recurrence, RestartPolicy};

/// How far a clock may be set back before a schedule begins anew.
const CLOCK_SET_BACK: Duration = Duration::from_secs(5 * 60);

/// A point in time on one of the two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    At(Instant),
    OnWall(Timestamp),
}

impl Due {
    pub(crate) fn has_come(self, now: Now) -> bool {
        match self {
            Self::At(instant) => instant <= now.instant,
            Self::OnWall(time) => time <= now.wall,
        }
    }

    /// How long it is until then.
    pub(crate) fn after(self, now: Now) -> Duration {
        match self {
            Self::At(instant) => instant.saturating_duration_since(now.instant),
            Self::OnWall(time) => time.since(now.wall),
        }
    }
}

/// What a spec says about the life of its job.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) max_time: Option<Duration>,
    pub(crate) is_long_running: bool,
    pub(crate) has_ready_pattern: bool,
    pub(crate) grace: Duration,
    pub(crate) restart: RestartPolicy,
    pub(crate) recurrence: Option<Recurrence>,
    pub(crate) start_delay: Duration,
}

impl Policy {
    pub(crate) fn of(spec: &ProcessSpec) -> Self {
        Self {
            max_time: match spec.max_time {
                MaxTime::Limit(limit) => Some(limit),
                MaxTime::Unlimited | MaxTime::LongRunning => None,
            },
            is_long_running: spec.max_time == MaxTime::LongRunning,
            has_ready_pattern: spec.ready.is_some(),
            grace: spec.grace,
            restart: spec.restart,
            recurrence: spec.recurrence.clone(),
            start_delay: spec.start_delay,
        }
    }

    /// When the first run is due; none: at once.
    pub(super) fn first_due(&self, now: Now) -> Option<(Due, Delay)> {
        if let Some(Recurrence::Cron(schedule)) = &self.recurrence {
            // The delay moves the start of the schedule, not its times.
            let from = Timestamp(now.wall.0.saturating_add(milliseconds(self.start_delay)));
            return schedule.next_after(from).map(|due| (Due::OnWall(due), Delay::Recurrence));
        }
        let is_delayed = !self.start_delay.is_zero();
        is_delayed.then(|| (Due::At(now.instant + self.start_delay), Delay::Start))
    }

    /// When the next occurrence is due after one that began at `begun`.
    pub(super) fn next_due(&self, begun: Option<Now>, now: Now) -> Option<Due> {
        match self.recurrence.as_ref()? {
            Recurrence::Every(period) => {
                let from = begun.unwrap_or(now).instant + *period;
                Some(Due::At(from.max(now.instant)))
            }
            Recurrence::Cron(schedule) => {
                // A clock that was set back must not bring the same time again.
                let from = begun.map_or(now.wall, |begun| now.wall.max(begun.wall));
                let from = if from.since(now.wall) > CLOCK_SET_BACK { now.wall } else { from };
                schedule.next_after(from).map(Due::OnWall)
            }
        }
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
