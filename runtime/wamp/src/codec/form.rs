//! The three ways to write a value, behind one face.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use super::cbor::{self, Cbor};
use super::msgpack::{self, Msgpack};
use super::{Parts, binary, json};

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    Msgpack,
    Cbor,
    Json,
}

impl Form {
    /// Every form; the order is that of the discriminants.
    pub(crate) const ALL: [Self; 3] = [Self::Msgpack, Self::Cbor, Self::Json];

    /// Reads one value, which has been checked by [`Form::split`].
    pub(crate) fn read<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, String> {
        match self {
            Self::Msgpack => msgpack::read(bytes),
            Self::Cbor => cbor::read(bytes),
            Self::Json => json::read(bytes),
        }
    }

    /// The first element of a sequence.
    pub(crate) fn first(self, bytes: &Bytes) -> Option<Bytes> {
        match self {
            Self::Msgpack => binary::first::<Msgpack>(bytes),
            Self::Cbor => binary::first::<Cbor>(bytes),
            Self::Json => json::first(bytes),
        }
    }

    pub(crate) fn is_sequence(self, bytes: &[u8]) -> bool {
        match self {
            Self::Msgpack => binary::is_sequence::<Msgpack>(bytes),
            Self::Cbor => binary::is_sequence::<Cbor>(bytes),
            Self::Json => json::is_sequence(bytes),
        }
    }

    pub(crate) fn is_map(self, bytes: &[u8]) -> bool {
        match self {
            Self::Msgpack => binary::is_map::<Msgpack>(bytes),
            Self::Cbor => binary::is_map::<Cbor>(bytes),
            Self::Json => json::is_map(bytes),
        }
    }

    /// Whether a sequence or a map has nothing in it.
    pub(crate) fn is_empty(self, bytes: &[u8]) -> bool {
        match self {
            Self::Msgpack => binary::is_empty::<Msgpack>(bytes),
            Self::Cbor => binary::is_empty::<Cbor>(bytes),
            Self::Json => json::is_empty(bytes),
        }
    }

    /// A sequence that has nothing in it.
    pub(super) fn empty_sequence(self) -> &'static [u8] {
        match self {
            Self::Msgpack => msgpack::EMPTY_SEQUENCE,
            Self::Cbor => cbor::EMPTY_SEQUENCE,
            Self::Json => json::EMPTY_SEQUENCE,
        }
    }

    /// Whether the value says that there is none.
    pub(crate) fn is_nil(self, bytes: &[u8]) -> bool {
        match self {
            Self::Msgpack => binary::is_nil::<Msgpack>(bytes),
            Self::Cbor => binary::is_nil::<Cbor>(bytes),
            Self::Json => bytes == b"null",
        }
    }

    /// Finds the elements of a message, and checks all that is in them.
    pub(super) fn split(self, frame: &Bytes) -> Result<Parts<'_>, String> {
        match self {
            Self::Msgpack => binary::split::<Msgpack>(self, frame),
            Self::Cbor => binary::split::<Cbor>(self, frame),
            Self::Json => json::split(frame),
        }
    }

    /// How most options are written: there are none.
    pub(super) const fn empty_map(self) -> &'static [u8] {
        match self {
            Self::Msgpack => msgpack::EMPTY_MAP,
            Self::Cbor => cbor::EMPTY_MAP,
            Self::Json => json::EMPTY_MAP,
        }
    }
}
