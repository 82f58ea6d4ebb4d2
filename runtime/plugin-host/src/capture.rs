//! Standard output and standard error of a job: taken without end, the last
//! part kept, and handed on to whoever takes down what the job says.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc::{self, error::TrySendError};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::job::Said;

/// How much of a stream is kept, the line about the rest not counted.
const KEPT: usize = 64 << 10;

/// The most that an instance writes in one call.
const WRITE: usize = 64 << 10;

/// One stream of a job. Clones write to the same.
///
/// Never an error: a stream that takes no more makes `println!` panic. Full
/// only while its listener is.
#[derive(Clone, Default)]
pub(crate) struct Capture {
    tail: Arc<Mutex<Tail>>,
    listener: Option<Listener>,
}

/// Whoever takes down what is written.
#[derive(Clone)]
struct Listener {
    said: mpsc::Sender<Said>,
    what: fn(Bytes) -> Said,
}

impl Capture {
    /// A stream whose bytes go to `said` as well, as what `what` makes of them.
    pub(crate) fn new(said: Option<mpsc::Sender<Said>>, what: fn(Bytes) -> Said) -> Self {
        let listener = said.map(|said| Listener { said, what });
        Self { tail: Arc::default(), listener }
    }

    /// What was written so far, its end if that is too long.
    pub(crate) fn text(&self) -> String {
        self.tail().text()
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a stream and how much went before it.
#[derive(Default)]
struct Tail {
    kept: VecDeque<u8>,
    left_out: u64,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        let skipped = bytes.len().saturating_sub(KEPT);
        let bytes = &bytes[skipped..];
        let excess = (self.kept.len() + bytes.len()).saturating_sub(KEPT);
        self.kept.drain(..excess);
        self.kept.extend(bytes);
        self.left_out += (skipped + excess) as u64;
    }

    fn text(&self) -> String {
        let (front, back) = self.kept.as_slices();
        let bytes = [front, back].concat();
        if self.left_out == 0 {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        // The cut may be in the middle of a character.
        let is_inside = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
        let broken = bytes.iter().take(3).take_while(is_inside).count();
        let left_out = self.left_out + broken as u64;
        let text = String::from_utf8_lossy(&bytes[broken..]);
        format!("[{left_out} bytes before this were left out]\n{text}")
    }
}

impl IsTerminal for Capture {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Capture {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl OutputStream for Capture {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.tail().push(&bytes);
        let Some(Listener { said, what }) = &self.listener else { return Ok(()) };
        match said.try_send(what(bytes)) {
            // A listener that has gone is no matter of the plugin's.
            Ok(()) | Err(TrySendError::Closed(_)) => Ok(()),
            Err(TrySendError::Full(_)) => {
                Err(StreamError::trap("written to a stream that had no room, as it was told"))
            }
        }
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        let is_full = self
            .listener
            .as_ref()
            .is_some_and(|listener| listener.said.capacity() == 0 && !listener.said.is_closed());
        Ok(if is_full { 0 } else { WRITE })
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Capture {
    async fn ready(&mut self) {
        if let Some(listener) = &self.listener {
            // The room is there for the write that comes: an instance does one
            // thing at a time. Nobody listening is as good.
            drop(listener.said.reserve().await);
        }
    }
}

impl AsyncWrite for Capture {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, b: &[u8]) -> Poll<io::Result<usize>> {
        self.tail().push(b);
        Poll::Ready(Ok(b.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(parts: &[&[u8]]) -> String {
        let mut tail = Tail::default();
        parts.iter().for_each(|part| tail.push(part));
        tail.text()
    }

    #[test]
    fn what_fits_is_kept_as_it_is() {
        assert_eq!(written(&[b"one\n", b"two"]), "one\ntwo");
        let full = vec![b'x'; KEPT];
        assert_eq!(written(&[&full]).len(), KEPT);
    }

    #[test]
    fn the_end_is_kept_and_the_first_line_says_what_is_not() {
        let long = vec![b'x'; KEPT];
        let text = written(&[b"start", &long, b"end"]);
        let (first, rest) = text.split_once('\n').unwrap();
        assert_eq!(first, "[8 bytes before this were left out]");
        assert_eq!(rest.len(), KEPT);
        assert!(rest.ends_with("xend"));
    }

    #[test]
    fn one_write_longer_than_what_is_kept_is_counted_too() {
        let text = written(&[b"ab", &vec![b'x'; KEPT + 10]]);
        assert!(text.starts_with("[12 bytes before this were left out]\nx"), "{}", &text[..50]);
    }

    #[test]
    fn a_character_that_was_cut_is_left_out_whole() {
        let text = written(&["ä".as_bytes(), &vec![b'x'; KEPT - 1]]);
        assert!(text.starts_with("[2 bytes before this were left out]\nx"), "{}", &text[..50]);
    }

    #[test]
    fn what_is_no_text_is_shown_as_well_as_it_can_be() {
        assert_eq!(written(&[b"a\xffb"]), "a\u{fffd}b");
    }
}
