//! The grammar of messages, for writing, and how each serializer writes its elements.

use bytes::Bytes;
use serde::Serialize;

use super::cbor::{self, Major};
use super::{Form, json, msgpack};
use crate::PayloadError;
use crate::message::{Message, code};
use crate::payload::Payload;

/// What a serializer must be able to write: the elements of an array, one after the other.
pub(super) trait Writer: Sized {
    const FORM: Form;
    const EMPTY_SEQUENCE: &'static [u8];
    const EMPTY_MAP: &'static [u8];

    /// Begins the array; `bytes` is about how long it will be.
    fn array(&mut self, elements: u8, bytes: usize);
    fn uint(&mut self, value: u64);
    fn text(&mut self, text: &str);
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PayloadError>;
    /// Writes what is in this form already.
    fn encoded(&mut self, bytes: &[u8]);
    fn finish(self) -> Bytes;

    /// Most messages have no options, and need no serializer to say so.
    fn options<T: Serialize + Default + PartialEq>(
        &mut self,
        options: &T,
    ) -> Result<(), PayloadError> {
        if *options == T::default() {
            self.encoded(Self::EMPTY_MAP);
            Ok(())
        } else {
            self.value(options)
        }
    }
}

/// Writes MessagePack.
pub(super) struct Msgpack(pub(super) Vec<u8>);

impl Writer for Msgpack {
    const FORM: Form = Form::Msgpack;
    const EMPTY_SEQUENCE: &'static [u8] = msgpack::EMPTY_SEQUENCE;
    const EMPTY_MAP: &'static [u8] = msgpack::EMPTY_MAP;

    fn array(&mut self, elements: u8, bytes: usize) {
        self.0.reserve(bytes);
        // The short form of an array: no message has more than 15 elements.
        self.0.push(0x90 | elements);
    }

    fn uint(&mut self, value: u64) {
        // Writing to memory cannot fail.
        let _ = rmp::encode::write_uint(&mut self.0, value);
    }

