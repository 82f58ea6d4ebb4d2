//! What to do next about one plugin: a pure function.
//!
//! ```text
//!  ask ─▶ fetching ─▶ verifying ─▶ preparing ─▶ testing ─▶ swapping ─▶ watching ─▶ active
//!                                   ▲     │                   │           │
//!                                   └─ held ◀─────────────────┘           ▼ bad
//!            any of these, refused ─▶ as it was                   the good one serves
//! ```
//!
//! Until `swapping` nothing that serves is touched. The record says that a new
//! version is the active one only after it serves, and that the good one is active
//! again before it does: whatever instant a node is killed at, it comes back with
//! one of the two. Each effect can be done twice.

use std::time::Duration;

use drover_api::{Timestamp, UpdateEnd, UpdateOutcome};
use drover_signing::ContentHash;

use crate::judge::Tally;
use crate::record::{Fault, Record, Stage, Update, Version};

/// After so many starts of the agent while a version is watched, that version is
/// to blame.
const STARTS: u32 = 3;

/// What somebody wants a node to run.
#[derive(Debug, Clone)]
pub struct Request {
    /// The version and its content.
    pub version: Version,
    /// How long it is watched.
    pub watch: Duration,
    /// Whether to try again a version that fell back here before.
    pub again: bool,
}

/// Why a request is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It did badly here before.
    #[error(
        "version {version} served here before and fell back: {reason}; to try it all the same, \
         ask with `again=true`"
    )]
    FellBackBefore {
        /// The version.
        version: String,
        /// What was wrong with it.
        reason: String,
    },
    /// There is no such version on the node.
    #[error("version {wanted} is not kept here; there are: {}", list(.kept))]
    NotKept {
        /// What was asked for: a version, or the beginning of a hash.
        wanted: String,
        /// What there is.
        kept: Vec<String>,
    },
    /// Nothing served before.
    #[error("there is no version to go back to: none but the active one did well here")]
    NothingBefore,
}

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The agent has started, and nothing serves yet.
    Started,
    /// All bytes are here.
    Fetched,
    /// They are what was signed.
    Verified,
    /// The version could run.
    Prepared,
    /// Its test of itself went well, or it has none.
    Tested,
    /// This version serves from now on; and how the one before did, if there was
    /// one.
    Served(ContentHash, Option<Tally>),
    /// The watch has passed.
    Passed,
    /// What was being done cannot be, for this reason, and never will.
    Refused(String),
    /// What was being done has to wait for something.
    Held(String),
    /// Something changed that it may have waited for.
    Changed,
    /// The version that is watched does badly.
    Bad(String),
    /// A kept version cannot be loaded, and will not be without being changed.
    Unservable(ContentHash, String),
}

/// Something to do. All of it can be done twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Get the rest of this content.
    Fetch(Version),
    /// Check this content.
    Verify(Version),
    /// Compile it, have it describe itself, hold it against the grants.
    Prepare(Version),
    /// Have it test itself.
    Test(Version),
    /// Have it serve.
    Serve(Version),
    /// Have none of them serve.
    Withdraw,
    /// Compare this one with how the version before did, for so long.
    Watch(Version, Option<Tally>, Duration),
    /// Delete every file that the record does not want.
    Sweep,
}

/// What follows from an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The record, to be on disk before the first effect begins.
    pub record: Record,
    /// What to do, in this order; none of it waits for the end of another.
    pub effects: Vec<Effect>,
    /// The updates that have ended by it.
    pub ended: Option<UpdateEnd>,
}

/// Takes a request. One for what is active already, or under way, changes nothing.
///
/// # Errors
///
/// If the version fell back here before, and it is not to be tried again.
pub fn ask(record: &Record, request: Request, now: Timestamp) -> Result<Step, AskError> {
    let Request { version: target, watch, again } = request;
    let mut step = Step::unchanged(record);
    if let Some(update) = &record.update {
        if update.target.hash == target.hash {
            return Ok(step);
        }
    } else if record.active.as_ref() == Some(&target.hash) {
        return Ok(step);
    }
    let mut stage = Stage::Fetching;
    let mut target = target;
    if let Some(kept) = step.record.kept_mut(&target.hash) {
        match &kept.fault {
            Some(Fault::Failed(reason)) if !again => {
                let (version, reason) = (kept.version.to_string(), reason.clone());
                return Err(AskError::FellBackBefore { version, reason });
            }
            _ => kept.fault = None,
        }
        target = Version { has_served: kept.has_served, ..target };
        stage = Stage::Verifying;
    }
    step.begin(target, watch, stage, now);
    Ok(step)
}

