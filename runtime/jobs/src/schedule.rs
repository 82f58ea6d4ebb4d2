//! When a schedule submits: a pure function of what was done and of the clock.

use std::time::Duration;

use drover_api::{LastTime, Missed, Schedule, Timestamp};
use drover_cron::{CronError, CronSchedule};
use serde::{Deserialize, Serialize};

/// A time was missed if it is longer ago than this, or another has come since.
const ON_TIME: Duration = Duration::from_secs(60);

/// Times that are made up for.
const MOST_MISSED: usize = 100;

/// The shortest time between two submissions.
const SHORTEST: u64 = 1000;

/// A schedule that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// Its pattern or zone is none.
    #[error(transparent)]
    Cron(#[from] CronError),
    /// It does not say when, or says it twice.
    #[error("say when: either a cron pattern, or the time between two submissions")]
    When,
    /// It comes too often.
    #[error("a schedule submits once a second at most, not every {0} ms")]
    TooOften(u64),
}

/// When a schedule comes.
#[derive(Debug, Clone)]
pub enum Timetable {
    /// By the clock on the wall.
    Cron(Box<CronSchedule>),
    /// Again and again after so many milliseconds.
    Every(u64),
}

/// A schedule as the controller keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptSchedule {
    /// What is submitted when.
    pub schedule: Schedule,
    /// Who added it.
    pub by: String,
    /// When it was added, from which `every_ms` counts.
    pub added: Timestamp,
    /// All times up to this one were dealt with.
    pub done_until: Timestamp,
    /// Whether nothing is submitted.
    pub is_paused: bool,
    /// What became of the last time.
    pub last: Option<LastTime>,
}

impl Timetable {
    /// When a schedule comes.
    ///
    /// # Errors
    ///
    /// If it says so in no way, in two, or in none that can be understood.
    pub fn of(schedule: &Schedule) -> Result<Self, ScheduleError> {
        match (&schedule.cron, schedule.every_ms) {
            (Some(pattern), None) => {
                let zone = schedule.timezone.as_deref().unwrap_or("UTC");
                Ok(Self::Cron(Box::new(CronSchedule::new(pattern, zone)?)))
            }
            (None, Some(every)) if every < SHORTEST => Err(ScheduleError::TooOften(every)),
            (None, Some(every)) => Ok(Self::Every(every)),
            _ => Err(ScheduleError::When),
        }
    }

    /// The first time after `time`; none if there is no more.
    #[must_use]
    pub fn next_after(&self, added: Timestamp, time: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron) => cron.next_after(time),
            Self::Every(every) => {
                let passed = time.0.saturating_sub(added.0) / every;
                let next = passed.checked_add(1)?.checked_mul(*every)?;
                added.0.checked_add(next).map(Timestamp)
            }
        }
    }
}

impl Timetable {
    /// The last time up to `time`; none if there was none.
    fn last_until(&self, added: Timestamp, time: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Cron(cron) => cron.last_until(time),
            Self::Every(every) => {
                let passed = time.0.saturating_sub(added.0) / every;
                (passed > 0).then(|| Timestamp(added.0 + passed * every))
            }
        }
    }
}

impl KeptSchedule {
    /// The times for which something is to be submitted by now, oldest first.
    #[must_use]
    pub fn due(&self, timetable: &Timetable, now: Timestamp) -> Vec<Timestamp> {
        if self.is_paused {
            return Vec::new();
        }
        let most = match self.schedule.missed {
            Missed::Skip | Missed::Once => 1,
            Missed::All => MOST_MISSED,
        };
        let mut times = Vec::new();
        let mut until = now;
        while times.len() < most {
            let last = timetable.last_until(self.added, until);
            let is_due = |last: &Timestamp| *last > self.done_until && *last <= until;
            let Some(last) = last.filter(is_due) else { break };
            times.push(last);
            until = Timestamp(last.0 - 1);
        }
        if self.schedule.missed == Missed::Skip {
            times.retain(|time| now.since(*time) <= ON_TIME);
        }
        times.reverse();
        times
    }

    /// The next times after now.
    #[must_use]
    pub fn next(&self, timetable: &Timetable, now: Timestamp, count: usize) -> Vec<Timestamp> {
        let mut times = Vec::new();
        let mut time = now.max(self.done_until);
        while times.len() < count && !self.is_paused {
            let Some(next) = timetable.next_after(self.added, time) else { break };
            times.push(next);
            time = next;
        }
        times
    }
}

