//! The forms in which messages travel, each a WebSocket subprotocol.

use std::fmt;

/// How messages are written; chosen once per connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Serializer {
    /// `wamp.2.msgpack`, in binary frames.
    Msgpack,
    /// `wamp.2.json`, in text frames.
    Json,
}

impl Serializer {
    /// Every serializer, the preferred one first.
    pub const ALL: &[Self] = &[Self::Msgpack, Self::Json];

    /// The name of the WebSocket subprotocol.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Msgpack => "wamp.2.msgpack",
            Self::Json => "wamp.2.json",
        }
    }

    /// The serializer of a subprotocol, if it is one of ours.
    #[must_use]
    pub fn from_subprotocol(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|serializer| serializer.subprotocol() == name)
    }

    /// Whether its messages are text frames.
    pub(crate) const fn is_text(self) -> bool {
        matches!(self, Self::Json)
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
