//! The forms in which messages travel, each a WebSocket subprotocol.

use std::fmt;

use crate::codec::Form;

/// How messages are written; chosen once per connection.
///
/// The batched ones carry any number of messages in one WebSocket message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Serializer {
    /// `wamp.2.msgpack`, in binary frames.
    Msgpack,
    /// `wamp.2.msgpack.batched`: each message has its length before it.
    MsgpackBatched,
    /// `wamp.2.cbor`, in binary frames.
    Cbor,
    /// `wamp.2.cbor.batched`: each message has its length before it.
    CborBatched,
    /// `wamp.2.json`, in text frames.
    Json,
    /// `wamp.2.json.batched`: each message has a mark behind it.
    JsonBatched,
}

impl Serializer {
    /// Every serializer, the preferred one first.
    pub const ALL: &[Self] = &[
        Self::Msgpack,
        Self::MsgpackBatched,
        Self::Cbor,
        Self::CborBatched,
        Self::Json,
        Self::JsonBatched,
    ];

    /// The name of the WebSocket subprotocol.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Msgpack => "wamp.2.msgpack",
            Self::MsgpackBatched => "wamp.2.msgpack.batched",
            Self::Cbor => "wamp.2.cbor",
            Self::CborBatched => "wamp.2.cbor.batched",
            Self::Json => "wamp.2.json",
            Self::JsonBatched => "wamp.2.json.batched",
        }
    }

    /// The serializer of a subprotocol, if it is one of ours.
    #[must_use]
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|serializer| serializer.subprotocol() == name)
    }

    /// How each message is written.
    pub(crate) const fn form(self) -> Form {
        match self {
            Self::Msgpack | Self::MsgpackBatched => Form::Msgpack,
            Self::Cbor | Self::CborBatched => Form::Cbor,
            Self::Json | Self::JsonBatched => Form::Json,
        }
    }

    /// Whether a WebSocket message carries any number of messages.
    pub(crate) const fn is_batched(self) -> bool {
        matches!(self, Self::MsgpackBatched | Self::CborBatched | Self::JsonBatched)
    }

    /// Whether its messages are text frames.
    pub(crate) const fn is_text(self) -> bool {
        matches!(self.form(), Form::Json)
    }

    /// All subprotocols, for people and for HTTP headers.
    pub(crate) fn list(serializers: &[Self]) -> String {
        let names: Vec<_> = serializers.iter().map(|serializer| serializer.subprotocol()).collect();
        names.join(", ")
    }
}

impl fmt::Display for Serializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.subprotocol())
    }
}
