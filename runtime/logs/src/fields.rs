//! What a record says beside its text, as names and values.
//!
//! In JSON, which is also how they are kept: an object of texts and numbers.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// The fields of a record, by name; none for most records.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fields(BTreeMap<String, FieldValue>);

/// The value of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other finite number.
    Float(f64),
}

/// The value of a field that is to be kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum FieldRef<'a> {
    /// A text.
    Text(&'a str),
    /// A whole number.
    Integer(i64),
    /// Any other number; one that is not finite is kept as a text.
    Float(f64),
}

/// What a record's field must be: `NAME OPERATOR VALUE` without spaces, such
/// as `status>=500` or `path~/api/`.
///
/// `=` and `!=` compare numbers as numbers and texts byte for byte. `<`, `<=`,
/// `>` and `>=` compare numbers as numbers, and texts letter by letter. `~`
/// finds a part of a text. A record without the field fulfils none of them, not
/// even `!=`; neither does a number that is compared with what is none, except
/// that it is `!=` to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FieldCondition {
    name: String,
    operator: Operator,
    value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Contains,
}

/// A text is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no condition of a field: write NAME, one of = != < <= > >= ~, and a value, such as \
     status>=500"
)]
pub struct FieldConditionError(String);

/// As they are written: those of two letters first, since they begin as others do.
const OPERATORS: [(&str, Operator); 7] = [
    ("!=", Operator::Unequal),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("~", Operator::Contains),
];

impl Fields {
    /// Names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, FieldRef<'_>)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_ref()))
    }

    /// The value of the field with this name.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&FieldValue> {
        self.0.get(name)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads what [`write`] wrote; nothing if it is damaged.
    pub(crate) fn read(json: &[u8]) -> Self {
        serde_json::from_slice(json).unwrap_or_default()
    }

    /// The memory that they take, about.
    pub(crate) fn cost(&self) -> usize {
        self.0.iter().map(|(name, value)| name.len() + value.cost()).sum()
    }
}

impl FieldValue {
    fn as_ref(&self) -> FieldRef<'_> {
        match self {
            Self::Text(text) => FieldRef::Text(text),
            Self::Integer(number) => FieldRef::Integer(*number),
            Self::Float(number) => FieldRef::Float(*number),
        }
    }

    fn cost(&self) -> usize {
        let text = if let Self::Text(text) = self { text.len() } else { 0 };
        size_of::<(String, Self)>() + text
    }
}

impl fmt::Display for FieldRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Float(number) => number.fmt(f),
        }
    }
}

/// Writes fields as JSON behind what is in `out`; nothing if there are none. Of
/// fields with the same name, readers see the last.
pub(crate) fn write<'a>(out: &mut Vec<u8>, fields: impl Iterator<Item = (&'a str, FieldRef<'a>)>) {
    use std::io::Write as _;

    let start = out.len();
    for (name, value) in fields {
        out.push(if out.len() == start { b'{' } else { b',' });
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut *out, name);
        out.push(b':');
        let _ = match value {
            FieldRef::Text(text) => serde_json::to_writer(&mut *out, text).map_err(Into::into),
            FieldRef::Integer(number) => write!(out, "{number}"),
            FieldRef::Float(number) if number.is_finite() => {
                serde_json::to_writer(&mut *out, &number).map_err(Into::into)
            }
            FieldRef::Float(number) => write!(out, "\"{number}\""),
        };
    }
    if out.len() > start {
        out.push(b'}');
    }
}

impl FieldCondition {
    /// Whether a record with these fields fulfils it.
    #[must_use]
    pub fn holds(&self, fields: &Fields) -> bool {
        fields.value(&self.name).is_some_and(|value| self.holds_for(value))
    }

    /// The name of the field.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn holds_for(&self, value: &FieldValue) -> bool {
        use std::cmp::Ordering::{Equal, Greater, Less};

        let wanted = self.value.as_str();
        let order = match value {
            _ if self.operator == Operator::Contains => {
                return value.as_ref().to_string().contains(wanted);
            }
            FieldValue::Text(text) => Some(text.as_str().cmp(wanted)),
            FieldValue::Integer(number) => match wanted.parse::<i64>() {
                Ok(wanted) => Some(number.cmp(&wanted)),
                Err(_) => compare(to_f64(*number), wanted),
            },
            FieldValue::Float(number) => compare(*number, wanted),
        };
        match self.operator {
            Operator::Equal => order == Some(Equal),
            Operator::Unequal => order != Some(Equal),
            Operator::Less => order == Some(Less),
            Operator::AtMost => matches!(order, Some(Less | Equal)),
            Operator::Greater => order == Some(Greater),
            Operator::AtLeast => matches!(order, Some(Greater | Equal)),
            Operator::Contains => false,
        }
    }
}

fn compare(number: f64, wanted: &str) -> Option<std::cmp::Ordering> {
    number.partial_cmp(&wanted.parse::<f64>().ok()?)
}

