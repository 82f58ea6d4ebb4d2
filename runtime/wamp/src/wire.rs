//! A WebSocket that carries messages: one task sends what waits and receives.
//!
//! The owner calls [`Wire::next`] in a loop. Everything that has arrived is
//! handled before anything is sent, and everything that waits is written
//! before one flush, so that many calls on one connection share their system
//! calls. A message longer than a fragment is sent in fragments, between which
//! pings and their answers go out; other messages wait until it is through.
//! Where messages are batched, what waits shares frames, and what came in one
//! frame is handled before the next one is read.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream as _};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error as WsError, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message as WsMessage, WebSocketConfig};

use crate::Serializer;
use crate::codec::{self, DecodeError, batch};
use crate::message::Message;
use crate::outbox::Outbox;
use crate::stream::Stream;

/// Bytes read at a time; every connection has a buffer of this size, so it
/// decides how much memory an idle session takes.
const READ_BUFFER: usize = 4 * 1024;

/// Bytes written at a time; the buffer grows only on connections that need it.
const WRITE_BUFFER: usize = 32 * 1024;

/// The longest frame that is sent. Bounds what a connection's buffer grows to,
/// and how long a ping waits.
const FRAGMENT: usize = 64 * 1024;

/// What a router adds when it passes a message on: ids, a name.
const MARGIN: usize = 4 * 1024;

/// Messages handled, and messages written, before the other direction has its turn.
const BURST: u32 = 128;

/// After this many intervals of silence the peer is taken for dead.
const SILENT_INTERVALS: u32 = 3;

/// A connection after its handshake.
#[derive(Debug)]
pub(crate) struct Wire {
    socket: WebSocketStream<Stream>,
    serializer: Serializer,
    max_message_bytes: usize,
    outbox: Arc<Outbox>,
    /// What of a batch has not been handled yet.
    batch: Bytes,
    /// What is left of a long message.
    rest: Option<Bytes>,
    /// What had no place in the last batch. Boxed, for few connections have any.
    held: Option<Box<Result<Bytes, Incoming>>>,
    keepalive: Option<Keepalive>,
    needs_flush: bool,
    is_drained: bool,
    received: u32,
}

/// What [`Wire::next`] has.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// The peer sent a message.
    Message(Message),
    /// The peer sent a request with an option that makes no sense.
    BadRequest {
        /// The ERROR to send back; none if the peer did not ask for an answer.
        answer: Option<Box<Message>>,
        /// Text for people.
        why: String,
    },
    /// A message cannot be written, or is too long for the peer.
    Undeliverable {
        /// The message.
        message: Message,
        /// Text for people.
        why: String,
    },
}

