//! Which version of the agent's own program runs: pure functions.
//!
//! The program that an admin has installed is the one that is started. Where a
//! version that was pushed is to run it becomes its *launcher*: it starts that one as
//! its child, and is the one to decide when the child dies. So two programs write a
//! record, and never at the same time: the launcher while no child runs, and the
//! agent, which goes through the steps of [`step`](crate::step()) like any plugin's update.
//!
//! ```text
//!  agent:    ask ─▶ … ─▶ testing ─▶ swapping ── ends in order ──┐
//!  launcher:                          ┌──── choose ◀────────────┘
//!                                     ▼
//!  agent:                         watching ── passed ─▶ active
//!                                     │ bad
//!                                     ▼
//!            it died ─▶ died ─▶ what ran before is active ─▶ choose
//! ```
//!
//! A program that is started has been written down as the one that is watched before:
//! whatever instant the launcher is killed at, the next one starts the same program or
//! the one before, and a program that is started again and again while it is watched
//! has failed.

use drover_api::{Timestamp, UpdateEnd, UpdateOutcome};
use drover_signing::ContentHash;
use semver::Version as Number;

use crate::record::{Fault, Installed, Record, Stage, Update, Version};
use crate::step::{AskError, Effect, Event, NONE, Step, revert, step};

/// What stands for the installed program where a version may stand; so does `none`, no
/// version that was pushed.
pub const INSTALLED: &str = "installed";

/// The program that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The installed one.
    Installed,
    /// A version that was pushed.
    Pushed(Version),
}

/// Decides which program is to run now, where `installed` is the version of the
/// installed one. The record that comes with it is to be on disk before it is started.
///
/// An installed program that is newer than the active one, and was not there when that
/// one was chosen, is the admin's wish, and goes before.
#[must_use]
pub fn choose(record: &Record, installed: &Number, now: Timestamp) -> (Record, Choice) {
    let mut record = record.clone();
    let known = record.program.clone().unwrap_or_else(|| Installed::new(installed.clone()));
    if known.version != *installed && record.active().is_some_and(|one| one.version < *installed) {
        let reason = format!("version {installed} was installed meanwhile");
        to_installed(&mut record, reason, now);
    }
    record.program = Some(Installed { version: installed.clone(), ..known });
    let event = record.update.as_ref().and_then(|update| match update.stage {
        Stage::Swapping => Some(Event::Served(update.target.hash, None)),
        Stage::Watching { .. } => Some(Event::Started),
        _ => None,
    });
    if let Some(event) = event {
        if let (Event::Served(..), Some(program)) = (&event, &mut record.program) {
            program.before = record.active;
        }
        record = untold(step(&record, event, now)).record;
    }
    let is_usable = |one: &&Version| !matches!(one.fault, Some(Fault::Unservable(_)));
    match record.active().filter(is_usable).cloned() {
        Some(active) => (record, Choice::Pushed(active)),
        None => {
            record.active = None;
            (record, Choice::Installed)
        }
    }
}

/// What follows when the program with this content has ended and should not have. One
/// that is watched no more is as good as it was.
#[must_use]
pub fn died(record: &Record, hash: ContentHash, reason: String, now: Timestamp) -> Step {
    let is_its = |update: &Update| update.target.hash == hash;
    match record.update.as_ref().is_some_and(is_its) {
        true => untold(step(record, Event::Bad(reason), now)),
        false => Step { record: record.clone(), effects: Vec::new(), ended: None },
    }
}

/// What follows when the program with this content cannot be started, and will not be
/// able to.
#[must_use]
pub fn unstartable(record: &Record, hash: ContentHash, reason: String, now: Timestamp) -> Step {
    untold(step(record, Event::Unservable(hash, reason), now))
}

/// Takes the wish to go back: to `wanted`, a version, the beginning of a hash or
/// [`INSTALLED`]; or to what ran before. A version is tested and watched again, for
/// `watch_ms`; the installed program has nothing to prove.
///
/// # Errors
///
/// If there is no such version.
pub fn go_back(
    record: &Record,
    wanted: Option<&str>,
    watch_ms: u64,
    now: Timestamp,
) -> Result<Step, AskError> {
    let has_before = wanted.is_none() && record.before(record.active.as_ref()).is_some();
    if has_before || wanted.is_some_and(|wanted| ![INSTALLED, NONE].contains(&wanted)) {
        let mut step = revert(record, wanted, now)?;
        let target = |record: &Record| record.update.as_ref().map(|update| update.target.hash);
        if target(record).is_some() && target(record) == target(&step.record) {
            // It is on its way: whoever asks again, since the change cut the answer off,
            // must not begin it anew.
            return Ok(Step { record: record.clone(), effects: Vec::new(), ended: None });
        }
        if let Some(update) = &mut step.record.update {
            update.watch_ms = watch_ms;
        }
        return Ok(step);
    }
    let mut record = record.clone();
    let (active, had_update) = (record.active, record.update.is_some());
    if active.is_none() && wanted.is_none() {
        return Err(AskError::NothingBefore);
    }
    to_installed(&mut record, "the installed program was asked for meanwhile".to_owned(), now);
    record.good = record.good.filter(|good| Some(*good) != active);
    // Whoever asks by name for what runs has it, and is not told of what was before.
    let ended = record.last.clone().filter(|_| active.is_some() || had_update);
    let effects = active.map(|_| Effect::Withdraw).into_iter().collect();
    Ok(Step { ended, record, effects })
}

/// The record once the end of the last update is told.
#[must_use]
pub fn told(record: &Record) -> Record {
    let program = record.program.clone();
    let program = program.map(|program| Installed { is_untold: false, ..program });
    Record { program, ..record.clone() }
}

/// Has the installed program run, whatever was under way.
fn to_installed(record: &mut Record, reason: String, now: Timestamp) {
    record.active = None;
    if let Some(update) = record.update.take() {
        let end = update.end(UpdateOutcome::Superseded, now);
        record.last = Some(UpdateEnd { reason: Some(reason), ..end });
    }
}

/// The launcher can tell nobody of an end: the agent that it starts does.
fn untold(mut step: Step) -> Step {
    if let (Some(program), Some(_)) = (&mut step.record.program, &step.ended) {
        program.is_untold = true;
    }
    step
}

impl Installed {
    /// The installed program, of which nothing is known yet.
    fn new(version: Number) -> Self {
        Self { version, before: None, is_untold: false }
    }
}

#[cfg(test)]
mod tests;
