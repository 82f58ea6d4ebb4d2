//! Values from one form to another, for sessions of different serializers.
//!
//! JSON has no binary: it travels as a text of `U+0000` and base64, as the
//! specification says. What else JSON cannot write becomes what comes nearest:
//! NaN and infinities become null, the bytes of extension types are binary,
//! keys that are numbers become texts.

use std::fmt;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::MAX_DEPTH;
use super::msgpack::{Head, head};

/// Writes a msgpack value as JSON.
pub(crate) fn msgpack_to_json(bytes: &[u8]) -> Result<Bytes, String> {
    let mut out = Vec::with_capacity(bytes.len() * 2);
    value_to_json(bytes, 0, &mut out, 0)?;
    Ok(out.into())
}

/// Writes a JSON value as msgpack.
pub(crate) fn json_to_msgpack(bytes: &[u8]) -> Result<Bytes, String> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    ToMsgpack(&mut out).deserialize(&mut deserializer).map_err(|error| error.to_string())?;
    Ok(out.into())
}

/// Returns where the value at `at` ends.
fn value_to_json(
    bytes: &[u8],
    at: usize,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<usize, String> {
    if depth > MAX_DEPTH {
        return Err(format!("values nested more than {MAX_DEPTH} deep"));
    }
    match head(bytes, at)? {
        Head::Nil { end } => {
            out.extend_from_slice(b"null");
            Ok(end)
        }
        Head::Bool { value, end } => write_scalar(out, &value, end),
        Head::Unsigned { value, end } => write_scalar(out, &value, end),
        Head::Signed { value, end } => write_scalar(out, &value, end),
        Head::Float { value, end } => write_scalar(out, &value, end),
        Head::Text { start, end } => write_scalar(out, text(bytes, start, end)?, end),
        Head::Binary { start, end } => write_scalar(out, &armour(&bytes[start..end]), end),
        Head::Sequence { length, mut end } => {
            out.push(b'[');
            for index in 0..length {
                if index > 0 {
                    out.push(b',');
                }
                end = value_to_json(bytes, end, out, depth + 1)?;
            }
            out.push(b']');
            Ok(end)
        }
        Head::Map { length, mut end } => {
            out.push(b'{');
            for index in 0..length {
                if index > 0 {
                    out.push(b',');
                }
                end = key_to_json(bytes, end, out)?;
                out.push(b':');
                end = value_to_json(bytes, end, out, depth + 1)?;
            }
            out.push(b'}');
            Ok(end)
        }
    }
}

fn key_to_json(bytes: &[u8], at: usize, out: &mut Vec<u8>) -> Result<usize, String> {
    match head(bytes, at)? {
        Head::Text { start, end } => write_scalar(out, text(bytes, start, end)?, end),
        Head::Binary { start, end } => write_scalar(out, &armour(&bytes[start..end]), end),
        Head::Unsigned { value, end } => write_scalar(out, &value.to_string(), end),
        Head::Signed { value, end } => write_scalar(out, &value.to_string(), end),
        Head::Bool { value, end } => write_scalar(out, &value.to_string(), end),
        Head::Float { value, end } => write_scalar(out, &value.to_string(), end),
        Head::Nil { end } => write_scalar(out, "null", end),
        Head::Sequence { .. } | Head::Map { .. } => {
            Err("a map whose key is a map or a sequence".into())
        }
    }
}

fn write_scalar<T: serde::Serialize + ?Sized>(
    out: &mut Vec<u8>,
    value: &T,
    end: usize,
) -> Result<usize, String> {
    serde_json::to_writer(out, value).map_err(|error| error.to_string())?;
    Ok(end)
}

fn text(bytes: &[u8], start: usize, end: usize) -> Result<&str, String> {
    std::str::from_utf8(&bytes[start..end]).map_err(|error| error.to_string())
}

fn armour(binary: &[u8]) -> String {
    format!("\0{}", BASE64.encode(binary))
}

/// Writes whatever a deserializer holds.
struct ToMsgpack<'a>(&'a mut Vec<u8>);

