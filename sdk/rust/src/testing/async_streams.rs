//! The same streams for operations that are `async fn`s. Nobody ever waits here.

use std::io;

use super::streams;
use crate::streams::Error;

#[derive(Debug)]
pub(crate) struct Input(streams::Input);

#[derive(Debug)]
pub(crate) struct Output(streams::Output);

pub(crate) fn input() -> Result<Input, Error> {
    streams::input().map(Input).map_err(Error::of_host)
}

pub(crate) fn output() -> Result<Output, Error> {
    streams::output().map(Output).map_err(Error::of_host)
}

#[expect(clippy::unused_async, reason = "the real streams wait")]
impl Input {
    pub(crate) async fn read(&mut self, mut buffer: Vec<u8>) -> Vec<u8> {
        buffer.extend(self.0.take(buffer.capacity()));
        buffer
    }
}

#[expect(clippy::unused_async, reason = "the real streams wait")]
impl Output {
    pub(crate) async fn write(&mut self, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        self.0.write(&bytes)?;
        bytes.clear();
        Ok(bytes)
    }
}
