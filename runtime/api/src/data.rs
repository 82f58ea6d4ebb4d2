//! The data of a result: JSON that is read when somebody looks into it.
//!
//! Plugins answer in text. Of most answers nobody looks at more than the whole, and
//! to build the tree of a large one takes longer than many a job. So the text is
//! checked to its end when it comes, which builds nothing, and read later or never.

use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;
use serde_transcode::transcode;

/// What a job answered, null if nothing. It is used as the [`Value`] that it is.
#[derive(Clone, Default)]
pub struct Data {
    /// Read, or to be read from `text`.
    value: OnceLock<Value>,
    text: String,
}

/// A text that is no JSON, or not such as can be read.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct NoJson {
    /// The text.
    pub text: String,
    /// Where it stops to be JSON.
    pub error: serde_json::Error,
}

impl Data {
    /// Data in the form of JSON text, which is looked at to its end.
    ///
    /// # Errors
    ///
    /// Whatever reading it would have found: it is no JSON, a number is too large, or it
    /// is nested deeper than 128.
    pub fn from_json(text: String) -> Result<Self, NoJson> {
        match serde_json::from_str::<Sound>(&text) {
            Ok(Sound) => Ok(Self { value: OnceLock::new(), text }),
            Err(error) => Err(NoJson { text, error }),
        }
    }

    /// The value, without a copy of it.
    #[must_use]
    pub fn into_value(self) -> Value {
        let Self { value, text } = self;
        value.into_inner().unwrap_or_else(|| read(&text))
    }
}

/// Reads a text that was found sound, or none.
fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

impl From<Value> for Data {
    fn from(value: Value) -> Self {
        Self { value: value.into(), text: String::new() }
    }
}

impl Deref for Data {
    type Target = Value;

    fn deref(&self) -> &Value {
        self.value.get_or_init(|| read(&self.text))
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, formatter)
    }
}

impl fmt::Display for Data {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&**self, formatter)
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<T> PartialEq<T> for Data
where
    Value: PartialEq<T>,
{
    fn eq(&self, other: &T) -> bool {
        **self == *other
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value.get() {
            Some(value) => value.serialize(serializer),
            None if self.text.is_empty() => serializer.serialize_unit(),
            // From form to form, without a tree between them.
            None => transcode(&mut serde_json::Deserializer::from_str(&self.text), serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

/// JSON of which nothing is kept.
struct Sound;

/// A key that [`Value`] takes for a sign between the parts of its own library.
const SIGN: &str = "$serde_json::private::RawValue";

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self, A::Error> {
        while let Some(Self) = elements.next_element()? {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        while let Some(Name) = entries.next_key()? {
            let Self = entries.next_value()?;
        }
        Ok(self)
    }
}

/// A key of an object.
struct Name;

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Self)
    }
}

impl Visitor<'_> for Name {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self, E> {
        match name {
            SIGN => Err(E::custom(format_args!("the key `{SIGN}` cannot be used"))),
            _ => Ok(self),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn data(text: &str) -> Data {
        Data::from_json(text.to_owned()).unwrap()
    }

    #[test]
    fn a_text_is_used_as_what_it_says() {
        let text = r#"{"a": [1, -2, 0.5, null, "ä\u00e4", true], "b": {"": {}}}"#;
        let value = json!({ "a": [1, -2, 0.5, null, "ää", true], "b": { "": {} } });
        assert_eq!(data(text), value);
        assert_eq!(data(text), Data::from(value.clone()));
        assert_eq!(data(text)["a"][4], "ää");
        assert_eq!(serde_json::to_value(data(text)).unwrap(), value);
        assert_eq!(data(text).clone().into_value(), value);
        assert_eq!(serde_json::from_str::<Data>(text).unwrap(), value);
        assert_eq!(serde_json::to_value(Data::default()).unwrap(), Value::Null);
        assert_eq!(Data::default().into_value(), Value::Null);
    }

    #[test]
    fn what_could_not_be_read_later_is_refused_at_once() {
        let deep = |depth| "[".repeat(depth) + &"]".repeat(depth);
        for text in [
            "",
            " ",
            "nul",
            "1 2",
            "[1,]",
            "{\"a\"}",
            "{1: 2}",
            "\"\\ud800\"",
            "\"\n\"",
            "1e999",
            "01",
            "NaN",
            &deep(128),
            "{\"$serde_json::private::RawValue\": \"no JSON\"}",
        ] {
            assert!(Data::from_json(text.to_owned()).is_err(), "{text}");
            assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
        }
        assert!(Data::from_json(deep(127)).is_ok());
    }

    proptest! {
        #[test]
        fn it_refuses_what_a_value_refuses(text in r#"[\[\]{},:" 0-9a-etrufalsn\\.+-]{0,24}"#) {
            let value = serde_json::from_str::<Value>(&text).ok();
            prop_assert_eq!(Data::from_json(text).ok().map(Data::into_value), value);
        }
    }
}
