//! Values that the plugin keeps from one job to the next.
//!
//! Each plugin has its own. The manifest asks for it with a size, see
//! `wit/state.wit`. When a call has returned, what it changed is on disk. Jobs
//! of one plugin run side by side; [`replace`] is there for those who count on
//! what they read. Natively it is a map of the
//! [`testing::Host`](crate::testing::Host).
//!
//! ```
//! use drover_sdk::{state, task};
//!
//! /// Counts how often it was called.
//! #[task]
//! fn count() -> Result<u64, state::Error> {
//!     loop {
//!         let old = state::get("calls")?;
//!         let text = old.as_deref().and_then(|old| str::from_utf8(old).ok());
//!         let calls = text.and_then(|text| text.parse().ok()).unwrap_or(0) + 1;
//!         if state::replace("calls", old.as_deref(), Some(calls.to_string().as_bytes()))? {
//!             return Ok(calls);
//!         }
//!     }
//! }
//! # use drover_sdk::testing::{Host, with_host};
//! # let (answer, heard) = with_host(Host::default(), || (count(), count()));
//! # assert_eq!(answer.1.unwrap(), 2);
//! # assert_eq!(heard.state["calls"], b"2");
//! ```
//!
//! with this in `plugin.toml`:
//!
//! ```toml
//! [asks]
//! state = { size = "1 MiB", reason = "remembers how often it was called" }
//! ```

use std::fmt;

#[cfg(target_family = "wasm")]
use crate::bindings::drover::plugin::state as host;
use crate::bindings::drover::plugin::state::Error as HostError;
#[cfg(not(target_family = "wasm"))]
use crate::testing::state as host;

/// Keys in one answer of the host.
const PAGE: usize = 1_000;

/// The value of a key; none if there is none.
///
/// # Errors
///
/// If the key has not 1 to 512 bytes, or the host cannot read.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    host::get(key).map_err(|error| Error::of(error, key))
}

/// Gives a key a value, in place of one that it had.
///
/// # Errors
///
/// If the key has not 1 to 512 bytes, there is no room, or the host cannot write.
pub fn set(key: &str, value: &[u8]) -> Result<(), Error> {
    host::set(key, value).map_err(|error| Error::of(error, key))
}

/// Removes a key. Whether it was there.
///
/// # Errors
///
/// If the key has not 1 to 512 bytes, or the host cannot write.
pub fn delete(key: &str) -> Result<bool, Error> {
    host::delete(key).map_err(|error| Error::of(error, key))
}

/// Gives a key the value `new`, or removes it if that is none, if its value is
/// `expected`, where none stands for no such key. Whether it was.
///
/// # Errors
///
/// If the key has not 1 to 512 bytes, there is no room, or the host cannot write.
pub fn replace(key: &str, expected: Option<&[u8]>, new: Option<&[u8]>) -> Result<bool, Error> {
    host::replace(key, expected, new).map_err(|error| Error::of(error, key))
}

/// All keys that begin with `prefix`, in the order of their bytes.
///
/// # Errors
///
/// If the host cannot read.
pub fn keys(prefix: &str) -> Result<Vec<String>, Error> {
    let mut keys: Vec<String> = Vec::new();
    loop {
        let after = keys.last().map(String::as_str);
        let page = host::keys(prefix, after).map_err(|error| Error::of(error, prefix))?;
        let is_last = page.len() < PAGE;
        keys.extend(page);
        if is_last {
            return Ok(keys);
        }
    }
}

/// Why a call did nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// There is no job, as while the plugin describes itself.
    Denied,
    /// The key is empty or too long.
    InvalidKey {
        /// The key.
        key: String,
    },
    /// There would be more than is granted.
    NoRoom {
        /// What is granted, in bytes.
        granted: u64,
    },
    /// The host could not read or write it, and says why.
    Failed(String),
}

impl Error {
    fn of(error: HostError, key: &str) -> Self {
        match error {
            HostError::Denied => Self::Denied,
            HostError::InvalidKey => Self::InvalidKey { key: key.to_owned() },
            HostError::NoRoom(granted) => Self::NoRoom { granted },
            HostError::Failed(why) => Self::Failed(why),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied => f.write_str("there is no state outside of a job"),
            Self::InvalidKey { key } => {
                write!(f, "the key {key:?} of the state has not 1 to 512 bytes")
            }
            Self::NoRoom { granted } => write!(
                f,
                "the state has no room for that in the {granted} bytes that are granted: keep less, or have more granted"
            ),
            Self::Failed(why) => write!(f, "the host cannot use the state: {why}"),
        }
    }
}

impl std::error::Error for Error {}
