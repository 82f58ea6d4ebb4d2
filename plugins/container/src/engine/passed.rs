//! JSON of the engine that goes on to the caller as it came.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// JSON of the engine, passed on byte for byte: with fields of newer versions
/// too, and without the time that taking it apart would need.
///
/// `T` describes what of it this plugin knows; callers see it as the schema.
#[derive(Debug)]
pub(crate) struct Passed<T> {
    json: Box<RawValue>,
    known: PhantomData<T>,
}

impl<T> Passed<T> {
    pub(crate) fn new(json: Box<RawValue>) -> Self {
        Self { json, known: PhantomData }
    }
}

impl<T: DeserializeOwned> Passed<T> {
    /// Reads what this plugin knows of it.
    pub(crate) fn read(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.json.get())
    }
}

impl<T> Serialize for Passed<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Passed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self::new)
    }
}

impl<T: JsonSchema> JsonSchema for Passed<T> {
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
