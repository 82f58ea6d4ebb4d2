//! A WAMP session without anything that a measurement does not need: messages
//! are written by hand, and of those received only type and ids are read.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;

use anyhow::{Context, anyhow, bail, ensure};
use futures_util::{SinkExt, Stream};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use super::Target;
use super::calls::{Caller, Calls};
use super::message::{answer, call, code, hello, ids, register};

/// Messages that are taken at once, at most.
const BATCH: usize = 256;

/// Small, because thousands of sessions are opened.
const BUFFER: usize = 8 * 1024;

/// A session that has been welcomed.
pub(super) struct Session {
    socket: WebSocketStream<TcpStream>,
    received: Vec<Bytes>,
}

/// A session that calls a procedure.
pub(super) struct Calling {
    session: Session,
    procedure: String,
}

/// A caller and its callee, joined and registered.
pub(super) async fn calls(target: &Target, procedure: &str) -> anyhow::Result<Calls<Calling>> {
    let mut callee = Session::join(target).await?;
    callee.send(register(1, procedure, "exact")).await?;
    callee.flush().await?;
    callee.expect(code::REGISTERED).await?;
    let mut serving = JoinSet::new();
    serving.spawn(callee.answer_calls());
    let session = Session::join(target).await?;
    Ok(Calls::new(Calling { session, procedure: procedure.to_owned() }, serving))
}

impl Session {
    /// Connects and joins.
    pub(super) async fn join(target: &Target) -> anyhow::Result<Self> {
        Self::join_from(target, TcpSocket::new_v4()?).await
    }

    /// Like [`Session::join`], from an address of its own: there are too few
    /// ports for thousands of short sessions from one.
    pub(super) async fn join_numbered(target: &Target, number: usize) -> anyhow::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        let [.., third, fourth] = (number % 60_000 + 2).to_be_bytes();
        socket.bind(SocketAddr::from(([127, 1, third, fourth], 0))).context("cannot bind")?;
        Self::join_from(target, socket).await
    }

    async fn join_from(target: &Target, socket: TcpSocket) -> anyhow::Result<Self> {
        let mut request = target.url.as_str().into_client_request()?;
        let subprotocol = HeaderValue::from_static("wamp.2.msgpack");
        request.headers_mut().insert("Sec-WebSocket-Protocol", subprotocol);
        let address = request.uri().authority().context("the URL names no host")?.as_str();
        let address = address.parse().context("the URL names no address")?;
        let stream = socket.connect(address).await.context("cannot reach the router")?;
        stream.set_nodelay(true)?;
        let config = WebSocketConfig::default()
            .read_buffer_size(BUFFER)
            .write_buffer_size(BUFFER)
            .max_write_buffer_size(usize::MAX);
        let (socket, _) = client_async_with_config(request, stream, Some(config)).await?;
        let mut session = Self { socket, received: Vec::new() };
        session.send(hello(&target.realm)).await?;
        session.flush().await?;
        session.expect(code::WELCOME).await?;
        Ok(session)
    }

    /// Writes a message, to be sent by [`Session::flush`].
    pub(super) async fn send(&mut self, message: Vec<u8>) -> anyhow::Result<()> {
        Ok(self.socket.feed(Message::Binary(message.into())).await?)
    }

    /// Sends what was written.
    pub(super) async fn flush(&mut self) -> anyhow::Result<()> {
        Ok(self.socket.flush().await?)
    }

    /// Waits for a message, and takes all that came with it.
    pub(super) async fn receive(&mut self, messages: &mut Vec<Bytes>) -> anyhow::Result<()> {
        messages.append(&mut self.received);
        let taken = std::future::poll_fn(|cx| {
            while messages.len() < BATCH {
                let end = match Pin::new(&mut self.socket).poll_next(cx) {
                    Poll::Ready(Some(Ok(Message::Binary(message)))) => {
                        messages.push(message);
                        continue;
                    }
                    // Pings are answered by the library.
                    Poll::Ready(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
                    Poll::Ready(Some(Ok(other))) => anyhow!("the router sent {other:?}"),
                    Poll::Ready(Some(Err(error))) => error.into(),
                    Poll::Ready(None) => anyhow!("the router closed the connection"),
                    Poll::Pending if messages.is_empty() => return Poll::Pending,
                    Poll::Pending => break,
                };
                // What came before the end is worth having.
                return Poll::Ready(if messages.is_empty() { Err(end) } else { Ok(()) });
            }
            Poll::Ready(Ok(()))
        });
        taken.await
    }

    /// Waits for a message of this type, the next one; its ids.
    pub(super) async fn expect(&mut self, kind: u64) -> anyhow::Result<Vec<u64>> {
        let mut messages = Vec::new();
        self.receive(&mut messages).await?;
        let first = messages.remove(0);
        self.received = messages;
        let ids = ids(&first);
        ensure!(ids.first() == Some(&kind), "the router sent {ids:?} where {kind} was due");
        Ok(ids[1..].to_vec())
    }

    async fn answer_calls(mut self) -> anyhow::Result<()> {
        let mut messages = Vec::new();
        loop {
            self.receive(&mut messages).await?;
            for message in messages.drain(..) {
                match ids(&message)[..] {
                    [code::INVOCATION, request, ..] => self.send(answer(request)).await?,
                    ref other => bail!("the router sent {other:?} to a callee"),
                }
            }
            self.flush().await?;
        }
    }
}

impl Caller for Calling {
    async fn call(&mut self, id: u64) -> anyhow::Result<()> {
        self.session.send(call(id, &self.procedure)).await
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.session.flush().await
    }

    async fn answers(&mut self, answered: &mut Vec<u64>) -> anyhow::Result<()> {
        let mut messages = Vec::new();
        self.session.receive(&mut messages).await?;
        for message in messages {
            match ids(&message)[..] {
                [code::RESULT, request, ..] => answered.push(request),
                ref other => bail!("the router sent {other:?} to a caller"),
            }
        }
        Ok(())
    }
}
