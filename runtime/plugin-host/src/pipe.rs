//! Pipes of bytes between a job's plugin and whoever asked for the job, with room
//! for a little and no more: who writes into a full one waits.
//!
//! There is one reader and one writer. Nothing is lost that was written before the
//! writer was dropped; what the reader leaves behind is.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};

/// What waits in a pipe, at most; see `wit/streams.wit`.
const ROOM: usize = 256 << 10;

/// In how many pieces that may be, as each takes some memory of its own.
const PIECES: usize = 1024;

/// Makes a pipe.
#[must_use]
pub fn pipe() -> (PipeWriter, PipeReader) {
    let pipe = Arc::<Pipe>::default();
    (PipeWriter { pipe: Arc::clone(&pipe) }, PipeReader { pipe })
}

/// The end into which bytes go. Dropping it ends the stream.
#[derive(Debug)]
pub struct PipeWriter {
    pipe: Arc<Pipe>,
}

/// The end from which bytes come. Dropping it tells the writer so.
#[derive(Debug)]
pub struct PipeReader {
    pipe: Arc<Pipe>,
}

/// Nobody reads any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody reads it any more")]
pub struct Gone;

#[derive(Debug, Default)]
struct Pipe {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    pieces: VecDeque<Bytes>,
    bytes: usize,
    has_writer_gone: bool,
    has_reader_gone: bool,
    /// The reader, if it waits for bytes or the end.
    reader: Option<Waker>,
    /// The writer, if it waits for room.
    writer: Option<Waker>,
}

impl Pipe {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PipeWriter {
    /// Writes all of `bytes`, in pieces as there is room for them.
    ///
    /// # Errors
    ///
    /// If the reader is gone; it may have read a part.
    pub async fn write(&mut self, mut bytes: Bytes) -> Result<(), Gone> {
        while !bytes.is_empty() {
            let room = self.wait_for_room().await?;
            self.put(bytes.split_to(room.min(bytes.len())))?;
        }
        Ok(())
    }

    pub(crate) async fn wait_for_room(&self) -> Result<usize, Gone> {
        poll_fn(|context| self.poll_room(context)).await
    }

    /// The same for one who polls. The last one who did is woken.
    pub(crate) fn poll_room(&self, context: &Context<'_>) -> Poll<Result<usize, Gone>> {
        let mut held = self.pipe.held();
        match held.room() {
            Ok(0) => {
                held.writer = Some(context.waker().clone());
                Poll::Pending
            }
            room => Poll::Ready(room),
        }
    }

    /// How much can be written at once.
    pub(crate) fn room(&self) -> Result<usize, Gone> {
        self.pipe.held().room()
    }

    /// Writes what there is room for.
    pub(crate) fn put(&mut self, bytes: Bytes) -> Result<(), Gone> {
        let mut held = self.pipe.held();
        if held.has_reader_gone {
            return Err(Gone);
        }
        if !bytes.is_empty() {
            held.bytes += bytes.len();
            held.pieces.push_back(bytes);
            let reader = held.reader.take();
            drop(held);
            wake(reader);
        }
        Ok(())
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        let mut held = self.pipe.held();
        held.has_writer_gone = true;
        let reader = held.reader.take();
        drop(held);
        wake(reader);
    }
}

impl PipeReader {
    /// Reads at most `most` bytes, as soon as there are any; none at the end.
    /// Cancel-safe.
    pub async fn read(&mut self, most: usize) -> Option<Bytes> {
        loop {
            if let Some(bytes) = self.take(most)? {
                return Some(bytes);
            }
            self.wait_for_bytes().await;
        }
    }

    /// Waits until there is something to read, or the end.
    pub(crate) async fn wait_for_bytes(&self) {
        poll_fn(|context| self.poll_bytes(context)).await;
    }

    /// The same for one who polls. The last one who did is woken.
    pub(crate) fn poll_bytes(&self, context: &Context<'_>) -> Poll<()> {
        let mut held = self.pipe.held();
        if held.bytes > 0 || held.has_writer_gone {
            return Poll::Ready(());
        }
        held.reader = Some(context.waker().clone());
        Poll::Pending
    }

