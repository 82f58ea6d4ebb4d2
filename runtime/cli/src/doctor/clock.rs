//! Whether this host's clock and the controller's agree.

use std::time::Duration;

use super::finding::Finding;

/// What the header `Date`, which has whole seconds, and the way may add.
const CLOSE: Duration = Duration::from_secs(5);

/// From here on deadlines, tokens and certificates go wrong.
const APART: Duration = Duration::from_secs(60);

/// Compares the controller's `Date` with the time here.
pub(super) fn judge(date: &str, here: jiff::Timestamp) -> Finding {
    let Ok(there) = jiff::fmt::rfc2822::parse(date) else {
        return Finding::warn(
            "clock",
            format!("the controller tells the time as {date:?}, which is none"),
            "see what is between here and the controller: a proxy?",
        );
    };
    let skew = here.duration_since(there.timestamp());
    let apart = skew.unsigned_abs();
    let direction = if skew.is_negative() { "behind" } else { "ahead of" };
    let what = format!("this clock is {} s {direction} the controller's", apart.as_secs());
    let cure = "have both hosts set their clocks from the same source, such as chrony or \
                systemd-timesyncd (`timedatectl set-ntp true`)";
    match apart {
        apart if apart > APART => Finding::fail("clock", what, cure),
        apart if apart > CLOSE => Finding::warn("clock", what, cure),
        _ => Finding::ok("clock", "this clock and the controller's agree"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn clocks_may_differ_by_seconds_and_not_by_minutes() {
        let date = "Sat, 21 Nov 2026 21:00:00 GMT";
        let judge = |here: &str| judge(date, here.parse().unwrap());
        assert_eq!(judge("2026-11-21T21:00:01Z").state, State::Ok);
        assert_eq!(judge("2026-11-21T20:59:56Z").state, State::Ok);
        assert_eq!(judge("2026-11-21T21:00:20Z").state, State::Warn);
        let late = judge("2026-11-21T19:00:00Z");
        assert_eq!(late.state, State::Fail);
        assert!(late.what.contains("7200 s behind"), "{late:?}");
        assert!(judge("2026-11-22T21:00:00Z").what.contains("ahead"));
        assert_eq!(super::judge("soon", jiff::Timestamp::UNIX_EPOCH).state, State::Warn);
    }
}
