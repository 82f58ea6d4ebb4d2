//! Arguments of calls, answers and events, kept in the form in which they came.

use bytes::Bytes;
use serde::Serialize;
use serde::de::value::UnitDeserializer;
use serde::de::{DeserializeOwned, IntoDeserializer};

use crate::codec::{self, Form};

/// Positional and keyword arguments.
///
/// They stay encoded until somebody reads them, so that a router passes them
/// on without looking inside; a clone costs two reference counts. What is
/// written here is msgpack with structs as maps, and becomes CBOR or JSON on its
/// way to peers that speak it (binary in JSON is a text: `"\u{0}"` and base64).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload {
    pub(crate) args: Option<Encoded>,
    pub(crate) kwargs: Option<Encoded>,
}

/// One well-formed value: a sequence for positional arguments, a map for keywords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Encoded {
    pub(crate) form: Form,
    pub(crate) bytes: Bytes,
}

/// Arguments could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PayloadError {
    /// A value has no form in the serializer.
    #[error("cannot write the arguments: {0}")]
    Write(String),
    /// The arguments are not what was expected.
    #[error("the arguments are not what was expected: {0}")]
    Read(String),
}

impl Payload {
    /// No arguments at all.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// One positional argument.
    ///
    /// # Errors
    /// When the value cannot be written: nested more than 100 deep, a map
    /// whose keys are no texts, or its `Serialize` refuses.
    pub fn one<T: Serialize + ?Sized>(value: &T) -> Result<Self, PayloadError> {
        Self::positional(&(value,))
    }

    /// Positional arguments: `sequence` must be written as a sequence or tuple.
    ///
    /// # Errors
    /// Like [`Payload::one`], and when the value is no sequence.
    pub fn positional<T: Serialize + ?Sized>(sequence: &T) -> Result<Self, PayloadError> {
        let args = codec::msgpack::write(sequence)?;
        if !Form::Msgpack.is_sequence(&args) {
            return Err(PayloadError::Write("positional arguments must be a sequence".into()));
        }
        Ok(Self { args: Some(Encoded::msgpack(args)), kwargs: None })
    }

    /// Keyword arguments: `map` must be written as a map or struct.
    ///
    /// # Errors
    /// Like [`Payload::one`], and when the value is no map.
    pub fn keyword<T: Serialize + ?Sized>(map: &T) -> Result<Self, PayloadError> {
        let kwargs = codec::msgpack::write(map)?;
        if !Form::Msgpack.is_map(&kwargs) {
            return Err(PayloadError::Write("keyword arguments must be a map".into()));
        }
        Ok(Self { args: None, kwargs: Some(Encoded::msgpack(kwargs)) })
    }

    /// Arguments that somebody wrote in JSON: `args` is an array, `kwargs` an object.
    ///
    /// A text of `U+0000` and base64 is binary, as everywhere in JSON.
    ///
    /// # Errors
    /// When a text is no JSON, nested more than 100 deep, or not what it should be.
    pub fn from_json(args: &str, kwargs: &str) -> Result<Self, PayloadError> {
        let (args, kwargs) = (Encoded::json(args)?, Encoded::json(kwargs)?);
        if !Form::Json.is_sequence(&args.bytes) {
            return Err(PayloadError::Read("the arguments are no array".into()));
        }
        if !Form::Json.is_map(&kwargs.bytes) {
            return Err(PayloadError::Read("the keyword arguments are no object".into()));
        }
        let unless_empty = |part: Encoded| (!part.is_empty()).then_some(part);
        Ok(Self { args: unless_empty(args), kwargs: unless_empty(kwargs) })
    }

    /// The arguments in JSON: an array and an object, `[]` and `{}` where there are none.
    ///
    /// Binary becomes a text of `U+0000` and base64, NaN and infinities null.
    ///
    /// # Errors
    /// When a peer sent what JSON cannot say.
    pub fn to_json(&self) -> Result<(String, String), PayloadError> {
        let json = self.in_form(Form::Json)?;
        let text = |part: Option<Encoded>, none: &str| match part {
            Some(part) if !part.is_empty() => String::from_utf8(part.bytes.into())
                .map_err(|error| PayloadError::Write(error.to_string())),
            _ => Ok(none.to_owned()),
        };
        Ok((text(json.args, "[]")?, text(json.kwargs, "{}")?))
    }

