//! What belongs to a plugin's name rather than to one version of it: its
//! limits, its line of jobs, its share of the processors and its standing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use drover_api::{ErrorCode, JobError, Level, QuarantineStatus, Timestamp};
use serde_json::json;

use crate::Limits;
use crate::children::Places;
use crate::job::Outcome;
use crate::notice::Notice;
use crate::quarantine::{Quarantine, Sentence};
use crate::queue::Queue;
use crate::records::cut;
use crate::share::Share;
use crate::tally::Verdict;

/// How much is kept of the words of a failure.
const REASON: usize = 512;

/// The account of one plugin, kept while the host runs.
pub(crate) struct Account {
    /// Those of this plugin.
    pub(crate) limits: Limits,
    pub(crate) queue: Queue,
    /// How many programs its jobs may run.
    pub(crate) programs: Places,
    /// None if it may use all processors.
    pub(crate) share: Option<Arc<Share>>,
    name: Arc<str>,
    start: Instant,
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
            queue: Queue::new(limits.running_jobs, limits.waiting_jobs),
            programs: Places::new(limits.plugin_programs),
            share: limits.cores.map(|cores| Arc::new(Share::new(cores))),
            limits,
            name,
            start: Instant::now(),
            standing: Mutex::default(),
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
        match self.standing().quarantine.admit(now, &self.limits.patience) {
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
                if timeout.is_none_or(|timeout| timeout >= self.limits.deadline) =>
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
        let now = self.start.elapsed();
        let mut standing = self.standing();
        if standing.hash != hash {
            return None;
        }
        let reason = cut(&error.message, REASON);
        let sentence = standing.quarantine.failed(now, &self.limits.patience, reason)?;
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

    /// The quarantine that the plugin is in.
    pub(crate) fn quarantine(&self) -> Option<QuarantineStatus> {
        let now = self.start.elapsed();
        let mut standing = self.standing();
        let sentence = standing.quarantine.admit(now, &self.limits.patience).err()?;
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
    let now = Timestamp::now();
    Timestamp(now.0.saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)))
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