#[expect(clippy::cast_precision_loss, reason = "it is compared with a number that is not whole")]
fn to_f64(number: i64) -> f64 {
    number as f64
}

impl FromStr for FieldCondition {
    type Err = FieldConditionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || FieldConditionError(text.chars().take(80).collect());
        let at = text.find(['=', '!', '<', '>', '~']).ok_or_else(wrong)?;
        let (name, rest) = text.split_at(at);
        let (operator, value) = OPERATORS
            .iter()
            .find_map(|(sign, operator)| Some((*operator, rest.strip_prefix(sign)?)))
            .ok_or_else(wrong)?;
        if name.is_empty() {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), operator, value: value.to_owned() })
    }
}

impl fmt::Display for FieldCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = OPERATORS.iter().find(|(_, operator)| *operator == self.operator);
        write!(f, "{}{}{}", self.name, sign.map_or("=", |(sign, _)| sign), self.value)
    }
}

impl TryFrom<String> for FieldCondition {
    type Error = FieldConditionError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<FieldCondition> for String {
    fn from(condition: FieldCondition) -> Self {
        condition.to_string()
    }
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            match value {
                FieldValue::Text(text) => map.serialize_entry(name, text)?,
                FieldValue::Integer(number) => map.serialize_entry(name, number)?,
                FieldValue::Float(number) => map.serialize_entry(name, number)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = Fields;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts and numbers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                let mut fields = BTreeMap::new();
                while let Some((name, value)) = map.next_entry::<String, FieldValue>()? {
                    fields.insert(name, value);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Names)
    }
}

impl<'de> Deserialize<'de> for FieldValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Value;
        impl Visitor<'_> for Value {
            type Value = FieldValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<FieldValue, E> {
                Ok(FieldValue::Integer(number))
            }

            #[expect(clippy::cast_precision_loss, reason = "there is no larger whole number")]
            fn visit_u64<E: de::Error>(self, number: u64) -> Result<FieldValue, E> {
                let whole = i64::try_from(number).map(FieldValue::Integer);
                Ok(whole.unwrap_or(FieldValue::Float(number as f64)))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<FieldValue, E> {
                Ok(FieldValue::Float(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<FieldValue, E> {
                Ok(FieldValue::Text(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<FieldValue, E> {
                Ok(FieldValue::Text(text))
            }
        }
        deserializer.deserialize_any(Value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(json: &str) -> Fields {
        serde_json::from_str(json).unwrap()
    }

    fn condition(text: &str) -> FieldCondition {
        text.parse().unwrap()
    }

    #[test]
    fn conditions_compare_numbers_as_numbers_and_texts_as_texts() {
        let fields = fields(r#"{"status":500,"took":0.25,"host":"web-10","a=b":"c"}"#);
        for (text, holds) in [
            ("status=500", true),
            ("status=500.0", true),
            ("status!=404", true),
            ("status>=500", true),
            ("status>99", true),
            ("status<1e3", true),
            ("status>=many", false),
            ("status!=many", true),
            ("status~50", true),
            ("took<=0.25", true),
            ("took>0.3", false),
            ("host=web-10", true),
            ("host>web-1", true),
            ("host~web", true),
            ("host~db", false),
            ("host=", false),
            ("missing!=x", false),
        ] {
            assert_eq!(condition(text).holds(&fields), holds, "{text}");
            assert_eq!(condition(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_no_condition_is_refused_with_how_to_write_one() {
        for text in ["status", "=5", "!5", "a!5", ""] {
            let error = text.parse::<FieldCondition>().unwrap_err();
            assert!(error.to_string().contains("status>=500"), "{error}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_no_fields() {
        for json in ["", "{", "7", r#"{"a":[1]}"#, r#"{"a":null}"#] {
            assert_eq!(Fields::read(json.as_bytes()), Fields::default(), "{json}");
        }
        let last = Fields::read(br#"{"a":1,"b":2,"a":3}"#);
        assert_eq!(last, fields(r#"{"a":3,"b":2}"#));
    }

    proptest! {
        #[test]
        fn fields_read_back_as_they_were_written(
            texts in prop::collection::btree_map("[^a]{0,8}", ".{0,20}", 0..5),
            number: i64,
            float in prop::num::f64::NORMAL,
        ) {
            let mut all = vec![
                ("a number", FieldRef::Integer(number)),
                ("a float", FieldRef::Float(float)),
            ];
            all.extend(texts.iter().map(|(name, text)| (name.as_str(), FieldRef::Text(text))));
            let mut json = Vec::new();
            write(&mut json, all.iter().copied());
            let read = Fields::read(&json);
            all.sort_unstable_by_key(|(name, _)| *name);
            prop_assert_eq!(read.iter().collect::<Vec<_>>(), all);
        }
    }
}
