//! Errors as values: how an operation says why it has no answer.

use std::error::Error;
use std::fmt::Display;

pub use crate::bindings::exports::drover::plugin::operations::Failure;

impl Failure {
    /// The code of errors that were passed on with `?` alone.
    pub const FAILED: &str = "failed";

    /// A failure with a code of its own. See the fields for what belongs in them.
    #[must_use]
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// Lets `?` pass on any error: the code is [`Failure::FAILED`], the message
/// tells the error and all its sources.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(Self::FAILED, chain(&error))
    }
}

/// Gives errors a code and says what was being done.
pub trait OrFail<T> {
    /// Turns an error into a [`Failure`] with this code; its message is
    /// `what`, then the error and all its sources.
    ///
    /// # Errors
    ///
    /// If `self` is one.
    ///
    /// ```
    /// use drover_sdk::{Failure, OrFail};
    ///
    /// fn port(text: &str) -> Result<u16, Failure> {
    ///     text.parse().or_fail("invalid-port", format_args!("`{text}` is no port"))
    /// }
    ///
    /// let failure = port("x").unwrap_err();
    /// assert_eq!(failure.code, "invalid-port");
    /// assert_eq!(failure.message, "`x` is no port: invalid digit found in string");
    /// ```
    fn or_fail(self, code: &str, what: impl Display) -> Result<T, Failure>;
}

impl<T, E: Error> OrFail<T> for Result<T, E> {
    fn or_fail(self, code: &str, what: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::new(code, format!("{what}: {}", chain(&error))))
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
