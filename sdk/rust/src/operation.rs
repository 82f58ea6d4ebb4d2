//! One operation as data, and the way from JSON to a function and back.
//!
//! What is public here is called by code that the macros generate.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::{JsonSchema, Schema};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;
use crate::bindings::exports::drover::plugin::operations::{Error, Kind, Operation as Description};

/// What `#[task]` and `#[service]` make of a function. Everything in it is
/// known when the plugin is compiled; schemas are made when they are asked for.
#[derive(Debug)]
pub struct Operation {
    /// The name that callers use.
    pub name: &'static str,
    /// How the operation ends.
    pub kind: Kind,
    /// The doc comment.
    pub doc: &'static str,
    /// Makes the schema of the arguments.
    pub arguments: fn() -> String,
    /// Makes the schema of the answer.
    pub returns: fn() -> String,
    /// Decodes the arguments, calls the function, encodes the answer.
    pub run: fn(&str) -> Result<String, Error>,
}

impl Operation {
    pub(crate) fn describe(&self) -> Description {
        Description {
            name: self.name.to_owned(),
            kind: self.kind,
            doc: self.doc.to_owned(),
            arguments: (self.arguments)(),
            returns: (self.returns)(),
        }
    }
}

/// The schema of what callers may send.
#[must_use]
pub fn arguments_schema<T: JsonSchema>() -> String {
    text(generator(SchemaSettings::for_deserialize).into_root_schema_for::<T>())
}

/// The schema of what the operation answers.
#[must_use]
pub fn returns_schema<T: Answer>() -> String {
    text(generator(SchemaSettings::for_serialize).into_root_schema_for::<T>())
}

// What depends on no type is not compiled anew for each: a plugin has many.
#[inline(never)]
fn generator(purpose: fn(SchemaSettings) -> SchemaSettings) -> SchemaGenerator {
    purpose(SchemaSettings::draft2020_12()).into_generator()
}

#[inline(never)]
fn text(mut schema: Schema) -> String {
    // The name of the Rust type says nothing to callers.
    schema.remove("title");
    schema.to_value().to_string()
}

/// Reads the arguments of a call.
///
/// # Errors
///
/// If they are no JSON object, lack something, or have something unknown.
pub fn decode<T: DeserializeOwned>(arguments: &str) -> Result<T, Error> {
    serde_json::from_str(arguments).map_err(|error| Error::InvalidArguments(error.to_string()))
}

/// Writes the answer of an operation that cannot fail.
///
/// # Errors
///
/// If JSON has no way to write the answer, such as a map whose keys are lists.
pub fn encode(answer: impl Answer) -> Result<String, Error> {
    answer.into_json().map_err(|error| {
        let message = format!("the answer cannot be written as JSON: {error}");
        Error::Failed(Failure::new("unwritable-answer", message))
    })
}

/// Writes the answer of an operation that can fail.
///
/// # Errors
///
/// If the operation failed, and like [`encode`].
pub fn encode_result(answer: impl Fallible) -> Result<String, Error> {
    answer.into_result().map_err(Error::Failed).and_then(encode)
}

/// What a parameter can be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be an argument of an operation",
    label = "no caller can send this",
    note = "if the type is your own, put `#[drover_sdk::data]` on it and on the types of its fields"
)]
pub trait Argument: DeserializeOwned + JsonSchema {}

#[diagnostic::do_not_recommend]
impl<T: DeserializeOwned + JsonSchema> Argument for T {}

/// What an operation can answer.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the answer of an operation",
    label = "no caller can receive this",
    note = "if the type is your own, put `#[drover_sdk::data]` on it and on the types of its fields"
)]
pub trait Answer: JsonSchema {
    /// Writes it.
    ///
    /// # Errors
    ///
    /// If JSON has no way to write it.
    fn into_json(self) -> Result<String, serde_json::Error>;
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + JsonSchema> Answer for T {
    fn into_json(self) -> Result<String, serde_json::Error> {
        serde_json::to_string(&self)
    }
}

/// A `Result`, also one behind an alias such as `io::Result`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be what an operation returns",
    label = "no `Result` whose error can become a `Failure`",
    note = "use `drover_sdk::Failure` as the error, or a type that implements `std::error::Error`"
)]
pub trait Fallible {
    /// What it holds if all went well.
    type Answer: Answer;

    /// The same with the one error type that crosses the contract.
    ///
    /// # Errors
    ///
    /// If `self` is one.
    fn into_result(self) -> Result<Self::Answer, Failure>;
}

#[diagnostic::do_not_recommend]
impl<T: Answer, E: Into<Failure>> Fallible for Result<T, E> {
    type Answer = T;

    fn into_result(self) -> Result<T, Failure> {
        self.map_err(Into::into)
    }
}
