//! What the agent counts of itself: its jobs, its link, its processes; and the
//! [`page`] that tells it, to `drover metrics`, to the controller's `/metrics/nodes/`
//! and, if the configuration says so, to whoever asks on a socket of this host
//! ([`serve`]).
//!
//! It is no part of [`metrics`](crate::metrics), which are what jobs measure.

mod page;
mod serve;

use std::sync::Arc;
use std::time::Duration;

use drover_api::{ErrorCode, JobState};
use drover_vitals::{Counter, Histogram, Peak, Table};

pub(crate) use page::page;
pub(crate) use serve::{Listening, run as serve};

/// Operations that are counted by name; the rest are counted together.
const OPERATIONS: usize = 512;

/// The states that jobs end in.
const ENDED: [(JobState, &str); 4] = [
    (JobState::Ok, "OK"),
    (JobState::Error, "ERROR"),
    (JobState::Timeout, "TIMEOUT"),
    (JobState::Killed, "KILLED"),
];

/// What is counted; a handle, cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Vitals(Arc<Counts>);

#[derive(Debug)]
struct Counts {
    live: OfJobs,
    durable: OfJobs,
    operations: Table<OfOperation>,
    link: OfLink,
    processes: OfProcesses,
}

/// Which way a command came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Somebody calls, and waits.
    Live,
    /// The controller has handed it over.
    Durable,
}

/// Jobs that came one way.
#[derive(Debug, Default)]
struct OfJobs {
    ended: OfStates,
    took: Histogram,
}

/// Jobs of one operation, or of one of the host's own commands.
#[derive(Debug, Default)]
struct OfOperation {
    ended: OfStates,
    errors: [Counter; ErrorCode::ALL.len()],
    took_us: Counter,
    memory: Peak,
}

/// How many jobs ended in which of [`ENDED`].
#[derive(Debug, Default)]
struct OfStates([Counter; ENDED.len()]);

/// What is counted of the link.
#[derive(Debug, Default)]
pub(crate) struct OfLink {
    /// Sessions in which the node got its procedures.
    pub(crate) joins: Counter,
    /// Signs of life that were sent.
    pub(crate) heartbeats: Counter,
    /// Until the controller had one.
    pub(crate) round_trip: Histogram,
}

/// What is counted of child processes.
#[derive(Debug, Default)]
pub(crate) struct OfProcesses {
    /// Programs that were started, or taken over from an earlier agent.
    pub(crate) starts: Counter,
    /// Failed runs that another one follows.
    pub(crate) restarts: Counter,
    /// Programs that could not be started.
    pub(crate) not_started: Counter,
}

/// How a job ended, as it is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ending {
    pub(crate) state: JobState,
    pub(crate) error: Option<ErrorCode>,
    pub(crate) took: Duration,
    /// The most memory that it had; 0 if nobody knows.
    pub(crate) memory_bytes: u64,
}

impl Default for Vitals {
    fn default() -> Self {
        Self(Arc::new(Counts {
            live: OfJobs::default(),
            durable: OfJobs::default(),
            operations: Table::new(OPERATIONS),
            link: OfLink::default(),
            processes: OfProcesses::default(),
        }))
    }
}

impl Vitals {
    /// A job has ended, of the operation or command `name`. What nobody has is counted
    /// under no name: callers can think of many.
    pub(crate) fn ended(&self, way: Way, name: Option<&str>, ending: Ending) {
        let jobs = self.of(way);
        jobs.ended.count(ending.state);
        jobs.took.observe(ending.took);
        let is_known = ending.error != Some(ErrorCode::UnknownCommand);
        let Some(name) = name.filter(|_| is_known) else { return };
        let operation = self.0.operations.of(name);
        operation.ended.count(ending.state);
        operation.took_us.add(u64::try_from(ending.took.as_micros()).unwrap_or(u64::MAX));
        operation.memory.reach(ending.memory_bytes);
        if let Some(code) = ending.error {
            operation.errors[code as usize].one();
        }
    }

    pub(crate) fn link(&self) -> &OfLink {
        &self.0.link
    }

    pub(crate) fn processes(&self) -> &OfProcesses {
        &self.0.processes
    }

    fn of(&self, way: Way) -> &OfJobs {
        match way {
            Way::Live => &self.0.live,
            Way::Durable => &self.0.durable,
        }
    }
}

impl OfStates {
    fn count(&self, state: JobState) {
        let mut counters = ENDED.iter().zip(&self.0);
        if let Some((_, counter)) = counters.find(|((ended, _), _)| *ended == state) {
            counter.one();
        }
    }

    fn read(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ENDED.iter().zip(&self.0).map(|((_, name), counter)| (*name, counter.read()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_callers_think_of_are_counted_but_not_by_name() {
        let vitals = Vitals::default();
        let ending = |error: Option<ErrorCode>| Ending {
            state: if error.is_none() { JobState::Ok } else { JobState::Error },
            error,
            took: Duration::from_millis(2),
            memory_bytes: 0,
        };
        vitals.ended(Way::Live, Some("hello.greet"), ending(None));
        vitals.ended(Way::Live, Some("hello.greet"), ending(Some(ErrorCode::Trapped)));
        vitals.ended(Way::Durable, Some("no.such"), ending(Some(ErrorCode::UnknownCommand)));
        let names: Vec<_> = vitals.0.operations.iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["hello.greet"]);
        let states = |way| vitals.of(way).ended.read().map(|(_, count)| count).collect::<Vec<_>>();
        assert_eq!(states(Way::Live), [1, 1, 0, 0]);
        assert_eq!(states(Way::Durable), [0, 1, 0, 0]);
        let greet = vitals.0.operations.of("hello.greet");
        assert_eq!(greet.errors[ErrorCode::Trapped as usize].read(), 1);
        assert_eq!(greet.took_us.read(), 4000);
    }
}