/// What stands for no version where a version may stand.
pub(crate) const NONE: &str = "none";

/// Takes the wish to go back: to `wanted`, a version, the beginning of a hash, or
/// `none`, which is to have no pushed version serve; or to the last one that did well.
///
/// # Errors
///
/// If there is no such version.
pub fn revert(record: &Record, wanted: Option<&str>, now: Timestamp) -> Result<Step, AskError> {
    let target = match wanted {
        Some(NONE) => return Ok(go_back_to_none(record, now)),
        Some(wanted) => {
            let is_it = |one: &&Version| {
                one.version.to_string() == wanted
                    || (wanted.len() >= 8 && one.hash.to_string().starts_with(wanted))
            };
            // Of two with the same version, the later.
            record.versions.iter().rfind(is_it).ok_or_else(|| AskError::NotKept {
                wanted: wanted.to_owned(),
                kept: record.versions.iter().map(|one| one.version.to_string()).collect(),
            })?
        }
        None => record.before(record.active.as_ref()).ok_or(AskError::NothingBefore)?,
    };
    let target = target.clone();
    let mut step = Step::unchanged(record);
    if record.update.is_none() && record.active.as_ref() == Some(&target.hash) {
        return Ok(step);
    }
    if let Some(kept) = step.record.kept_mut(&target.hash) {
        kept.fault = None;
    }
    step.begin(target, Duration::ZERO, Stage::Preparing, now);
    Ok(step)
}

fn go_back_to_none(record: &Record, now: Timestamp) -> Step {
    let mut step = Step::unchanged(record);
    if let Some(old) = step.record.update.take() {
        let end = old.end(UpdateOutcome::Superseded, now);
        let reason = Some("no version was asked for meanwhile".to_owned());
        step.end(UpdateEnd { reason, ..end });
        step.forget_unserved(&old.target.hash);
    }
    step.record.good = record.good.filter(|good| Some(*good) != record.active);
    step.record.active = None;
    step.effects.push(Effect::Withdraw);
    step
}

/// Decides what follows from an event. One that does not fit the record, as when it
/// comes late, changes nothing.
#[must_use]
pub fn step(record: &Record, event: Event, now: Timestamp) -> Step {
    let mut step = Step::unchanged(record);
    let update = record.update.clone();
    match (event, update) {
        (Event::Started, update) => step.start(update, now),
        (Event::Fetched, Some(update)) if update.stage == Stage::Fetching => {
            step.go_on(update, Stage::Verifying);
        }
        (Event::Verified, Some(update)) if update.stage == Stage::Verifying => {
            if record.kept(&update.target.hash).is_none() {
                step.record.versions.push(update.target.clone());
            }
            step.go_on(update, Stage::Preparing);
        }
        (Event::Prepared, Some(update)) if update.stage == Stage::Preparing => {
            step.go_on(update, Stage::Testing);
        }
        (Event::Tested, Some(update)) if update.stage == Stage::Testing => {
            step.go_on(update, Stage::Swapping);
        }
        (Event::Served(hash, before), Some(update)) if update.target.hash == hash => {
            step.served(update, before, now);
        }
        // One that was given up at the last moment serves all the same.
        (Event::Served(hash, _), _) if record.active.as_ref() != Some(&hash) => step.restore(),
        (Event::Passed, Some(update)) if matches!(update.stage, Stage::Watching { .. }) => {
            step.finish(&update, now);
        }
        (Event::Bad(reason), Some(update)) if matches!(update.stage, Stage::Watching { .. }) => {
            step.fall_back(&update, Fault::Failed(reason), now);
        }
        (Event::Refused(reason), Some(update)) => step.refuse(&update, reason, now),
        (Event::Held(reason), Some(update)) if update.is_before_serving() => {
            step.record.update = Some(Update { stage: Stage::Held { reason }, ..update });
        }
        (Event::Changed, update) => step.try_again(update),
        (Event::Unservable(hash, reason), update) => step.unservable(update, &hash, reason, now),
        _ => {}
    }
    step
}

