//! Whether a new version does worse than the one before: a pure comparison.

use serde::{Deserialize, Serialize};

/// Jobs of each version before their failures say anything.
const ENOUGH: u64 = 10;

/// How much more often than before jobs may fail, in percent of all.
const WORSE: f64 = 25.0;

/// What became of the jobs of one version.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// All that have ended.
    pub jobs: u64,
    /// Those that crashed, ran out of memory or missed their usual deadline.
    pub crashes: u64,
    /// Those that failed and said why.
    pub failures: u64,
}

/// Why a version that had `now` since it serves is worse than the one that had
/// `before`; none if it is not, or not yet. `before` is none where there was no
/// other version.
///
/// Crashes are a plugin's own fault: a version that crashes where the one before
/// never did is bad at once, and otherwise when it crashes more than twice as
/// often. Failures may be their callers', so they count only among enough jobs of
/// both versions.
#[must_use]
pub fn judge(before: Option<Tally>, now: Tally) -> Option<String> {
    let old = before.unwrap_or_default();
    // One more than is due, as the first of few jobs says little.
    let allowed = match old.crashes {
        0 => 0.0,
        _ => 1.0 + 2.0 * rate(old.crashes, old.jobs) * now.jobs as f64,
    };
    if now.crashes as f64 > allowed {
        let then = match before {
            Some(old) => format!("; the version before: {} of {}", old.crashes, old.jobs),
            None => String::new(),
        };
        return Some(format!(
            "{} of its {} jobs crashed, ran out of memory or missed their deadline{then}",
            now.crashes, now.jobs
        ));
    }
    let is_known = old.jobs >= ENOUGH && now.jobs >= ENOUGH;
    let (then, since) = (rate(old.failures, old.jobs), rate(now.failures, now.jobs));
    (is_known && (since - then) * 100.0 > WORSE).then(|| {
        format!(
            "{} of its {} jobs failed; of the version before: {} of {}",
            now.failures, now.jobs, old.failures, old.jobs
        )
    })
}

fn rate(some: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { some as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally((jobs, crashes, failures): (u64, u64, u64)) -> Tally {
        Tally { jobs, crashes, failures }
    }

    #[test]
    fn a_version_is_bad_if_it_is_worse_than_the_one_before() {
        for (before, now, is_bad) in [
            // Crashes.
            (None, (3, 1, 0), true),
            (Some((1000, 0, 0)), (3, 1, 0), true),
            (Some((0, 0, 0)), (1, 1, 0), true),
            (Some((1000, 10, 0)), (1, 1, 0), false),
            (Some((1000, 10, 0)), (10, 2, 0), true),
            (Some((1000, 10, 0)), (1000, 20, 0), false),
            (Some((1000, 10, 0)), (1000, 22, 0), true),
            (Some((5, 5, 0)), (100, 100, 0), false),
            // Failures.
            (None, (1000, 0, 1000), false),
            (Some((5, 0, 0)), (1000, 0, 1000), false),
            (Some((100, 0, 0)), (9, 0, 9), false),
            (Some((100, 0, 0)), (10, 0, 3), true),
            (Some((100, 0, 90)), (100, 0, 100), false),
            (Some((100, 0, 10)), (100, 0, 35), false),
            (Some((100, 0, 10)), (100, 0, 36), true),
            // Nothing yet.
            (None, (0, 0, 0), false),
            (Some((100, 50, 50)), (0, 0, 0), false),
        ] {
            let reason = judge(before.map(tally), tally(now));
            assert_eq!(reason.is_some(), is_bad, "{before:?} {now:?}: {reason:?}");
        }
    }

    #[test]
    fn the_reason_has_the_numbers_of_both() {
        let reason = judge(Some(tally((8, 0, 0))), tally((3, 1, 0))).unwrap();
        assert!(reason.contains("1 of its 3") && reason.contains("0 of 8"), "{reason}");
    }
}
