//! Where a service publishes values while it runs, for whoever follows it.
//!
//! Natively they go to the [`testing::Host`](crate::testing::Host).
//!
//! ```
//! use drover_sdk::{data, feed, service};
//!
//! /// A reading.
//! #[data]
//! struct Reading {
//!     /// In degrees Celsius.
//!     temperature: f64,
//! }
//!
//! /// Publishes one reading and ends.
//! #[service]
//! fn thermometer() -> Result<(), feed::PublishError> {
//!     feed::publish(&Reading { temperature: 21.5 })
//! }
//! # use drover_sdk::testing::{Host, with_host};
//! # let (ended, heard) = with_host(Host::default(), thermometer);
//! # assert!(ended.is_ok());
//! # assert_eq!(heard.published[0]["temperature"], 21.5);
//! ```

use std::fmt;

use serde::Serialize;

#[cfg(target_family = "wasm")]
use crate::bindings::drover::plugin::feed as host;
use crate::bindings::drover::plugin::feed::PublishError as HostError;
#[cfg(not(target_family = "wasm"))]
use crate::testing as host;

/// Publishes one value, of at most 64 KiB as JSON.
///
/// Values keep their order. 100 may come at once and then 100 a second; whoever
/// publishes faster waits. No follower is waited for: one that is too slow is
/// told how many values it missed.
///
/// # Errors
///
/// If the value is too long, JSON has no way to write it, or the operation is no
/// service. The service goes on.
pub fn publish(value: &impl Serialize) -> Result<(), PublishError> {
    let json = serde_json::to_string(value).map_err(PublishError::Unwritable)?;
    host::publish(&json).map_err(|error| match error {
        HostError::NoService => PublishError::NoService,
        HostError::TooLong(limit) => PublishError::TooLong { limit },
        HostError::InvalidJson(message) => PublishError::Refused(message),
    })
}

/// Why a value was not published.
#[derive(Debug)]
pub enum PublishError {
    /// Tasks have no feed.
    NoService,
    /// JSON has no way to write it.
    Unwritable(serde_json::Error),
    /// It is longer than `limit` bytes.
    TooLong {
        /// What the host takes, in bytes.
        limit: u32,
    },
    /// The host does not take it for JSON and says why.
    Refused(String),
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoService => {
                f.write_str("only a service has a feed: mark the function with #[service]")
            }
            Self::Unwritable(_) => f.write_str("the value cannot be written as JSON"),
            Self::TooLong { limit } => {
                write!(f, "the value is longer than {limit} bytes; publish less at once")
            }
            Self::Refused(why) => write!(f, "the host refused the value: {why}"),
        }
    }
}

impl std::error::Error for PublishError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unwritable(error) => Some(error),
            Self::NoService | Self::TooLong { .. } | Self::Refused(_) => None,
        }
    }
}
