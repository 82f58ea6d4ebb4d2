//! The limit of the link: a bare WebSocket between two threads that sends
//! every message back. No router, no serializer, no plugin.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::{Bytes, Message};
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use crate::latency::{Latencies, Sample};

/// About what a call with its command has.
const MESSAGE_BYTES: usize = 200;

/// Messages that are answered before the answers are flushed, at most.
const BATCH: usize = 64;

/// Both ends of an echo over loopback.
pub(crate) struct Echo {
    socket: WebSocketStream<TcpStream>,
    server: JoinHandle<anyhow::Result<()>>,
}

impl Echo {
    /// Starts the far end in a thread and connects to it.
    ///
    /// # Errors
    ///
    /// If no loopback connection can be made.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = std::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0)))
            .context("cannot listen on loopback")?;
        let address = listener.local_addr().context("cannot listen on loopback")?;
        let server = std::thread::Builder::new()
            .name("echo".to_owned())
            .spawn(move || serve(listener))
            .context("cannot start the thread of the echo")?;
        let stream = TcpStream::connect(address).await.context("cannot reach the echo")?;
        stream.set_nodelay(true).context("cannot set up the echo's connection")?;
        let (socket, _) = client_async(format!("ws://{address}/"), stream)
            .await
            .context("the echo refused the WebSocket")?;
        Ok(Self { socket, server })
    }

    /// Keeps so many messages under way for `time`.
    ///
    /// # Errors
    ///
    /// If the connection breaks.
    pub(crate) async fn measure(
        &mut self,
        in_flight: usize,
        time: Duration,
    ) -> anyhow::Result<Sample> {
        let message = Message::Binary(Bytes::from(vec![0; MESSAGE_BYTES]));
        let mut latencies = Latencies::new();
        let mut under_way = VecDeque::with_capacity(in_flight);
        let started = Instant::now();
        loop {
            let now = Instant::now();
            let free = if now - started < time { in_flight - under_way.len() } else { 0 };
            for _ in 0..free {
                self.socket.feed(message.clone()).await.context("the echo broke off")?;
                under_way.push_back(now);
            }
            if under_way.is_empty() {
                return Ok(latencies.sample(started.elapsed()));
            }
            self.socket.flush().await.context("the echo broke off")?;
            for _ in receive(&mut self.socket).await? {
                // Answers come in the order of the messages.
                let sent = under_way.pop_front().context("the echo answered twice")?;
                latencies.record(sent.elapsed(), 1);
            }
        }
    }

    /// Closes the connection and waits for the far end.
    ///
    /// # Errors
    ///
    /// If the far end failed.
    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.socket.close(None).await.context("cannot close the echo")?;
        while let Some(Ok(_)) = self.socket.next().await {}
        self.server.join().map_err(|_| anyhow!("the echo's thread panicked"))?
    }
}

fn serve(listener: std::net::TcpListener) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        listener.set_nonblocking(true)?;
        let (stream, _) = TcpListener::from_std(listener)?.accept().await?;
        stream.set_nodelay(true)?;
        let mut socket = accept_async(stream).await?;
        loop {
            let messages = receive(&mut socket).await?;
            if messages.is_empty() {
                return Ok(());
            }
            for message in messages {
                socket.feed(message).await?;
            }
            socket.flush().await?;
        }
    })
}

/// The next message and those that are already there; none at the end.
async fn receive(socket: &mut WebSocketStream<TcpStream>) -> anyhow::Result<Vec<Message>> {
    let mut messages = Vec::new();
    let mut next = socket.next().await;
    while let Some(message) = next {
        match message.context("the echo's connection broke")? {
            Message::Close(_) => break,
            message => messages.push(message),
        }
        if messages.len() == BATCH {
            break;
        }
        match socket.next().now_or_never() {
            Some(more) => next = more,
            None => break,
        }
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_message_comes_back() {
        let mut echo = Echo::start().await.unwrap();
        for in_flight in [1, 64, 100] {
            let sample = echo.measure(in_flight, Duration::from_millis(5)).await.unwrap();
            assert!(sample.calls_per_second > 0.0, "{sample:?}");
        }
        echo.stop().await.unwrap();
    }
}
