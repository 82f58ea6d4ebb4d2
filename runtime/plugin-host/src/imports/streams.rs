//! `wit/streams.wit`: what goes into a job and comes out of it while it runs.

use std::future::poll_fn;
use std::task::{Context, Poll};

use bytes::Bytes;
use wasmtime::component::Resource;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{
    DynInputStream, DynOutputStream, InputStream, OutputStream, Pollable, StreamError, StreamResult,
};

use crate::bindings::drover::plugin::streams::{Error, Host};
use crate::instance::State;
use crate::job::JobStreams;
use crate::pipe::{PipeReader, PipeWriter};

/// What is read at once, in bytes, however much a plugin asks for.
const CHUNK: usize = 64 << 10;

/// A plugin's ends of its job's streams.
#[derive(Default)]
pub(crate) struct Ends {
    input: End<PipeReader>,
    output: End<PipeWriter>,
}

/// One end.
#[derive(Default)]
enum End<T> {
    /// Nobody is at the other one.
    #[default]
    Loose,
    Here(T),
    /// The plugin has it, or had it.
    Taken,
}

impl From<JobStreams> for Ends {
    fn from(JobStreams { input, output }: JobStreams) -> Self {
        Self {
            input: input.map_or(End::Loose, End::Here),
            output: output.map_or(End::Loose, End::Here),
        }
    }
}

/// Why there is no end for the plugin.
pub(super) enum Without {
    /// It has had it.
    Taken,
    /// Nobody is at the other one.
    NotWanted,
}

impl State {
    /// What the plugin reads, if it has not asked for it before.
    pub(super) fn take_input(&mut self) -> Result<Input, Without> {
        let rest = match std::mem::replace(&mut self.call.streams.input, End::Taken) {
            End::Taken => return Err(Without::Taken),
            End::Here(reader) => Some(reader),
            End::Loose => None,
        };
        Ok(Input { data: Bytes::copy_from_slice(&self.call.data), rest })
    }

    /// Where the plugin writes, if it has not asked for it before.
    pub(super) fn take_output(&mut self) -> Result<PipeWriter, Without> {
        let output = &mut self.call.streams.output;
        match std::mem::replace(output, End::Taken) {
            End::Here(writer) => Ok(writer),
            End::Taken => Err(Without::Taken),
            End::Loose => {
                *output = End::Loose;
                Err(Without::NotWanted)
            }
        }
    }
}

impl From<Without> for Error {
    fn from(without: Without) -> Self {
        match without {
            Without::Taken => Self::Taken,
            Without::NotWanted => Self::NotWanted,
        }
    }
}

impl Host for State {
    fn input(&mut self) -> wasmtime::Result<Result<Resource<DynInputStream>, Error>> {
        let input: DynInputStream = match self.take_input() {
            Ok(input) => Box::new(input),
            Err(without) => return Ok(Err(without.into())),
        };
        Ok(Ok(self.table().push(input)?))
    }

    fn output(&mut self) -> wasmtime::Result<Result<Resource<DynOutputStream>, Error>> {
        let output: DynOutputStream = match self.take_output() {
            Ok(writer) => Box::new(Output(writer)),
            Err(without) => return Ok(Err(without.into())),
        };
        Ok(Ok(self.table().push(output)?))
    }
}

/// The data of the command, and what follows.
pub(super) struct Input {
    data: Bytes,
    rest: Option<PipeReader>,
}

impl Input {
    /// Waits until there is something to read, or the end.
    pub(super) fn poll_ready(&self, context: &Context<'_>) -> Poll<()> {
        match &self.rest {
            Some(rest) if self.data.is_empty() => rest.poll_bytes(context),
            _ => Poll::Ready(()),
        }
    }

    /// What is there, at most so much of it; none at the end.
    pub(super) fn take(&mut self, most: usize) -> Option<Bytes> {
        if !self.data.is_empty() {
            return Some(self.data.split_to(most.min(self.data.len())));
        }
        let rest = self.rest.as_mut()?;
        if most == 0 {
            return Some(Bytes::new());
        }
        rest.take(most).map(Option::unwrap_or_default)
    }
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        poll_fn(|context| self.poll_ready(context)).await;
    }
}

#[async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.take(size.min(CHUNK)).ok_or(StreamError::Closed)
    }
}

struct Output(PipeWriter);

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        // One who cannot write any more need not wait either.
        let _ = self.0.wait_for_room().await;
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > self.check_write()? {
            return Err(StreamError::trap("more was written than there is room for"));
        }
        self.0.put(bytes).map_err(|_| StreamError::Closed)
    }

    /// What is in the pipe gets to its end by itself.
    fn flush(&mut self) -> StreamResult<()> {
        self.check_write().map(drop)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        self.0.room().map_err(|_| StreamError::Closed)
    }
}
