//! Settings and secrets that the site's admin has chosen for this plugin.
//!
//! The manifest, `plugin.toml`, asks for each by name; a plugin of which one is
//! not granted is not loaded. Natively the values come from the
//! [`testing::Host`](crate::testing::Host).
//!
//! ```
//! use drover_sdk::{config, task};
//!
//! /// Says where copies go.
//! #[task]
//! fn target() -> Result<String, config::Denied> {
//!     config::get("bucket")
//! }
//! # use drover_sdk::testing::{Host, with_host};
//! # let settings = [("bucket".to_owned(), "nightly".to_owned())].into();
//! # let (answer, _) = with_host(Host { settings, ..Host::default() }, target);
//! # assert_eq!(answer.unwrap(), "nightly");
//! ```
//!
//! with this in `plugin.toml`:
//!
//! ```toml
//! [asks]
//! settings = [{ name = "bucket", reason = "where copies go" }]
//! ```

use std::fmt;

use crate::bindings::drover::plugin::config::Error;
#[cfg(target_family = "wasm")]
use crate::bindings::drover::plugin::config::get as host_get;
#[cfg(not(target_family = "wasm"))]
use crate::testing::get_setting as host_get;

/// The value of a setting or a secret, the same throughout a job.
///
/// # Errors
///
/// If the manifest does not ask for this name.
pub fn get(name: &str) -> Result<String, Denied> {
    host_get(name).map_err(|Error::Denied(why)| Denied { name: name.to_owned(), why })
}

/// The manifest does not ask for this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// The name.
    pub name: String,
    why: String,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the setting `{}` is denied: {}", self.name, self.why)
    }
}

impl std::error::Error for Denied {}