impl Step {
    fn unchanged(record: &Record) -> Self {
        Self { record: record.clone(), effects: Vec::new(), ended: None }
    }

    fn begin(&mut self, target: Version, watch: Duration, stage: Stage, now: Timestamp) {
        if let Some(old) = self.record.update.take() {
            let reason = format!("version {} was asked for meanwhile", target.version);
            let end = old.end(UpdateOutcome::Superseded, now);
            self.end(UpdateEnd { reason: Some(reason), ..end });
            self.forget_unserved(&old.target.hash);
        }
        let watch_ms = u64::try_from(watch.as_millis()).unwrap_or(u64::MAX);
        self.go_on(Update { target, watch_ms, stage: stage.clone() }, stage);
    }

    /// Enters a stage, which has an effect.
    fn go_on(&mut self, update: Update, stage: Stage) {
        let target = update.target.clone();
        let effect = match &stage {
            Stage::Fetching => Some(Effect::Fetch(target)),
            Stage::Verifying => Some(Effect::Verify(target)),
            Stage::Preparing => Some(Effect::Prepare(target)),
            Stage::Held { .. } => None,
            Stage::Testing => Some(Effect::Test(target)),
            Stage::Swapping => Some(Effect::Serve(target)),
            Stage::Watching { before, .. } => {
                Some(Effect::Watch(target, *before, Duration::from_millis(update.watch_ms)))
            }
        };
        self.effects.extend(effect);
        self.record.update = Some(Update { stage, ..update });
    }

    /// Takes up what a stopped or killed agent was at.
    fn start(&mut self, update: Option<Update>, now: Timestamp) {
        self.effects.push(Effect::Sweep);
        match update {
            Some(Update { stage: Stage::Watching { before, starts }, target, watch_ms }) => {
                let stage = Stage::Watching { before, starts: starts + 1 };
                let update = Update { stage, target, watch_ms };
                if starts >= STARTS {
                    let reason =
                        format!("the agent was started {} times while it was watched", starts + 1);
                    return self.fall_back(&update, Fault::Failed(reason), now);
                }
                self.record.update = Some(update);
                self.serve_active();
            }
            Some(update) => {
                self.serve_active();
                let stage = match update.stage {
                    Stage::Fetching => Stage::Fetching,
                    _ => Stage::Verifying,
                };
                self.go_on(update, stage);
            }
            None => self.serve_active(),
        }
    }

    fn serve_active(&mut self) {
        let active = self.record.active().cloned();
        self.effects.extend(active.map(Effect::Serve));
    }

    fn restore(&mut self) {
        match self.record.active {
            Some(_) => self.serve_active(),
            None => self.effects.push(Effect::Withdraw),
        }
    }

    fn served(&mut self, update: Update, before: Option<Tally>, now: Timestamp) {
        match &update.stage {
            Stage::Swapping => {
                let hash = &update.target.hash;
                if let Some(index) = self.record.versions.iter().position(|one| one.hash == *hash) {
                    let mut version = self.record.versions.remove(index);
                    version.has_served = true;
                    self.record.versions.push(version);
                }
                self.record.active = Some(*hash);
                if update.watch_ms == 0 {
                    return self.finish(&update, now);
                }
                self.go_on(update, Stage::Watching { before, starts: 0 });
            }
            // It serves again after a start, or after somebody else had its name.
            watching @ Stage::Watching { .. } => {
                let stage = watching.clone();
                self.go_on(update, stage);
            }
            _ => {}
        }
    }

    fn finish(&mut self, update: &Update, now: Timestamp) {
        self.record.good = Some(update.target.hash);
        self.end(update.end(UpdateOutcome::Active, now));
    }

