//! Times and sizes as commands write them.

use std::time::Duration;

use bytesize::ByteSize;
use serde_json::Value;

/// The longest time that a command can name: ten years. Clocks can add it
/// without overflow.
pub(super) const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What a time may be, for people.
pub(super) const TIME_RULE: &str =
    "a number of seconds from 0, or a text such as \"10s\" or \"1m 30s\", up to ten years";

/// What a size may be, for people.
pub(super) const SIZE_RULE: &str = "a number of bytes from 1, or a text such as \"64 MiB\"";

/// A time: a number of seconds, or a text with units. A text that is only a
/// number is seconds as well.
pub(super) fn time(value: &Value) -> Option<Duration> {
    let duration = match value {
        Value::Number(seconds) => seconds_from(seconds.as_f64()?)?,
        Value::String(text) => match text.trim().parse::<f64>() {
            Ok(seconds) => seconds_from(seconds)?,
            Err(_) => humantime::parse_duration(text.trim()).ok()?,
        },
        _ => return None,
    };
    (duration <= LONGEST).then_some(duration)
}

fn seconds_from(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// A size in bytes, at least one.
pub(super) fn size(value: &Value) -> Option<u64> {
    let bytes = match value {
        Value::Number(bytes) => bytes.as_u64()?,
        Value::String(text) => text.trim().parse::<ByteSize>().ok()?.as_u64(),
        _ => return None,
    };
    (bytes > 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_seconds_or_texts_with_units() {
        for (value, milliseconds) in [
            (json!(0), 0),
            (json!(10), 10_000),
            (json!(0.25), 250),
            (json!("10"), 10_000),
            (json!("10s"), 10_000),
            (json!(" 1m 30s "), 90_000),
            (json!("250ms"), 250),
        ] {
            assert_eq!(time(&value), Some(Duration::from_millis(milliseconds)), "{value}");
        }
    }

    #[test]
    fn what_is_no_time_is_none() {
        for value in [
            json!(-1),
            json!("soon"),
            json!(""),
            json!(null),
            json!(true),
            json!(1e300),
            json!("inf"),
            json!("NaN"),
            json!("11y"),
        ] {
            assert_eq!(time(&value), None, "{value}");
        }
    }

    #[test]
    fn sizes_are_bytes_or_texts_with_units() {
        assert_eq!(size(&json!(1024)), Some(1024));
        assert_eq!(size(&json!("64 MiB")), Some(64 << 20));
        for value in [json!(0), json!(-1), json!("much"), json!([])] {
            assert_eq!(size(&value), None, "{value}");
        }
    }
}
