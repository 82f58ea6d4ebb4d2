//! What belongs to a plugin's name rather than to one version of it: the terms
//! that its jobs run on, and its standing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use drover_api::{ErrorCode, JobError, Level, QuarantineStatus, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::Limits;
use crate::denials::Denials;
use crate::job::Outcome;
use crate::notice::Notice;
use crate::quarantine::{Quarantine, Sentence};
use crate::records::cut;
use crate::tally::Verdict;
use crate::terms::Terms;

/// How much is kept of the words of a failure.
const REASON: usize = 512;

/// A quarantine as it outlives the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptQuarantine {
    /// SHA-256 of the plugin's file, in hexadecimal: another one is trusted anew.
    pub hash: String,
    /// When it ends, or has ended.
    pub until: Timestamp,
    /// How often in a row.
    pub times: u32,
    /// What the last failure was.
    pub reason: String,
}

/// The account of one plugin, kept while the host runs.
pub(crate) struct Account {
    terms: RwLock<Arc<Terms>>,
    denials: Arc<Denials>,
    name: Arc<str>,
    start: Instant,
    /// The same on the clock.
    started: Timestamp,
    standing: Mutex<Standing>,
}

#[derive(Default)]
struct Standing {
    quarantine: Quarantine,
    /// The version that serves, to which failures count.
    hash: String,
}

impl Account {
    /// `limits` are those of this plugin.
    pub(crate) fn new(name: Arc<str>, limits: Limits) -> Self {
        Self {
            terms: RwLock::new(Arc::new(Terms::new(limits))),
            denials: Arc::default(),
            name,
            start: Instant::now(),
            started: Timestamp::now(),
            standing: Mutex::default(),
        }
    }