/// Why a wire has nothing more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum End {
    /// The outbox was closed, and everything in it is sent.
    #[error("the session is over")]
    Drained,
    /// The outbox overflowed.
    #[error("the peer reads too slowly")]
    TooSlow,
    /// The peer closed the connection in good order.
    #[error("the peer closed the connection{}", closing_words(reason))]
    Closed {
        /// The peer's code and words.
        reason: String,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Lost(String),
    /// The peer sent a message longer than may be.
    #[error("a message of {bytes} bytes is longer than the limit of {limit}")]
    TooLong {
        /// At least how long it is.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The peer sent what is no message.
    #[error("{0}")]
    Violation(String),
    /// The peer sent text that is none.
    #[error("text that is no UTF-8")]
    BadText,
    /// The peer answers no pings.
    #[error("the peer has been silent for {} s", .0.as_secs_f32())]
    Silent(Duration),
}

fn closing_words(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// Watches over the life of the peer.
#[derive(Debug)]
struct Keepalive {
    interval: Duration,
    tick: Pin<Box<Sleep>>,
    has_heard: bool,
    silent: u32,
    ping_is_due: bool,
}

/// How the WebSocket below a wire is to be set up.
pub(crate) fn socket_config(max_message_bytes: usize) -> WebSocketConfig {
    let longest = max_message_bytes.saturating_add(MARGIN);
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(WRITE_BUFFER + 2 * FRAGMENT)
        .max_message_size(Some(longest))
        .max_frame_size(Some(longest))
}

impl Wire {
    /// A zero `ping_interval` is none.
    pub(crate) fn new(
        socket: WebSocketStream<Stream>,
        serializer: Serializer,
        max_message_bytes: usize,
        ping_interval: Duration,
        outbox: Arc<Outbox>,
    ) -> Self {
        let keepalive = (!ping_interval.is_zero()).then(|| Keepalive {
            interval: ping_interval,
            tick: Box::pin(tokio::time::sleep(ping_interval)),
            has_heard: true,
            silent: 0,
            ping_is_due: false,
        });
        Self {
            socket,
            serializer,
            max_message_bytes,
            outbox,
            batch: Bytes::new(),
            rest: None,
            held: None,
            keepalive,
            needs_flush: false,
            is_drained: false,
            received: 0,
        }
    }

    /// Sends and receives until something has arrived. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Incoming, End> {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Ends the connection: sends what waits, says why, and waits until the
    /// peer has closed its side, at most `patience` in all.
    pub(crate) async fn finish(mut self, code: CloseCode, reason: &str, patience: Duration) {
        self.outbox.queue().close();
        let farewell = async {
            self.send_rest().await;
            // A close frame has room for 123 bytes of text.
            let mut end = reason.len().min(123);
            while !reason.is_char_boundary(end) {
                end -= 1;
            }
            let frame = CloseFrame { code, reason: reason[..end].into() };
            // Where the peer has closed already, no frame is taken any more, and
            // the answer to its own is still to be written.
            if self.socket.send(WsMessage::Close(Some(frame))).await.is_err() {
                self.socket.flush().await.ok();
            }
            // A socket that is closed with unread bytes in it resets the
            // connection, and the peer would never see why.
            let tcp = self.socket.get_mut();
            tcp.shutdown().await.ok();
            let mut unread = vec![0; READ_BUFFER];
            while tcp.read(&mut unread).await.is_ok_and(|length| length > 0) {}
        };
        // Whoever is not gone by then is cut off.
        let _ = tokio::time::timeout(patience, farewell).await;
    }

    /// Sends what waits in a closed outbox, without a look at what arrives.
    async fn send_rest(&mut self) {
        let rest = std::future::poll_fn(|cx| {
            // What cannot be delivered at the very end is nobody's concern any more.
            while !ready!(self.poll_send(cx)).is_err() {}
            Poll::Ready(())
        });
        rest.await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, End>> {
        let mut is_received = false;
        if self.received < BURST {
            if let Poll::Ready(result) = self.poll_receive(cx) {
                self.received += 1;
                return Poll::Ready(result);
            }
            is_received = true;
        }
        self.received = 0;
        self.poll_keepalive(cx)?;
        if let Poll::Ready(result) = self.poll_send(cx) {
            return Poll::Ready(result);
        }
        if is_received {
            return Poll::Pending;
        }
        if !self.batch.is_empty() {
            // Sockets see to it that a task yields; what is in memory does not.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.poll_receive(cx)
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, End>> {
        loop {
            if !self.batch.is_empty() {
                let message = batch::take(self.serializer.form(), &mut self.batch);
                return Poll::Ready(self.decode(message));
            }
            let frame = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                None => return Poll::Ready(Err(End::Closed { reason: String::new() })),
                Some(Err(error)) => return Poll::Ready(Err(self.end_of(error))),
                Some(Ok(frame)) => frame,
            };
            if let Some(keepalive) = &mut self.keepalive {
                keepalive.has_heard = true;
            }
            let bytes = match frame {
                WsMessage::Binary(bytes) if !self.serializer.is_text() => bytes,
                WsMessage::Text(text) if self.serializer.is_text() => Bytes::from(text),
                WsMessage::Binary(_) | WsMessage::Text(_) => {
                    let kind = if self.serializer.is_text() { "binary" } else { "text" };
                    let text =
                        format!("a {kind} frame in a session that speaks {}", self.serializer);
                    return Poll::Ready(Err(End::Violation(text)));
                }
                WsMessage::Close(frame) => {
                    let reason = frame.map_or_else(String::new, |frame| {
                        format!("{} {}", frame.code, frame.reason).trim_end().to_owned()
                    });
                    return Poll::Ready(Err(End::Closed { reason }));
                }
                // The answer to a ping goes out with the next read or write.
                WsMessage::Ping(_) | WsMessage::Pong(_) | WsMessage::Frame(_) => continue,
            };
            if !self.serializer.is_batched() {
                return Poll::Ready(self.decode(Ok(bytes)));
            }
            self.batch = bytes;
        }
    }

    fn decode(&self, message: Result<Bytes, DecodeError>) -> Result<Incoming, End> {
        match message.and_then(|message| codec::decode(self.serializer.form(), &message)) {
            Ok(message) => Ok(Incoming::Message(message)),
            Err(DecodeError::BadRequest { answer, why }) => {
                Ok(Incoming::BadRequest { answer, why })
            }
            Err(DecodeError::Malformed(why)) => Err(End::Violation(why)),
        }
    }

    /// Writes what waits; ready only when there is something to tell.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<Incoming, End>> {
        let mut written = 0;
        loop {
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Pending => {
                    // Nothing is taken from the outbox now, but its overflow must be heard of.
                    ready!(self.outbox.queue().poll_cut(cx));
                    return Poll::Ready(Err(End::TooSlow));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.end_of(error))),
                Poll::Ready(Ok(())) => {}
            }
            if written >= BURST {
                cx.waker().wake_by_ref();
                break;
            }
            let (frame, messages) = match self.next_frame(cx, BURST - written) {
                Poll::Pending => break,
                Poll::Ready(Ok(next)) => next,
                Poll::Ready(Err(undeliverable)) => return Poll::Ready(Ok(undeliverable)),
            };
            if let Err(error) = Pin::new(&mut self.socket).start_send(frame) {
                return Poll::Ready(Err(self.end_of(error)));
            }
            self.needs_flush = true;
            written += messages;
        }
        if self.needs_flush {
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.end_of(error))),
                Poll::Ready(Ok(())) => self.needs_flush = false,
            }
        }
        match self.is_drained {
            true if self.outbox.has_overflowed() => Poll::Ready(Err(End::TooSlow)),
            true => Poll::Ready(Err(End::Drained)),
            false => Poll::Pending,
        }
    }

    /// The next frame to write and how many messages are in it, at most `most`;
    /// pending if nothing waits.
    fn next_frame(
        &mut self,
        cx: &mut Context<'_>,
        most: u32,
    ) -> Poll<Result<(WsMessage, u32), Incoming>> {
        if let Some(keepalive) = &mut self.keepalive
            && std::mem::take(&mut keepalive.ping_is_due)
        {
            return Poll::Ready(Ok((WsMessage::Ping(Bytes::new()), 1)));
        }
        if let Some(rest) = self.rest.take() {
            return Poll::Ready(Ok((self.fragment(rest, Data::Continue), 1)));
        }
        let message = ready!(self.next_message(cx))?;
        let (bytes, messages) =
            if self.serializer.is_batched() { self.fill(&message, cx, most) } else { (message, 1) };
        let kind = if self.serializer.is_text() { Data::Text } else { Data::Binary };
        Poll::Ready(Ok((self.fragment(bytes, kind), messages)))
    }

    /// The next message to write; pending if nothing waits.
    fn next_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Incoming>> {
        if let Some(held) = self.held.take() {
            return Poll::Ready(*held);
        }
        let Some(outgoing) = ready!(self.outbox.queue().poll_pop(cx)) else {
            self.is_drained = true;
            return Poll::Pending;
        };
        let why = match outgoing.encode(self.serializer.form()) {
            Ok(bytes) if bytes.len() <= self.max_message_bytes.saturating_add(MARGIN) => {
                return Poll::Ready(Ok(bytes));
            }
            Ok(bytes) => format!(
                "the message takes {} bytes, and the limit is {}",
                bytes.len(),
                self.max_message_bytes
            ),
            Err(error) => error.to_string(),
        };
        Poll::Ready(Err(Incoming::Undeliverable { message: outgoing.into_message(), why }))
    }

    /// A batch of `first` and what else waits and fits into one fragment.
    fn fill(&mut self, first: &Bytes, cx: &mut Context<'_>, most: u32) -> (Bytes, u32) {
        let form = self.serializer.form();
        let limit = FRAGMENT.min(self.max_message_bytes);
        let mut frame = Vec::new();
        batch::append(form, &mut frame, first);
        let mut messages = 1;
        while messages < most && frame.len() < limit {
            let Poll::Ready(next) = self.next_message(cx) else { break };
            match next {
                Ok(message) if frame.len() + batch::length(&message) <= limit => {
                    batch::append(form, &mut frame, &message);
                    messages += 1;
                }
                other => {
                    self.held = Some(Box::new(other));
                    break;
                }
            }
        }
        (frame.into(), messages)
    }

    /// The next frame of `bytes`; what is left is kept.
    fn fragment(&mut self, mut bytes: Bytes, kind: Data) -> WsMessage {
        let first = bytes.split_to(bytes.len().min(FRAGMENT));
        let is_last = bytes.is_empty();
        if !is_last {
            self.rest = Some(bytes);
        }
        WsMessage::Frame(Frame::message(first, OpCode::Data(kind), is_last))
    }

    fn poll_keepalive(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        let Some(keepalive) = &mut self.keepalive else { return Ok(()) };
        while keepalive.tick.as_mut().poll(cx).is_ready() {
            keepalive.tick.as_mut().reset(Instant::now() + keepalive.interval);
            if std::mem::take(&mut keepalive.has_heard) {
                keepalive.silent = 0;
                continue;
            }
            keepalive.silent += 1;
            if keepalive.silent >= SILENT_INTERVALS {
                return Err(End::Silent(keepalive.interval * SILENT_INTERVALS));
            }
            keepalive.ping_is_due = true;
        }
        Ok(())
    }

    fn end_of(&self, error: WsError) -> End {
        match error {
            WsError::ConnectionClosed | WsError::AlreadyClosed => {
                End::Closed { reason: String::new() }
            }
            WsError::Capacity(CapacityError::MessageTooLong { size, .. }) => {
                End::TooLong { bytes: size, limit: self.max_message_bytes }
            }
            WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                End::Lost("the peer is gone without a word".into())
            }
            WsError::Io(error) => End::Lost(error.to_string()),
            WsError::Protocol(error) => End::Violation(format!("no WebSocket: {error}")),
            WsError::Utf8(_) => End::BadText,
            other => End::Violation(other.to_string()),
        }
    }
}

impl End {
    /// The code with which a WebSocket is closed for this.
    pub(crate) fn close_code(&self) -> CloseCode {
        match self {
            Self::Drained | Self::Closed { .. } | Self::Lost(_) => CloseCode::Normal,
            Self::TooSlow | Self::Silent(_) => CloseCode::Policy,
            Self::TooLong { .. } => CloseCode::Size,
            Self::Violation(_) => CloseCode::Protocol,
            Self::BadText => CloseCode::Invalid,
        }
    }
}
