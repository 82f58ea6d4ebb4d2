//! Standard output and standard error of a job: taken without end, the last
//! part kept, and handed on to whoever takes down what the job says.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use drover_api::StreamTail;
use tokio::io::AsyncWrite;
use tokio::sync::mpsc::{self, error::TrySendError};
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::job::Said;

/// The most that an instance writes in one call.
const WRITE: usize = 64 << 10;

/// One stream of a job. Clones write to the same.
///
/// Never an error: a stream that takes no more makes `println!` panic. Full
/// only while its listener is.
#[derive(Clone, Default)]
pub(crate) struct Capture {
    tail: Arc<Mutex<StreamTail>>,
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

    fn tail(&self) -> MutexGuard<'_, StreamTail> {
        self.tail.lock().unwrap_or_else(PoisonError::into_inner)
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
