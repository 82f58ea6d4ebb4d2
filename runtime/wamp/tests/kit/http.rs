//! A client that says what it is told to, in HTTP.

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Site, within};

/// A connection, and what has been read of the next answer.
pub(crate) struct Http {
    pub(crate) stream: TcpStream,
    unread: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header, if it is there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (candidate, value) = line.split_once(':')?;
            candidate.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

impl Http {
    pub(crate) async fn connect(site: &Site) -> Self {
        let stream = TcpStream::connect(site.address).await.unwrap();
        Self { stream, unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// A request with these header lines, each ended by a line break.
    pub(crate) async fn ask(&mut self, method_and_path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        let head =
            format!("{method_and_path} HTTP/1.1\nHost: x\n{headers}Content-Length: {length}\n\n");
        self.send((head.replace('\n', "\r\n") + body).as_bytes()).await;
        if method_and_path.starts_with("HEAD") { self.head().await } else { self.answer().await }
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        let mut answer = self.head().await;
        let length = answer.header("content-length").map_or(0, |value| value.parse().unwrap());
        while self.unread.len() < length {
            assert!(self.fill().await, "{answer:?}");
        }
        let body = self.unread.drain(..length).collect();
        answer.body = String::from_utf8(body).unwrap();
        answer
    }

    /// The next answer if it has no body, whatever its head says.
    pub(crate) async fn head(&mut self) -> Answer {
        let end = loop {
            match self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => assert!(self.fill().await, "no answer came, only {:?}", self.unread),
            }
        };
        let head: Vec<u8> = self.unread.drain(..end).collect();
        let head = String::from_utf8(head).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: String::new() }
    }

    /// Whether the router has closed the connection, with nothing more to say.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.unread.is_empty() && !self.fill().await
    }

    async fn fill(&mut self) -> bool {
        // A reset is as good an end as any.
        within(self.stream.read_buf(&mut self.unread)).await.is_ok_and(|length| length > 0)
    }
}

/// One request on a connection of its own.
pub(crate) async fn ask(site: &Site, method_and_path: &str, headers: &str, body: &str) -> Answer {
    Http::connect(site).await.ask(method_and_path, headers, body).await
}
