//! The engine's API: requests in its words, answers as they came.
//!
//! An operation [connects](Engine::connect), which settles the version of the
//! API that both sides know, and then sends [`Call`]s. Every failure has a
//! stable code, see [`failure`], and says what was being done.

mod call;
pub(crate) mod dialog;
pub(crate) mod failure;
pub(crate) mod frames;
pub(crate) mod messages;
pub(crate) mod path;
pub(crate) mod transport;
mod version;

use std::cell::Cell;
use std::fmt::Display;

use drover_sdk::Failure;

pub(crate) use call::{Call, Sent, broken_off};
pub(crate) use version::Version;

/// The engine of this node, with the version of its API that is spoken.
pub(crate) struct Engine {
    version: Cell<Version>,
}

impl Engine {
    /// Uses the version that was settled before, or settles it now.
    pub(crate) fn connect() -> Result<Self, Failure> {
        let version = match version::remembered() {
            Some(version) => version,
            None => version::settle()?,
        };
        Ok(Self { version: Cell::new(version) })
    }

    /// The version of the API.
    pub(crate) fn version(&self) -> Version {
        self.version.get()
    }

    /// Asks for something. `what` completes "cannot …" in errors.
    pub(crate) fn get(&self, path: impl Into<String>, what: impl Display) -> Call<'_> {
        Call::new(self, "GET", path.into(), what.to_string())
    }

    /// Has something done.
    pub(crate) fn post(&self, path: impl Into<String>, what: impl Display) -> Call<'_> {
        Call::new(self, "POST", path.into(), what.to_string())
    }

    /// Puts something in.
    pub(crate) fn put(&self, path: impl Into<String>, what: impl Display) -> Call<'_> {
        Call::new(self, "PUT", path.into(), what.to_string())
    }

    /// Has something removed.
    pub(crate) fn delete(&self, path: impl Into<String>, what: impl Display) -> Call<'_> {
        Call::new(self, "DELETE", path.into(), what.to_string())
    }
}
