//! HTTP requests, to where they are asked for and granted.
//!
//! The manifest asks for each place with the requests that are sent there, and
//! the admin grants it with rules of their own. A request that does not fit is
//! [`Error::Denied`], and the job's log has why. Paths, headers, limits:
//! `wit/package.wit`, world `network`. Natively the
//! [`testing::Host`](crate::testing::Host) answers.
//!
//! ```
//! use drover_sdk::{Failure, OrFail, http, task};
//!
//! /// The state of a container.
//! #[task]
//! fn state(id: String) -> Result<String, Failure> {
//!     #[derive(drover_sdk::serde::Deserialize)]
//!     # #[serde(crate = "drover_sdk::serde")]
//!     struct Container {
//!         state: String,
//!     }
//!
//!     let answer = http::get("http://docker/containers")
//!         .query("id", &id)
//!         .send()
//!         .and_then(http::Response::ok)
//!         .or_fail("engine", "asking the engine")?;
//!     Ok(answer.json::<Container>()?.state)
//! }
//! # use drover_sdk::testing::{Host, HttpAnswers, with_host};
//! # let http = HttpAnswers::new(|request| {
//! #     assert_eq!(request.url, "http://docker/containers?id=a%20b");
//! #     Ok(http::Response::new(200, r#"{"state":"running"}"#))
//! # });
//! # let (answer, _) = with_host(Host { http, ..Host::default() }, || state("a b".to_owned()));
//! # assert_eq!(answer.unwrap(), "running");
//! ```
//!
//! with this in `plugin.toml`:
//!
//! ```toml
//! [[asks.http]]
//! authority = "docker"
//! socket = "/var/run/docker.sock"          # where it usually is
//! allow = ["GET /containers/**"]
//! reason = "looks at containers"
//! ```

mod body;
mod error;
#[cfg(target_family = "wasm")]
mod wasi;

use std::fmt::Write as _;
use std::io::{self, Read};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::body::{Incoming, Upload, wait};
pub use self::error::Error;

/// How much of an answer [`Response::ok`] puts into its error, in bytes.
const SHOWN: u64 = 4 << 10;

/// A request that is being put together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "it is sent by `send`, `start` or `upload`"]
pub struct Request {
    /// The method, in capitals.
    pub method: String,
    /// Where to: scheme, authority, path and query.
    pub url: String,
    /// Headers, in the order in which they were added.
    pub headers: Vec<(String, String)>,
    /// The body; empty if there is none, or it is uploaded.
    pub body: Vec<u8>,
    /// How long to wait for the beginning of the answer; none: until the job's
    /// deadline.
    pub timeout: Option<Duration>,
    /// How long to wait for more of the answer; none: until the job's deadline.
    pub idle_timeout: Option<Duration>,
}

/// A request with the method GET.
pub fn get(url: impl Into<String>) -> Request {
    Request::new("GET", url)
}

/// A request with the method POST.
pub fn post(url: impl Into<String>) -> Request {
    Request::new("POST", url)
}

/// A request with the method PUT.
pub fn put(url: impl Into<String>) -> Request {
    Request::new("PUT", url)
}

/// A request with the method DELETE.
pub fn delete(url: impl Into<String>) -> Request {
    Request::new("DELETE", url)
}

impl Request {
    /// A request with any method.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
            idle_timeout: None,
        }
    }

    /// Adds a parameter to the query, encoded as it has to be.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.url.push(if self.url.contains('?') { '&' } else { '?' });
        self.url += &encode(name);
        self.url.push('=');
        self.url += &encode(value);
        self
    }

    /// Adds a header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets the body to a value as JSON, with its content type.
    ///
    /// # Errors
    ///
    /// If the value cannot be written as JSON.
    pub fn json(self, value: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        let body = serde_json::to_vec(value).map_err(|error| Error::Invalid(error.to_string()))?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// Waits so long for the beginning of the answer.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Waits so long for more of the answer.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = Some(limit);
        self
    }

    /// Sends the request and waits for the beginning of the answer, whatever
    /// its status.
    ///
    /// # Errors
    ///
    /// If the request is denied or wrong, or there is no answer.
    pub fn send(self) -> Result<Response, Error> {
        self.start()?.finish()
    }

    /// Sends the request and leaves its answer for later, so that others can be
    /// under way beside it: [`Upload::finish`] waits for it.
    ///
    /// # Errors
    ///
    /// If the request is wrong. That it is denied, or nobody is there, may be
    /// seen only later.
    pub fn start(mut self) -> Result<Upload, Error> {
        let body = std::mem::take(&mut self.body);
        Upload::begin(&self, Some(body))
    }

    /// Begins a request whose body is written piece by piece.
    ///
    /// # Errors
    ///
    /// If the request is wrong. That it is denied, or nobody is there, may be
    /// seen only later.
    pub fn upload(self) -> Result<Upload, Error> {
        Upload::begin(&self, None)
    }
}

/// What came back: status and headers, and the body as it is [`Read`].
#[derive(Debug)]
pub struct Response {
    /// The status, such as 200.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, of which nothing was read yet.
    pub body: Incoming,
}

impl Response {
    /// An answer that did not come over the network, for tests.
    #[must_use]
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: Incoming::of(body.into()) }
    }

    /// The first header of this name, which is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    /// The response, if its status says that all went well.
    ///
    /// # Errors
    ///
    /// If the status is not between 200 and 299: with it and the beginning of
    /// the body.
    pub fn ok(mut self) -> Result<Self, Error> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let mut body = Vec::new();
        // What came is shown, also if there should be more.
        let _ = self.body.by_ref().take(SHOWN).read_to_end(&mut body);
        let body = String::from_utf8_lossy(&body).into_owned();
        Err(Error::Status { status: self.status, body })
    }

    /// The whole body.
    ///
    /// # Errors
    ///
    /// If it does not come to its end.
    pub fn bytes(mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.body.read_to_end(&mut bytes).map_err(|error| Error::of_read(&error))?;
        Ok(bytes)
    }

    /// The whole body as text.
    ///
    /// # Errors
    ///
    /// If it does not come to its end, or is not UTF-8.
    pub fn text(self) -> Result<String, Error> {
        let text = String::from_utf8(self.bytes()?);
        text.map_err(|error| Error::Broken(format!("the answer is no text: {error}")))
    }

    /// The whole body, which is JSON.
    ///
    /// # Errors
    ///
    /// If it does not come to its end, or is no JSON of this form.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        serde_json::from_slice(&self.bytes()?).map_err(|error| {
            Error::Broken(format!("the answer is not the JSON that it should be: {error}"))
        })
    }
}

impl Read for Response {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer)
    }
}

/// Text as it may be in a path's segment or in a query.
#[must_use]
pub fn encode(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