#[cfg(test)]
mod tests {
    use drover_api::{Command, JobSubmit, Overlap};

    use super::*;

    const HOUR: u64 = 3_600_000;

    fn every(ms: u64, missed: Missed) -> (KeptSchedule, Timetable) {
        let schedule = Schedule {
            name: "s".to_owned(),
            cron: None,
            timezone: None,
            every_ms: Some(ms),
            submit: JobSubmit::new(Command::new("a.b"), "*"),
            missed,
            overlap: Overlap::Skip,
        };
        let timetable = Timetable::of(&schedule).unwrap();
        let kept = KeptSchedule {
            schedule,
            by: "ada".to_owned(),
            added: Timestamp(500),
            done_until: Timestamp(500),
            is_paused: false,
            last: None,
        };
        (kept, timetable)
    }

    fn due(kept: &KeptSchedule, timetable: &Timetable, now: u64) -> Vec<u64> {
        kept.due(timetable, Timestamp(now)).iter().map(|time| time.0).collect()
    }

    #[test]
    fn what_is_on_time_is_submitted_once() {
        let (mut kept, timetable) = every(HOUR, Missed::Skip);
        assert!(due(&kept, &timetable, HOUR).is_empty());
        assert_eq!(due(&kept, &timetable, HOUR + 510), [HOUR + 500]);
        kept.done_until = Timestamp(HOUR + 500);
        assert!(due(&kept, &timetable, HOUR + 510).is_empty());
        let next: Vec<_> = kept.next(&timetable, Timestamp(HOUR + 510), 2);
        assert_eq!(next, [Timestamp(2 * HOUR + 500), Timestamp(3 * HOUR + 500)]);
    }

    #[test]
    fn what_was_missed_is_made_up_for_as_the_schedule_says() {
        let late = 10 * HOUR;
        for (missed, count) in [(Missed::Skip, 0), (Missed::Once, 1), (Missed::All, 9)] {
            let (kept, timetable) = every(HOUR, missed);
            let due = due(&kept, &timetable, late);
            assert_eq!(due.len(), count, "{missed:?}");
            assert!(due.last().is_none_or(|last| *last == 9 * HOUR + 500));
        }
        let (kept, timetable) = every(1000, Missed::All);
        let missed = due(&kept, &timetable, 1_000_000_000);
        assert_eq!((missed.len(), missed.last()), (MOST_MISSED, Some(&999_999_500)));
    }

    #[test]
    fn of_those_that_come_together_all_but_the_last_were_missed() {
        for (missed, count) in [(Missed::Skip, 1), (Missed::Once, 1), (Missed::All, 30)] {
            let (kept, timetable) = every(1000, missed);
            let due = due(&kept, &timetable, 30_600);
            assert_eq!((due.len(), due.last()), (count, Some(&30_500)), "{missed:?}");
        }
    }

    #[test]
    fn of_a_pattern_that_was_missed_for_a_year_the_last_times_count() {
        let (mut kept, _) = every(1000, Missed::All);
        kept.schedule.every_ms = None;
        kept.schedule.cron = Some("* * * * * *".to_owned());
        let timetable = Timetable::of(&kept.schedule).unwrap();
        let year = 365 * 24 * HOUR;
        let missed = due(&kept, &timetable, year);
        assert_eq!((missed.len(), missed.last()), (MOST_MISSED, Some(&year)));
    }

    #[test]
    fn a_paused_schedule_has_no_times() {
        let (kept, timetable) = every(HOUR, Missed::All);
        let kept = KeptSchedule { is_paused: true, ..kept };
        assert!(due(&kept, &timetable, 10 * HOUR).is_empty());
        assert!(kept.next(&timetable, Timestamp(0), 3).is_empty());
    }

    #[test]
    fn a_schedule_says_when_in_one_way() {
        let (kept, _) = every(HOUR, Missed::Once);
        let with = |cron: Option<&str>, every_ms| {
            let cron = cron.map(str::to_owned);
            Timetable::of(&Schedule { cron, every_ms, ..kept.schedule.clone() })
        };
        assert!(with(Some("0 4 * * *"), None).is_ok());
        for (cron, every_ms, part) in [
            (None, None, "say when"),
            (Some("0 4 * * *"), Some(5000), "say when"),
            (None, Some(10), "once a second"),
            (Some("61 * * * *"), None, "no cron pattern"),
        ] {
            let error = with(cron, every_ms).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
