//! The grammar of messages, for reading.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{DecodeError, Form};
use crate::id::{MAX_ID, SessionId};
use crate::message::{Message, RequestKind, Revocation, code};
use crate::payload::{Encoded, Payload};
use crate::uri;

/// The most elements that a message has.
const MAX_ELEMENTS: usize = 7;

/// Options beyond it are not read a second time, see [`Parts::options`].
const MAX_ODD_OPTIONS: usize = 16 * 1024;

/// What is wrong with a message.
#[derive(Debug)]
enum Fault {
    /// It is none.
    Malformed(String),
    /// All is well but for an option.
    Options(String),
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self::Malformed(text)
    }
}

/// The elements of a message, where they lie in the frame.
pub(super) struct Parts<'a> {
    form: Form,
    pub(super) frame: &'a Bytes,
    ranges: [(usize, usize); MAX_ELEMENTS],
    count: usize,
}

impl<'a> Parts<'a> {
    pub(super) fn new(form: Form, frame: &'a Bytes) -> Self {
        Self { form, frame, ranges: [(0, 0); MAX_ELEMENTS], count: 0 }
    }

    pub(super) fn push(&mut self, range: Range<usize>) -> Result<(), String> {
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
        self.form.read(slice).map_err(|error| format!("invalid {what}: {error}"))
    }

    fn id(&self, index: usize, what: &str) -> Result<u64, String> {
        let id = match self.read(index, what) {
            Ok(id) => id,
            // Where every number is a float, as in JavaScript, some libraries write ids as such.
            Err(error) => match self.read::<f64>(index, what) {
                Ok(id) if id >= 0.0 && id <= MAX_ID as f64 && id.fract() == 0.0 => id as u64,
                _ => return Err(error),
            },
        };
        if id <= MAX_ID { Ok(id) } else { Err(format!("invalid {what}: {id} is above 2^53")) }
    }

    /// Options that are missing have their defaults, and so have those that
    /// are null: some peers send all that they know.
    fn options<T: DeserializeOwned + Default>(&self, index: usize) -> Result<T, Fault> {
        let slice = self.slice(index).ok_or_else(|| "the options are missing".to_owned())?;
        if slice == self.form.empty_map() || self.form.is_nil(slice) {
            return Ok(T::default());
        }
        if !self.form.is_map(slice) {
            return Err(Fault::Malformed("the options are no map".into()));
        }
        let error = match self.form.read(slice) {
            Ok(options) => return Ok(options),
            Err(error) => format!("invalid options: {error}"),
        };
        let without_nulls = || {
            let mut options = (slice.len() <= MAX_ODD_OPTIONS)
                .then(|| self.form.read::<Value>(slice).ok())
                .flatten()?;
            remove_nulls(&mut options);
            T::deserialize(options).ok()
        };
        without_nulls().ok_or(Fault::Options(error))
    }

    /// What follows the request id where the router took something away.
    fn revocation(&self) -> Result<Option<Box<Revocation>>, Fault> {
        self.slice(2).map(|_| self.options(2)).transpose()
    }

    /// The arguments at `index` and the keyword arguments behind them.
    fn payload(&self, index: usize) -> Result<Payload, String> {
        let encoded = |index: usize| {
            let (start, end) = *self.ranges[..self.count].get(index)?;
            let bytes = &self.frame[start..end];
            (!self.form.is_nil(bytes))
                .then(|| Encoded { form: self.form, bytes: self.frame.slice(start..end) })
        };
        let (args, kwargs) = (encoded(index), encoded(index + 1));
        if args.as_ref().is_some_and(|args| !self.form.is_sequence(&args.bytes)) {
            return Err("the arguments are no array".into());
        }
        if kwargs.as_ref().is_some_and(|kwargs| !self.form.is_map(&kwargs.bytes)) {
            return Err("the keyword arguments are no map".into());
        }
        // In front of keyword arguments, none at all are written as an empty sequence.
        let no_args = || Bytes::from_static(self.form.empty_sequence());
        let no_args = || kwargs.is_some().then(|| Encoded { form: self.form, bytes: no_args() });
        Ok(Payload { args: args.or_else(no_args), kwargs })
    }

    /// Reads the message.
    pub(super) fn message(&self) -> Result<Message, DecodeError> {
        self.parse().map_err(|fault| match fault {
            Fault::Malformed(why) => DecodeError::Malformed(why),
            Fault::Options(why) => self.refusal(why),
        })
    }

    /// What becomes of a message with an odd option: a request is answered,
    /// anything else is no message.
    fn refusal(&self, why: String) -> DecodeError {
        let kind = self.id(0, "message type").ok().and_then(RequestKind::from_code);
        let (Some(kind), Ok(request)) = (kind, self.id(1, "request id")) else {
            return DecodeError::Malformed(why);
        };
        let answer = || Message::error(kind, request, uri::error::INVALID_ARGUMENT, &why);
        // Who did not ask for an answer takes one for a breach of the protocol.
        let expects_answer = kind != RequestKind::Publish || self.wants_acknowledgement();
        DecodeError::BadRequest { answer: expects_answer.then(|| Box::new(answer())), why }
    }

    /// Whether a PUBLISH is to be answered, whatever else is in its options.
    fn wants_acknowledgement(&self) -> bool {
        #[derive(Default, Deserialize)]
        struct Acknowledge {
            acknowledge: bool,
        }
        self.options::<Acknowledge>(2).is_ok_and(|options| options.acknowledge)
    }

    fn parse(&self) -> Result<Message, Fault> {
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
            // Whoever cancels wants it to end, whatever else is said: an odd mode is none.
            code::CANCEL => Message::Cancel {
                request: request()?,
                options: self.options(2).or_else(unless_malformed)?,
            },
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
            code::INTERRUPT => Message::Interrupt {
                request: request()?,
                options: self.options(2).or_else(unless_malformed)?,
            },
            code::YIELD => Message::Yield {
                request: request()?,
                options: self.options(2)?,
                payload: self.payload(3)?,
            },
            unknown => return Err(format!("a message of type {unknown}").into()),
        })
    }
}

fn unless_malformed<T: Default>(fault: Fault) -> Result<T, Fault> {
    match fault {
        Fault::Options(_) => Ok(T::default()),
        Fault::Malformed(_) => Err(fault),
    }
}

/// Takes out of all maps what is null. Bounded in depth by what the codec lets through.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(remove_nulls);
        }
        Value::Array(values) => values.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}
