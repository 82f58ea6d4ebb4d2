//! Messages to bytes and back.
//!
//! A message is first split into its elements, which checks every byte of it
//! and decodes none; then the few scalars and options are read, while
//! arguments stay slices of the frame. The grammar of the messages is written
//! once, in `read` and in `write`; a form is a way to split, to read and to
//! write values. Several messages share a frame by what is in `batch`.

pub(crate) mod batch;
mod binary;
mod cbor;
mod form;
pub(crate) mod json;
pub(crate) mod msgpack;
mod read;
pub(crate) mod transcode;
mod write;

use bytes::Bytes;

use crate::PayloadError;
use crate::message::Message;

pub(crate) use form::Form;
use read::Parts;

/// How deep values may be nested: beyond it lies nobody's data, but many a program's stack.
pub(crate) const MAX_DEPTH: usize = 100;

/// Bytes are no message that can be handled.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// They are no message at all: the peer breaks the protocol.
    #[error("{0}")]
    Malformed(String),
    /// A request with an option that makes no sense.
    #[error("{why}")]
    BadRequest {
        /// The ERROR to send back; none if the peer did not ask for an answer.
        answer: Option<Box<Message>>,
        /// Text for people.
        why: String,
    },
}

/// How much of a frame that is no argument a message may keep in memory.
const MAX_SLACK: usize = 4 * 1024;

/// Reads one message. Its arguments are slices of the frame, unless most of the
/// frame is something else: then they would keep in memory what nobody accounts for.
pub(crate) fn decode(form: Form, frame: &Bytes) -> Result<Message, DecodeError> {
    let parts = form.split(frame).map_err(DecodeError::Malformed);
    let message = parts.and_then(|parts| parts.message());
    let mut message = message.map_err(DecodeError::shortened)?;
    if let Some(payload) = message.payload_mut() {
        let length = payload.encoded_len();
        if length > 0 && frame.len() > 2 * length + MAX_SLACK {
            *payload = payload.detached();
        }
    }
    Ok(message)
}

impl DecodeError {
    /// The same in few words: libraries repeat whatever text is wrong, and
    /// what is said here goes into logs.
    fn shortened(mut self) -> Self {
        const LONGEST: usize = 300;
        let (Self::Malformed(text) | Self::BadRequest { why: text, .. }) = &mut self;
        text.truncate(text.floor_char_boundary(LONGEST));
        self
    }
}

/// Writes one message; arguments in another form are transcoded.
pub(crate) fn encode(form: Form, message: &Message) -> Result<Bytes, PayloadError> {
    match form {
        Form::Msgpack => write::message(write::Msgpack(Vec::new()), message),
        Form::Cbor => write::message(write::Cbor(Vec::new()), message),
        Form::Json => write::message(write::Json(Vec::new()), message),
    }
}

#[cfg(test)]
mod tests;
#[cfg(any(test, fuzzing))]
pub(crate) mod trial;
