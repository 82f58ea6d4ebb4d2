//! Log records, each at a level that decides who reads it.
//!
//! A message may have many lines; one longer than 64 KiB is cut. The node's log
//! keeps all records; the job's result has the first 1,000 and says how many
//! were left out. Writing never waits for a reader. Natively, records go to
//! standard error, or to [`testing`](crate::testing).
//!
//! ```
//! use drover_sdk::log;
//!
//! let free = 3;
//! log::warning(format_args!("/var has {free} % left"));
//! ```

use std::fmt::Display;

use serde::Serialize;

pub use crate::bindings::drover::plugin::log::{FieldValue, Level};

/// The names and values of a record's fields.
pub type Fields<'a> = &'a [(&'a str, FieldValue)];

/// For the end user.
pub fn public(message: impl Display) {
    write(Level::Public, message);
}

/// For the operator.
pub fn operator(message: impl Display) {
    write(Level::Operator, message);
}

/// Unstructured text.
pub fn text(message: impl Display) {
    write(Level::Text, message);
}

/// For programs: a value, written as JSON.
///
/// # Errors
///
/// If JSON has no way to write the value; nothing is logged then.
pub fn structured(value: &impl Serialize) -> Result<(), serde_json::Error> {
    serde_json::to_string(value).map(|json| write(Level::Structured, json))
}

/// Surprising, but the operation goes on.
pub fn warning(message: impl Display) {
    write(Level::Warning, message);
}

/// Something that an operator must look at.
pub fn error(message: impl Display) {
    write(Level::Error, message);
}

/// Somebody should be woken.
pub fn critical(message: impl Display) {
    write(Level::Critical, message);
}

/// For the plugin's author.
pub fn debug(message: impl Display) {
    write(Level::Debug, message);
}

/// Writes one record.
pub fn write(level: Level, message: impl Display) {
    let message = message.to_string();
    #[cfg(target_family = "wasm")]
    crate::bindings::drover::plugin::log::write(level, &message);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::write(level, message, Vec::new());
}

/// Writes one record with fields, by which queries choose records; see
/// `wit/log.wit` for how many and how long.
///
/// ```
/// use drover_sdk::log::{self, Level};
///
/// log::write_with_fields(Level::Text, "GET /", &[("status", 200.into()), ("host", "web".into())]);
/// ```
pub fn write_with_fields(level: Level, message: impl Display, fields: Fields<'_>) {
    let message = message.to_string();
    let fields: Vec<_> =
        fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    #[cfg(target_family = "wasm")]
    crate::bindings::drover::plugin::log::write_with_fields(level, &message, &fields);
    #[cfg(not(target_family = "wasm"))]
    crate::testing::write(level, message, fields);
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for FieldValue {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for FieldValue {
    fn from(number: f64) -> Self {
        Self::Float(number)
    }
}
