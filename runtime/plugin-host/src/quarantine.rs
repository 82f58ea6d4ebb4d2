//! Keeping jobs away from a plugin that fails again and again: a pure function
//! of what happened and when.
//!
//! ```text
//!           N failures within M              the time passes
//!  trusted ────────────────────▶ quarantine ────────────────▶ on probation
//!     ▲                           ▲  │                           │  │
//!     │                           │  └── release, new code ──┐   │  │
//!     │                           └──── a failure ───────────│───┘  │
//!     └──────────────────────────────────────────────────────┴──────┘
//!                                        M without a failure
//! ```
//!
//! The first quarantine takes [`Patience::first`], and each one that follows on
//! probation twice as long, up to [`Patience::longest`].

use std::collections::VecDeque;
use std::time::Duration;

/// What a plugin may do wrong before it gets no jobs for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// Failures that put a plugin in quarantine; 0: never.
    pub failures: u32,
    /// The time within which they count together.
    pub within: Duration,
    /// How long the first quarantine takes.
    pub first: Duration,
    /// The longest that one takes.
    pub longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            failures: 5,
            within: Duration::from_secs(60),
            first: Duration::from_secs(30),
            longest: Duration::from_secs(60 * 60),
        }
    }
}

/// Where a plugin stands.
#[derive(Debug, Default)]
pub(crate) struct Quarantine {
    standing: Standing,
}

#[derive(Debug)]
enum Standing {
    Trusted { failures: VecDeque<Duration> },
    Out { sentence: Sentence },
    OnProbation { sentence: Sentence },
}

impl Default for Standing {
    fn default() -> Self {
        Self::Trusted { failures: VecDeque::new() }
    }
}

/// A quarantine. Times are counted from any moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sentence {
    pub(crate) until: Duration,
    /// How often in a row.
    pub(crate) times: u32,
    /// What the last failure was.
    pub(crate) reason: String,
}

impl Quarantine {
    /// Whether a job may begin; if not, until when.
    pub(crate) fn admit(&mut self, now: Duration, patience: &Patience) -> Result<(), &Sentence> {
        self.pass(now, patience);
        match &self.standing {
            Standing::Out { sentence } => Err(sentence),
            Standing::Trusted { .. } | Standing::OnProbation { .. } => Ok(()),
        }
    }

    /// Takes that a job failed by the plugin's fault. If that puts the plugin
    /// in quarantine, gives back for how long and so on.
    pub(crate) fn failed(
        &mut self,
        now: Duration,
        patience: &Patience,
        reason: &str,
    ) -> Option<&Sentence> {
        if patience.failures == 0 {
            return None;
        }
        self.pass(now, patience);
        let times = match &mut self.standing {
            // Jobs that were running when it began end later.
            Standing::Out { .. } => return None,
            Standing::OnProbation { sentence } => sentence.times.saturating_add(1),
            Standing::Trusted { failures } => {
                failures.push_back(now);
                failures.retain(|at| now.saturating_sub(*at) <= patience.within);
                if failures.len() < patience.failures as usize {
                    return None;
                }
                1
            }
        };
        let time = patience.first.saturating_mul(1 << (times - 1).min(16)).min(patience.longest);
        let sentence = Sentence { until: now + time, times, reason: reason.to_owned() };
        self.standing = Standing::Out { sentence };
        self.sentence()
    }

    /// The quarantine that the plugin is in.
    pub(crate) fn sentence(&self) -> Option<&Sentence> {
        match &self.standing {
            Standing::Out { sentence } => Some(sentence),
            Standing::Trusted { .. } | Standing::OnProbation { .. } => None,
        }
    }

    /// The quarantine that the plugin is in, or is on probation after.
    pub(crate) fn unforgotten(&mut self, now: Duration, patience: &Patience) -> Option<&Sentence> {
        self.pass(now, patience);
        match &self.standing {
            Standing::Out { sentence } | Standing::OnProbation { sentence } => Some(sentence),
            Standing::Trusted { .. } => None,
        }
    }

    /// Begins with a quarantine of before.
    pub(crate) fn resume(sentence: Sentence) -> Self {
        Self { standing: Standing::Out { sentence } }
    }

    /// Forgets all that happened; false if the plugin was not in quarantine.
    pub(crate) fn release(&mut self) -> bool {
        let was_out = self.sentence().is_some();
        self.standing = Standing::default();
        was_out
    }

