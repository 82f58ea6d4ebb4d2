//! JSON: splitting a message without decoding its arguments, reading.

use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeOwned, Deserializer, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Form, MAX_DEPTH, Parts};

pub(super) const EMPTY_SEQUENCE: &[u8] = b"[]";
pub(super) const EMPTY_MAP: &[u8] = b"{}";

/// Reads one value.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

/// Makes sure that `bytes` are one value, which can be read and passed on.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    check_depth(bytes, MAX_DEPTH)?;
    serde_json::from_slice::<&RawValue>(bytes).map(drop).map_err(|error| error.to_string())
}

/// The first element of a sequence.
pub(crate) fn first(bytes: &Bytes) -> Option<Bytes> {
    struct First;
    impl<'de> Visitor<'de> for First {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a sequence")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let first = seq.next_element()?;
            while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let first = deserializer.deserialize_seq(First).ok()??;
    Some(bytes.slice_ref(first.get().as_bytes()))
}

pub(crate) fn is_empty(bytes: &[u8]) -> bool {
    let is_space = |byte: &u8| byte.is_ascii_whitespace();
    let mut content = bytes.iter().filter(|byte| !is_space(byte));
    content.next();
    matches!(content.next(), Some(b']' | b'}'))
}

pub(crate) fn is_sequence(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'[')
}

pub(crate) fn is_map(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'{')
}

/// Finds the elements of a message, and checks all that is in them.
pub(super) fn split(frame: &Bytes) -> Result<Parts<'_>, String> {
    struct Elements<'a>(Parts<'a>);
    impl<'de> Visitor<'de> for Elements<'de> {
        type Value = Parts<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a message, which is an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Self::Value, A::Error> {
            let start = self.0.frame.as_ptr() as usize;
            while let Some(element) = seq.next_element::<&'de RawValue>()? {
                let at = element.get().as_ptr() as usize - start;
                self.0.push(at..at + element.get().len()).map_err(serde::de::Error::custom)?;
            }
            Ok(self.0)
        }
    }
    // The message's own array is one level more than its elements have.
    check_depth(frame, MAX_DEPTH + 1)?;
    let parts = Parts::new(Form::Json, frame);
    let mut deserializer = serde_json::Deserializer::from_slice(frame);
    let parts = deserializer.deserialize_seq(Elements(parts)).map_err(|e| e.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    Ok(parts)
}

/// Refuses nesting that would overflow the stack of whoever decodes it.
fn check_depth(bytes: &[u8], most: usize) -> Result<(), String> {
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'"' => in_text = !in_text,
            b'\\' if in_text => {
                rest.next();
            }
            b'[' | b'{' if !in_text => depth += 1,
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            return Err(format!("values nested more than {MAX_DEPTH} deep"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_in_texts_are_no_nesting() {
        let text = format!("[\"{}\\\"{}\"]", "[".repeat(1000), "{".repeat(1000));
        assert_eq!(check_depth(text.as_bytes(), 1), Ok(()));
        assert!(check_depth("[".repeat(MAX_DEPTH + 1).as_bytes(), MAX_DEPTH).is_err());
    }

    #[test]
    fn the_first_argument_is_found_without_the_others() {
        let bytes = Bytes::from_static(b"[ {\"a\": [1]} , 2]");
        assert_eq!(first(&bytes).as_deref(), Some(&b"{\"a\": [1]}"[..]));
        assert_eq!(first(&Bytes::from_static(b"[]")), None);
        assert!(is_empty(b"[ ]") && is_empty(b"{}") && !is_empty(b"[1]"));
    }
}