    /// What jobs run on that begin now.
    pub(crate) fn terms(&self) -> Arc<Terms> {
        Arc::clone(&self.terms.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The calls that were denied to it.
    pub(crate) fn denials(&self) -> &Arc<Denials> {
        &self.denials
    }

    /// Has jobs that begin later run within these limits of the plugin.
    pub(crate) fn set_limits(&self, limits: Limits) {
        let mut terms = self.terms.write().unwrap_or_else(PoisonError::into_inner);
        if terms.limits != limits {
            *terms = Arc::new(terms.with(limits));
        }
    }

    /// Notes which version serves from now on. Another one is trusted anew.
    pub(crate) fn serves(&self, hash: &str) {
        let mut standing = self.standing();
        if standing.hash != hash {
            standing.quarantine.release();
            hash.clone_into(&mut standing.hash);
        }
    }

    /// Whether a job may begin.
    pub(crate) fn admit(&self) -> Result<(), JobError> {
        let now = self.start.elapsed();
        let terms = self.terms();
        match self.standing().quarantine.admit(now, &terms.limits.patience) {
            Ok(()) => Ok(()),
            Err(sentence) => Err(self.refusal(sentence, now)),
        }
    }

    /// What the end of a job says of the plugin that had `timeout` to run, or for
    /// ever.
    pub(crate) fn verdict(&self, outcome: &Outcome, timeout: Option<Duration>) -> Verdict {
        match outcome.error.as_ref().map(|error| error.code) {
            Some(ErrorCode::Trapped | ErrorCode::OutOfMemory) => Verdict::Crashed,
            // Who gives a job less time than usual must not be able to blame it.
            Some(ErrorCode::Timeout)
                if timeout.is_none_or(|timeout| timeout >= self.terms().limits.deadline) =>
            {
                Verdict::Crashed
            }
            Some(ErrorCode::Failed | ErrorCode::InvalidAnswer) => Verdict::Failed,
            _ => Verdict::Blameless,
        }
    }

    /// Takes how a job of the version `hash` ended that had `timeout` to run, or
    /// for ever. If that puts the plugin in quarantine, gives back what to tell.
    pub(crate) fn ended(
        &self,
        hash: &str,
        outcome: &Outcome,
        timeout: Option<Duration>,
    ) -> Option<Notice> {
        let error = outcome.error.as_ref()?;
        if self.verdict(outcome, timeout) != Verdict::Crashed {
            return None;
        }
        let (now, terms) = (self.start.elapsed(), self.terms());
        let mut standing = self.standing();
        if standing.hash != hash {
            return None;
        }
        let reason = cut(&error.message, REASON);
        let sentence = standing.quarantine.failed(now, &terms.limits.patience, reason)?;
        let text = format!(
            "plugin `{name}` is in quarantine for {} s (number {} in a row), as its jobs fail \
             again and again: {reason}; mend it, or let it out with `drover plugin release NODE \
             {name}`",
            sentence.until.saturating_sub(now).as_secs(),
            sentence.times,
            name = self.name,
        );
        Some(Notice::new(Level::CRITICAL, &self.name, text))
    }

    /// Lets the plugin out; false if it was not in quarantine.
    pub(crate) fn release(&self) -> bool {
        let is_out = self.quarantine().is_some();
        self.standing().quarantine.release();
        is_out
    }

    /// The quarantine that the plugin is in, or is on probation after.
    pub(crate) fn kept(&self) -> Option<KeptQuarantine> {
        let terms = self.terms();
        let mut standing = self.standing();
        let hash = standing.hash.clone();
        let now = self.start.elapsed();
        let sentence = standing.quarantine.unforgotten(now, &terms.limits.patience)?;
        Some(KeptQuarantine {
            hash,
            until: after(self.started, sentence.until),
            times: sentence.times,
            reason: sentence.reason.clone(),
        })
    }

    /// Puts the plugin where it was before, unless that is long ago.
    pub(crate) fn resume(&self, kept: KeptQuarantine) {
        let terms = self.terms();
        let patience = &terms.limits.patience;
        let clock = Timestamp::now();
        if patience.failures == 0 || clock.since(kept.until) > patience.within {
            return;
        }
        // No clock that was set meanwhile makes it longer than any is.
        let left = kept.until.since(clock).min(patience.longest);
        let KeptQuarantine { hash, times, reason, .. } = kept;
        let until = self.start.elapsed() + left;
        let quarantine = Quarantine::resume(Sentence { until, times, reason });
        *self.standing() = Standing { quarantine, hash };
    }

    /// The quarantine that the plugin is in.
    pub(crate) fn quarantine(&self) -> Option<QuarantineStatus> {
        let now = self.start.elapsed();
        let terms = self.terms();
        let mut standing = self.standing();
        let sentence = standing.quarantine.admit(now, &terms.limits.patience).err()?;
        Some(QuarantineStatus {
            until: on_the_clock(sentence.until.saturating_sub(now)),
            reason: sentence.reason.clone(),
            times: sentence.times,
        })
    }

    fn refusal(&self, sentence: &Sentence, now: Duration) -> JobError {
        let left = sentence.until.saturating_sub(now);
        let message = format!(
            "plugin `{name}` is in quarantine for another {} s, as its jobs failed again and \
             again (the last: {}); try again then, or let it out with `drover plugin release NODE \
             {name}`",
            left.as_secs() + 1,
            sentence.reason,
            name = self.name,
        );
        JobError::new(ErrorCode::Quarantined, message)
            .with_detail(json!({ "until": on_the_clock(left), "times": sentence.times }))
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn on_the_clock(wait: Duration) -> Timestamp {
    after(Timestamp::now(), wait)
}

fn after(time: Timestamp, wait: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use drover_api::JobState;

    use super::*;
    use crate::Patience;

    fn account() -> Account {
        let patience = Patience { failures: 2, ..Patience::default() };
        let account = Account::new("a".into(), Limits { patience, ..Limits::default() });
        account.serves("one");
        account
    }

    fn outcome(code: ErrorCode) -> Outcome {
        let state = JobState::Error;
        Outcome { state, ..Outcome::refused(JobError::new(code, "`a.b` crashed: oh no")) }
    }

    #[test]
    fn only_what_is_the_plugins_fault_counts() {
        let (short, long) = (Duration::from_millis(1), Limits::default().deadline);
        for (code, timeout, counts) in [
            (ErrorCode::Trapped, short, true),
            (ErrorCode::OutOfMemory, short, true),
            (ErrorCode::Timeout, long, true),
            (ErrorCode::Timeout, short, false),
            (ErrorCode::Failed, long, false),
            (ErrorCode::Cancelled, long, false),
            (ErrorCode::InvalidArguments, long, false),
        ] {
            let account = account();
            account.ended("one", &outcome(code), Some(timeout));
            let notice = account.ended("one", &outcome(code), Some(timeout));
            assert_eq!(notice.is_some(), counts, "{code}");
            assert_eq!(account.admit().is_err(), counts, "{code}");
        }
    }

    #[test]
    fn calls_are_told_for_how_long_and_what_to_do() {
        let account = account();
        let crash = outcome(ErrorCode::Trapped);
        account.ended("one", &crash, None);
        let notice = account.ended("one", &crash, None).unwrap();
        assert_eq!((notice.level, notice.subject.as_str()), (Level::CRITICAL, "a"));
        let error = account.admit().unwrap_err();
        assert_eq!(error.code, ErrorCode::Quarantined);
        for words in ["for another 30 s", "oh no", "`drover plugin release NODE a`"] {
            assert!(error.message.contains(words), "{error}");
        }
        assert!(account.release() && account.admit().is_ok() && !account.release());
    }

    #[test]
    fn a_quarantine_goes_on_in_another_host_for_the_same_code() {
        let account = account();
        let crash = outcome(ErrorCode::Trapped);
        assert_eq!(account.kept(), None);
        for _ in 0..2 {
            account.ended("one", &crash, None);
        }
        let kept = account.kept().unwrap();
        assert_eq!((kept.hash.as_str(), kept.times), ("one", 1));
        for (hash, is_out) in [("one", true), ("two", false)] {
            let next = self::account();
            next.resume(kept.clone());
            next.serves(hash);
            assert_eq!(next.admit().is_err(), is_out, "{hash}");
        }
    }

    #[test]
    fn a_quarantine_of_long_ago_is_over_and_one_of_a_wrong_clock_is_not_endless() {
        let kept = |until| KeptQuarantine {
            hash: "one".to_owned(),
            until,
            times: 3,
            reason: "it crashed".to_owned(),
        };
        let (old, late) = (account(), account());
        old.resume(kept(Timestamp(1)));
        assert_eq!((old.kept(), old.admit().is_ok()), (None, true));
        late.resume(kept(Timestamp(u64::MAX)));
        let left = late.quarantine().unwrap().until.since(Timestamp::now());
        assert!(left <= Patience::default().longest, "{left:?}");
    }

    #[test]
    fn another_version_is_trusted_and_the_old_ones_jobs_count_no_more() {
        let account = account();
        let crash = outcome(ErrorCode::Trapped);
        for _ in 0..2 {
            account.ended("one", &crash, None);
        }
        account.serves("two");
        assert!(account.admit().is_ok());
        for _ in 0..2 {
            account.ended("one", &crash, None);
        }
        assert!(account.admit().is_ok());
    }
}
