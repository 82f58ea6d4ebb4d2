//! Values from one form to another, for sessions of different serializers.
//!
//! JSON has no binary: it travels as a text of `U+0000` and base64, as the
//! specification says. What else a form cannot write becomes what comes
//! nearest: in JSON, NaN and infinities become null; keys that are no texts
//! become texts, integers beyond 64 bits floats, the bytes of msgpack's
//! extension types binary, and CBOR's tags are left out.

use std::fmt;

use bytes::Bytes;
use data_encoding::BASE64;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::binary::{BinaryForm, Scalar, Token, is_end};
use super::cbor::{self, Cbor, Major};
use super::msgpack::Msgpack;
use super::{Form, MAX_DEPTH};

/// Writes a value in another form; what is in the form already stays as it is.
pub(crate) fn convert(from: Form, to: Form, bytes: &[u8]) -> Result<Bytes, String> {
    if from == to {
        return Ok(Bytes::copy_from_slice(bytes));
    }
    let out = Vec::with_capacity(bytes.len() + bytes.len() / 4);
    match to {
        Form::Msgpack => convert_into(ToMsgpack(out), from, bytes),
        Form::Cbor => convert_into(ToCbor(out), from, bytes),
        Form::Json => convert_into(ToJson(out), from, bytes),
    }
}

fn convert_into<T: Target>(mut target: T, from: Form, bytes: &[u8]) -> Result<Bytes, String> {
    match from {
        Form::Msgpack => copy::<Msgpack, T>(bytes, 0, &mut target, 0).map(drop)?,
        Form::Cbor => copy::<Cbor, T>(bytes, 0, &mut target, 0).map(drop)?,
        Form::Json => {
            let mut source = serde_json::Deserializer::from_slice(bytes);
            Copy(&mut target).deserialize(&mut source).map_err(|error| error.to_string())?;
        }
    }
    Ok(std::mem::take(target.bytes()).into())
}

/// What holds other values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Container {
    Sequence,
    Map,
}

/// Where values are written, one after the other.
trait Target {
    fn bytes(&mut self) -> &mut Vec<u8>;
    fn scalar(&mut self, scalar: Scalar<'_>);

    /// Writes what is between the values of a container, before each of them.
    fn separate(&mut self, _container: Container, _index: u64) {}

    /// Writes what a container begins with.
    fn head(&mut self, container: Container, length: u64);

    /// Writes what a container ends with.
    fn tail(&mut self, _container: Container) {}

    /// Begins a container; the result is for [`Target::close`].
    fn open(&mut self, container: Container, length: Option<u64>) -> Opened {
        let start = self.bytes().len();
        let Some(length) = length else { return Opened::Endless { start } };
        self.head(container, length);
        Opened::Whole
    }

    /// Ends a container of so many elements, or keys with their values.
    fn close(&mut self, container: Container, opened: Opened, length: u64) {
        if let Opened::Endless { start } = opened {
            let end = self.bytes().len();
            self.head(container, length);
            let moved = self.bytes().len() - end;
            self.bytes()[start..].rotate_right(moved);
        }
        self.tail(container);
    }
}

/// Whether the head of a container is written.
#[derive(Debug, Clone, Copy)]
enum Opened {
    Whole,
    /// It is not known how long the container is before it ends; then what is
    /// in it moves by the few bytes of its head.
    Endless {
        start: usize,
    },
}

/// Copies the value at `at`, and returns where it ends.
fn copy<F: BinaryForm, T: Target>(
    source: &[u8],
    at: usize,
    target: &mut T,
    depth: usize,
) -> Result<usize, String> {
    let (token, mut at) = F::token(source, at)?;
    let (container, length) = match token {
        Token::Sequence(length) => (Container::Sequence, length),
        Token::Map(length) => (Container::Map, length),
        token => {
            copy_scalar(token, |scalar| target.scalar(scalar))?;
            return Ok(at);
        }
    };
    if depth == MAX_DEPTH {
        return Err(format!("values nested more than {MAX_DEPTH} deep"));
    }
    let opened = target.open(container, length);
    let mut count = 0;
    while length.map_or_else(|| !is_end::<F>(source, at), |length| count < length) {
        if container == Container::Map {
            target.separate(container, 2 * count);
            let (key, end) = F::token(source, at)?;
            copy_scalar(key, |scalar| write_key(target, scalar))?;
            target.separate(container, 2 * count + 1);
            at = end;
        } else {
            target.separate(container, count);
        }
        at = copy::<F, T>(source, at, target, depth + 1)?;
        count += 1;
    }
    target.close(container, opened, count);
    if length.is_none() {
        (_, at) = F::token(source, at)?;
    }
    Ok(at)
}

fn copy_scalar(token: Token<'_>, write: impl FnOnce(Scalar<'_>)) -> Result<(), String> {
    match token {
        Token::Scalar(scalar) => write(scalar),
        Token::TextChunks(chunks) => {
            let text = String::from_utf8(cbor::gather(chunks)?);
            write(Scalar::Text(&text.map_err(|error| error.to_string())?));
        }
        Token::BinaryChunks(chunks) => write(Scalar::Binary(&cbor::gather(chunks)?)),
        Token::Sequence(_) | Token::Map(_) => {
            return Err("a map whose key is a map or a sequence".into());
        }
        Token::End => return Err("an end where nothing can end".into()),
    }
    Ok(())
}

