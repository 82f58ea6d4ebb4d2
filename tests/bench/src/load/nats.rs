//! The limit: request and reply over a NATS server, in its text protocol.

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::calls::{Caller, Calls, PAYLOAD};

const SUBJECT: &str = "bench.load.empty";

/// Where answers come: this, then the id of the call.
const INBOX: &str = "_INBOX.bench.";

/// Bytes read at a time.
const BUFFER: usize = 32 * 1024;

/// One connection, and what waits on it in either direction.
pub(super) struct Nats {
    stream: TcpStream,
    input: Vec<u8>,
    /// What of the input has been read.
    read: usize,
    output: Vec<u8>,
}

/// A message that came.
struct Delivery {
    subject: String,
    reply_to: Option<String>,
}

/// A requester and its responder, connected and subscribed.
pub(super) async fn calls(address: &str) -> anyhow::Result<Calls<Nats>> {
    let responder = Nats::connect(address, SUBJECT).await?;
    let mut serving = JoinSet::new();
    serving.spawn(responder.answer_requests());
    let requester = Nats::connect(address, &format!("{INBOX}*")).await?;
    Ok(Calls::new(requester, serving))
}

impl Nats {
    async fn connect(address: &str, subject: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("cannot reach NATS")?;
        stream.set_nodelay(true)?;
        let mut nats = Self { stream, input: Vec::new(), read: 0, output: Vec::new() };
        let setup = format!("CONNECT {{\"verbose\":false}}\r\nSUB {subject} 1\r\nPING\r\n");
        nats.output.extend_from_slice(setup.as_bytes());
        nats.send().await?;
        loop {
            match nats.line()? {
                Some(line) if line == "PONG" => return Ok(nats),
                Some(line) if line.starts_with("INFO") => {}
                Some(line) => bail!("NATS answered {line}"),
                None => nats.fill().await?,
            }
        }
    }

    fn publish(&mut self, subject: &str, reply_to: &str) {
        let head = format!("PUB {subject} {reply_to} {}\r\n", PAYLOAD.len());
        self.output.extend_from_slice(head.as_bytes());
        self.output.extend_from_slice(&PAYLOAD);
        self.output.extend_from_slice(b"\r\n");
    }

    async fn send(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.output).await.context("NATS does not read")?;
        self.output.clear();
        Ok(())
    }

    /// Waits for a message, and takes all that came with it.
    async fn receive(&mut self, deliveries: &mut Vec<Delivery>) -> anyhow::Result<()> {
        loop {
            while let Some(delivery) = self.delivery()? {
                deliveries.push(delivery);
            }
            if !deliveries.is_empty() {
                return Ok(());
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> anyhow::Result<()> {
        self.input.drain(..self.read);
        self.read = 0;
        self.input.reserve(BUFFER);
        let length = self.stream.read_buf(&mut self.input).await?;
        ensure!(length > 0, "NATS closed the connection");
        Ok(())
    }

    /// The next line, if all of it is there.
    fn line(&mut self) -> anyhow::Result<Option<String>> {
        let rest = &self.input[self.read..];
        let Some(length) = rest.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
        let line = std::str::from_utf8(&rest[..length]).context("NATS sent no text")?;
        let line = line.trim_end().to_owned();
        self.read += length + 1;
        Ok(Some(line))
    }

    /// The next message, if all of it is there.
    fn delivery(&mut self) -> anyhow::Result<Option<Delivery>> {
        loop {
            let before = self.read;
            let Some(line) = self.line()? else { return Ok(None) };
            if line == "PING" {
                self.output.extend_from_slice(b"PONG\r\n");
                continue;
            }
            let words: Vec<&str> = line.split(' ').collect();
            let (subject, reply_to, length) = match words[..] {
                ["MSG", subject, _, length] => (subject, None, length),
                ["MSG", subject, _, reply_to, length] => (subject, Some(reply_to), length),
                _ => bail!("NATS sent {line}"),
            };
            let length: usize = length.parse().context("NATS sent a length that is none")?;
            if self.input.len() < self.read + length + 2 {
                self.read = before;
                return Ok(None);
            }
            self.read += length + 2;
            let reply_to = reply_to.map(str::to_owned);
            return Ok(Some(Delivery { subject: subject.to_owned(), reply_to }));
        }
    }

    async fn answer_requests(mut self) -> anyhow::Result<()> {
        let mut deliveries = Vec::new();
        loop {
            self.receive(&mut deliveries).await?;
            for delivery in deliveries.drain(..) {
                let inbox = delivery.reply_to.context("a request without an inbox")?;
                self.publish(&inbox, "");
            }
            self.send().await?;
        }
    }
}

impl Caller for Nats {
    async fn call(&mut self, id: u64) -> anyhow::Result<()> {
        self.publish(SUBJECT, &format!("{INBOX}{id}"));
        Ok(())
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        self.send().await
    }

    async fn answers(&mut self, ids: &mut Vec<u64>) -> anyhow::Result<()> {
        let mut deliveries = Vec::new();
        self.receive(&mut deliveries).await?;
        for delivery in deliveries {
            let id = delivery.subject.strip_prefix(INBOX).and_then(|id| id.parse().ok());
            ids.push(id.context("an answer to no call")?);
        }
        Ok(())
    }
}
