//! CBOR: what a value begins with, reading, writing.
//!
//! Values are read by way of msgpack, so that serde meets one reader and one
//! set of rules. Tags are skipped: what they say is between those who write
//! and those who read the arguments, and passes through between CBOR peers.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::binary::{BinaryForm, Scalar, Token, cut_off, fixed, slice, text, unsigned};
use super::{Form, msgpack, transcode};
use crate::PayloadError;

pub(super) const EMPTY_SEQUENCE: &[u8] = &[0x80];
pub(super) const EMPTY_MAP: &[u8] = &[0xa0];

/// How many tags a value may have; nested tags are nested calls in many a program.
const MAX_TAGS: usize = 8;

/// The tags of integers beyond 64 bits.
const POSITIVE_BIGNUM: u64 = 2;
const NEGATIVE_BIGNUM: u64 = 3;

/// The form itself.
pub(super) struct Cbor;

/// The types of values, in the highest three bits of their first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Major {
    Unsigned = 0,
    Negative = 1,
    Binary = 2,
    Text = 3,
    Sequence = 4,
    Map = 5,
    Tag = 6,
    Simple = 7,
}

/// Writes a value.
pub(super) fn write_to<T: Serialize + ?Sized>(
    out: &mut Vec<u8>,
    value: &T,
) -> Result<(), PayloadError> {
    let packed = msgpack::write(value)?;
    let bytes = transcode::convert(Form::Msgpack, Form::Cbor, &packed);
    out.extend_from_slice(&bytes.map_err(PayloadError::Write)?);
    Ok(())
}

/// Reads one value.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    msgpack::read(&transcode::convert(Form::Cbor, Form::Msgpack, bytes)?)
}