    /// Reads what is there: none at the end, nothing inside if there is nothing yet.
    #[expect(clippy::option_option, reason = "the end is not the same as nothing yet")]
    pub(crate) fn take(&mut self, most: usize) -> Option<Option<Bytes>> {
        let mut held = self.pipe.held();
        if held.pieces.is_empty() {
            return if held.has_writer_gone { None } else { Some(None) };
        }
        let taken = held.take(most);
        let writer = held.writer.take();
        drop(held);
        wake(writer);
        Some(Some(taken))
    }
}

/// Wakes who waits, if anybody does, with nothing locked.
fn wake(waiting: Option<Waker>) {
    if let Some(waiting) = waiting {
        waiting.wake();
    }
}

impl Held {
    fn room(&self) -> Result<usize, Gone> {
        match self {
            Self { has_reader_gone: true, .. } => Err(Gone),
            Self { pieces, .. } if pieces.len() >= PIECES => Ok(0),
            Self { bytes, .. } => Ok(ROOM.saturating_sub(*bytes)),
        }
    }

    /// Takes at most `most` bytes out. Small pieces become one.
    fn take(&mut self, most: usize) -> Bytes {
        let length = most.min(self.bytes);
        self.bytes -= length;
        let mut taken = self.split(length);
        if taken.len() < length {
            let mut whole = BytesMut::with_capacity(length);
            whole.extend_from_slice(&taken);
            while whole.len() < length {
                taken = self.split(length - whole.len());
                whole.extend_from_slice(&taken);
            }
            return whole.freeze();
        }
        taken
    }

    /// Splits at most so much off the first piece.
    fn split(&mut self, most: usize) -> Bytes {
        let Some(first) = self.pieces.front_mut() else { return Bytes::new() };
        let split = first.split_to(most.min(first.len()));
        if first.is_empty() {
            self.pieces.pop_front();
        }
        split
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut held = self.pipe.held();
        held.has_reader_gone = true;
        held.pieces.clear();
        held.bytes = 0;
        let writer = held.writer.take();
        drop(held);
        wake(writer);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// Far longer than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_full_pipe_makes_the_writer_wait_and_loses_nothing() {
        let (mut writer, mut reader) = pipe();
        let sent: Vec<u8> = (0..ROOM + 1000).map(|at| (at % 251) as u8).collect();
        let mut read = Vec::new();
        let reading = async {
            assert_eq!(reader.pipe.held().bytes, ROOM);
            while let Some(bytes) = reader.read(1000).await {
                assert!((1..=1000).contains(&bytes.len()));
                read.extend_from_slice(&bytes);
            }
        };
        let writing = async move { writer.write(sent.clone().into()).await.map(|()| sent) };
        let (sent, ()) = tokio::join!(biased; writing, reading);
        assert!(sent.unwrap() == read);
    }

    #[tokio::test]
    async fn what_was_written_is_read_before_the_end() {
        let (mut writer, mut reader) = pipe();
        writer.write(Bytes::from_static(b"last")).await.unwrap();
        drop(writer);
        assert_eq!(reader.read(3).await.unwrap(), "las");
        assert_eq!(reader.read(3).await.unwrap(), "t");
        assert_eq!(reader.read(3).await, None);
    }

    #[tokio::test]
    async fn many_small_pieces_are_read_as_one_and_held_in_bounds() {
        let (mut writer, mut reader) = pipe();
        let mut count = 0;
        while writer.room().unwrap() > 0 {
            writer.put(Bytes::from_static(b"ab")).unwrap();
            count += 2;
        }
        assert_eq!(count, 2 * PIECES);
        assert_eq!(reader.read(count - 1).await.unwrap().len(), count - 1);
        assert!(writer.room().unwrap() > 0);
        assert_eq!(reader.read(9).await.unwrap(), "b");
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_ends_the_writers_wait() {
        let (mut writer, reader) = pipe();
        writer.put(Bytes::from(vec![0; ROOM])).unwrap();
        let more = async { timeout(PATIENCE, writer.write(Bytes::from_static(b"x"))).await };
        let (written, ()) = tokio::join!(biased; more, async { drop(reader) });
        assert_eq!(written.unwrap(), Err(Gone));
    }
}
