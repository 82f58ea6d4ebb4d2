//! Writing to a running child.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use drover_api::JobId;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::pipe;
use tokio::sync::{Mutex, watch};

use super::job::Link;

/// The standard input of one run; clones write to the same.
///
/// Writing waits while the child does not read. After the run it is an error.
#[derive(Debug, Clone)]
pub struct StdinWriter {
    id: JobId,
    /// Not the keeper itself, which would be held as long as the writer is.
    link: watch::Receiver<Link>,
    /// One write at a time, so that none is torn by another; none when closed.
    pipe: Arc<Mutex<Option<pipe::Sender>>>,
}

impl StdinWriter {
    pub(super) fn new(id: JobId, link: watch::Receiver<Link>, end: OwnedFd) -> io::Result<Self> {
        let pipe = pipe::Sender::from_owned_fd(end)?;
        Ok(Self { id, link, pipe: Arc::new(Mutex::new(Some(pipe))) })
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    ///
    /// If the child has closed its input or ended, or the input was closed here.
    pub async fn write(&self, bytes: &[u8]) -> io::Result<()> {
        let mut pipe = self.pipe.lock().await;
        match pipe.as_mut() {
            Some(pipe) => pipe.write_all(bytes).await,
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    /// Writes `bytes` until `stop` resolves, and says how many of them.
    ///
    /// # Errors
    ///
    /// As [`StdinWriter::write`].
    pub async fn write_until(
        &self,
        bytes: &[u8],
        stop: impl Future<Output = ()>,
    ) -> io::Result<usize> {
        let mut stop = std::pin::pin!(stop);
        let mut pipe = tokio::select! {
            biased;
            () = &mut stop => return Ok(0),
            pipe = self.pipe.lock() => pipe,
        };
        let pipe = pipe.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut written = 0;
        while written < bytes.len() {
            tokio::select! {
                biased;
                () = &mut stop => break,
                some = pipe.write(&bytes[written..]) => written += some?,
            }
        }
        Ok(written)
    }

    /// Lets the child read the end, once it has read all that was written.
    pub async fn close(&self) {
        let is_open = self.pipe.lock().await.take().is_some();
        let link = self.link.borrow().clone();
        if let Link::Here(keeper) = link
            && is_open
        {
            // A keeper that is gone has closed it as well.
            drop(keeper.close_stdin(&self.id).await);
        }
    }
}
