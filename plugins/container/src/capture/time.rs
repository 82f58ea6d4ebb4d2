//! Times of output, as an engine writes them and as it reads them.

/// Seconds since 1970, such as `1700000000.000000001`, of a time such as
/// `2023-11-14T22:13:20.000000001Z`; none if it is no such time.
pub(super) fn seconds(time: &str) -> Option<String> {
    let (date, clock) = time.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.split('-').map(|part| part.parse::<i64>().ok());
    let [year, month, day] = [date.next()??, date.next()??, date.next()??];
    let (clock, fraction) = clock.split_once('.')?;
    let mut clock = clock.split(':').map(|part| part.parse::<i64>().ok());
    let [hours, minutes, seconds] = [clock.next()??, clock.next()??, clock.next()??];
    let is_fraction = fraction.len() == 9 && fraction.bytes().all(|b| b.is_ascii_digit());
    let is_date = (1970..10_000).contains(&year) && (1..=12).contains(&month);
    if !is_fraction || !is_date {
        return None;
    }
    let total = days(year, month, day) * 86_400 + hours * 3600 + minutes * 60 + seconds;
    Some(format!("{total}.{fraction}"))
}

/// Days from the first of January 1970 to a day. A year begins in March, so that
/// the day that some years have more is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let in_year = (153 * month + 2) / 5 + day - 1;
    365 * year + leap_days + in_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_become_seconds() {
        for (time, expected) in [
            ("1970-01-01T00:00:00.000000000Z", Some("0.000000000")),
            ("2023-11-14T22:13:20.000000001Z", Some("1700000000.000000001")),
            ("2024-02-29T23:59:59.999999999Z", Some("1709251199.999999999")),
            ("2024-03-01T00:00:00.000000000Z", Some("1709251200.000000000")),
            ("2024-03-01T00:00:00.1Z", None),
            ("no time", None),
            ("99999999999999999999-03-01T00:00:00.000000000Z", None),
        ] {
            assert_eq!(seconds(time).as_deref(), expected, "{time}");
        }
    }
}
