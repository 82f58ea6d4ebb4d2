//! Answers that somebody else has written.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;

use crate::operation::Answer;

/// JSON that somebody else has written, as the answer of an operation: it goes to the
/// caller as it is, without the time it takes to read it and to write it again. The host
/// refuses what is no JSON.
///
/// `T` describes it to callers; nothing checks that it is like that.
///
/// ```
/// use drover_sdk::{Json, data, task};
///
/// /// What the other side knows of a thing.
/// #[data]
/// struct Thing {
///     name: String,
/// }
///
/// /// Asks the other side.
/// #[task]
/// fn thing() -> Json<Thing> {
///     Json::new(r#"{"name": "lamp"}"#)
/// }
/// # assert_eq!(thing().read::<Thing>().unwrap().name, "lamp");
/// ```
#[derive(Debug)]
pub struct Json<T> {
    text: String,
    described: PhantomData<fn() -> T>,
}

impl<T> Json<T> {
    /// This text, which is JSON.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), described: PhantomData }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Reads it.
    ///
    /// # Errors
    ///
    /// If it is no JSON, or no `U`.
    pub fn read<U: DeserializeOwned>(&self) -> Result<U, serde_json::Error> {
        serde_json::from_str(&self.text)
    }
}

// It is not `Serialize`, as its text is not checked here.
impl<T: JsonSchema> Answer for Json<T> {
    fn into_json(self) -> Result<String, serde_json::Error> {
        Ok(self.text)
    }
}

impl<T: JsonSchema> JsonSchema for Json<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}
