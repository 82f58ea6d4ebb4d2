//! The job's input and output for operations that are `async fn`s: what goes through
//! is read into a buffer of the plugin's own and written from there.
//!
//! The same streams as [`streams`](crate::streams), of which they take the place;
//! see `wit/async-streams.wit`. There with the feature `async`. Natively they are
//! those of the [`testing::Host`](crate::testing::Host).
//!
//! A buffer that was read goes to `write` and comes back from it, so that one is
//! enough for all:
//!
//! ```
//! use drover_sdk::{Failure, async_streams, task};
//!
//! /// Gives the input back in capitals, and answers how many bytes that were.
//! #[task]
//! async fn capitals() -> Result<usize, Failure> {
//!     let (mut input, mut output) = (async_streams::input()?, async_streams::output()?);
//!     let (mut buffer, mut count) = (Vec::new(), 0);
//!     loop {
//!         buffer = input.read(buffer).await;
//!         if buffer.is_empty() {
//!             return Ok(count);
//!         }
//!         count += buffer.len();
//!         buffer.make_ascii_uppercase();
//!         buffer = output.write(buffer).await?;
//!     }
//! }
//! # use drover_sdk::testing::{Host, complete, with_host};
//! # let host = Host { input: b"green tea".to_vec(), ..Host::default() };
//! # let (count, heard) = with_host(host, || complete(capitals()));
//! # assert_eq!((count.unwrap(), heard.output.unwrap().as_slice()), (9, &b"GREEN TEA"[..]));
//! ```

#[cfg(target_family = "wasm")]
mod component;

use std::io;

#[cfg(target_family = "wasm")]
use self::component as host;
use crate::streams::Error;
#[cfg(not(target_family = "wasm"))]
use crate::testing::async_streams as host;

/// What a buffer without room of its own gets, in bytes.
const ROOM: usize = 64 << 10;

/// What the caller sends: the `data` of the command, then what it sends while the
/// job runs, if it does.
///
/// # Errors
///
/// If the plugin has asked for it before in this job.
pub fn input() -> Result<Input, Error> {
    host::input().map(Input)
}

/// Takes what the caller gets while the job runs.
///
/// # Errors
///
/// If the caller takes no output, or the plugin has asked for it before in this
/// job.
pub fn output() -> Result<Output, Error> {
    host::output().map(Output)
}

/// What the caller sends. Its end is always the one that was meant. Dropping it
/// tells the caller that nothing more is read.
#[derive(Debug)]
pub struct Input(host::Input);

/// What the caller gets. Dropping it tells the caller that this was all.
#[derive(Debug)]
pub struct Output(host::Output);

impl Input {
    /// Waits for bytes and gives them in the place of what was in `buffer`, as many
    /// as there are and it has room for; an empty buffer at the end. One that has no
    /// room at all gets 64 KiB.
    pub async fn read(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        buffer.clear();
        if buffer.capacity() == 0 {
            buffer.reserve(ROOM);
        }
        self.0.read(buffer).await
    }
}

impl Output {
    /// Waits until all of `bytes` have gone out, and gives back the empty buffer.
    ///
    /// # Errors
    ///
    /// One of the kind [`BrokenPipe`](io::ErrorKind::BrokenPipe) if the caller wants
    /// no more.
    pub async fn write(&mut self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        if bytes.is_empty() {
            return Ok(bytes);
        }
        self.0.write(bytes).await
    }
}
