//! What to do about what is in the plugin directory: a pure function from what
//! is seen there, what is loaded and what the time is, to actions.
//!
//! There is a slot for every name, in which a version serves, and beside it an
//! attempt at another one is under way or has failed:
//!
//! ```text
//!            changed                 whole              loads
//!  nothing ─────────▶ settling ─────────────▶ loading ─────────▶ it serves
//!     ▲                  ▲ │ changed             │
//!     │ as it serves     │ └──┘                  │ is refused
//!     └──────────────────┴───────────────── refused ──▶ loading
//!                              changed             if that may help later
//! ```
//!
//! A file is whole when it was left alone for [`SETTLE`]: what is still being
//! copied changes again before that. Whatever becomes of an attempt, the version
//! that serves goes on until another one takes its place, or until its file is
//! gone for [`SETTLE`]: some editors and copying programs take a file away for a
//! moment before they put the new one in its place.

use std::collections::BTreeMap;
use std::time::Duration;

use super::choice::Choice;

/// How long a file must be left alone to count as whole, or be gone to count
/// as removed.
pub(crate) const SETTLE: Duration = Duration::from_millis(150);

/// The wait before a file is tried again whose refusal was not its own fault;
/// it doubles …
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// … up to this.
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// What the directory's keeper is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Load this file. What was being loaded under its name is given up.
    Load(Choice),
    /// Tell that this file is refused.
    Refuse(Choice, String),
    /// Give up what is being loaded under this name: its file is gone, or is
    /// the one that serves again.
    GiveUp(String),
    /// Serve this plugin no longer.
    Unload(String),
}

/// What becomes of a file that was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is to serve.
    Serve,
    /// It is what serves already, byte for byte, from another file or place.
    Keep,
    /// It is refused, for a reason that was not told yet.
    Refused,
    /// It is refused once more, for the same reason.
    StillRefused,
    /// Another file is wanted by now.
    Outdated,
}

/// Why a file was not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoadFailure {
    pub(crate) reason: String,
    /// Whether the same file may load later, as when the disk was full.
    pub(crate) may_pass: bool,
}

/// The slots of all plugins, by name.
#[derive(Debug, Default)]
pub(crate) struct Slots(BTreeMap<String, Slot>);

#[derive(Debug, Default)]
struct Slot {
    serving: Option<Served>,
    attempt: Option<Attempt>,
    missing_since: Option<Duration>,
}

#[derive(Debug)]
struct Served {
    choice: Choice,
    hash: String,
}

#[derive(Debug)]
struct Attempt {
    choice: Choice,
    stage: Stage,
    /// How often the same file was refused for what may pass.
    refusals: u32,
    /// Why it was refused last.
    told: Option<String>,
}

#[derive(Debug)]
enum Stage {
    Settling { since: Duration },
    Loading,
    Refused { reason: String, retry_at: Option<Duration> },
}

/// What is known of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending<'a> {
    pub(crate) choice: &'a Choice,
    /// Why it is refused; none while it is being loaded.
    pub(crate) reason: Option<&'a str>,
    /// When it is tried again.
    pub(crate) retry_at: Option<Duration>,
}

impl Slots {
    /// Takes what was chosen at a look at the directory, and the time, which is
    /// counted from any moment. To be called again by [`Slots::wake_at`] even
    /// if nothing changes.
    pub(crate) fn look(&mut self, now: Duration, chosen: &BTreeMap<String, Choice>) -> Vec<Action> {
        for name in chosen.keys() {
            self.0.entry(name.clone()).or_default();
        }
        let mut actions = Vec::new();
        self.0.retain(|name, slot| match chosen.get(name) {
            Some(choice) => {
                slot.missing_since = None;
                actions.extend(slot.look(now, choice));
                true
            }
            None => {
                let since = *slot.missing_since.get_or_insert(now);
                let is_gone = now.saturating_sub(since) >= SETTLE;
                if is_gone {
                    actions.push(Action::Unload(name.clone()));
                }
                !is_gone
            }
        });
        actions
    }

    /// Takes how the loading of a file ended: the hash of what was loaded.
    pub(crate) fn ended(
        &mut self,
        now: Duration,
        choice: &Choice,
        outcome: Result<String, LoadFailure>,
    ) -> Verdict {
        let Some(slot) = self.0.get_mut(&choice.name) else { return Verdict::Outdated };
        let Some(attempt) = slot.attempt.take_if(|attempt| attempt.is_loading(choice)) else {
            return Verdict::Outdated;
        };
        match outcome {
            Ok(hash) => {
                let is_new = slot.serving.as_ref().is_none_or(|served| served.hash != hash);
                slot.serving = Some(Served { choice: attempt.choice, hash });
                if is_new { Verdict::Serve } else { Verdict::Keep }
            }
            Err(LoadFailure { reason, may_pass }) => {
                let retry_at = may_pass.then(|| now + wait(attempt.refusals));
                let is_told = attempt.told.as_ref() == Some(&reason);
                let told = Some(reason.clone());
                let stage = Stage::Refused { reason, retry_at };
                let refusals = attempt.refusals.saturating_add(1);
                slot.attempt = Some(Attempt { stage, refusals, told, ..attempt });
                if is_told { Verdict::StillRefused } else { Verdict::Refused }
            }
        }
    }

