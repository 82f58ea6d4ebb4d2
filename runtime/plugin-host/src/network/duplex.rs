//! The two directions of a connection as streams of WASI.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt, WriteHalf, split};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::pipe::AsyncReadStream;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};

use super::dial::Stream;

/// What is written at once, in bytes; see `wit/channel.wit`.
const PIECE: usize = 64 << 10;

/// What comes in. The connection ends with it.
pub(crate) struct Input {
    stream: AsyncReadStream,
    _writer: AbortOnDropJoinHandle<()>,
    _place: OwnedSemaphorePermit,
}

/// What goes out. Its direction ends with it.
pub(crate) struct Output {
    /// Holds one piece, so that the plugin waits for the other side.
    pieces: mpsc::Sender<(Bytes, OwnedSemaphorePermit)>,
    /// Free when all has gone out, closed when nothing more can.
    turn: Arc<Semaphore>,
}

/// Takes a connection apart. `rest` was read from it already.
pub(crate) fn duplex(
    stream: Stream,
    rest: BytesMut,
    place: OwnedSemaphorePermit,
) -> (Input, Output) {
    let (reader, writer) = split(stream);
    let (pieces, queue) = mpsc::channel(1);
    let turn = Arc::new(Semaphore::new(1));
    let input = Input {
        stream: AsyncReadStream::new(std::io::Cursor::new(rest).chain(reader)),
        _writer: spawn(write(writer, queue, Arc::clone(&turn))),
        _place: place,
    };
    (input, Output { pieces, turn })
}

/// Writes what comes, and ends the direction when no more can come.
async fn write(
    mut writer: WriteHalf<Stream>,
    mut queue: mpsc::Receiver<(Bytes, OwnedSemaphorePermit)>,
    turn: Arc<Semaphore>,
) {
    while let Some((piece, permit)) = queue.recv().await {
        let written = async {
            writer.write_all(&piece).await?;
            writer.flush().await
        };
        if written.await.is_err() {
            turn.close();
            return;
        }
        drop(permit);
    }
    // The other side is gone, if it fails, which the plugin sees at its input.
    let _ = writer.shutdown().await;
}

#[async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        self.stream.ready().await;
    }
}

#[async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        self.stream.read(size)
    }
}

#[async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        // Closed is ready as well.
        let _ = self.turn.acquire().await;
    }
}

#[async_trait]
impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        if bytes.len() > PIECE {
            return Err(StreamError::trap("more was written than there is room for"));
        }
        let turn = Arc::clone(&self.turn).try_acquire_owned();
        let turn = turn.map_err(|_| match self.turn.is_closed() {
            true => StreamError::Closed,
            false => StreamError::trap("it was written without waiting for room"),
        })?;
        self.pieces.try_send((bytes, turn)).map_err(|_| StreamError::Closed)
    }

    /// Room comes when all has gone out, so there is nothing to do for it.
    fn flush(&mut self) -> StreamResult<()> {
        self.check_write().map(drop)
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        match self.turn.available_permits() {
            _ if self.turn.is_closed() || self.pieces.is_closed() => Err(StreamError::Closed),
            0 => Ok(0),
            _ => Ok(PIECE),
        }
    }
}
