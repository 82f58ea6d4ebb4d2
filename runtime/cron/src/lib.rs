//! Schedules on the wall clock.

#![forbid(unsafe_code)]

use std::str::FromStr;

use croner::Cron;
use drover_api::Timestamp;
use jiff::Zoned;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// A cron pattern in a time zone.
///
/// Five fields (minute to weekday), or six with seconds before them; `@daily`
/// and its kind too. A time that the clocks skip in spring runs when they have
/// skipped it; one that they show twice in autumn runs once, unless the pattern
/// has a `*`, a range or a list there.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "CronText", into = "CronText")]
pub struct CronSchedule {
    text: CronText,
    cron: Cron,
    zone: TimeZone,
}

/// Why a schedule cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The pattern cannot be read.
    #[error(
        "`{pattern}` is no cron pattern ({reason}): write five fields, such as `30 4 * * 1-5` \
         for half past four from Monday to Friday"
    )]
    Pattern {
        /// What was written.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// No day is like that.
    #[error("`{pattern}` never comes: name a day that exists")]
    Never {
        /// What was written.
        pattern: String,
    },
    /// The host has no such time zone.
    #[error(
        "`{zone}` is no time zone that this host knows: write a name such as `Europe/Berlin`, \
         leave it out for UTC, or install the package tzdata"
    )]
    Zone {
        /// What was written.
        zone: String,
    },
}

impl CronError {
    /// What is at fault: `cron` or `timezone`.
    #[must_use]
    pub fn key(&self) -> &'static str {
        match self {
            Self::Pattern { .. } | Self::Never { .. } => "cron",
            Self::Zone { .. } => "timezone",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct CronText {
    pattern: String,
    zone: String,
}

impl CronSchedule {
    /// Parses a pattern; `zone` is an IANA name.
    ///
    /// # Errors
    ///
    /// If it is no pattern, never comes, or the zone is not known.
    pub fn new(pattern: &str, zone: &str) -> Result<Self, CronError> {
        let cron = Cron::from_str(pattern).map_err(|error| CronError::Pattern {
            pattern: pattern.to_owned(),
            reason: error.to_string(),
        })?;
        let time_zone = match zone {
            "UTC" => TimeZone::UTC,
            _ => TimeZone::get(zone).map_err(|_| CronError::Zone { zone: zone.to_owned() })?,
        };
        let text = CronText { pattern: pattern.to_owned(), zone: zone.to_owned() };
        let schedule = Self { text, cron, zone: time_zone };
        match schedule.next_after(Timestamp(0)) {
            Some(_) => Ok(schedule),
            None => Err(CronError::Never { pattern: pattern.to_owned() }),
        }
    }

    /// The first time after `time` at which the schedule is due; none if there
    /// is no more.
    #[must_use]
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&self.zoned(time)?, false).ok()?;
        u64::try_from(next.timestamp().as_millisecond()).ok().map(Timestamp)
    }

    /// The last time up to `time` at which the schedule was due; none if there was
    /// none.
    #[must_use]
    pub fn last_until(&self, time: Timestamp) -> Option<Timestamp> {
        // Patterns know no parts of seconds.
        let second = Timestamp(time.0 - time.0 % 1000);
        let last = self.cron.find_previous_occurrence(&self.zoned(second)?, true).ok()?;
        u64::try_from(last.timestamp().as_millisecond()).ok().map(Timestamp)
    }

    fn zoned(&self, time: Timestamp) -> Option<Zoned> {
        let millisecond = i64::try_from(time.0).ok()?;
        let time = jiff::Timestamp::from_millisecond(millisecond).ok()?;
        Some(time.to_zoned(self.zone.clone()))
    }
}

impl PartialEq for CronSchedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl TryFrom<CronText> for CronSchedule {
    type Error = CronError;

    fn try_from(text: CronText) -> Result<Self, Self::Error> {
        Self::new(&text.pattern, &text.zone)
    }
}

impl From<CronSchedule> for CronText {
    fn from(schedule: CronSchedule) -> Self {
        schedule.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let time: jiff::Timestamp = text.parse().unwrap();
        Timestamp(u64::try_from(time.as_millisecond()).unwrap())
    }

    fn next(pattern: &str, zone: &str, after: &str) -> Timestamp {
        CronSchedule::new(pattern, zone).unwrap().next_after(at(after)).unwrap()
    }

