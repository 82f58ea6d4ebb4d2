//! The interfaces that have a plugin's operations, and the same way into both:
//! `wit/operations.wit` and `wit/async-operations.wit`.

use wasmtime::component::Component;
use wasmtime::{Engine, Store};

use crate::bindings::OperationsPluginPre;
use crate::bindings::concurrent::AsyncOperationsPre;
use crate::bindings::concurrent::exports::drover::plugin::async_operations as concurrent;
use crate::bindings::exports::drover::plugin::operations::{Error, Failure, Json, Kind, Operation};
use crate::instance::State;

/// An interface of a plugin, whose component can be instantiated.
pub(crate) enum Interface {
    Plain(OperationsPluginPre<State>),
    Async(AsyncOperationsPre<State>),
}

impl Interface {
    pub(crate) fn component(&self) -> &Component {
        match self {
            Self::Plain(component) => component.instance_pre().component(),
            Self::Async(component) => component.instance_pre().component(),
        }
    }

    pub(crate) fn engine(&self) -> &Engine {
        self.component().engine()
    }

    /// Makes an instance and has it list its operations.
    pub(crate) async fn describe(
        &self,
        store: &mut Store<State>,
    ) -> wasmtime::Result<Vec<Operation>> {
        match self {
            Self::Plain(component) => {
                let instance = component.instantiate_async(&mut *store).await?;
                instance.drover_plugin_operations().call_describe(store).await
            }
            Self::Async(component) => {
                let instance = component.instantiate_async(&mut *store).await?;
                let operations = instance.drover_plugin_async_operations();
                let described = operations.call_describe(store).await?;
                Ok(described.into_iter().map(Operation::from).collect())
            }
        }
    }

    /// Makes an instance and has it run an operation.
    ///
    /// One that waits for what can never come, as nobody is left to bring it, is
    /// ended at once.
    pub(crate) async fn run(
        &self,
        store: &mut Store<State>,
        operation: &str,
        arguments: &Json,
    ) -> wasmtime::Result<Result<String, Error>> {
        match self {
            Self::Plain(component) => {
                let instance = component.instantiate_async(&mut *store).await?;
                let operations = instance.drover_plugin_operations();
                operations.call_run(store, operation, arguments).await
            }
            Self::Async(component) => {
                let instance = component.instantiate_async(&mut *store).await?;
                let operations = instance.drover_plugin_async_operations();
                // Not its `call_run`, which is for several calls at a time.
                let call = (operation.to_owned(), arguments.to_owned());
                let (answer,) = operations.func_run().call_async(store, call).await?;
                Ok(answer.map_err(Error::from))
            }
        }
    }
}

impl From<concurrent::Operation> for Operation {
    fn from(operation: concurrent::Operation) -> Self {
        let concurrent::Operation { name, doc, arguments, returns } = operation;
        Self { name, kind: Kind::Task, doc, arguments, returns }
    }
}

impl From<concurrent::Error> for Error {
    fn from(error: concurrent::Error) -> Self {
        match error {
            concurrent::Error::UnknownOperation => Self::UnknownOperation,
            concurrent::Error::InvalidArguments(reason) => Self::InvalidArguments(reason),
            concurrent::Error::Failed(concurrent::Failure { code, message }) => {
                Self::Failed(Failure { code, message })
            }
        }
    }
}