    /// What time does by itself.
    fn pass(&mut self, now: Duration, patience: &Patience) {
        if let Standing::Out { sentence } = &self.standing
            && now >= sentence.until
        {
            self.standing = Standing::OnProbation { sentence: sentence.clone() };
        }
        if let Standing::OnProbation { sentence } = &self.standing
            && now.saturating_sub(sentence.until) > patience.within
        {
            self.standing = Standing::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn patience() -> Patience {
        Patience { failures: 3, within: S * 10, first: S * 30, longest: S * 100 }
    }

    /// A plugin that failed at these seconds, and whether the last of them put
    /// it in quarantine.
    fn after(seconds: &[u32]) -> (Quarantine, bool) {
        let mut quarantine = Quarantine::default();
        let mut is_out = false;
        for second in seconds {
            is_out = quarantine.failed(S * *second, &patience(), "it crashed").is_some();
        }
        (quarantine, is_out)
    }

    #[test]
    fn only_failures_close_together_count() {
        for (seconds, expected) in [
            (&[0][..], false),
            (&[0, 1], false),
            (&[0, 1, 2], true),
            (&[0, 5, 10], true),
            (&[0, 5, 11], false),
            (&[0, 5, 11, 12], true),
            (&[0, 20, 40, 60], false),
        ] {
            assert_eq!(after(seconds).1, expected, "{seconds:?}");
        }
    }

    #[test]
    fn it_ends_by_itself_and_the_next_failure_is_one_too_many() {
        let (mut quarantine, _) = after(&[0, 1, 2]);
        let patience = patience();
        let sentence = quarantine.admit(S * 31, &patience).unwrap_err();
        assert_eq!((sentence.until, sentence.times), (S * 32, 1));
        assert!(quarantine.admit(S * 32, &patience).is_ok());
        let sentence = quarantine.failed(S * 33, &patience, "it crashed again").unwrap();
        assert_eq!((sentence.until, sentence.times), (S * 93, 2));
        assert!(quarantine.admit(S * 93, &patience).is_ok());
        // At most so long.
        assert_eq!(quarantine.failed(S * 93, &patience, "x").unwrap().until, S * 193);
    }

    #[test]
    fn who_behaves_on_probation_is_trusted_again() {
        let (mut quarantine, _) = after(&[0, 1, 2]);
        assert!(quarantine.admit(S * 43, &patience()).is_ok());
        assert!(quarantine.failed(S * 43, &patience(), "x").is_none());
    }

    #[test]
    fn who_begins_with_a_quarantine_is_where_it_was() {
        let (mut quarantine, _) = after(&[0, 1, 2]);
        let patience = patience();
        let sentence = quarantine.unforgotten(S * 3, &patience).unwrap().clone();
        let mut again = Quarantine::resume(sentence.clone());
        assert_eq!(again.admit(S * 31, &patience).unwrap_err(), &sentence);
        // Its time on probation is unforgotten too.
        assert_eq!(again.unforgotten(S * 42, &patience), Some(&sentence));
        assert_eq!(again.failed(S * 42, &patience, "x").unwrap().times, 2);
        assert_eq!(quarantine.unforgotten(S * 43, &patience), None);
    }

    #[test]
    fn a_release_forgets_all() {
        let (mut quarantine, _) = after(&[0, 1, 2]);
        assert!(quarantine.release() && !quarantine.release());
        assert!(quarantine.admit(S * 3, &patience()).is_ok());
        assert!(quarantine.failed(S * 3, &patience(), "x").is_none());
    }

    #[test]
    fn without_a_bound_nothing_is_counted() {
        let patience = Patience { failures: 0, ..patience() };
        let mut quarantine = Quarantine::default();
        for _ in 0..1000 {
            assert!(quarantine.failed(S, &patience, "x").is_none());
        }
    }

    proptest! {
        #[test]
        fn a_quarantine_ends_in_time_and_comes_for_enough_failures_only(
            steps in vec((0..40u32, any::<bool>()), 0..80),
        ) {
            let (mut quarantine, patience) = (Quarantine::default(), patience());
            let (mut now, mut last_end, mut failures) = (Duration::ZERO, None, Vec::new());
            for (wait, fails) in steps {
                now += S * wait;
                if let Err(sentence) = quarantine.admit(now, &patience) {
                    prop_assert!(sentence.until > now && sentence.until <= now + patience.longest);
                    continue;
                }
                if !fails {
                    continue;
                }
                failures.push(now);
                let close = failures.iter().filter(|at| now - **at <= patience.within).count();
                let was_recent = last_end.is_some_and(|end| now - end <= patience.within);
                if let Some(sentence) = quarantine.failed(now, &patience, "x") {
                    prop_assert!(close >= 3 || was_recent);
                    last_end = Some(sentence.until);
                    failures.clear();
                } else {
                    prop_assert!(close < 3);
                }
            }
        }
    }
}