/// Keys are texts, as the specification asks and most programs expect.
fn write_key<T: Target>(target: &mut T, key: Scalar<'_>) {
    let text = match key {
        Scalar::Text(_) | Scalar::Binary(_) => return target.scalar(key),
        Scalar::Nil => "null".to_owned(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Unsigned(value) => value.to_string(),
        Scalar::Signed(value) => value.to_string(),
        Scalar::Float(value) => value.to_string(),
    };
    target.scalar(Scalar::Text(&text));
}

/// Writes msgpack. Writing to memory cannot fail; the type of its writer says otherwise.
struct ToMsgpack(Vec<u8>);

impl Target for ToMsgpack {
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        use rmp::encode;
        let out = &mut self.0;
        let _ = match scalar {
            Scalar::Nil => encode::write_nil(out).map_err(drop),
            Scalar::Bool(value) => encode::write_bool(out, value).map_err(drop),
            Scalar::Unsigned(value) => encode::write_uint(out, value).map(drop).map_err(drop),
            Scalar::Signed(value) => encode::write_sint(out, value).map(drop).map_err(drop),
            Scalar::Float(value) => encode::write_f64(out, value).map_err(drop),
            Scalar::Text(value) => encode::write_str(out, value).map_err(drop),
            Scalar::Binary(value) => encode::write_bin(out, value).map_err(drop),
        };
    }

    fn head(&mut self, container: Container, length: u64) {
        // What comes from a message is shorter than its bytes are many.
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let _ = match container {
            Container::Sequence => rmp::encode::write_array_len(&mut self.0, length),
            Container::Map => rmp::encode::write_map_len(&mut self.0, length),
        };
    }
}

/// Writes CBOR: every length is told, floats have 64 bits.
struct ToCbor(Vec<u8>);

impl Target for ToCbor {
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        let out = &mut self.0;
        match scalar {
            Scalar::Nil => out.push(0xf6),
            Scalar::Bool(value) => out.push(0xf4 + u8::from(value)),
            Scalar::Unsigned(value) => cbor::write_head(out, Major::Unsigned, value),
            Scalar::Signed(value) => match u64::try_from(value) {
                Ok(value) => cbor::write_head(out, Major::Unsigned, value),
                // What is written of a negative integer is -1 less its value.
                Err(_) => cbor::write_head(out, Major::Negative, !value.cast_unsigned()),
            },
            Scalar::Float(value) => {
                out.push(0xfb);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Scalar::Text(value) => cbor::write_text(out, value),
            Scalar::Binary(value) => {
                cbor::write_head(out, Major::Binary, value.len() as u64);
                out.extend_from_slice(value);
            }
        }
    }

    fn head(&mut self, container: Container, length: u64) {
        let major = match container {
            Container::Sequence => Major::Sequence,
            Container::Map => Major::Map,
        };
        cbor::write_head(&mut self.0, major, length);
    }
}

/// Writes JSON.
struct ToJson(Vec<u8>);

impl ToJson {
    fn write<V: serde::Serialize + ?Sized>(&mut self, value: &V) {
        // Writing a scalar to memory cannot fail.
        let _ = serde_json::to_writer(&mut self.0, value);
    }
}

impl Target for ToJson {
    fn bytes(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    fn scalar(&mut self, scalar: Scalar<'_>) {
        match scalar {
            Scalar::Nil => self.write(&()),
            Scalar::Bool(value) => self.write(&value),
            Scalar::Unsigned(value) => self.write(&value),
            Scalar::Signed(value) => self.write(&value),
            Scalar::Float(value) => self.write(&value),
            Scalar::Text(value) => self.write(value),
            Scalar::Binary(value) => self.write(&format!("\0{}", BASE64.encode(value))),
        }
    }

    fn separate(&mut self, container: Container, index: u64) {
        match container {
            Container::Map if index % 2 == 1 => self.0.push(b':'),
            _ if index > 0 => self.0.push(b','),
            _ => {}
        }
    }

    fn head(&mut self, container: Container, _length: u64) {
        self.0.push(if container == Container::Map { b'{' } else { b'[' });
    }

    fn tail(&mut self, container: Container) {
        self.0.push(if container == Container::Map { b'}' } else { b']' });
    }
}

/// Copies whatever a deserializer of JSON holds to a binary form.
struct Copy<'a, T>(&'a mut T);

impl<'de, T: Target> DeserializeSeed<'de> for Copy<'_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Target> Visitor<'de> for Copy<'_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.scalar(Scalar::Nil);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.0.scalar(Scalar::Bool(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.0.scalar(Scalar::Unsigned(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.0.scalar(Scalar::Signed(value));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.0.scalar(Scalar::Float(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        let armoured = value.strip_prefix('\0').map(|text| BASE64.decode(text.as_bytes()));
        self.0.scalar(match &armoured {
            Some(Ok(binary)) => Scalar::Binary(binary),
            _ => Scalar::Text(value),
        });
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let opened = self.0.open(Container::Sequence, None);
        let mut count = 0;
        while seq.next_element_seed(Copy(&mut *self.0))?.is_some() {
            count += 1;
        }
        self.0.close(Container::Sequence, opened, count);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let opened = self.0.open(Container::Map, None);
        let mut count = 0;
        while map.next_key_seed(Copy(&mut *self.0))?.is_some() {
            map.next_value_seed(Copy(&mut *self.0))?;
            count += 1;
        }
        self.0.close(Container::Map, opened, count);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