    #[test]
    fn patterns_of_five_and_six_fields_and_aliases_are_understood() {
        for (pattern, due) in [
            ("30 4 * * *", "2026-03-02T04:30:00Z"),
            ("*/10 * * * * *", "2026-03-01T12:00:10Z"),
            ("0 0 * * MON", "2026-03-02T00:00:00Z"),
            ("@hourly", "2026-03-01T13:00:00Z"),
        ] {
            assert_eq!(next(pattern, "UTC", "2026-03-01T12:00:00Z"), at(due), "{pattern}");
        }
    }

    #[test]
    fn the_time_zone_decides_what_the_clock_shows() {
        let due = next("30 4 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z");
        assert_eq!(due, at("2026-07-01T02:30:00Z"));
    }

    #[test]
    fn a_time_that_the_clocks_skip_or_repeat_runs_once_a_day() {
        // Berlin 2026: 29 March 02:00 becomes 03:00, 25 October 03:00 becomes 02:00.
        let schedule = CronSchedule::new("30 2 * * *", "Europe/Berlin").unwrap();
        for (from, until) in [
            ("2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z"),
            ("2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z"),
        ] {
            let mut runs = 0;
            let mut time = at(from);
            while let Some(next) = schedule.next_after(time).filter(|next| *next < at(until)) {
                assert!(next > time);
                (time, runs) = (next, runs + 1);
            }
            assert_eq!(runs, 2, "{from}");
        }
    }

    /// All times in between, looked for from either end.
    fn between(schedule: &CronSchedule, from: Timestamp, until: Timestamp) -> Vec<Timestamp> {
        let mut ahead = Vec::new();
        let mut time = from;
        while let Some(next) = schedule.next_after(time).filter(|next| *next <= until) {
            ahead.push(next);
            time = next;
        }
        let mut back = Vec::new();
        let mut time = until;
        while let Some(last) = schedule.last_until(time).filter(|last| *last > from) {
            back.push(last);
            time = Timestamp(last.0 - 1);
        }
        back.reverse();
        assert_eq!(ahead, back);
        ahead
    }

    #[test]
    fn the_times_are_the_same_from_either_end_also_where_clocks_change() {
        // Berlin: a day of 23 hours, one of 25, and a plain one.
        for (pattern, counts) in [
            ("*/30 * * * *", [46, 50, 48]),
            ("30 * * * *", [23, 25, 24]),
            ("30 2 * * *", [1, 1, 1]),
            ("0 2,3 * * *", [1, 3, 2]),
            ("15 30 2-3 * * *", [1, 3, 2]),
        ] {
            let schedule = CronSchedule::new(pattern, "Europe/Berlin").unwrap();
            let days = [
                ("2026-03-28T22:59:59Z", "2026-03-29T21:59:59Z"),
                ("2026-10-24T21:59:59Z", "2026-10-25T22:59:59Z"),
                ("2026-06-01T21:59:59Z", "2026-06-02T21:59:59Z"),
            ];
            let found = days.map(|(from, until)| between(&schedule, at(from), at(until)).len());
            assert_eq!(found, counts, "{pattern}");
        }
    }

    #[test]
    fn rare_days_come_when_the_calendar_has_them() {
        for (pattern, due) in [
            ("0 0 29 2 *", "2028-02-29T00:00:00Z"),
            ("0 0 31 * *", "2026-03-31T00:00:00Z"),
            ("0 0 L * *", "2026-03-31T00:00:00Z"),
            // A day of the month or one of the week, as cron has it.
            ("0 0 13 * FRI", "2026-03-06T00:00:00Z"),
        ] {
            assert_eq!(next(pattern, "UTC", "2026-03-01T12:00:00Z"), at(due), "{pattern}");
        }
    }

    #[test]
    fn the_last_time_may_be_this_one() {
        let schedule = CronSchedule::new("*/10 * * * * *", "UTC").unwrap();
        let ten = at("2026-03-01T12:00:10Z");
        for late in [0, 1, 999, 9999] {
            assert_eq!(schedule.last_until(Timestamp(ten.0 + late)), Some(ten), "{late}");
        }
    }

    #[test]
    fn what_cannot_come_is_refused_with_the_cure() {
        for (pattern, zone, part) in [
            ("every day", "UTC", "write five fields"),
            ("61 * * * *", "UTC", "no cron pattern"),
            ("0 0 30 2 *", "UTC", "never comes"),
            ("0 0 * * *", "Mars/Olympus", "no time zone"),
        ] {
            let error = CronSchedule::new(pattern, zone).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
