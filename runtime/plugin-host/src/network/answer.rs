//! The body of an answer, on its way from a connection to a plugin.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::Error as HttpError;

use super::Network;
use super::connection::Connection;
use super::gather::Gathered;
use super::pool::Key;

/// A connection that is in use, and where it goes afterwards.
pub(super) struct Lent {
    pub(super) network: Arc<Network>,
    pub(super) key: Key,
    pub(super) connection: Connection,
    pub(super) _place: OwnedSemaphorePermit,
}

/// A body as it comes over a connection. Read to its end, it gives its connection
/// back; else the connection ends with it.
pub(super) struct Pouring {
    body: Incoming,
    lent: Option<Lent>,
}

impl Pouring {
    pub(super) fn new(body: Incoming, lent: Lent) -> Self {
        let mut pouring = Self { body, lent: Some(lent) };
        if pouring.body.is_end_stream() {
            pouring.give_back();
        }
        pouring
    }

    /// The next piece; none at the end.
    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let Self { body, lent } = self;
        let mut next = |cx: &mut Context<'_>| Pin::new(&mut *body).poll_frame(cx);
        let piece = ready!(match lent {
            Some(lent) => lent.connection.until(cx, next),
            None => next(cx),
        });
        match &piece {
            Some(Err(_)) => self.lent = None,
            Some(Ok(_)) if !self.body.is_end_stream() => {}
            Some(Ok(_)) | None => self.give_back(),
        }
        Poll::Ready(piece)
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn give_back(&mut self) {
        if let Some(Lent { network, key, connection, .. }) = self.lent.take() {
            network.pool.put(key, connection);
        }
    }
}

/// A body as a plugin reads it.
pub(super) struct Answer {
    /// None after it broke off.
    body: Option<Gathered>,
    /// How long to wait for the next bytes.
    patience: Option<(Duration, Pin<Box<Sleep>>)>,
}

impl Answer {
    pub(super) fn new(body: Pouring, patience: Option<Duration>) -> Self {
        let patience = patience.map(|limit| (limit, Box::pin(sleep(limit))));
        Self { body: Some(Gathered::new(body)), patience }
    }

    fn broken(&mut self, why: HttpError) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        self.body = None;
        Poll::Ready(Some(Err(why)))
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let answer = &mut *self;
        let Some(body) = &mut answer.body else { return Poll::Ready(None) };
        match body.poll_piece(cx) {
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Ready(Some(Ok(frame))) => {
                if let Some((limit, sleep)) = &mut answer.patience {
                    sleep.as_mut().reset(Instant::now() + *limit);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(_))) => answer.broken(HttpError::HttpResponseIncomplete),
            Poll::Pending => {
                let Some((_, sleep)) = &mut answer.patience else { return Poll::Pending };
                ready!(sleep.as_mut().poll(cx));
                answer.broken(HttpError::ConnectionReadTimeout)
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Gathered::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Gathered::size_hint)
    }
}
