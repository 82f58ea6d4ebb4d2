//! MessagePack: walking over values without decoding them, reading, writing.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{MAX_DEPTH, Parts};
use crate::{PayloadError, Serializer};

pub(crate) const EMPTY_SEQUENCE: &[u8] = &[0x90];
pub(crate) const EMPTY_MAP: &[u8] = &[0x80];

/// Writes a value with structs as maps, and makes sure that any peer can read it.
pub(crate) fn write<T: Serialize + ?Sized>(value: &T) -> Result<Bytes, PayloadError> {
    let mut out = Vec::with_capacity(64);
    write_to(&mut out, value)?;
    let end = skip(&out, 0).map_err(PayloadError::Write)?;
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
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let mut deserializer = rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable();
    T::deserialize(&mut deserializer).map_err(|error| error.to_string())
}

/// The first element of a sequence.
pub(crate) fn first(bytes: &Bytes) -> Option<Bytes> {
    let Head::Sequence { length: 1.., end: start } = head(bytes, 0).ok()? else { return None };
    let end = skip(bytes, start).ok()?;
    Some(bytes.slice(start..end))
}

pub(crate) fn is_sequence(bytes: &[u8]) -> bool {
    matches!(head(bytes, 0), Ok(Head::Sequence { .. }))
}

pub(crate) fn is_map(bytes: &[u8]) -> bool {
    matches!(head(bytes, 0), Ok(Head::Map { .. }))
}

pub(crate) fn is_empty(bytes: &[u8]) -> bool {
    matches!(head(bytes, 0), Ok(Head::Sequence { length: 0, .. } | Head::Map { length: 0, .. }))
}

/// Finds the elements of a message, and checks all that is in them.
pub(super) fn split(frame: &Bytes) -> Result<Parts<'_>, String> {
    let Head::Sequence { length, end } = head(frame, 0)? else {
        return Err("a message is an array".into());
    };
    let mut parts = Parts::new(Serializer::Msgpack, frame);
    let mut position = end;
    for _ in 0..length {
        let end = skip(frame, position)?;
        parts.push(position..end)?;
        position = end;
    }
    if position == frame.len() { Ok(parts) } else { Err("bytes after the message".into()) }
}

/// What a value begins with; `end` is where the next thing begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Head {
    Nil {
        end: usize,
    },
    Bool {
        value: bool,
        end: usize,
    },
    Unsigned {
        value: u64,
        end: usize,
    },
    Signed {
        value: i64,
        end: usize,
    },
    Float {
        value: f64,
        end: usize,
    },
    Text {
        start: usize,
        end: usize,
    },
    /// Bytes, or the bytes of an extension type.
    Binary {
        start: usize,
        end: usize,
    },
    Sequence {
        length: u32,
        end: usize,
    },
    Map {
        length: u32,
        end: usize,
    },
}

/// Reads the beginning of the value at `at`. What it names is there: text and
/// binary lie within `bytes`.
pub(super) fn head(bytes: &[u8], at: usize) -> Result<Head, String> {
    let marker = *bytes.get(at).ok_or_else(cut_off)?;
    let at = at + 1;
    Ok(match marker {
        0x00..=0x7f => Head::Unsigned { value: marker.into(), end: at },
        0x80..=0x8f => Head::Map { length: u32::from(marker & 0x0f), end: at },
        0x90..=0x9f => Head::Sequence { length: u32::from(marker & 0x0f), end: at },
        0xa0..=0xbf => text(bytes, at, usize::from(marker & 0x1f))?,
        0xc0 => Head::Nil { end: at },
        0xc1 => return Err("the byte c1 is never used".into()),
        0xc2 | 0xc3 => Head::Bool { value: marker == 0xc3, end: at },
        0xc4..=0xc6 => {
            let (length, at) = length(bytes, at, 1 << (marker - 0xc4))?;
            binary(bytes, at, length)?
        }
        0xc7..=0xc9 => {
            let (length, at) = length(bytes, at, 1 << (marker - 0xc7))?;
            binary(bytes, at + 1, length)?
        }
        0xca => Head::Float { value: f32::from_be_bytes(fixed(bytes, at)?).into(), end: at + 4 },
        0xcb => Head::Float { value: f64::from_be_bytes(fixed(bytes, at)?), end: at + 8 },
        0xcc..=0xcf => {
            let (value, end) = unsigned(bytes, at, 1 << (marker - 0xcc))?;
            Head::Unsigned { value, end }
        }
        0xd0 => signed(i8::from_be_bytes(fixed(bytes, at)?).into(), at + 1),
        0xd1 => signed(i16::from_be_bytes(fixed(bytes, at)?).into(), at + 2),
        0xd2 => signed(i32::from_be_bytes(fixed(bytes, at)?).into(), at + 4),
        0xd3 => signed(i64::from_be_bytes(fixed(bytes, at)?), at + 8),
        0xd4..=0xd8 => binary(bytes, at + 1, 1 << (marker - 0xd4))?,
        0xd9..=0xdb => {
            let (length, at) = length(bytes, at, 1 << (marker - 0xd9))?;
            text(bytes, at, length)?
        }
        0xdc | 0xdd => {
            let (length, end) = unsigned(bytes, at, if marker == 0xdc { 2 } else { 4 })?;
            Head::Sequence { length: u32::try_from(length).unwrap_or(u32::MAX), end }
        }
        0xde | 0xdf => {
            let (length, end) = unsigned(bytes, at, if marker == 0xde { 2 } else { 4 })?;
            Head::Map { length: u32::try_from(length).unwrap_or(u32::MAX), end }
        }
        0xe0..=0xff => signed(i64::from(i8::from_be_bytes([marker])), at),
    })
}

