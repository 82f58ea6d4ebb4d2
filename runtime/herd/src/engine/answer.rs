//! What the engine says to a request.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use serde_json::{Value, json};

/// A body that comes bit by bit.
pub(crate) type Chunks = Pin<Box<dyn Stream<Item = Bytes> + Send>>;

/// An answer that is no refusal.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) content_type: Option<&'static str>,
    /// Headers of this one answer.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Body,
}

/// What follows the head.
pub(crate) enum Body {
    Whole(Bytes),
    Chunks(Chunks),
}

impl Answer {
    pub(crate) fn json(status: u16, value: &Value) -> Self {
        // The engine ends its JSON with a newline.
        Self::whole(status, Some("application/json"), format!("{value}\n"))
    }

    pub(crate) fn empty(status: u16) -> Self {
        Self::whole(status, None, Bytes::new())
    }

    pub(crate) fn whole(
        status: u16,
        content_type: Option<&'static str>,
        body: impl Into<Bytes>,
    ) -> Self {
        let body = Body::Whole(body.into());
        Self { status, content_type, headers: Vec::new(), body }
    }

    pub(crate) fn chunks(
        content_type: Option<&'static str>,
        chunks: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Self {
        let body = Body::Chunks(Box::pin(chunks));
        Self { status: 200, content_type, headers: Vec::new(), body }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// Why the engine does not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// As clients show it.
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(403, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(404, message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(409, message)
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(500, message)
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::json(refusal.status, &json!({"message": refusal.message}))
    }
}
