//! Times as logs write them, in milliseconds since 1970 (UTC).

use crate::zone::Zone;

/// What a line does not say of its time.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    /// That of times without one.
    pub(crate) zone: Zone,
    /// The present, for times without a year.
    pub(crate) now_ms: u64,
}

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
pub(crate) const DAY: i64 = 24 * HOUR;

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

/// A time and the rest of the text after it.
type Found<'a> = Option<(u64, &'a [u8])>;

/// `10/Oct/2000:13:55:36 -0700`, all of the text.
#[inline]
pub(crate) fn common_log(text: &[u8]) -> Option<u64> {
    let [d1, d2, b'/', m1, m2, m3, b'/', y @ ..] = text else { return None };
    let (year, rest) = y.split_first_chunk::<4>()?;
    let [b':', h1, h2, b':', n1, n2, b':', s1, s2, b' ', zone @ ..] = rest else { return None };
    let date = Date {
        year: i64::from(two(year[0], year[1])?) * 100 + i64::from(two(year[2], year[3])?),
        month: month(&[*m1, *m2, *m3])?,
        day: two(*d1, *d2)?,
    };
    let time = clock_ms(two(*h1, *h2)?, two(*n1, *n2)?, two(*s1, *s2)?)?;
    let (offset, rest) = zone_of(zone)?;
    rest.is_empty().then_some(())?;
    positive(date.days()? * DAY + time - offset)
}

/// `2023-10-11T22:14:15.003Z`, with a blank instead of the `T`, with slashes,
/// with a comma before the fraction, with and without a zone.
pub(crate) fn iso<'a>(text: &'a [u8], clock: &Clock) -> Found<'a> {
    let (y, rest) = text.split_first_chunk::<4>()?;
    let [dash @ (b'-' | b'/'), m1, m2, other, d1, d2, b'T' | b't' | b' ' | b'_', rest @ ..] = rest
    else {
        return None;
    };
    (dash == other).then_some(())?;
    let year = i64::from(two(y[0], y[1])?) * 100 + i64::from(two(y[2], y[3])?);
    let date = Date { year, month: two(*m1, *m2)?, day: two(*d1, *d2)? };
    let (time, rest) = time_of_day(rest)?;
    let local = date.days()? * DAY + time;
    let (time, rest) = match zone_of(rest) {
        Some((offset, rest)) => (local - offset, rest),
        None => (clock.zone.utc(local), rest),
    };
    Some((positive(time)?, rest))
}

/// `Oct 11 22:14:15` of the year that makes it the latest that is not in the
/// future, give or take a day.
pub(crate) fn without_year<'a>(text: &'a [u8], clock: &Clock) -> Found<'a> {
    let (name, rest) = text.split_first_chunk::<3>()?;
    let [b' ', d1, d2, b' ', rest @ ..] = rest else { return None };
    let day = if *d1 == b' ' { two(b'0', *d2)? } else { two(*d1, *d2)? };
    let (time, rest) = time_of_day(rest)?;
    let month = month(name)?;
    let now = i64::try_from(clock.now_ms).ok()?;
    // It may be another one there, by one.
    let this_year = year_of(now);
    let limit = now + DAY;
    // Some years have no 29th of February.
    let of = |year| Some(clock.zone.utc(Date { year, month, day }.days()? * DAY + time));
    let mut years = (0..8).filter_map(|ago| of(this_year + 1 - ago));
    Some((positive(years.find(|time| *time <= limit)?)?, rest))
}

/// `Fri Sep 09 10:42:29.902022 2011`.
pub(crate) fn with_weekday<'a>(text: &'a [u8], clock: &Clock) -> Found<'a> {
    let [_, _, _, b' ', m1, m2, m3, b' ', d1, d2, b' ', rest @ ..] = text else { return None };
    let day = if *d1 == b' ' { two(b'0', *d2)? } else { two(*d1, *d2)? };
    let (time, rest) = time_of_day(rest)?;
    let (year, rest) = rest.strip_prefix(b" ")?.split_first_chunk::<4>()?;
    let year = i64::from(two(year[0], year[1])?) * 100 + i64::from(two(year[2], year[3])?);
    let date = Date { year, month: month(&[*m1, *m2, *m3])?, day };
    Some((positive(clock.zone.utc(date.days()? * DAY + time))?, rest))
}