fn signed(value: i64, end: usize) -> Head {
    Head::Signed { value, end }
}

fn cut_off() -> String {
    "the message is cut off".into()
}

fn fixed<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], String> {
    let rest = bytes.get(at..).ok_or_else(cut_off)?;
    rest.first_chunk().copied().ok_or_else(cut_off)
}

fn unsigned(bytes: &[u8], at: usize, width: usize) -> Result<(u64, usize), String> {
    let digits = bytes.get(at..at + width).ok_or_else(cut_off)?;
    let value = digits.iter().fold(0, |value, digit| value << 8 | u64::from(*digit));
    Ok((value, at + width))
}

fn length(bytes: &[u8], at: usize, width: usize) -> Result<(usize, usize), String> {
    let (length, at) = unsigned(bytes, at, width)?;
    Ok((usize::try_from(length).map_err(|_| cut_off())?, at))
}

fn text(bytes: &[u8], start: usize, length: usize) -> Result<Head, String> {
    let text = bytes.get(start..start + length).ok_or_else(cut_off)?;
    // A peer that is handed a text that is none may well close its session.
    std::str::from_utf8(text).map_err(|_| "a text that is no UTF-8")?;
    Ok(Head::Text { start, end: start + length })
}

fn binary(bytes: &[u8], start: usize, length: usize) -> Result<Head, String> {
    bytes.get(start..start + length).ok_or_else(cut_off)?;
    Ok(Head::Binary { start, end: start + length })
}

/// The end of the value at `at`. Allocates nothing, whatever lengths the value
/// claims, and refuses what would break the programs of innocent receivers:
/// nesting beyond [`MAX_DEPTH`], and maps whose keys are maps or sequences.
pub(super) fn skip(bytes: &[u8], at: usize) -> Result<usize, String> {
    #[derive(Clone, Copy)]
    struct Open {
        remaining: u64,
        is_map: bool,
    }
    let mut open = [Open { remaining: 0, is_map: false }; MAX_DEPTH];
    let mut depth = 0;
    let mut at = at;
    loop {
        let is_key = depth > 0 && open[depth - 1].is_map && open[depth - 1].remaining % 2 == 0;
        let (container, end) = match head(bytes, at)? {
            Head::Nil { end }
            | Head::Bool { end, .. }
            | Head::Unsigned { end, .. }
            | Head::Signed { end, .. }
            | Head::Float { end, .. }
            | Head::Text { end, .. }
            | Head::Binary { end, .. } => (None, end),
            Head::Sequence { length, end } => {
                (Some(Open { remaining: length.into(), is_map: false }), end)
            }
            Head::Map { length, end } => {
                (Some(Open { remaining: u64::from(length) * 2, is_map: true }), end)
            }
        };
        at = end;
        if let Some(container) = container {
            if is_key {
                return Err("a map whose key is a map or a sequence".into());
            }
            if depth == MAX_DEPTH {
                return Err(format!("values nested more than {MAX_DEPTH} deep"));
            }
            open[depth] = container;
            depth += 1;
        } else if depth > 0 {
            open[depth - 1].remaining -= 1;
        }
        // Whatever is complete completes one element of what is around it.
        while depth > 0 && open[depth - 1].remaining == 0 {
            depth -= 1;
            if depth > 0 {
                open[depth - 1].remaining -= 1;
            }
        }
        if depth == 0 {
            return Ok(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_length_costs_nothing() {
        for bytes in [
            &[0xdd, 0xff, 0xff, 0xff, 0xff][..],
            &[0xdf, 0xff, 0xff, 0xff, 0xff, 0x01],
            &[0xdb, 0xff, 0xff, 0xff, 0xff, b'x'],
            &[0xc9, 0xff, 0xff, 0xff, 0xff, 0x01],
        ] {
            assert!(skip(bytes, 0).is_err(), "{bytes:x?}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
        assert_eq!(skip(&nested(MAX_DEPTH), 0), Ok(MAX_DEPTH + 1));
        assert!(skip(&nested(MAX_DEPTH + 1), 0).is_err());
        assert!(skip(&nested(10_000_000), 0).is_err());
    }

    #[test]
    fn what_would_break_a_receiver_is_refused() {
        for (bytes, what) in [
            (&[0xc1][..], "reserved byte"),
            (&[0xa1, 0xff], "text that is no UTF-8"),
            (&[0x81, 0x90, 0x01], "sequence as key"),
            (&[0x81, 0x80, 0x01], "map as key"),
            (&[0x82, 0x01, 0x80, 0x80, 0x01], "map as second key"),
        ] {
            assert!(skip(bytes, 0).is_err(), "{what}");
        }
        assert_eq!(skip(&[0x82, 0x01, 0x80, 0xa1, b'k', 0x90], 0), Ok(6));
    }
}
