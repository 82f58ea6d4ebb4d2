//! `wit/streams.wit`: what goes into a job and comes out of it while it runs.

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

impl Host for State {
    fn input(&mut self) -> wasmtime::Result<Result<Resource<DynInputStream>, Error>> {
        let rest = match std::mem::replace(&mut self.call.streams.input, End::Taken) {
            End::Taken => return Ok(Err(Error::Taken)),
            End::Here(reader) => Some(reader),
            End::Loose => None,
        };
        let input = Input { data: Bytes::copy_from_slice(&self.call.data), rest };
        let input: DynInputStream = Box::new(input);
        Ok(Ok(self.table().push(input)?))
    }

    fn output(&mut self) -> wasmtime::Result<Result<Resource<DynOutputStream>, Error>> {
        let output = &mut self.call.streams.output;
        let writer = match std::mem::replace(output, End::Taken) {
            End::Here(writer) => writer,
            End::Taken => return Ok(Err(Error::Taken)),
            End::Loose => {
                *output = End::Loose;
                return Ok(Err(Error::NotWanted));
            }
        };
        let output: DynOutputStream = Box::new(Output(writer));
        Ok(Ok(self.table().push(output)?))
    }
}

/// The data of the command, and what follows.
struct Input {
    data: Bytes,
    rest: Option<PipeReader>,
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        if let (true, Some(rest)) = (self.data.is_empty(), &self.rest) {
            rest.wait_for_bytes().await;
        }
    }
}

#[async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let size = size.min(CHUNK);
        if !self.data.is_empty() {
            return Ok(self.data.split_to(size.min(self.data.len())));
        }
        let Some(rest) = &mut self.rest else { return Err(StreamError::Closed) };
        if size == 0 {
            return Ok(Bytes::new());
        }
        match rest.take(size) {
            Some(bytes) => Ok(bytes.unwrap_or_default()),
            None => Err(StreamError::Closed),
        }
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