    /// Has everything that is refused, and could be read, tried again at the
    /// next look: what plugins are measured by has changed.
    pub(crate) fn try_again(&mut self, now: Duration) {
        let attempts = self.0.values_mut().filter_map(|slot| slot.attempt.as_mut());
        for attempt in attempts.filter(|attempt| attempt.choice.found.is_ok()) {
            if let Stage::Refused { retry_at, .. } = &mut attempt.stage {
                *retry_at = Some(now);
            }
        }
    }

    /// When to look again though nothing is heard of.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        self.0.values().filter_map(Slot::wake_at).min()
    }

    /// Whether every file that was seen either serves or is refused.
    pub(crate) fn is_settled(&self) -> bool {
        self.0.values().all(|slot| match &slot.attempt {
            Some(attempt) => matches!(attempt.stage, Stage::Refused { .. }),
            None => true,
        })
    }

    /// The names that have a slot.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The files that do not serve, or not yet.
    pub(crate) fn pending(&self) -> impl Iterator<Item = Pending<'_>> {
        self.0.values().filter_map(|slot| slot.attempt.as_ref()).map(|attempt| {
            let (reason, retry_at) = match &attempt.stage {
                Stage::Refused { reason, retry_at } => (Some(reason.as_str()), *retry_at),
                Stage::Settling { .. } | Stage::Loading => (None, None),
            };
            Pending { choice: &attempt.choice, reason, retry_at }
        })
    }
}

impl Slot {
    fn look(&mut self, now: Duration, choice: &Choice) -> Option<Action> {
        let was_loading =
            self.attempt.as_ref().is_some_and(|attempt| matches!(attempt.stage, Stage::Loading));
        if self.serving.as_ref().is_some_and(|served| served.choice.is_same(choice)) {
            self.attempt = None;
            return was_loading.then(|| Action::GiveUp(choice.name.clone()));
        }
        match &mut self.attempt {
            Some(attempt) if attempt.choice.is_same(choice) => attempt.go_on(now),
            attempt => {
                let new = attempt.insert(Attempt {
                    choice: choice.clone(),
                    stage: Stage::Settling { since: now },
                    refusals: 0,
                    told: None,
                });
                let action = new.begin(choice.age);
                action.or_else(|| was_loading.then(|| Action::GiveUp(choice.name.clone())))
            }
        }
    }

    fn wake_at(&self) -> Option<Duration> {
        let gone_at = self.missing_since.map(|since| since + SETTLE);
        let attempt_at = self.attempt.as_ref().and_then(|attempt| match attempt.stage {
            Stage::Settling { since } => Some(since + SETTLE),
            Stage::Loading => None,
            Stage::Refused { retry_at, .. } => retry_at,
        });
        gone_at.into_iter().chain(attempt_at).min()
    }
}

impl Attempt {
    /// The first look at a file; `age` is the time since it was changed.
    fn begin(&mut self, age: Duration) -> Option<Action> {
        match &self.choice.found {
            Err(reason) => {
                let reason = reason.clone();
                self.stage = Stage::Refused { reason: reason.clone(), retry_at: None };
                Some(Action::Refuse(self.choice.clone(), reason))
            }
            Ok(_) if age >= SETTLE => Some(self.load()),
            Ok(_) => None,
        }
    }

    /// A later look at the same file, unchanged.
    fn go_on(&mut self, now: Duration) -> Option<Action> {
        match self.stage {
            Stage::Settling { since } if now.saturating_sub(since) >= SETTLE => Some(self.load()),
            Stage::Refused { retry_at: Some(at), .. } if now >= at => Some(self.load()),
            Stage::Settling { .. } | Stage::Loading | Stage::Refused { .. } => None,
        }
    }

    fn load(&mut self) -> Action {
        self.stage = Stage::Loading;
        Action::Load(self.choice.clone())
    }

    fn is_loading(&self, choice: &Choice) -> bool {
        matches!(self.stage, Stage::Loading) && self.choice.is_same(choice)
    }
}

fn wait(refusals: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << refusals.min(16)).min(LONGEST_RETRY)
}

#[cfg(test)]
mod tests;