    fn text(&mut self, text: &str) {
        let _ = rmp::encode::write_str(&mut self.0, text);
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PayloadError> {
        msgpack::write_to(&mut self.0, value)
    }

    fn encoded(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(self) -> Bytes {
        self.0.into()
    }
}

/// Writes CBOR.
pub(super) struct Cbor(pub(super) Vec<u8>);

impl Writer for Cbor {
    const FORM: Form = Form::Cbor;
    const EMPTY_SEQUENCE: &'static [u8] = cbor::EMPTY_SEQUENCE;
    const EMPTY_MAP: &'static [u8] = cbor::EMPTY_MAP;

    fn array(&mut self, elements: u8, bytes: usize) {
        self.0.reserve(bytes);
        cbor::write_head(&mut self.0, Major::Sequence, elements.into());
    }

    fn uint(&mut self, value: u64) {
        cbor::write_head(&mut self.0, Major::Unsigned, value);
    }

    fn text(&mut self, text: &str) {
        cbor::write_text(&mut self.0, text);
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PayloadError> {
        cbor::write_to(&mut self.0, value)
    }

    fn encoded(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(self) -> Bytes {
        self.0.into()
    }
}

/// Writes JSON.
pub(super) struct Json(pub(super) Vec<u8>);

impl Json {
    fn separate(&mut self) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
    }
}

impl Writer for Json {
    const FORM: Form = Form::Json;
    const EMPTY_SEQUENCE: &'static [u8] = json::EMPTY_SEQUENCE;
    const EMPTY_MAP: &'static [u8] = json::EMPTY_MAP;

    fn array(&mut self, _elements: u8, bytes: usize) {
        self.0.reserve(bytes);
        self.0.push(b'[');
    }

    fn uint(&mut self, value: u64) {
        self.separate();
        self.0.extend_from_slice(value.to_string().as_bytes());
    }

    fn text(&mut self, text: &str) {
        self.separate();
        // Writing a text to memory cannot fail.
        let _ = serde_json::to_writer(&mut self.0, text);
    }

    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), PayloadError> {
        self.separate();
        serde_json::to_writer(&mut self.0, value)
            .map_err(|error| PayloadError::Write(error.to_string()))
    }

    fn encoded(&mut self, bytes: &[u8]) {
        self.separate();
        self.0.extend_from_slice(bytes);
    }

    fn finish(mut self) -> Bytes {
        self.0.push(b']');
        self.0.into()
    }
}

/// Writes one message.
pub(super) fn message<W: Writer>(mut out: W, message: &Message) -> Result<Bytes, PayloadError> {
    let payload = message.payload().map(|payload| payload.in_form(W::FORM)).transpose()?;
    let payload = payload.unwrap_or_default();
    let begin = |out: &mut W, elements: u8, code: u64| {
        // Arguments must be there, if only as an empty sequence, before keywords can be.
        let more = if payload.kwargs.is_some() { 2 } else { u8::from(payload.args.is_some()) };
        out.array(elements + more, 64 + payload.encoded_len());
        out.uint(code);
    };
    match message {
        Message::Hello { realm, details } => {
            begin(&mut out, 3, code::HELLO);
            out.text(realm);
            out.value(details)?;
        }
        Message::Welcome { session, details } => {
            begin(&mut out, 3, code::WELCOME);
            out.uint(session.0);
            out.value(details)?;
        }
        Message::Abort { details, reason } => {
            begin(&mut out, 3, code::ABORT);
            out.options(details)?;
            out.text(reason);
        }
        Message::Challenge { method, extra } => {
            begin(&mut out, 3, code::CHALLENGE);
            out.text(method);
            out.options(extra)?;
        }
        Message::Authenticate { signature, extra } => {
            begin(&mut out, 3, code::AUTHENTICATE);
            out.text(signature);
            out.options(extra)?;
        }
        Message::Goodbye { details, reason } => {
            begin(&mut out, 3, code::GOODBYE);
            out.options(details)?;
            out.text(reason);
        }
        Message::Error { kind, request, error, .. } => {
            begin(&mut out, 5, code::ERROR);
            out.uint(kind.code());
            out.uint(*request);
            out.encoded(W::EMPTY_MAP);
            out.text(error);
        }
        Message::Publish { request, options, topic, .. } => {
            begin(&mut out, 4, code::PUBLISH);
            out.uint(*request);
            out.options(options)?;
            out.text(topic);
        }
        Message::Published { request, publication } => {
            begin(&mut out, 3, code::PUBLISHED);
            out.uint(*request);
            out.uint(*publication);
        }
        Message::Subscribe { request, options, topic } => {
            begin(&mut out, 4, code::SUBSCRIBE);
            out.uint(*request);
            out.options(options)?;
            out.text(topic);
        }
        Message::Subscribed { request, subscription } => {
            begin(&mut out, 3, code::SUBSCRIBED);
            out.uint(*request);
            out.uint(*subscription);
        }
        Message::Unsubscribe { request, subscription } => {
            begin(&mut out, 3, code::UNSUBSCRIBE);
            out.uint(*request);
            out.uint(*subscription);
        }
        Message::Unsubscribed { request, revocation } => {
            begin(&mut out, 2 + u8::from(revocation.is_some()), code::UNSUBSCRIBED);
            out.uint(*request);
            revocation.as_ref().map_or(Ok(()), |revocation| out.options(revocation))?;
        }
        Message::Event { subscription, publication, details, .. } => {
            begin(&mut out, 4, code::EVENT);
            out.uint(*subscription);
            out.uint(*publication);
            out.options(details)?;
        }
        Message::Call { request, options, procedure, .. } => {
            begin(&mut out, 4, code::CALL);
            out.uint(*request);
            out.options(options)?;
            out.text(procedure);
        }
        Message::Cancel { request, options } => {
            begin(&mut out, 3, code::CANCEL);
            out.uint(*request);
            out.options(options)?;
        }
        Message::Result { request, details, .. } => {
            begin(&mut out, 3, code::RESULT);
            out.uint(*request);
            out.options(details)?;
        }
        Message::Register { request, options, procedure } => {
            begin(&mut out, 4, code::REGISTER);
            out.uint(*request);
            out.options(options)?;
            out.text(procedure);
        }
        Message::Registered { request, registration } => {
            begin(&mut out, 3, code::REGISTERED);
            out.uint(*request);
            out.uint(*registration);
        }
        Message::Unregister { request, registration } => {
            begin(&mut out, 3, code::UNREGISTER);
            out.uint(*request);
            out.uint(*registration);
        }
        Message::Unregistered { request, revocation } => {
            begin(&mut out, 2 + u8::from(revocation.is_some()), code::UNREGISTERED);
            out.uint(*request);
            revocation.as_ref().map_or(Ok(()), |revocation| out.options(revocation))?;
        }
        Message::Invocation { request, registration, details, .. } => {
            begin(&mut out, 4, code::INVOCATION);
            out.uint(*request);
            out.uint(*registration);
            out.options(details)?;
        }
        Message::Interrupt { request, options } => {
            begin(&mut out, 3, code::INTERRUPT);
            out.uint(*request);
            out.options(options)?;
        }
        Message::Yield { request, options, .. } => {
            begin(&mut out, 3, code::YIELD);
            out.uint(*request);
            out.options(options)?;
        }
    }
    write_payload(&mut out, &payload);
    Ok(out.finish())
}

fn write_payload<W: Writer>(out: &mut W, payload: &Payload) {
    match (&payload.args, &payload.kwargs) {
        (Some(args), _) => out.encoded(&args.bytes),
        (None, Some(_)) => out.encoded(W::EMPTY_SEQUENCE),
        (None, None) => {}
    }
    if let Some(kwargs) = &payload.kwargs {
        out.encoded(&kwargs.bytes);
    }
}