    /// Arguments in their natural form: a tuple or sequence is positional, a
    /// struct or map is keywords, and `()` is none.
    ///
    /// # Errors
    /// Like [`Payload::one`], and when the value is neither.
    pub fn arguments<T: Serialize + ?Sized>(arguments: &T) -> Result<Self, PayloadError> {
        let written = codec::msgpack::write(arguments)?;
        if Form::Msgpack.is_sequence(&written) {
            Ok(Self { args: Some(Encoded::msgpack(written)), kwargs: None })
        } else if Form::Msgpack.is_map(&written) {
            Ok(Self { args: None, kwargs: Some(Encoded::msgpack(written)) })
        } else if written == codec::msgpack::NIL {
            Ok(Self::empty())
        } else {
            Err(PayloadError::Write(
                "arguments must be a tuple, a sequence, a struct or a map; \
                 write (value,) for a single one"
                    .into(),
            ))
        }
    }

    /// The same payload with the keyword arguments of another one.
    #[must_use]
    pub fn with_keywords_of(mut self, other: Self) -> Self {
        self.kwargs = other.kwargs;
        self
    }

    /// Reads the first positional argument; others are ignored.
    ///
    /// # Errors
    /// When there is none, or it is no `T`.
    pub fn first<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        let missing = || PayloadError::Read("there is no positional argument".into());
        let args = self.args.as_ref().ok_or_else(missing)?;
        let first = args.form.first(&args.bytes).ok_or_else(missing)?;
        Encoded { form: args.form, bytes: first }.read()
    }

    /// Reads the first positional argument, and null where there is none, as
    /// when a procedure without a result answers.
    ///
    /// # Errors
    /// When it is no `T`.
    pub fn first_or_null<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        if self.args.as_ref().is_none_or(Encoded::is_empty) {
            let null: UnitDeserializer<serde::de::value::Error> = ().into_deserializer();
            T::deserialize(null).map_err(|error| PayloadError::Read(error.to_string()))
        } else {
            self.first()
        }
    }

    /// Reads all positional arguments as a sequence; an empty one if there are none.
    ///
    /// # Errors
    /// When they are no `T`.
    pub fn args<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        match &self.args {
            Some(args) => args.read(),
            None => Encoded::msgpack(Bytes::from_static(codec::msgpack::EMPTY_SEQUENCE)).read(),
        }
    }

    /// Reads the keyword arguments as a map; an empty one if there are none.
    ///
    /// # Errors
    /// When they are no `T`.
    pub fn kwargs<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        match &self.kwargs {
            Some(kwargs) => kwargs.read(),
            None => Encoded::msgpack(Bytes::from_static(codec::msgpack::EMPTY_MAP)).read(),
        }
    }

    /// Whether there are no arguments: none sent, or empty ones.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.args.iter().chain(&self.kwargs).all(Encoded::is_empty)
    }

    /// How many bytes the arguments take as they are now.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.args.iter().chain(&self.kwargs).map(|part| part.bytes.len()).sum()
    }

    /// A copy that shares no memory with the frame in which the arguments came.
    pub(crate) fn detached(&self) -> Self {
        let copy = |part: &Option<Encoded>| {
            part.as_ref()
                .map(|part| Encoded { form: part.form, bytes: Bytes::copy_from_slice(&part.bytes) })
        };
        Self { args: copy(&self.args), kwargs: copy(&self.kwargs) }
    }

    /// One of the positional arguments, if there are so many.
    pub(crate) fn element(&self, index: usize) -> Result<Option<Encoded>, PayloadError> {
        let Some(args) = &self.args else { return Ok(None) };
        let element = codec::msgpack::element(&args.in_form(Form::Msgpack)?.bytes, index);
        Ok(element.map(Encoded::msgpack))
    }

    /// The same arguments in another form.
    pub(crate) fn in_form(&self, form: Form) -> Result<Self, PayloadError> {
        let turn =
            |part: &Option<Encoded>| part.as_ref().map(|part| part.in_form(form)).transpose();
        Ok(Self { args: turn(&self.args)?, kwargs: turn(&self.kwargs)? })
    }
}

impl Encoded {
    fn msgpack(bytes: Bytes) -> Self {
        Self { form: Form::Msgpack, bytes }
    }