/// A number since 1970, all of the text: seconds, with a fraction or not,
/// milliseconds, microseconds or nanoseconds, told apart by how large it is.
pub(crate) fn since_1970(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, fraction) = text.split_at(digits);
    let whole: u64 = std::str::from_utf8(whole).ok()?.parse().ok()?;
    match fraction {
        [] => Some(scaled(whole)),
        [b'.', fraction @ ..] if digits <= 11 => {
            let (ms, rest) = fraction_ms(fraction)?;
            rest.is_empty().then_some(whole * 1000 + u64::from(ms))
        }
        _ => None,
    }
}

/// Seconds, milliseconds, microseconds or nanoseconds since 1970.
pub(crate) fn scaled(number: u64) -> u64 {
    match number {
        0..100_000_000_000 => number * 1000,
        100_000_000_000..100_000_000_000_000 => number,
        100_000_000_000_000..100_000_000_000_000_000 => number / 1000,
        _ => number / 1_000_000,
    }
}

/// Whatever of the above the whole text is.
pub(crate) fn any(text: &[u8], clock: &Clock) -> Option<u64> {
    let whole = |found: Found<'_>| {
        let (time, rest) = found?;
        rest.trim_ascii().is_empty().then_some(time)
    };
    match text.first()? {
        b'0'..=b'9' => {
            whole(iso(text, clock)).or_else(|| common_log(text)).or_else(|| since_1970(text))
        }
        _ => whole(without_year(text, clock)).or_else(|| whole(with_weekday(text, clock))),
    }
}

/// How far ahead of UTC a zone is: `Z`, `UTC`, `+02:00`, `-0700` or `+02`.
pub(crate) fn offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("utc") {
        return Some(0);
    }
    let (offset, rest) = zone_of(text.as_bytes())?;
    rest.is_empty().then_some(offset)
}

