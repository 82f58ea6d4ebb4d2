//! The data of a result: JSON that is read when somebody looks into it.
//!
//! Plugins answer in text. Of most answers nobody looks at more than the whole, and
//! to build the tree of a large one takes longer than many a job. So the text is
//! checked to its end when it comes, which builds nothing, and read later or never.

use std::fmt;
use std::hash::Hasher;
use std::ops::Deref;
use std::sync::OnceLock;

use rustc_hash::FxHasher;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::Value;
use serde_transcode::transcode;

/// How deep data may be nested: less than messages and files can be, which have it
/// within something else.
pub const DEEPEST: usize = 64;

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
    /// Whatever reading it would have found, such as that it is no JSON, or that it is
    /// nested deeper than [`DEEPEST`].
    pub fn from_json(text: String) -> Result<Self, NoJson> {
        let mut reader = serde_json::Deserializer::from_str(&text);
        let looked = Look { depth: DEEPEST }.deserialize(&mut reader);
        match looked.and_then(|is_plain| reader.end().map(|()| is_plain)) {
            Ok(true) => Ok(Self { value: OnceLock::new(), text }),
            // Of two fields with one name, the last one counts, wherever it goes.
            Ok(false) => match serde_json::from_str::<Value>(&text) {
                Ok(value) if is_too_deep(&value) => Err(NoJson { text, error: too_deep() }),
                Ok(value) => Ok(value.into()),
                Err(error) => Err(NoJson { text, error }),
            },
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

/// Looks at JSON of which nothing is kept. Whether it is plain: then the text says the
/// same as the value that is read from it, field by field.
#[derive(Clone, Copy)]
struct Look {
    /// How deep it may be nested from here on.
    depth: usize,
}

/// A key that [`Value`] takes for a sign between the parts of its own library.
const SIGN: &str = "$serde_json::private::RawValue";

impl Look {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        Ok(Self { depth: self.depth.checked_sub(1).ok_or_else(too_deep)? })
    }
}

fn too_deep<E: Error>() -> E {
    E::custom(format_args!("it is nested deeper than {DEEPEST}"))
}

impl<'de> DeserializeSeed<'de> for Look {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any JSON")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_str<E>(self, _: &str) -> Result<bool, E> {
        Ok(true)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<bool, A::Error> {
        let (inner, mut is_plain) = (self.deeper()?, true);
        while let Some(element) = elements.next_element_seed(inner)? {
            is_plain &= element;
        }
        Ok(is_plain)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<bool, A::Error> {
        let (inner, mut is_plain) = (self.deeper()?, true);
        // Two that are alike by chance cost a tree, and nothing else.
        let mut names = Vec::new();
        while let Some(name) = fields.next_key_seed(Name)? {
            is_plain &= name.is_some() & fields.next_value_seed(inner)?;
            names.extend(name);
        }
        names.sort_unstable();
        Ok(is_plain && names.windows(2).all(|pair| pair[0] != pair[1]))
    }
}

/// A key of an object, as a hash of it; none if it is the [`SIGN`].
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<u64>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<u64>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E>(self, name: &str) -> Result<Option<u64>, E> {
        let mut hasher = FxHasher::default();
        hasher.write(name.as_bytes());
        Ok((name != SIGN).then(|| hasher.finish()))
    }
}

/// Whether a value is nested deeper than data may be.
#[must_use]
pub fn is_too_deep(value: &Value) -> bool {
    fn has_within(value: &Value, depth: usize) -> bool {
        let is_within = |inner| has_within(inner, depth - 1);
        match value {
            Value::Array(elements) => depth > 0 && elements.iter().all(is_within),
            Value::Object(fields) => depth > 0 && fields.values().all(is_within),
            _ => true,
        }
    }
    !has_within(value, DEEPEST)
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
            "{\"$serde_json::private::RawValue\": \"no JSON\"}",
        ] {
            assert!(Data::from_json(text.to_owned()).is_err(), "{text}");
            assert!(serde_json::from_str::<Value>(text).is_err(), "{text}");
        }
        let deep = |depth| "[{\"a\":".repeat(depth / 2) + "1" + &"}]".repeat(depth / 2);
        assert!(!is_too_deep(&data(&deep(DEEPEST))));
        let error = Data::from_json(deep(DEEPEST + 2)).unwrap_err();
        assert!(error.to_string().contains("deeper than 64"), "{error}");
        assert!(is_too_deep(&serde_json::from_str(&deep(DEEPEST + 2)).unwrap()));
        // What a sign stands for is as deep as it is.
        let hidden = json!({ SIGN: deep(DEEPEST + 2) }).to_string();
        assert!(Data::from_json(hidden).is_err());
    }

    #[test]
    fn what_is_written_is_the_same_whether_it_was_read_or_not() {
        for text in [
            r#"{"a": 1, "b": {"c": 1, "c": 2}, "a": [3]}"#,
            r#"{"$serde_json::private::RawValue": "[1]"}"#,
            r#"[-0, -0.0, 1e2, 18446744073709551616, 0.1, "\u0000"]"#,
        ] {
            let (unread, read) = (data(text), data(text));
            let _ = &*read;
            let written = |data: &Data| serde_json::to_string(data).unwrap();
            assert_eq!(written(&unread), written(&read), "{text}");
        }
    }

    proptest! {
        #[test]
        fn it_refuses_what_a_value_refuses(text in r#"[\[\]{},:" 0-9a-etrufalsn\\.+-]{0,24}"#) {
            let value = serde_json::from_str::<Value>(&text).ok();
            prop_assert_eq!(Data::from_json(text).ok().map(Data::into_value), value);
        }
    }
}
