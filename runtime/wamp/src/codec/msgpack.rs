//! MessagePack: what a value begins with, reading, writing.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::binary::{self, BinaryForm, Scalar, Token, fixed, unsigned};
use crate::PayloadError;

pub(crate) const EMPTY_SEQUENCE: &[u8] = &[0x90];
pub(crate) const EMPTY_MAP: &[u8] = &[0x80];
pub(crate) const NIL: &[u8] = &[0xc0];

/// The form itself.
pub(super) struct Msgpack;

/// Writes a value with structs as maps, and makes sure that any peer can read it.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, PayloadError> {
    let mut out = Vec::with_capacity(64);
    write_to(&mut out, value)?;
    let end = binary::skip::<Msgpack>(&out, 0).map_err(PayloadError::Write)?;
    if end != out.len() {
        return Err(PayloadError::Write("the value wrote itself as more than one".into()));
    }
    Ok(out.into())
}

pub(super) fn write_to<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    value: &T,
) -> Result<(), PayloadError> {
    let mut serializer = rmp_serde::Serializer::new(out).with_struct_map().with_human_readable();
    value.serialize(&mut serializer).map_err(|error| PayloadError::Write(error.to_string()))
}

/// Reads one value.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable();
    T::deserialize(&mut deserializer).map_err(|error| error.to_string())
}

/// One element of a well-formed sequence, if it has so many.
pub(crate) fn element(bytes: &Bytes, index: usize) -> Option<Bytes> {
    let (Token::Sequence(Some(length)), mut at) = Msgpack::token(bytes, 0).ok()? else {
        return None;
    };
    if u64::try_from(index).ok()? >= length {
        return None;
    }
    for _ in 0..index {
        at = binary::skip::<Msgpack>(bytes, at).ok()?;
    }
    let end = binary::skip::<Msgpack>(bytes, at).ok()?;
    Some(bytes.slice(at..end))
}

impl BinaryForm for Msgpack {
    const KEYS_ARE_TEXTS: bool = true;

    fn token(bytes: &[u8], at: usize) -> Result<(Token<'_>, usize), String> {
        let marker = *bytes.get(at).ok_or_else(binary::cut_off)?;
        let at = at + 1;
        Ok(match marker {
            0x00..=0x7f => (Token::Scalar(Scalar::Unsigned(marker.into())), at),
            0x80..=0x8f => (Token::Map(Some(u64::from(marker & 0x0f))), at),
            0x90..=0x9f => (Token::Sequence(Some(u64::from(marker & 0x0f))), at),
            0xa0..=0xbf => text(bytes, at, u64::from(marker & 0x1f))?,
            0xc0 => (Token::Scalar(Scalar::Nil), at),
            0xc1 => return Err("the byte c1 is never used".into()),
            0xc2 | 0xc3 => (Token::Scalar(Scalar::Bool(marker == 0xc3)), at),
            0xc4..=0xc6 => {
                let (length, at) = unsigned(bytes, at, 1 << (marker - 0xc4))?;
                binary(bytes, at, length)?
            }
            // Extension types: their number is lost on the way to other forms.
            0xc7..=0xc9 => {
                let (length, at) = unsigned(bytes, at, 1 << (marker - 0xc7))?;
                binary(bytes, at + 1, length)?
            }
            0xca => (float(f32::from_be_bytes(fixed(bytes, at)?).into()), at + 4),
            0xcb => (float(f64::from_be_bytes(fixed(bytes, at)?)), at + 8),
            0xcc..=0xcf => {
                let (value, end) = unsigned(bytes, at, 1 << (marker - 0xcc))?;
                (Token::Scalar(Scalar::Unsigned(value)), end)
            }
            0xd0 => (signed(i8::from_be_bytes(fixed(bytes, at)?).into()), at + 1),
            0xd1 => (signed(i16::from_be_bytes(fixed(bytes, at)?).into()), at + 2),
            0xd2 => (signed(i32::from_be_bytes(fixed(bytes, at)?).into()), at + 4),
            0xd3 => (signed(i64::from_be_bytes(fixed(bytes, at)?)), at + 8),
            0xd4..=0xd8 => binary(bytes, at + 1, 1 << (marker - 0xd4))?,
            0xd9..=0xdb => {
                let (length, at) = unsigned(bytes, at, 1 << (marker - 0xd9))?;
                text(bytes, at, length)?
            }
            0xdc | 0xdd => {
                let (length, end) = unsigned(bytes, at, if marker == 0xdc { 2 } else { 4 })?;
                (Token::Sequence(Some(length)), end)
            }
            0xde | 0xdf => {
                let (length, end) = unsigned(bytes, at, if marker == 0xde { 2 } else { 4 })?;
                (Token::Map(Some(length)), end)
            }
            0xe0..=0xff => (signed(i64::from(i8::from_be_bytes([marker]))), at),
        })
    }
}

fn signed(value: i64) -> Token<'static> {
    Token::Scalar(Scalar::Signed(value))
}

fn float(value: f64) -> Token<'static> {
    Token::Scalar(Scalar::Float(value))
}

fn text(bytes: &[u8], at: usize, length: u64) -> Result<(Token<'_>, usize), String> {
    let (text, end) = binary::text(bytes, at, length)?;
    Ok((Token::Scalar(Scalar::Text(text)), end))
}

fn binary(bytes: &[u8], at: usize, length: u64) -> Result<(Token<'_>, usize), String> {
    let (binary, end) = binary::slice(bytes, at, length)?;
    Ok((Token::Scalar(Scalar::Binary(binary)), end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::MAX_DEPTH;

    fn skip(bytes: &[u8]) -> Result<usize, String> {
        binary::skip::<Msgpack>(bytes, 0)
    }

    #[test]
    fn a_claimed_length_costs_nothing() {
        for bytes in [
            &[0xdd, 0xff, 0xff, 0xff, 0xff][..],
            &[0xdf, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0xdb, 0xff, 0xff, 0xff, 0xff, b'x'],
            &[0xc9, 0xff, 0xff, 0xff, 0xff, 0x01],
        ] {
            assert!(skip(bytes).is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
        assert_eq!(skip(&nested(MAX_DEPTH)), Ok(MAX_DEPTH + 1));
        assert!(skip(&nested(MAX_DEPTH + 1)).is_err());
        assert!(skip(&nested(10_000_000)).is_err());
    }

    #[test]
    fn what_would_break_a_receiver_is_refused() {
        for (bytes, what) in [
            (&[0xc1][..], "reserved byte"),
            (&[0xa1, 0xff], "text that is no UTF-8"),
            (&[0x81, 0x90, 0x01], "sequence as key"),
            (&[0x81, 0x80, 0x01], "map as key"),
            (&[0x82, 0xa0, 0x80, 0x80, 0x01], "map as second key"),
            (&[0x81, 0x01, 0x01], "number as key"),
        ] {
            assert!(skip(bytes).is_err(), "{what}");
        }
        assert_eq!(skip(&[0x82, 0xc4, 0x00, 0x80, 0xa1, b'k', 0x90]), Ok(7));
    }
}
