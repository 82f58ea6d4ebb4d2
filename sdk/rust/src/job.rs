//! The job that is running: one run of an operation.
//!
//! Natively the answers come from the [`testing::Host`](crate::testing::Host).
//!
//! ```
//! use drover_sdk::{job, task};
//!
//! /// Checks every file; stops early when the caller has had enough.
//! #[task]
//! fn check(files: Vec<String>) -> Result<usize, job::ProgressError> {
//!     let mut done = 0;
//!     for _file in &files {
//!         if job::is_cancelled() {
//!             break;
//!         }
//!         done += 1;
//!         job::progress(&serde_json::json!({ "done": done, "of": files.len() }))?;
//!     }
//!     Ok(done)
//! }
//! ```

use std::time::Duration;
use std::{fmt, io};

use serde::Serialize;

#[cfg(target_family = "wasm")]
use crate::bindings::drover::plugin::job as host;
pub use crate::bindings::drover::plugin::job::{CallerInfo, NodeInfo, PluginInfo};
#[cfg(not(target_family = "wasm"))]
use crate::testing as host;

/// The job's id, unique over the whole site; `service.` and its name for a
/// service.
#[must_use]
pub fn id() -> String {
    host::id()
}

/// The `data` of the command: bytes that the caller sent beside the arguments.
/// The same bytes at each call, empty if there were none.
#[must_use]
pub fn data() -> Vec<u8> {
    host::data()
}

/// How long [`data`] is, in bytes.
#[must_use]
pub fn data_size() -> u64 {
    host::data_size()
}

/// A part of [`data`], for who does not want all of it in memory at once: at most
/// `length` bytes from `offset` on, none at the end.
#[must_use]
pub fn data_range(offset: u64, length: u32) -> Vec<u8> {
    host::data_range(offset, length)
}

/// Reads [`data`] part by part.
///
/// ```
/// use std::io::{BufRead, BufReader};
///
/// use drover_sdk::{job, task};
///
/// /// Counts the lines of the data.
/// #[task]
/// fn lines() -> usize {
///     BufReader::with_capacity(64 << 10, job::DataReader::default()).lines().count()
/// }
/// # use drover_sdk::testing::{Host, with_host};
/// # let host = Host { job_data: b"a\nb\nc".to_vec(), ..Host::default() };
/// # assert_eq!(with_host(host, lines).0, 3);
/// ```
#[derive(Debug, Clone, Default)]
pub struct DataReader {
    offset: u64,
}

impl io::Read for DataReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let part = data_range(self.offset, u32::try_from(buffer.len()).unwrap_or(u32::MAX));
        let read = part.len().min(buffer.len());
        buffer[..read].copy_from_slice(&part[..read]);
        self.offset += read as u64;
        Ok(read)
    }
}

/// What was asked for: `<plugin>.<operation>`.
#[must_use]
pub fn command() -> String {
    host::command()
}

/// The plugin itself, as it is loaded.
#[must_use]
pub fn plugin() -> PluginInfo {
    host::plugin()
}

/// The node that the job runs on.
#[must_use]
pub fn node() -> NodeInfo {
    host::node()
}

/// Who asked for the job, where the controller's permissions disclose it to the
/// node; none otherwise, and where nobody did.
#[must_use]
pub fn caller() -> Option<CallerInfo> {
    host::caller()
}

/// The time left until the host ends the job, wherever it is; none if it may
/// run for ever, as a service may.
#[must_use]
pub fn remaining() -> Option<Duration> {
    host::remaining_ms().map(Duration::from_millis)
}

/// Whether the caller has cancelled the job.
///
/// Whoever has asked at least once is given 2 seconds from the cancellation to
/// tidy up and return; everybody else is ended at once. In both cases the job
/// ends as killed.
#[must_use]
pub fn is_cancelled() -> bool {
    host::is_cancelled()
}

/// Waits until the job is cancelled, or `time` has passed; says whether it is
/// cancelled. Asking like this counts as asking by [`is_cancelled`].
///
/// This is how a service idles: while it waits it uses no processor, and it is
/// told at once when it is to stop.
///
/// ```
/// use std::time::Duration;
///
/// use drover_sdk::{feed, job, service};
///
/// /// Counts the seconds.
/// #[service]
/// fn count() -> Result<(), feed::PublishError> {
///     let mut seconds = 0;
///     while !job::wait(Duration::from_secs(1)) {
///         seconds += 1;
///         feed::publish(&seconds)?;
///     }
///     Ok(())
/// }
/// # use drover_sdk::testing::{Host, with_host};
/// # let host = Host { waits: 2, ..Host::default() };
/// # let (ended, heard) = with_host(host, count);
/// # assert!(ended.is_ok());
/// # assert_eq!(heard.published, [1, 2]);
/// ```
#[must_use]
pub fn wait(time: Duration) -> bool {
    host::wait(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

/// Tells the caller how far the job is: any value, of at most 64 KiB as JSON.
///
/// Reports arrive in order and none is lost: the call waits while the link to
/// the caller is busy. Where nobody asked for progress it returns at once.
///
/// # Errors
///
/// If the report is too long, or JSON has no way to write it; the job goes on.
pub fn progress(report: &impl Serialize) -> Result<(), ProgressError> {
    let json = serde_json::to_string(report).map_err(ProgressError::Unwritable)?;
    host::progress(&json).map_err(|error| match error {
        crate::bindings::drover::plugin::job::ProgressError::TooLong(limit) => {
            ProgressError::TooLong { limit }
        }
        crate::bindings::drover::plugin::job::ProgressError::InvalidJson(message) => {
            ProgressError::Refused(message)
        }
    })
}

/// Why a progress report was not sent.
#[derive(Debug)]
pub enum ProgressError {
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

impl fmt::Display for ProgressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unwritable(_) => f.write_str("the progress report cannot be written as JSON"),
            Self::TooLong { limit } => {
                write!(f, "the progress report is longer than {limit} bytes; report less at once")
            }
            Self::Refused(why) => write!(f, "the host refused the progress report: {why}"),
        }
    }
}

impl std::error::Error for ProgressError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unwritable(error) => Some(error),
            Self::TooLong { .. } | Self::Refused(_) => None,
        }
    }
}