fn zone_of(text: &[u8]) -> Option<(i64, &[u8])> {
    let (sign, rest) = match text {
        [b'Z' | b'z', rest @ ..] => return Some((0, rest)),
        [b' ', b'+' | b'-', ..] => return zone_of(&text[1..]),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let [h1, h2, rest @ ..] = rest else { return None };
    let hours = i64::from(two(*h1, *h2)?);
    let (minutes, rest) = match rest {
        [b':', m1, m2, rest @ ..] | [m1 @ b'0'..=b'9', m2, rest @ ..] => (two(*m1, *m2)?, rest),
        _ => (0, rest),
    };
    (hours <= 14 && minutes < 60).then_some(())?;
    Some((sign * (hours * HOUR + i64::from(minutes) * MINUTE), rest))
}

/// `13:55:36` and `13:55:36.123456`, also with a comma.
fn time_of_day(text: &[u8]) -> Option<(i64, &[u8])> {
    let [h1, h2, b':', m1, m2, b':', s1, s2, rest @ ..] = text else { return None };
    let time = clock_ms(two(*h1, *h2)?, two(*m1, *m2)?, two(*s1, *s2)?)?;
    match rest {
        [b'.' | b',', fraction @ ..] if fraction.first().is_some_and(u8::is_ascii_digit) => {
            let (ms, rest) = fraction_ms(fraction)?;
            Some((time + i64::from(ms), rest))
        }
        _ => Some((time, rest)),
    }
}

/// The milliseconds of a fraction of a second, and what follows its digits.
fn fraction_ms(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (digits > 0).then_some(())?;
    let ms = (0..3).fold(0, |ms, place| {
        let digit = text[..digits].get(place).map_or(0, |digit| u32::from(digit - b'0'));
        ms * 10 + digit
    });
    Some((ms, &text[digits..]))
}

/// 60 is a leap second.
fn clock_ms(hours: u32, minutes: u32, seconds: u32) -> Option<i64> {
    (hours < 24 && minutes < 60 && seconds <= 60).then_some(
        i64::from(hours) * HOUR + i64::from(minutes) * MINUTE + i64::from(seconds) * SECOND,
    )
}

#[inline]
fn two(tens: u8, ones: u8) -> Option<u32> {
    let (tens, ones) = (tens.wrapping_sub(b'0'), ones.wrapping_sub(b'0'));
    (tens < 10 && ones < 10).then_some(u32::from(tens) * 10 + u32::from(ones))
}

fn month(name: &[u8; 3]) -> Option<u32> {
    let index = MONTHS.iter().position(|month| *month == name)?;
    Some(index as u32 + 1)
}

/// A day of the Gregorian calendar.
struct Date {
    year: i64,
    /// From 1.
    month: u32,
    /// From 1.
    day: u32,
}

impl Date {
    /// Days since 1970; none if there is no such day.
    fn days(&self) -> Option<i64> {
        let &Self { year, month, day } = self;
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match month {
            2 => 28 + u32::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        (1..=length).contains(&day).then_some(())?;
        // Years that begin with March have their leap day at the end.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let day_of_year = i64::from((153 * month + 2) / 5 + day - 1);
        let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
        Some(era * 146_097 + day_of_era - 719_468)
    }
}

/// The year of a time in milliseconds since 1970.
fn year_of(ms: i64) -> i64 {
    let days = ms.div_euclid(DAY);
    // A year too late at most.
    let guess = 1970 + days.div_euclid(365);
    let begins = |year| Date { year, month: 1, day: 1 }.days().is_some_and(|first| first <= days);
    (0..=guess.max(1970) - 1969).map(|less| guess - less).find(|year| begins(*year)).unwrap_or(1970)
}

fn positive(ms: i64) -> Option<u64> {
    u64::try_from(ms).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 21st of November 2026, 11:00 UTC.
    const NOW: Clock = Clock { zone: Zone::Offset(0), now_ms: 1_795_258_800_000 };

    fn whole(found: Found<'_>) -> Option<u64> {
        found.filter(|(_, rest)| rest.is_empty()).map(|(time, _)| time)
    }

    #[test]
    fn times_of_all_kinds_are_the_same_point() {
        let expected = Some(971_211_336_000);
        assert_eq!(common_log(b"10/Oct/2000:13:55:36 -0700"), expected);
        assert_eq!(whole(iso(b"2000-10-10T20:55:36Z", &NOW)), expected);
        assert_eq!(whole(iso(b"2000/10/10 20:55:36", &NOW)), expected);
        assert_eq!(whole(iso(b"2000-10-10 22:55:36,000+02:00", &NOW)), expected);
        assert_eq!(whole(with_weekday(b"Tue Oct 10 20:55:36.000123 2000", &NOW)), expected);
        for number in ["971211336", "971211336.0004", "971211336000", "971211336000000"] {
            assert_eq!(since_1970(number.as_bytes()), expected, "{number}");
        }
        let berlin = Clock { zone: Zone::Offset(2 * HOUR), ..NOW };
        assert_eq!(whole(iso(b"2000-10-10T22:55:36", &berlin)), expected);
        assert_eq!(any(b"2000-10-10T20:55:36.000000000+0000", &NOW), expected);
    }

    #[test]
    fn a_time_without_a_year_is_of_the_last_that_had_it() {
        let time = |text: &str, clock: &Clock| whole(without_year(text.as_bytes(), clock));
        assert_eq!(time("Nov 21 11:00:00", &NOW), Some(NOW.now_ms));
        assert_eq!(time("Nov  1 11:00:00", &NOW), Some(NOW.now_ms - 20 * 86_400_000));
        // Clocks differ: tomorrow is this year's.
        assert_eq!(time("Nov 22 10:00:00", &NOW), Some(NOW.now_ms + 23 * 3_600_000));
        let december = Some(1_766_275_200_000 + 10 * 86_400_000);
        assert_eq!(time("Dec 31 00:00:00", &NOW), december);
        // Just after New Year, by a clock that is slow.
        let slow = Clock { zone: Zone::Offset(0), now_ms: 1_798_761_599_000 };
        assert_eq!(time("Jan  1 00:00:01", &slow), Some(1_798_761_601_000));
        assert_eq!(time("Feb 29 00:00:00", &NOW), Some(1_709_164_800_000));
        assert_eq!(time("Feb 30 00:00:00", &NOW), None);
    }

    #[test]
    fn what_is_no_time_is_none() {
        for text in [
            "",
            "10/Oct/2000:25:55:36 -0700",
            "10/Okt/2000:13:55:36 -0700",
            "2000-13-01T00:00:00Z",
            "1999-02-29 00:00:00",
            "99999999999999999999",
            "-1",
            "1.5.5",
            "12 monkeys",
        ] {
            assert_eq!(any(text.as_bytes(), &NOW), None, "{text}");
        }
    }

    #[test]
    fn offsets_are_written_in_some_ways() {
        assert_eq!(offset("UTC"), Some(0));
        assert_eq!(offset("+05:30"), Some(5 * HOUR + 30 * MINUTE));
        assert_eq!(offset("-07"), Some(-7 * HOUR));
        assert_eq!(offset("Europe/Berlin"), None);
        assert_eq!(offset("+99:00"), None);
    }
}
