//! Messages to bytes and back.
//!
//! A message is first split into its elements, which checks every byte of it
//! and decodes none; then the few scalars and options are read, while
//! arguments stay slices of the frame. The grammar of the messages is written
//! once, here; a serializer is a `split`, a `read` and three ways to write.

pub(crate) mod json;
pub(crate) mod msgpack;
pub(crate) mod transcode;
mod write;

use std::ops::Range;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::id::{MAX_ID, SessionId};
use crate::message::{Message, RequestKind, Revocation, code};
use crate::payload::{Encoded, Payload};
use crate::{PayloadError, Serializer};

/// How deep values may be nested: beyond it lies nobody's data, but many a program's stack.
pub(crate) const MAX_DEPTH: usize = 100;

/// The most elements that a message has.
const MAX_ELEMENTS: usize = 7;

/// Bytes are no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct DecodeError(String);

/// Reads one frame.
pub(crate) fn decode(serializer: Serializer, frame: &Bytes) -> Result<Message, DecodeError> {
    let parts = match serializer {
        Serializer::Msgpack => msgpack::split(frame),
        Serializer::Json => json::split(frame),
    };
    parts.and_then(|parts| parts.message()).map_err(DecodeError)
}

/// Writes one frame; arguments in another form are transcoded.
pub(crate) fn encode(serializer: Serializer, message: &Message) -> Result<Bytes, PayloadError> {
    match serializer {
        Serializer::Msgpack => write::message(write::Msgpack(Vec::new()), message),
        Serializer::Json => write::message(write::Json(Vec::new()), message),
    }
}

/// The elements of a message, where they lie in the frame.
pub(crate) struct Parts<'a> {
    form: Serializer,
    frame: &'a Bytes,
    ranges: [(usize, usize); MAX_ELEMENTS],
    count: usize,
}

impl<'a> Parts<'a> {
    fn new(form: Serializer, frame: &'a Bytes) -> Self {
        Self { form, frame, ranges: [(0, 0); MAX_ELEMENTS], count: 0 }
    }

    fn push(&mut self, range: Range<usize>) -> Result<(), String> {
        let slot = self.ranges.get_mut(self.count).ok_or("more elements than any message has")?;
        *slot = (range.start, range.end);
        self.count += 1;
        Ok(())
    }