/// Writing to memory cannot fail; the type of the writer says otherwise.
fn written<T, W: fmt::Display, E: serde::de::Error>(result: Result<T, W>) -> Result<(), E> {
    result.map(drop).map_err(E::custom)
}

impl<'de> DeserializeSeed<'de> for ToMsgpack<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ToMsgpack<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        written(rmp::encode::write_nil(self.0))
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        written(rmp::encode::write_bool(self.0, value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        written(rmp::encode::write_uint(self.0, value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        written(rmp::encode::write_sint(self.0, value))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        written(rmp::encode::write_f64(self.0, value))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        let armoured = value.strip_prefix('\0').map(|text| BASE64.decode(text.as_bytes()));
        if let Some(Ok(binary)) = armoured {
            written(rmp::encode::write_bin(self.0, &binary))
        } else {
            written(rmp::encode::write_str(self.0, value))
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let start = self.0.len();
        let mut length = 0;
        while seq.next_element_seed(ToMsgpack(&mut *self.0))?.is_some() {
            length += 1;
        }
        insert_head(self.0, start, |head| rmp::encode::write_array_len(head, length))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let start = self.0.len();
        let mut length = 0;
        while map.next_key_seed(ToMsgpack(&mut *self.0))?.is_some() {
            map.next_value_seed(ToMsgpack(&mut *self.0))?;
            length += 1;
        }
        insert_head(self.0, start, |head| rmp::encode::write_map_len(head, length))
    }
}

/// JSON tells how long a container is only when it ends, so its head comes
/// last and what is in it moves by one to five bytes.
fn insert_head<T, W: fmt::Display, E: serde::de::Error>(
    out: &mut Vec<u8>,
    start: usize,
    write: impl FnOnce(&mut Vec<u8>) -> Result<T, W>,
) -> Result<(), E> {
    let mut head = Vec::with_capacity(5);
    written(write(&mut head))?;
    out.splice(start..start, head);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::codec::msgpack;

    fn any_json() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1.0e9..1.0e9).prop_map(|float: f64| Value::from(float)),
            "[a-zä\\\\\"\n]{0,8}".prop_map(Value::from),
        ];
        scalar.prop_recursive(5, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::btree_map("[a-z]{0,4}", inner, 0..8)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_survives_the_way_there_and_back(value in any_json()) {
            let text = serde_json::to_vec(&value).unwrap();
            let packed = json_to_msgpack(&text).unwrap();
            prop_assert_eq!(msgpack::skip(&packed, 0), Ok(packed.len()));
            prop_assert_eq!(msgpack::read::<Value>(&packed).unwrap(), value.clone());
            let back = msgpack_to_json(&packed).unwrap();
            prop_assert_eq!(serde_json::from_slice::<Value>(&back).unwrap(), value);
        }

        #[test]
        fn hostile_bytes_are_an_error_at_most(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = msgpack_to_json(&bytes);
            let _ = json_to_msgpack(&bytes);
        }
    }

    #[test]
    fn binary_travels_as_the_specification_says() {
        let packed = [0xc4, 0x03, 0x10, 0x20, 0xff];
        let text = msgpack_to_json(&packed).unwrap();
        assert_eq!(&text[..], br#""\u0000ECD/""#);
        assert_eq!(&json_to_msgpack(&text).unwrap()[..], packed);
    }

    #[test]
    fn what_json_cannot_write_becomes_what_comes_nearest() {
        // {1: NaN, "x": ext(5, 0xff)}
        let mut packed = vec![0x82, 0x01, 0xcb];
        packed.extend(f64::NAN.to_be_bytes());
        packed.extend([0xa1, b'x', 0xd4, 0x05, 0xff]);
        let text = msgpack_to_json(&packed).unwrap();
        let value: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(value, json!({"1": null, "x": "\u{0}/w=="}));
    }
}
