//! The body of an answer as it comes over a connection.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;

use super::Network;
use super::connection::Connection;
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
