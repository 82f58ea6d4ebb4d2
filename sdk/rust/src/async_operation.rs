//! One operation that is an `async fn`, and the way to it through
//! `wit/async-operations.wit`.
//!
//! What is public here is called by code that the macros generate.

use std::pin::Pin;

use crate::Plugin;
use crate::bindings::concurrent::exports::drover::plugin::async_operations as contract;
use crate::plugin::RunError;

/// A run that is under way.
pub type Running = Pin<Box<dyn Future<Output = Result<String, RunError>>>>;

/// What `#[task]` makes of an `async fn`; see `Operation`.
#[derive(Debug)]
pub struct AsyncOperation {
    /// The name that callers use.
    pub name: &'static str,
    /// The doc comment.
    pub doc: &'static str,
    /// Makes the schema of the arguments.
    pub arguments: fn() -> String,
    /// Makes the schema of the answer.
    pub returns: fn() -> String,
    /// Decodes the arguments, calls the function, encodes the answer.
    pub run: fn(String) -> Running,
}

/// Describes every operation that is an `async fn`, in the order of the list.
#[must_use]
pub fn describe(plugin: &Plugin) -> Vec<contract::Operation> {
    let describe = |operation: &&AsyncOperation| contract::Operation {
        name: operation.name.to_owned(),
        doc: operation.doc.to_owned(),
        arguments: (operation.arguments)(),
        returns: (operation.returns)(),
    };
    plugin.concurrent().iter().map(describe).collect()
}

/// Runs one as the host wants it run.
///
/// # Errors
///
/// Those of [`Plugin::run_async`].
pub async fn run(
    plugin: &Plugin,
    operation: &str,
    arguments: &str,
) -> Result<String, contract::Error> {
    plugin.run_async(operation, arguments).await.map_err(|error| match error {
        RunError::UnknownOperation => contract::Error::UnknownOperation,
        RunError::InvalidArguments(reason) => contract::Error::InvalidArguments(reason),
        RunError::Failed(failure) => contract::Error::Failed(contract::Failure {
            code: failure.code,
            message: failure.message,
        }),
    })
}
