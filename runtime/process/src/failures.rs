//! Failures that count together, and what follows each of them. Pure: whoever
//! asks says what time it is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::spec::RestartPolicy;

/// How often a delay can double before nobody sees a difference.
const DOUBLINGS: u32 = 20;

/// What failed of late; no more of it than has an effect.
#[derive(Debug, Clone, Default)]
pub struct Failures {
    /// Oldest first.
    times: VecDeque<Instant>,
}

/// What follows a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterFailure {
    /// Another try.
    Restart {
        /// How long to wait before it.
        delay: Duration,
        /// How many failures there were within the window.
        failures: usize,
    },
    /// Nothing: there were too many.
    GiveUp {
        /// How many there were within the window.
        failures: usize,
    },
}

impl Failures {
    /// The time within which failures count together.
    pub const WINDOW: Duration = Duration::from_secs(5 * 60);

    /// Takes one more failure.
    pub fn failed(&mut self, now: Instant, policy: &RestartPolicy) -> AfterFailure {
        self.times.retain(|&time| now.saturating_duration_since(time) < Self::WINDOW);
        self.times.push_back(now);
        let failures = self.times.len();
        if policy.max.is_some_and(|max| failures > max as usize) {
            return AfterFailure::GiveUp { failures };
        }
        let that_matter = policy.max.map_or(DOUBLINGS, |max| max.saturating_add(1)) as usize;
        self.times.drain(..failures.saturating_sub(that_matter));
        AfterFailure::Restart { delay: delay(policy, failures), failures }
    }

    /// How long ago each was, oldest first: for whoever goes on counting elsewhere.
    pub(crate) fn ages(&self, now: Instant) -> Vec<Duration> {
        self.times.iter().map(|&time| now.saturating_duration_since(time)).collect()
    }

    /// Goes on counting after failures so long ago, oldest first.
    pub(crate) fn of_ages(ages: &[Duration], now: Instant) -> Self {
        // What is older than the machine's clock is older than the window.
        Self { times: ages.iter().filter_map(|&age| now.checked_sub(age)).collect() }
    }

    /// Forgets them all.
    pub fn clear(&mut self) {
        self.times.clear();
    }
}

/// The wait before the restart that follows the last of so many failures.
fn delay(policy: &RestartPolicy, failures: usize) -> Duration {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(DOUBLINGS);
    let factor = 1_u32 << doublings.min(DOUBLINGS);
    policy.first.saturating_mul(factor).min(policy.longest)
}
