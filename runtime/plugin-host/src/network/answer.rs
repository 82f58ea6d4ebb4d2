//! The body of an answer as a plugin reads it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};
use wasmtime_wasi_http::Error as HttpError;

use super::gather::Gathered;
use super::pouring::Pouring;

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