    fn json(text: &str) -> Result<Self, PayloadError> {
        let bytes = Bytes::copy_from_slice(text.trim().as_bytes());
        codec::json::check(&bytes).map_err(PayloadError::Read)?;
        Ok(Self { form: Form::Json, bytes })
    }

    pub(crate) fn is_null(&self) -> bool {
        self.form.is_nil(&self.bytes)
    }

    pub(crate) fn is_sequence(&self) -> bool {
        self.form.is_sequence(&self.bytes)
    }

    pub(crate) fn is_map(&self) -> bool {
        self.form.is_map(&self.bytes)
    }

    fn is_empty(&self) -> bool {
        self.form.is_empty(&self.bytes)
    }

    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        self.form.read(&self.bytes).map_err(PayloadError::Read)
    }

    fn in_form(&self, form: Form) -> Result<Self, PayloadError> {
        if self.form == form {
            return Ok(self.clone());
        }
        let bytes = codec::transcode::convert(self.form, form, &self.bytes);
        Ok(Self { form, bytes: bytes.map_err(PayloadError::Write)? })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn json_goes_in_and_comes_out() {
        let payload = Payload::from_json(" [1, \"x\"]", "{\"k\": null}\n").unwrap();
        assert_eq!(payload.args::<Value>().unwrap(), json!([1, "x"]));
        assert_eq!(payload.kwargs::<Value>().unwrap(), json!({"k": null}));
        let (args, kwargs) = payload.in_form(Form::Msgpack).unwrap().to_json().unwrap();
        assert_eq!((args.as_str(), kwargs.as_str()), ("[1,\"x\"]", "{\"k\":null}"));
        assert!(Payload::from_json("[ ]", "{}").unwrap().is_empty());
        let (args, kwargs) = Payload::empty().to_json().unwrap();
        assert_eq!((args.as_str(), kwargs.as_str()), ("[]", "{}"));
    }

    #[test]
    fn arguments_are_read_in_whatever_form_they_came() {
        let payload = Payload::positional(&json!([{"a": [1]}, "two"])).unwrap();
        let payload = payload.with_keywords_of(Payload::keyword(&json!({"k": -1.5})).unwrap());
        for form in Form::ALL {
            let payload = payload.in_form(form).unwrap();
            assert_eq!(payload.args.as_ref().unwrap().form, form);
            assert_eq!(payload.first::<Value>().unwrap(), json!({"a": [1]}));
            assert_eq!(payload.args::<(Value, String)>().unwrap().1, "two");
            assert_eq!(payload.kwargs::<Value>().unwrap(), json!({"k": -1.5}));
            assert!(payload.first::<u32>().is_err() && !payload.is_empty());
        }
        // CBOR that does not tell its lengths: an empty sequence, an empty map, and ["x"].
        let cbor = |bytes: &'static [u8]| {
            Some(Encoded { form: Form::Cbor, bytes: Bytes::from_static(bytes) })
        };
        let empty = Payload { args: cbor(&[0x9f, 0xff]), kwargs: cbor(&[0xbf, 0xff]) };
        assert!(empty.is_empty() && empty.first::<Value>().is_err());
        let one = Payload { args: cbor(&[0x9f, 0x7f, 0x61, b'x', 0xff, 0xff]), kwargs: None };
        assert_eq!(one.first::<String>().unwrap(), "x");
    }

    #[test]
    fn binary_in_json_is_a_text_with_a_mark() {
        let payload = Payload::from_json(r#"["\u0000ECD/"]"#, "{}").unwrap();
        let packed = payload.in_form(Form::Msgpack).unwrap();
        assert_eq!(&packed.args.as_ref().unwrap().bytes[..], [0x91, 0xc4, 3, 0x10, 0x20, 0xff]);
        assert_eq!(packed.to_json().unwrap().0, r#"["\u0000ECD/"]"#);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let deep = "[".repeat(1000) + &"]".repeat(1000);
        for args in ["", "[1", "[1] 2", "{}", "1", &deep] {
            assert!(Payload::from_json(args, "{}").is_err(), "{args}");
        }
        for kwargs in ["", "[]", "null", "{\"a\"}"] {
            assert!(Payload::from_json("[]", kwargs).is_err(), "{kwargs}");
        }
    }
}
