//! Streams through `wit/streams.wit`.

use std::io;

use crate::bindings::drover::plugin::streams::{self as host, Error};
use crate::bindings::network::wasi::io::streams::{InputStream, OutputStream, StreamError};

/// What is read at once, in bytes.
const CHUNK: u64 = 64 << 10;

#[derive(Debug)]
pub(super) struct Input(InputStream);

#[derive(Debug)]
pub(super) struct Output(OutputStream);

pub(super) fn input() -> Result<Input, Error> {
    host::input().map(Input)
}

pub(super) fn output() -> Result<Output, Error> {
    host::output().map(Output)
}

impl Input {
    /// Waits for something to read; nothing at the end.
    pub(super) fn read(&mut self) -> io::Result<Vec<u8>> {
        loop {
            match self.0.blocking_read(CHUNK) {
                Ok(bytes) if bytes.is_empty() => {}
                Ok(bytes) => return Ok(bytes),
                Err(StreamError::Closed) => return Ok(Vec::new()),
                Err(error) => return Err(of_stream(&error)),
            }
        }
    }
}

impl Output {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let room = self.0.check_write().map_err(|error| of_stream(&error))?;
            if room > 0 {
                let length = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
                self.0.write(&bytes[..length]).map_err(|error| of_stream(&error))?;
                return Ok(length);
            }
            self.0.subscribe().block();
        }
    }
}

fn of_stream(error: &StreamError) -> io::Error {
    match error {
        StreamError::Closed => io::ErrorKind::BrokenPipe.into(),
        StreamError::LastOperationFailed(error) => io::Error::other(error.to_debug_string()),
    }
}