/// Writes what a value begins with, as short as it can be.
pub(super) fn write_head(out: &mut Vec<u8>, major: Major, argument: u64) {
    let major = (major as u8) << 5;
    let bytes = argument.to_be_bytes();
    match argument {
        0..24 => out.push(major | bytes[7]),
        24..0x100 => out.extend_from_slice(&[major | 24, bytes[7]]),
        0x100..0x1_0000 => {
            out.push(major | 25);
            out.extend_from_slice(&bytes[6..]);
        }
        0x1_0000..0x1_0000_0000 => {
            out.push(major | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    write_head(out, Major::Text, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Puts the pieces of a text or of binary together.
pub(super) fn gather(chunks: &[u8]) -> Result<Vec<u8>, String> {
    let mut whole = Vec::with_capacity(chunks.len());
    let mut at = 0;
    while at < chunks.len() {
        let head = Head::read(chunks, at)?;
        let (chunk, end) = slice(chunks, head.end, head.argument.ok_or_else(cut_off)?)?;
        whole.extend_from_slice(chunk);
        at = end;
    }
    Ok(whole)
}

/// The first bytes of a value.
struct Head {
    major: Major,
    /// The low bits of the first byte.
    info: u8,
    /// A number or a length; none is a length that is not told.
    argument: Option<u64>,
    end: usize,
}

impl Head {
    fn read(bytes: &[u8], at: usize) -> Result<Self, String> {
        let first = *bytes.get(at).ok_or_else(cut_off)?;
        let major = match first >> 5 {
            0 => Major::Unsigned,
            1 => Major::Negative,
            2 => Major::Binary,
            3 => Major::Text,
            4 => Major::Sequence,
            5 => Major::Map,
            6 => Major::Tag,
            _ => Major::Simple,
        };
        let info = first & 0x1f;
        let (argument, end) = match info {
            0..24 => (Some(info.into()), at + 1),
            24..28 => {
                let (argument, end) = unsigned(bytes, at + 1, 1 << (info - 24))?;
                (Some(argument), end)
            }
            31 if !matches!(major, Major::Unsigned | Major::Negative | Major::Tag) => {
                (None, at + 1)
            }
            _ => return Err(format!("the byte {first:02x} begins no value")),
        };
        Ok(Self { major, info, argument, end })
    }

    /// Whether this ends what did not say how long it is.
    fn is_break(&self) -> bool {
        self.major == Major::Simple && self.argument.is_none()
    }
}

impl BinaryForm for Cbor {
    const KEYS_ARE_TEXTS: bool = false;

    fn token(bytes: &[u8], at: usize) -> Result<(Token<'_>, usize), String> {
        let mut head = Head::read(bytes, at)?;
        for _ in 0..MAX_TAGS {
            if head.major != Major::Tag {
                break;
            }
            match head.argument {
                Some(tag @ (POSITIVE_BIGNUM | NEGATIVE_BIGNUM)) => {
                    return bignum(bytes, head.end, tag);
                }
                _ => head = Head::read(bytes, head.end)?,
            }
            if head.is_break() {
                return Err("a tag without a value".into());
            }
        }
        Ok(match (head.major, head.argument) {
            (Major::Tag, _) => return Err(format!("a value with more than {MAX_TAGS} tags")),
            (Major::Unsigned, Some(value)) => (Token::Scalar(Scalar::Unsigned(value)), head.end),
            (Major::Negative, Some(value)) => (Token::Scalar(negative(value)), head.end),
            (Major::Text, Some(length)) => {
                let (text, end) = text(bytes, head.end, length)?;
                (Token::Scalar(Scalar::Text(text)), end)
            }
            (Major::Binary, Some(length)) => {
                let (binary, end) = slice(bytes, head.end, length)?;
                (Token::Scalar(Scalar::Binary(binary)), end)
            }
            (Major::Text, None) => {
                let (chunks, end) = chunks(bytes, head.end, Major::Text)?;
                (Token::TextChunks(chunks), end)
            }
            (Major::Binary, None) => {
                let (chunks, end) = chunks(bytes, head.end, Major::Binary)?;
                (Token::BinaryChunks(chunks), end)
            }
            (Major::Sequence, length) => (Token::Sequence(length), head.end),
            (Major::Map, length) => (Token::Map(length), head.end),
            (Major::Simple, Some(_)) => (Token::Scalar(simple(bytes, &head)?), head.end),
            (Major::Simple | Major::Unsigned | Major::Negative, None) => (Token::End, head.end),
        })
    }
}

/// The pieces of a text or of binary, without the break behind them.
fn chunks(bytes: &[u8], start: usize, major: Major) -> Result<(&[u8], usize), String> {
    let mut at = start;
    loop {
        let head = Head::read(bytes, at)?;
        if head.is_break() {
            return Ok((&bytes[start..at], head.end));
        }
        at = match (head.major, head.argument) {
            (Major::Text, Some(length)) if major == Major::Text => text(bytes, head.end, length)?.1,
            (Major::Binary, Some(length)) if major == Major::Binary => {
                slice(bytes, head.end, length)?.1
            }
            _ => return Err("a piece of a text or of binary that is none".into()),
        };
    }
}

/// The integer of a tag whose digits, the highest byte first, are at `at`.
/// What has no room in 64 bits is rounded.
fn bignum(bytes: &[u8], at: usize, tag: u64) -> Result<(Token<'_>, usize), String> {
    let head = Head::read(bytes, at)?;
    let (digits, end) = match (head.major, head.argument) {
        (Major::Binary, Some(length)) => {
            let (digits, end) = slice(bytes, head.end, length)?;
            (digits.to_vec(), end)
        }
        (Major::Binary, None) => {
            let (chunks, end) = chunks(bytes, head.end, Major::Binary)?;
            (gather(chunks)?, end)
        }
        _ => return Err("a large integer whose digits are no binary".into()),
    };
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    let digits = &digits[zeros..];
    let scalar = if let Ok((value, _)) = unsigned(digits, 0, digits.len().min(9))
        && digits.len() <= 8
    {
        if tag == NEGATIVE_BIGNUM { negative(value) } else { Scalar::Unsigned(value) }
    } else {
        let value = digits.iter().fold(0.0, |value, digit| value * 256.0 + f64::from(*digit));
        Scalar::Float(if tag == NEGATIVE_BIGNUM { -1.0 - value } else { value })
    };
    Ok((Token::Scalar(scalar), end))
}

/// The integer that is -1 less `value`; rounded if it has no room in 64 bits.
fn negative(value: u64) -> Scalar<'static> {
    match i64::try_from(value) {
        Ok(value) => Scalar::Signed(-1 - value),
        Err(_) => Scalar::Float(-1.0 - value as f64),
    }
}

/// Whatever else there is; undefined and what nobody has defined are nil.
fn simple(bytes: &[u8], head: &Head) -> Result<Scalar<'static>, String> {
    let at = head.end;
    Ok(match (head.info, head.argument) {
        (20, _) => Scalar::Bool(false),
        (21, _) => Scalar::Bool(true),
        (24, Some(0..32)) => return Err("a simple value of two bytes that has one".into()),
        (25, _) => Scalar::Float(half(u16::from_be_bytes(fixed(bytes, at - 2)?))),
        (26, _) => Scalar::Float(f32::from_be_bytes(fixed(bytes, at - 4)?).into()),
        (27, _) => Scalar::Float(f64::from_be_bytes(fixed(bytes, at - 8)?)),
        _ => Scalar::Nil,
    })
}

/// A float of 16 bits.
fn half(bits: u16) -> f64 {
    let fraction = f64::from(bits & 0x3ff) / 1024.0;
    let magnitude = match (bits >> 10) & 0x1f {
        0 => fraction * 2_f64.powi(-14),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        exponent => (1.0 + fraction) * 2_f64.powi(i32::from(exponent) - 15),
    };
    if bits & 0x8000 == 0 { magnitude } else { -magnitude }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use serde_json::{Value, json};

    use super::*;
    use crate::codec::{MAX_DEPTH, binary};

    fn bytes(hex: &str) -> Vec<u8> {
        HEXLOWER.decode(hex.as_bytes()).unwrap()
    }

    fn skip(bytes: &[u8]) -> Result<usize, String> {
        binary::skip::<Cbor>(bytes, 0)
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        // RFC 8949, appendix A.
        for (hex, expected) in [
            ("00", json!(0)),
            ("17", json!(23)),
            ("1818", json!(24)),
            ("1903e8", json!(1000)),
            ("1a000f4240", json!(1_000_000)),
            ("1bffffffffffffffff", json!(u64::MAX)),
            ("c249010000000000000000", json!(18_446_744_073_709_551_616.0)),
            ("3bffffffffffffffff", json!(-18_446_744_073_709_551_616.0)),
            ("c349010000000000000000", json!(-18_446_744_073_709_551_617.0)),
            ("20", json!(-1)),
            ("3903e7", json!(-1000)),
            ("f90000", json!(0.0)),
            ("f93c00", json!(1.0)),
            ("f93e00", json!(1.5)),
            ("f97bff", json!(65504.0)),
            ("f90001", json!(5.960_464_477_539_063e-8)),
            ("f90400", json!(0.000_061_035_156_25)),
            ("f9c400", json!(-4.0)),
            ("fa47c35000", json!(100_000.0)),
            ("fb3ff199999999999a", json!(1.1)),
            ("fb7e37e43c8800759c", json!(1.0e300)),
            ("f4", json!(false)),
            ("f5", json!(true)),
            ("f6", json!(null)),
            ("f7", json!(null)),
            ("f0", json!(null)),
            ("f8ff", json!(null)),
            ("c074323031332d30332d32315432303a30343a30305a", json!("2013-03-21T20:04:00Z")),
            ("c11a514b67b0", json!(1_363_896_240)),
            ("60", json!("")),
            ("62c3bc", json!("ü")),
            ("80", json!([])),
            ("8301820203820405", json!([1, [2, 3], [4, 5]])),
            ("a26161016162820203", json!({"a": 1, "b": [2, 3]})),
            ("7f657374726561646d696e67ff", json!("streaming")),
            ("9fff", json!([])),
            ("9f018202039f0405ffff", json!([1, [2, 3], [4, 5]])),
            ("bf61610161629f0203ffff", json!({"a": 1, "b": [2, 3]})),
            ("bf6346756ef563416d7421ff", json!({"Fun": true, "Amt": -2})),
        ] {
            let bytes = bytes(hex);
            assert_eq!(skip(&bytes), Ok(bytes.len()), "{hex}");
            assert_eq!(read::<Value>(&bytes).unwrap(), expected, "{hex}");
        }
        for (hex, expected) in [("f97c00", f64::INFINITY), ("f9fc00", f64::NEG_INFINITY)] {
            assert_eq!(read::<f64>(&bytes(hex)).unwrap(), expected);
        }
        assert!(read::<f64>(&bytes("f97e00")).unwrap().is_nan());
    }

    #[test]
    fn heads_are_as_short_as_they_can_be() {
        for value in [0, 23, 24, 255, 256, 65_535, 65_536, u32::MAX.into(), 1 << 32, u64::MAX] {
            let mut out = Vec::new();
            write_head(&mut out, Major::Unsigned, value);
            assert_eq!(
                out.len(),
                match value {
                    0..24 => 1,
                    24..256 => 2,
                    256..65_536 => 3,
                    65_536..0x1_0000_0000 => 5,
                    _ => 9,
                }
            );
            assert_eq!(read::<u64>(&out).unwrap(), value);
        }
    }

    #[test]
    fn a_claimed_length_costs_nothing() {
        for hex in
            ["9bffffffffffffffff", "bbffffffffffffffff01", "7bffffffffffffffff78", "5a7fffffff"]
        {
            assert!(skip(&bytes(hex)).is_err(), "{hex}");
        }
    }

    #[test]
    fn what_is_not_well_formed_or_would_break_a_receiver_is_refused() {
        for (hex, what) in [
            ("", "nothing"),
            ("1c", "reserved length"),
            ("1f", "number without a length"),
            ("dfff", "tag without a number"),
            ("c0", "tag of nothing"),
            ("9fc0ff", "tag of an end"),
            ("ff", "end of nothing"),
            ("81ff", "end of a sequence that has a length"),
            ("bf01ff", "end between key and value"),
            ("9f01", "no end"),
            ("f818", "simple value that is too long"),
            ("61ff", "text that is no UTF-8"),
            ("7f61c361bcff", "text that is no UTF-8 in each of its pieces"),
            ("7f4161ff", "binary as a piece of text"),
            ("5f5f4161ffff", "pieces in pieces"),
            ("a18001", "sequence as key"),
            ("bfa001ff", "map as key"),
            ("c201", "large integer of no digits"),
            ("c2c24101", "tagged digits"),
            ("c0c0c0c0c0c0c0c0c001", "many tags"),
        ] {
            assert!(skip(&bytes(hex)).is_err(), "{what}");
        }
        for container in ["81", "9f"] {
            let nested = |depth: usize| bytes(&(container.repeat(depth) + "f6"));
            assert!(skip(&nested(MAX_DEPTH + 1)).unwrap_err().contains("nested"));
            assert!(skip(&nested(1_000_000)).is_err());
        }
        assert_eq!(
            skip(&bytes(&("9f".repeat(MAX_DEPTH) + &"ff".repeat(MAX_DEPTH)))),
            Ok(2 * MAX_DEPTH)
        );
        assert!(skip(&bytes(&"c2".repeat(1_000_000))).is_err());
    }
}
