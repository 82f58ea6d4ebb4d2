//! Plugin versions that are pushed to a node: what to do with them, and their files.
//!
//! - [`step`] and [`ask`] are the whole decision, a pure function from a plugin's
//!   [`Record`] and an [`Event`] to the next record and [`Effect`]s. Whoever runs it
//!   has the record on disk before it begins an effect, so a node that is killed at
//!   any instant goes on from the record with [`Event::Started`].
//! - [`choose`] and those beside it are the same for the agent's own program, whose
//!   versions do not serve but run, one at a time.
//! - [`judge`] compares a version that is watched with the one before.
//! - [`Files`] has the bytes: those that have come so far, and the kept versions.
//!
//! Nothing here reads a clock, knows of the controller or of how plugins run.

#![forbid(unsafe_code)]

mod files;
mod judge;
mod program;
mod record;
mod step;

pub use files::{Files, FilesError, short};
pub use judge::{Tally, judge};
pub use program::{Choice, INSTALLED, choose, died, go_back, told, unstartable};
pub use record::{Fault, Installed, KEPT, Record, Stage, Update, Version};
pub use step::{AskError, Effect, Event, Request, Step, ask, revert, step};
