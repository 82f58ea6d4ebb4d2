//! The job's input and output as streams, for operations that move more than
//! belongs into arguments and an answer.
//!
//! The caller sends and receives while the job runs, by `drover call --input FILE
//! --output FILE` for example; whoever is slower makes the other wait. See
//! `wit/streams.wit`. Natively they are those of the
//! [`testing::Host`](crate::testing::Host).
//!
//! ```
//! use std::io::{BufRead, Write};
//!
//! use drover_sdk::{Failure, streams, task};
//!
//! /// Passes on the lines with a word in them, and answers how many that were.
//! #[task]
//! fn grep(word: String) -> Result<u64, Failure> {
//!     let mut output = std::io::BufWriter::new(streams::output()?);
//!     let mut count = 0;
//!     for line in streams::input()?.lines() {
//!         let line = line?;
//!         if line.contains(&word) {
//!             writeln!(output, "{line}")?;
//!             count += 1;
//!         }
//!     }
//!     output.flush()?;
//!     Ok(count)
//! }
//! # use drover_sdk::testing::{Host, with_host};
//! # let host = Host { input: b"tea\ncoffee\ngreen tea\n".to_vec(), ..Host::default() };
//! # let (count, heard) = with_host(host, || grep("tea".to_owned()));
//! # assert_eq!((count.unwrap(), heard.output.unwrap().as_slice()), (2, &b"tea\ngreen tea\n"[..]));
//! ```

#[cfg(target_family = "wasm")]
mod wasi;

use std::fmt;
use std::io::{self, BufRead, Read, Write};

#[cfg(target_family = "wasm")]
use self::wasi as host;
use crate::bindings::drover::plugin::streams::Error as HostError;
#[cfg(not(target_family = "wasm"))]
use crate::testing::streams as host;

/// What the caller sends: the `data` of the command, then what it sends while the
/// job runs, if it does.
///
/// # Errors
///
/// If the plugin has asked for it before in this job.
pub fn input() -> Result<Input, Error> {
    host::input().map(|host| Input { host, chunk: Vec::new(), at: 0 }).map_err(Error::of_host)
}

/// Takes what the caller gets while the job runs.
///
/// # Errors
///
/// If the caller takes no output, or the plugin has asked for it before in this
/// job.
pub fn output() -> Result<Output, Error> {
    host::output().map(Output).map_err(Error::of_host)
}

/// What the caller sends. Its end is always the one that was meant. Dropping it
/// tells the caller that nothing more is read.
#[derive(Debug)]
pub struct Input {
    host: host::Input,
    /// What came from the host, read up to `at`.
    chunk: Vec<u8>,
    at: usize,
}

/// What the caller gets. Dropping it tells the caller that this was all.
///
/// What is written goes out at once, in one piece where it fits: a
/// [`BufWriter`](io::BufWriter) is for those who write little at a time.
#[derive(Debug)]
pub struct Output(host::Output);

impl BufRead for Input {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at == self.chunk.len() {
            (self.chunk, self.at) = (self.host.read()?, 0);
        }
        Ok(&self.chunk[self.at..])
    }

    fn consume(&mut self, amount: usize) {
        self.at = (self.at + amount).min(self.chunk.len());
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.fill_buf()?.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl Write for Output {
    /// Waits until there is room for a part of `bytes`. An error of the kind
    /// [`BrokenPipe`](io::ErrorKind::BrokenPipe) says that the caller wants no more.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    /// Waits for nothing: what was written does not get lost.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Why there is no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// The plugin has asked for it before in this job.
    Taken,
    /// The caller takes no output.
    NotWanted,
}

impl Error {
    pub(crate) fn of_host(error: HostError) -> Self {
        match error {
            HostError::Taken => Self::Taken,
            HostError::NotWanted => Self::NotWanted,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Taken => "the plugin has asked for this stream before",
            Self::NotWanted => {
                "the caller takes no output, which this operation gives: call it with --output \
                 FILE, or with `streaming.window` in the command"
            }
        })
    }
}

impl std::error::Error for Error {}