    fn slice(&self, index: usize) -> Option<&'a [u8]> {
        let (start, end) = *self.ranges[..self.count].get(index)?;
        Some(&self.frame[start..end])
    }

    fn read<T: DeserializeOwned>(&self, index: usize, what: &str) -> Result<T, String> {
        let slice = self.slice(index).ok_or_else(|| format!("the {what} is missing"))?;
        match self.form {
            Serializer::Msgpack => msgpack::read(slice),
            Serializer::Json => json::read(slice),
        }
        .map_err(|error| format!("invalid {what}: {error}"))
    }

    fn id(&self, index: usize, what: &str) -> Result<u64, String> {
        let id = self.read(index, what)?;
        if id <= MAX_ID { Ok(id) } else { Err(format!("invalid {what}: {id} is above 2^53")) }
    }

    fn options<T: DeserializeOwned + Default>(&self, index: usize) -> Result<T, String> {
        let slice = self.slice(index).ok_or("the options are missing")?;
        if slice == msgpack::EMPTY_MAP || slice == b"{}" {
            return Ok(T::default());
        }
        if !self.is_map(slice) {
            return Err("the options are no map".into());
        }
        self.read(index, "options")
    }

    /// What follows the request id where the router took something away.
    fn revocation(&self) -> Result<Option<Box<Revocation>>, String> {
        self.slice(2).map(|_| self.options(2)).transpose()
    }

    fn is_map(&self, slice: &[u8]) -> bool {
        match self.form {
            Serializer::Msgpack => msgpack::is_map(slice),
            Serializer::Json => json::is_map(slice),
        }
    }

    fn is_sequence(&self, slice: &[u8]) -> bool {
        match self.form {
            Serializer::Msgpack => msgpack::is_sequence(slice),
            Serializer::Json => json::is_sequence(slice),
        }
    }

    /// The arguments at `index` and the keyword arguments behind them.
    fn payload(&self, index: usize) -> Result<Payload, String> {
        if self.slice(index).is_some_and(|slice| !self.is_sequence(slice)) {
            return Err("the arguments are no array".into());
        }
        if self.slice(index + 1).is_some_and(|slice| !self.is_map(slice)) {
            return Err("the keyword arguments are no map".into());
        }
        let encoded = |index: usize| {
            let (start, end) = *self.ranges[..self.count].get(index)?;
            Some(Encoded { form: self.form, bytes: self.frame.slice(start..end) })
        };
        Ok(Payload { args: encoded(index), kwargs: encoded(index + 1) })
    }

    fn message(&self) -> Result<Message, String> {
        let request = || self.id(1, "request id");
        Ok(match self.id(0, "message type")? {
            code::HELLO => {
                Message::Hello { realm: self.read(1, "realm")?, details: self.options(2)? }
            }
            code::WELCOME => Message::Welcome {
                session: SessionId(self.id(1, "session id")?),
                details: self.options(2)?,
            },
            code::ABORT => {
                Message::Abort { details: self.options(1)?, reason: self.read(2, "reason")? }
            }
            code::CHALLENGE => {
                Message::Challenge { method: self.read(1, "method")?, extra: self.options(2)? }
            }
            code::AUTHENTICATE => Message::Authenticate {
                signature: self.read(1, "signature")?,
                extra: self.options(2)?,
            },
            code::GOODBYE => {
                Message::Goodbye { details: self.options(1)?, reason: self.read(2, "reason")? }
            }
            code::ERROR => {
                let kind = self.id(1, "request type")?;
                Message::Error {
                    kind: RequestKind::from_code(kind)
                        .ok_or_else(|| format!("an ERROR for a message of type {kind}"))?,
                    request: self.id(2, "request id")?,
                    error: self.read(4, "error URI")?,
                    payload: self.payload(5)?,
                }
            }
            code::PUBLISH => Message::Publish {
                request: request()?,
                options: self.options(2)?,
                topic: self.read(3, "topic")?,
                payload: self.payload(4)?,
            },
            code::PUBLISHED => Message::Published {
                request: request()?,
                publication: self.id(2, "publication id")?,
            },
            code::SUBSCRIBE => Message::Subscribe {
                request: request()?,
                options: self.options(2)?,
                topic: self.read(3, "topic")?,
            },
            code::SUBSCRIBED => Message::Subscribed {
                request: request()?,
                subscription: self.id(2, "subscription id")?,
            },
            code::UNSUBSCRIBE => Message::Unsubscribe {
                request: request()?,
                subscription: self.id(2, "subscription id")?,
            },
            code::UNSUBSCRIBED => {
                Message::Unsubscribed { request: request()?, revocation: self.revocation()? }
            }
            code::EVENT => Message::Event {
                subscription: self.id(1, "subscription id")?,
                publication: self.id(2, "publication id")?,
                details: self.options(3)?,
                payload: self.payload(4)?,
            },
            code::CALL => Message::Call {
                request: request()?,
                options: self.options(2)?,
                procedure: self.read(3, "procedure")?,
                payload: self.payload(4)?,
            },
            code::CANCEL => Message::Cancel { request: request()?, options: self.options(2)? },
            code::RESULT => Message::Result {
                request: request()?,
                details: self.options(2)?,
                payload: self.payload(3)?,
            },
            code::REGISTER => Message::Register {
                request: request()?,
                options: self.options(2)?,
                procedure: self.read(3, "procedure")?,
            },
            code::REGISTERED => Message::Registered {
                request: request()?,
                registration: self.id(2, "registration id")?,
            },
            code::UNREGISTER => Message::Unregister {
                request: request()?,
                registration: self.id(2, "registration id")?,
            },
            code::UNREGISTERED => {
                Message::Unregistered { request: request()?, revocation: self.revocation()? }
            }
            code::INVOCATION => Message::Invocation {
                request: request()?,
                registration: self.id(2, "registration id")?,
                details: self.options(3)?,
                payload: self.payload(4)?,
            },
            code::INTERRUPT => {
                Message::Interrupt { request: request()?, options: self.options(2)? }
            }
            code::YIELD => Message::Yield {
                request: request()?,
                options: self.options(2)?,
                payload: self.payload(3)?,
            },
            unknown => return Err(format!("a message of type {unknown}")),
        })
    }
}

#[cfg(test)]
mod tests;
