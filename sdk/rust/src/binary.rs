//! Answers that are no text.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// Bytes as an answer, or as a part of one: on the link an object whose only key is
/// `base64`. `drover call` writes such an answer as it is where that goes into a
/// file or a pipe.
///
/// For much of it, [`streams::output`](crate::streams::output) is made.
///
/// ```
/// use drover_sdk::{Binary, task};
///
/// /// A picture of one dot.
/// #[task]
/// fn dot() -> Binary {
///     Binary(b"P4 1 1 \x80".to_vec())
/// }
/// # let answer = drover_sdk::serde_json::to_value(dot()).unwrap();
/// # assert_eq!(answer, drover_sdk::serde_json::json!({ "base64": "UDQgMSAxIIA=" }));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Binary(
    /// The bytes.
    pub Vec<u8>,
);

impl From<Vec<u8>> for Binary {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_map(Some(1))?;
        object.serialize_entry("base64", &base64(&self.0))?;
        object.end()
    }
}

impl JsonSchema for Binary {
    fn schema_name() -> Cow<'static, str> {
        "Binary".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "properties": { "base64": { "type": "string", "contentEncoding": "base64" } },
            "required": ["base64"],
            "additionalProperties": false,
        })
    }
}

/// Base64 as RFC 4648 has it, with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for piece in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| {
            bits << 8 | u32::from(piece.get(at).copied().unwrap_or_default())
        });
        for place in 0..4 {
            let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
            text.push(if place > piece.len() { '=' } else { char::from(digit) });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_are_right() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfb, 0xf0, 0]), "//vwAA==");
    }
}
