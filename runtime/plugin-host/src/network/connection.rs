//! A connection that speaks HTTP, and what moves its bytes.
//!
//! As a rule that is the one who waits for the answer: an answer in a thousand
//! pieces would else be handed from task to task a thousand times. While a request
//! is still being written it is a task, which goes on also if nobody waits.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest, handshake};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi_http::WasiBody;
use wasmtime_wasi_http::io::TokioIo;

use super::dial::Stream;

/// A connection. It ends when it is dropped.
pub(super) struct Connection {
    sender: SendRequest<WasiBody>,
    mover: Mover,
    /// The socket once more, to ask the system about it.
    socket: OwnedFd,
}

/// What moves the bytes of a connection.
enum Mover {
    /// Whoever waits for something of it.
    Waiting(Pin<Box<Protocol>>),
    /// A task, which ends with it.
    Task { _task: AbortOnDropJoinHandle<()> },
    /// Nothing any more: the connection is closed.
    Closed,
}

type Protocol = http1::Connection<TokioIo<Stream>, WasiBody>;

impl Connection {
    /// `socket` is that of the stream once more.
    pub(super) async fn over(stream: Stream, socket: OwnedFd) -> hyper::Result<Self> {
        let (sender, protocol) = handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, mover: Mover::Waiting(Box::pin(protocol)), socket })
    }

    /// Whether it is known to be closed.
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed() || matches!(self.mover, Mover::Closed)
    }

    /// Whether the server has neither closed it nor said more than it was asked, as
    /// the system knows it now: what wakes tasks may come later.
    pub(super) fn is_quiet(&self) -> bool {
        let peeked = recv(&self.socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        peeked.is_err_and(|error| error == Errno::AGAIN)
    }

    /// Whether it is done with its last request.
    pub(super) fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        let Self { sender, mover, .. } = self;
        // What was closed while it waited is seen here.
        mover.advance(context);
        mover.until(context, |context| sender.poll_ready(context))
    }

    /// Sends a request and waits for the head of the answer.
    ///
    /// # Errors
    ///
    /// If there is none; with the request if it was not sent.
    pub(super) async fn send(
        &mut self,
        request: Request<WasiBody>,
    ) -> Result<Response<Incoming>, TrySendError<Request<WasiBody>>> {
        let written = Arc::new(());
        let is_whole = request.body().is_end_stream();
        let request = if is_whole { request } else { held_by(request, Arc::clone(&written)) };
        let Self { sender, mover, .. } = self;
        let mut answer = std::pin::pin!(sender.try_send_request(request));
        let answer = std::future::poll_fn(|context| {
            mover.until(context, |context| answer.as_mut().poll(context))
        });
        let answer = answer.await;
        if Arc::strong_count(&written) > 1 {
            self.go_on_alone();
        }
        answer
    }

    /// Waits for something of it, and moves its bytes meanwhile.
    pub(super) fn until<T>(
        &mut self,
        context: &mut Context<'_>,
        wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.mover.until(context, wanted)
    }

    /// Has a task move its bytes, as the request is not yet written to its end.
    fn go_on_alone(&mut self) {
        let Mover::Waiting(protocol) = std::mem::replace(&mut self.mover, Mover::Closed) else {
            return;
        };
        let task = spawn(async move {
            // Whoever waits for an answer gets the error as well.
            if let Err(error) = protocol.await {
                tracing::debug!(%error, "a plugin's connection ended");
            }
        });
        self.mover = Mover::Task { _task: task };
    }
}

impl Mover {
    fn until<T>(
        &mut self,
        context: &mut Context<'_>,
        mut wanted: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        match wanted(context) {
            Poll::Pending if self.advance(context) => wanted(context),
            polled => polled,
        }
    }

    /// Moves what there is; whether something may have come of it.
    fn advance(&mut self, context: &mut Context<'_>) -> bool {
        let Self::Waiting(protocol) = self else { return false };
        if let Poll::Ready(ended) = protocol.as_mut().poll(context) {
            if let Err(error) = ended {
                tracing::debug!(%error, "a plugin's connection ended");
            }
            // Who waits for an answer hears of it as this is dropped.
            *self = Self::Closed;
        }
        true
    }
}

/// The request with something that is dropped when its body has been written.
fn held_by(request: Request<WasiBody>, written: Arc<()>) -> Request<WasiBody> {
    request.map(|body| {
        body.map_err(move |error| {
            let _held = &written;
            error
        })
        .boxed_unsync()
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use http_body_util::Empty;

    use super::*;

    #[tokio::test]
    async fn what_the_server_does_to_a_connection_that_waits_is_seen_at_once() {
        let answered = async || {
            let (own, mut server) = UnixStream::pair().unwrap();
            own.set_nonblocking(true).unwrap();
            let stream = Stream::Unix(tokio::net::UnixStream::from_std(own).unwrap());
            let socket = stream.as_fd().try_clone_to_owned().unwrap();
            let mut connection = Connection::over(stream, socket).await.unwrap();
            let serving = tokio::task::spawn_blocking(move || {
                let _ = server.read(&mut [0; 1024]).unwrap();
                server.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
                server
            });
            let empty = Empty::new().map_err(|never| match never {}).boxed_unsync();
            connection.send(Request::new(empty)).await.unwrap();
            (connection, serving.await.unwrap())
        };
        let (connection, server) = answered().await;
        assert!(connection.is_quiet());
        drop(server);
        assert!(!connection.is_quiet(), "it was closed");
        let (connection, mut server) = answered().await;
        server.write_all(b"HTTP/1.1 408 Request Timeout\r\n").unwrap();
        assert!(!connection.is_quiet(), "nobody asked");
    }
}
