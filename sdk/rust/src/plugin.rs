//! The plugin as a whole: what `plugin!` defines and the host calls.

#[cfg(feature = "async")]
use crate::async_operation::AsyncOperation;
pub use crate::bindings::exports::drover::plugin::operations::{
    Error as RunError, Kind, Operation as Description,
};
use crate::operation::Operation;

/// A plugin's operations. [`plugin!`](crate::plugin) defines one, called
/// `PLUGIN`; unit tests call it as the host would.
#[derive(Debug)]
pub struct Plugin {
    operations: &'static [&'static Operation],
    #[cfg(feature = "async")]
    concurrent: &'static [&'static AsyncOperation],
}

impl Plugin {
    pub(crate) const fn new(operations: &'static [&'static Operation]) -> Self {
        Self {
            operations,
            #[cfg(feature = "async")]
            concurrent: &[],
        }
    }

    #[cfg(feature = "async")]
    pub(crate) const fn with_async(
        operations: &'static [&'static Operation],
        concurrent: &'static [&'static AsyncOperation],
    ) -> Self {
        Self { operations, concurrent }
    }

    #[cfg(feature = "async")]
    pub(crate) fn concurrent(&self) -> &'static [&'static AsyncOperation] {
        self.concurrent
    }

    /// Describes every operation that is no `async fn`, in the order of the list.
    #[must_use]
    pub fn describe(&self) -> Vec<Description> {
        self.operations.iter().map(|operation| operation.describe()).collect()
    }

    /// Runs one operation with a JSON object of arguments and gives its answer
    /// as JSON.
    ///
    /// # Errors
    ///
    /// If there is no such operation, the arguments do not fit, or it failed.
    pub fn run(&self, operation: &str, arguments: &str) -> Result<String, RunError> {
        let found = self.operations.iter().find(|candidate| candidate.name == operation);
        let operation = found.ok_or(RunError::UnknownOperation)?;
        (operation.run)(arguments)
    }

    /// Runs one that is an `async fn`. In a unit test,
    /// [`testing::complete`](crate::testing::complete) waits for it.
    ///
    /// # Errors
    ///
    /// If there is no such operation, the arguments do not fit, or it failed.
    #[cfg(feature = "async")]
    pub async fn run_async(&self, operation: &str, arguments: &str) -> Result<String, RunError> {
        let found = self.concurrent.iter().find(|candidate| candidate.name == operation);
        let operation = found.ok_or(RunError::UnknownOperation)?;
        (operation.run)(arguments.to_owned()).await
    }
}
