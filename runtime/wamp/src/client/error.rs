//! Why a client did not get what it asked for.

use std::io;
use std::time::Duration;

use crate::payload::{Payload, PayloadError};
use crate::uri::UriError;
use crate::wire::End;

/// Why a session could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is none of a router.
    #[error("`{url}` is no URL of a router: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Nobody listens there, or there is no way there.
    #[error("cannot reach the router at {url}")]
    Unreachable {
        /// The URL.
        url: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no trustworthy TLS between here and there.
    #[error("no TLS with the router at {url}: {reason}")]
    Tls {
        /// The URL.
        url: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The router asked for a proof that this client cannot give.
    #[error("cannot prove to the router at {url} who this is: {reason}")]
    Authentication {
        /// The URL.
        url: String,
        /// Why.
        reason: String,
    },
    /// It took longer than [`connect_timeout`](super::ClientConfig::connect_timeout).
    #[error("the router at {url} did not answer within {} s", after.as_secs_f32())]
    Timeout {
        /// The URL.
        url: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// What listens there is no WAMP router, or speaks none of our serializers.
    #[error("{url} refuses a WAMP session: {reason}")]
    Refused {
        /// The URL.
        url: String,
        /// The answer, in words.
        reason: String,
    },
    /// The router refused the session, for example because there is no such realm.
    #[error("the router refuses the session: {message} ({uri})")]
    Aborted {
        /// The reason, for programs.
        uri: String,
        /// The reason, for people.
        message: String,
    },
    /// The connection ended before the session began.
    #[error("the connection to {url} ended before the session began: {reason}")]
    Ended {
        /// The URL.
        url: String,
        /// Why.
        reason: String,
    },
}

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// This side closed it.
    #[error("the session was closed by this side")]
    Local,
    /// The router said goodbye.
    #[error("the router ended the session: {}", words(uri, message.as_deref()))]
    Goodbye {
        /// The reason, for programs.
        uri: String,
        /// The reason, for people, if the router gave one.
        message: Option<String>,
    },
    /// The router found fault with this side.
    #[error("the router aborted the session: {}", words(uri, message.as_deref()))]
    Aborted {
        /// The reason, for programs.
        uri: String,
        /// The reason, for people, if the router gave one.
        message: Option<String>,
    },
    /// The connection broke, was closed, or carried what is no WAMP.
    #[error("the connection to the router is gone: {0}")]
    Connection(String),
}

fn words(uri: &str, message: Option<&str>) -> String {
    message.map_or_else(|| uri.to_owned(), |message| format!("{message} ({uri})"))
}

impl From<End> for CloseReason {
    fn from(end: End) -> Self {
        match end {
            End::Drained => Self::Local,
            other => Self::Connection(other.to_string()),
        }
    }
}

/// The session has ended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Closed(#[from] pub CloseReason);

/// Why a call, registration, subscription or publication failed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The peer, or the router, answered with an error.
    #[error(transparent)]
    Application(#[from] ApplicationError),
    /// The call took longer than [`CallOptions::timeout`](super::CallOptions::timeout);
    /// it has been cancelled.
    #[error("{procedure} gave no answer within {} s", after.as_secs_f32())]
    Timeout {
        /// What was called.
        procedure: String,
        /// How long it was waited for.
        after: Duration,
    },
    /// The session has ended; whether the request was carried out is unknown.
    #[error(transparent)]
    Closed(#[from] CloseReason),
    /// The [`Link`](crate::Link) has no session at the moment; nothing was sent.
    #[error("there is no session with the router at the moment: {0}")]
    Away(
        /// Why.
        String,
    ),
    /// The arguments cannot be written for this session.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// The message is longer than the session allows; nothing was sent.
    #[error("the arguments take {bytes} bytes, and the limit of the session is {limit}")]
    TooLarge {
        /// About how long it is.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// What was called, registered, subscribed or published has no valid name.
    #[error(transparent)]
    InvalidUri(#[from] UriError),
    /// The receiver of the partial results read so slowly that more waited
    /// than may; the call has been cancelled.
    #[error("the partial results of {procedure} are read too slowly: {limit} bytes wait")]
    SlowReceiver {
        /// What was called.
        procedure: String,
        /// How much may wait.
        limit: usize,
    },
}

impl From<Closed> for CallError {
    fn from(closed: Closed) -> Self {
        Self::Closed(closed.0)
    }
}

/// An answer that is an error: a URI for programs, arguments for whoever knows it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct ApplicationError {
    /// The URI of the error.
    pub uri: String,
    /// Its arguments; by custom the first is a text for people.
    pub payload: Payload,
}

impl ApplicationError {
    /// An error with one text for people.
    #[must_use]
    pub fn new(uri: impl Into<String>, text: &str) -> Self {
        // A text always has a form.
        Self { uri: uri.into(), payload: Payload::one(text).unwrap_or_default() }
    }

    /// The text for people, if the first argument is one.
    #[must_use]
    pub fn message(&self) -> Option<String> {
        self.payload.first().ok()
    }

    fn text(&self) -> String {
        self.message().map_or_else(|| self.uri.clone(), |text| format!("{text} ({})", self.uri))
    }
}

impl From<(String, Payload)> for ApplicationError {
    fn from((uri, payload): (String, Payload)) -> Self {
        Self { uri, payload }
    }
}
