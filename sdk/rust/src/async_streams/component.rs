//! Streams through `wit/async-streams.wit`.

use std::fmt;
use std::io;

use wit_bindgen::{StreamReader, StreamResult, StreamWriter};

use crate::bindings::concurrent::drover::plugin::async_streams::{
    self as host, Error as HostError,
};
use crate::bindings::concurrent::wit_stream;
use crate::streams::Error;

pub(super) struct Input(StreamReader<u8>);

pub(super) struct Output(StreamWriter<u8>);

pub(super) fn input() -> Result<Input, Error> {
    host::input().map(Input).map_err(error)
}

pub(super) fn output() -> Result<Output, Error> {
    let (writer, bytes) = wit_stream::new();
    host::output(bytes).map(|()| Output(writer)).map_err(error)
}

impl Input {
    pub(super) async fn read(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        loop {
            let (result, read) = self.0.read(buffer).await;
            if result != StreamResult::Complete(0) {
                return read;
            }
            buffer = read;
        }
    }
}

impl Output {
    pub(super) async fn write(&mut self, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let left = self.0.write_all(bytes).await;
        if left.is_empty() { Ok(left) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Input").finish_non_exhaustive()
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}

fn error(error: HostError) -> Error {
    match error {
        HostError::Taken => Error::Taken,
        HostError::NotWanted => Error::NotWanted,
    }
}