    fn fall_back(&mut self, update: &Update, fault: Fault, now: Timestamp) {
        let reason = fault.reason().to_owned();
        let hash = &update.target.hash;
        if let Some(kept) = self.record.kept_mut(hash) {
            kept.fault = Some(fault);
        }
        let back = self.record.before(Some(hash)).cloned();
        self.record.active = back.as_ref().map(|back| back.hash);
        let installed = self.record.program.as_ref().map(|program| &program.version);
        let back_to = back.as_ref().map(|back| &back.version).or(installed);
        let back_to = back_to.map(ToString::to_string);
        self.effects.push(back.map_or(Effect::Withdraw, Effect::Serve));
        let end = update.end(UpdateOutcome::FellBack, now);
        self.end(UpdateEnd { reason: Some(reason), back_to, ..end });
    }

    fn refuse(&mut self, update: &Update, reason: String, now: Timestamp) {
        if !update.is_before_serving() {
            return;
        }
        let end = update.end(UpdateOutcome::Refused, now);
        self.end(UpdateEnd { reason: Some(reason), ..end });
        self.forget_unserved(&update.target.hash);
    }

    fn try_again(&mut self, update: Option<Update>) {
        match update {
            Some(update) if matches!(update.stage, Stage::Held { .. }) => {
                self.go_on(update, Stage::Preparing);
            }
            _ => {}
        }
        self.serve_active();
    }

    fn unservable(
        &mut self,
        update: Option<Update>,
        hash: &ContentHash,
        reason: String,
        now: Timestamp,
    ) {
        let fault = Fault::Unservable(reason.clone());
        match update {
            Some(update) if update.target.hash == *hash => match &update.stage {
                Stage::Watching { .. } => return self.fall_back(&update, fault, now),
                _ => return self.refuse(&update, reason, now),
            },
            _ => {}
        }
        if let Some(kept) = self.record.kept_mut(hash) {
            kept.fault = Some(fault);
        }
        if self.record.active.as_ref() != Some(hash) {
            return;
        }
        // Even one that did badly is better than none, where there can be none.
        let is_plugin = self.record.program.is_none();
        let is_loadable = |one: &&Version| {
            is_plugin && one.has_served && !matches!(one.fault, Some(Fault::Unservable(_)))
        };
        let next = self.record.before(Some(hash));
        match next.or_else(|| self.record.versions.iter().rfind(is_loadable)).cloned() {
            Some(next) => {
                self.record.active = Some(next.hash);
                self.effects.push(Effect::Serve(next));
            }
            None if is_plugin => {}
            None => {
                self.record.active = None;
                self.effects.push(Effect::Withdraw);
            }
        }
    }

    fn end(&mut self, end: UpdateEnd) {
        self.record.update = None;
        self.record.last = Some(end.clone());
        self.ended = Some(end);
        self.record.forget_old();
        if !self.effects.contains(&Effect::Sweep) {
            self.effects.push(Effect::Sweep);
        }
    }

    /// Forgets a version that never served: nobody would go back to it.
    fn forget_unserved(&mut self, hash: &ContentHash) {
        self.record.versions.retain(|one| one.has_served || one.hash != *hash);
    }
}

impl Record {
    /// The version to go back to from `hash`: the good one, or else the last one
    /// that served and did nothing wrong. Of programs the one that ran before, and none
    /// if that was the installed one.
    pub(crate) fn before(&self, hash: Option<&ContentHash>) -> Option<&Version> {
        let is_fit =
            |one: &&Version| one.has_served && one.fault.is_none() && Some(&one.hash) != hash;
        if let Some(program) = &self.program {
            return program.before.and_then(|before| self.kept(&before)).filter(is_fit);
        }
        let good = self.good.as_ref().and_then(|good| self.kept(good)).filter(is_fit);
        good.or_else(|| self.versions.iter().rfind(is_fit))
    }
}

impl Update {
    fn is_before_serving(&self) -> bool {
        !matches!(self.stage, Stage::Watching { .. })
    }
}

fn list(versions: &[String]) -> String {
    if versions.is_empty() { "none".to_owned() } else { versions.join(", ") }
}

#[cfg(test)]
mod crashes;
#[cfg(test)]
pub(crate) mod tests;
