//! `wit/async-streams.wit`: the same as in `streams`, for those who need not block.
//!
//! What goes through here is in the instance's memory or in a pipe, and is copied
//! from the one to the other: however much a plugin reads or writes at once,
//! nothing of that size is made for it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use wasmtime::StoreContextMut;
use wasmtime::component::{
    Access, Destination, HasSelf, Source, StreamConsumer, StreamProducer, StreamReader,
    StreamResult, VecBuffer,
};

use super::streams::{Input, Without};
use crate::bindings::concurrent::drover::plugin::async_streams::{Error, Host, HostWithStore};
use crate::instance::State;
use crate::pipe::{Gone, PipeWriter};

/// What passes through at once where the plugin has its input for its output.
const CHUNK: usize = 64 << 10;

impl Host for State {}

impl<T: Send + 'static> HostWithStore<T> for HasSelf<State> {
    fn input(mut host: Access<'_, T, Self>) -> wasmtime::Result<Result<StreamReader<u8>, Error>> {
        match host.get().take_input() {
            Ok(input) => Ok(Ok(StreamReader::new(&mut host, input)?)),
            Err(without) => Ok(Err(without.into())),
        }
    }

    fn output(
        mut host: Access<'_, T, Self>,
        mut bytes: StreamReader<u8>,
    ) -> wasmtime::Result<Result<(), Error>> {
        match host.get().take_output() {
            Ok(writer) => bytes.pipe(&mut host, Output(writer)).map(Ok),
            Err(without) => {
                bytes.close(&mut host)?;
                Ok(Err(without.into()))
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

impl<D: 'static> StreamProducer<D> for Input {
    type Item = u8;
    type Buffer = VecBuffer<u8>;

    fn poll_produce<'a>(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        store: StoreContextMut<'a, D>,
        destination: Destination<'a, u8, Self::Buffer>,
        is_cancelled: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let input = self.get_mut();
        if is_cancelled && input.poll_ready(context).is_pending() {
            return Poll::Ready(Ok(StreamResult::Cancelled));
        }
        ready!(input.poll_ready(context));
        let mut destination = destination.as_direct(store, CHUNK);
        let room = destination.remaining();
        let Some(bytes) = input.take(room.len()) else {
            return Poll::Ready(Ok(StreamResult::Dropped));
        };
        room[..bytes.len()].copy_from_slice(&bytes);
        destination.mark_written(bytes.len());
        Poll::Ready(Ok(StreamResult::Completed))
    }
}

struct Output(PipeWriter);

impl<D: 'static> StreamConsumer<D> for Output {
    type Item = u8;

    fn poll_consume(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        store: StoreContextMut<'_, D>,
        source: Source<'_, u8>,
        is_cancelled: bool,
    ) -> Poll<wasmtime::Result<StreamResult>> {
        let Self(writer) = self.get_mut();
        let room = match writer.poll_room(context) {
            Poll::Pending if is_cancelled => return Poll::Ready(Ok(StreamResult::Cancelled)),
            room => ready!(room),
        };
        let mut source = source.as_direct(store);
        let written = room.and_then(|room| {
            let bytes = source.remaining();
            let bytes = Bytes::copy_from_slice(&bytes[..room.min(bytes.len())]);
            let length = bytes.len();
            writer.put(bytes).map(|()| length)
        });
        match written {
            Ok(length) => {
                source.mark_read(length);
                Poll::Ready(Ok(StreamResult::Completed))
            }
            Err(Gone) => Poll::Ready(Ok(StreamResult::Dropped)),
        }
    }
}
