//! The plugin as a whole: what `plugin!` defines and the host calls.

pub use crate::bindings::exports::drover::plugin::operations::{
    Error as RunError, Kind, Operation as Description,
};
use crate::operation::Operation;

/// A plugin's operations. [`plugin!`](crate::plugin) defines one, called
/// `PLUGIN`; unit tests call it as the host would.
#[derive(Debug)]
pub struct Plugin {
    operations: &'static [&'static Operation],
}

impl Plugin {
    pub(crate) const fn new(operations: &'static [&'static Operation]) -> Self {
        Self { operations }
    }

    /// Describes every operation, in the order of the list.
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
}
