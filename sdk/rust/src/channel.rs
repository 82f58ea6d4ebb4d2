//! Streams of bytes in both directions that begin as HTTP requests, such as an
//! engine's attach and exec.
//!
//! The manifest asks for such requests by a rule with `upgrade = true`, and the
//! admin grants them by one, see `wit/channel.wit`. Natively the
//! [`testing::Host`](crate::testing::Host) opens them.
//!
//! ```
//! use std::io::{Read, Write};
//!
//! use drover_sdk::{Failure, channel, http, task};
//!
//! /// Has a container's shell say something.
//! #[task]
//! fn say(exec: String, words: String) -> Result<String, Failure> {
//!     let start = http::post(format!("http://docker/exec/{exec}/start")).json(&())?;
//!     let mut channel = channel::open(start, "tcp")?;
//!     channel.write_all(words.as_bytes())?;
//!     channel.end_output()?;
//!     let mut said = String::new();
//!     channel.read_to_string(&mut said)?;
//!     Ok(said)
//! }
//! # use drover_sdk::testing::{ChannelAnswers, Host, with_host};
//! # let channels = ChannelAnswers::new(|request, protocol| {
//! #     assert_eq!((request.url.as_str(), protocol), ("http://docker/exec/7/start", "tcp"));
//! #     Ok(b"hello".to_vec())
//! # });
//! # let host = Host { channels, ..Host::default() };
//! # let (answer, heard) = with_host(host, || say("7".to_owned(), "hi".to_owned()));
//! # assert_eq!(answer.unwrap(), "hello");
//! # assert_eq!(heard.sent, [b"hi"]);
//! ```
//!
//! with this in `plugin.toml`:
//!
//! ```toml
//! [[asks.http]]
//! authority = "docker"
//! socket = "/var/run/docker.sock"
//! allow = [{ request = "POST /exec/*/start", upgrade = true }]
//! reason = "runs commands in containers"
//! ```

#[cfg(target_family = "wasm")]
mod wasi;

use std::io::{self, Read, Write};

#[cfg(target_family = "wasm")]
use self::wasi as host;
use crate::http::{Error, Request};
#[cfg(not(target_family = "wasm"))]
use crate::testing::channel as host;

/// Opens a stream with a request and the `protocol` that the connection is to
/// speak, such as `tcp` or `websocket`. Of the request's time limits, only that
/// of the answer counts.
///
/// # Errors
///
/// If the request is denied or wrong, nobody answers, or the answer is no
/// stream, which is an [`Error::Status`].
pub fn open(request: Request, protocol: &str) -> Result<Channel, Error> {
    host::Channel::open(request, protocol).map(Channel)
}

/// An open stream. Dropping it ends it.
#[derive(Debug)]
pub struct Channel(host::Channel);

/// Which directions of a stream can go on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// There is something to read, or the end.
    pub can_read: bool,
    /// There is room to write, or nobody reads any more.
    pub can_write: bool,
}

impl Channel {
    /// The headers of the answer that opened it, their names in lower case.
    #[must_use]
    pub fn headers(&self) -> &[(String, String)] {
        self.0.headers()
    }

    /// Reads what is there, without waiting: none if that is nothing yet, empty
    /// at the end.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub fn read_now(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.0.read_now()
    }

    /// Waits until something can be read or written; `to_write` says whether
    /// there is anything to write.
    pub fn wait(&self, to_write: bool) -> Ready {
        self.0.wait(to_write)
    }

    /// Ends the direction to the other side when all that was written has gone
    /// out. What comes in can be read as before.
    ///
    /// # Errors
    ///
    /// If the other side is gone before it has got all.
    pub fn end_output(&mut self) -> io::Result<()> {
        self.0.end_output()
    }
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
