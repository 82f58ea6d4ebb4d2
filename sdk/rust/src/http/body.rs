//! Bodies: of requests as they are written, of answers as they are read.

use std::io::{self, Cursor, Read, Write};
use std::time::Duration;

#[cfg(target_family = "wasm")]
use super::wasi as host;
use super::{Error, Request, Response};
#[cfg(not(target_family = "wasm"))]
use crate::testing::http as host;

/// A request on its way, whose body may still be written. Dropped before
/// [`Upload::finish`], it is broken off.
#[derive(Debug)]
pub struct Upload(host::Outgoing);

impl Upload {
    /// Begins a request; `whole` is its body, if that is there already.
    pub(super) fn begin(request: &Request, whole: Option<Vec<u8>>) -> Result<Self, Error> {
        host::Outgoing::begin(request, whole).map(Self)
    }

    /// Ends the body and waits for the beginning of the answer.
    ///
    /// # Errors
    ///
    /// If the request is denied or there is no answer.
    pub fn finish(self) -> Result<Response, Error> {
        self.0.finish()
    }
}

impl Write for Upload {
    /// Writes at least a part. An error may only say that nobody reads; then
    /// [`Upload::finish`] knows why.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The body of an answer, read as it comes.
#[derive(Debug)]
pub struct Incoming(Source);

#[derive(Debug)]
enum Source {
    Bytes(Cursor<Vec<u8>>),
    #[cfg(target_family = "wasm")]
    Host(host::Incoming),
}

impl Incoming {
    pub(super) fn of(bytes: Vec<u8>) -> Self {
        Self(Source::Bytes(Cursor::new(bytes)))
    }

    #[cfg(target_family = "wasm")]
    pub(super) fn from_host(incoming: host::Incoming) -> Self {
        Self(Source::Host(incoming))
    }

    /// Reads what is there, without waiting: none if that is nothing yet, empty
    /// at the end.
    ///
    /// # Errors
    ///
    /// If the answer breaks off.
    pub fn read_now(&mut self) -> io::Result<Option<Vec<u8>>> {
        match &mut self.0 {
            Source::Bytes(bytes) => {
                let mut left = Vec::new();
                bytes.read_to_end(&mut left)?;
                Ok(Some(left))
            }
            #[cfg(target_family = "wasm")]
            Source::Host(incoming) => incoming.read_now(),
        }
    }
}

/// Waits until one of these answers can be read, has ended or is broken, for who
/// reads many at once: at most so long. Which ones they are, in ascending order.
#[must_use]
pub fn wait(answers: &[&Incoming], at_most: Duration) -> Vec<usize> {
    let at_once: Vec<_> = answers
        .iter()
        .enumerate()
        .filter(|(_, answer)| answer.is_ready())
        .map(|(index, _)| index)
        .collect();
    #[cfg(target_family = "wasm")]
    if at_once.is_empty() {
        let answers = answers.iter().filter_map(|answer| match &answer.0 {
            Source::Bytes(_) => None,
            Source::Host(incoming) => Some(incoming),
        });
        return host::wait(&answers.collect::<Vec<_>>(), at_most);
    }
    #[cfg(not(target_family = "wasm"))]
    let _ = at_most;
    at_once
}

impl Incoming {
    /// Whether nothing has to be waited for.
    fn is_ready(&self) -> bool {
        match &self.0 {
            Source::Bytes(_) => true,
            #[cfg(target_family = "wasm")]
            Source::Host(incoming) => incoming.is_ready(),
        }
    }
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.0 {
            Source::Bytes(bytes) => bytes.read(buffer),
            #[cfg(target_family = "wasm")]
            Source::Host(incoming) => incoming.read(buffer),
        }
    }
}
