//! A WebSocket client made of bare frames, right or wrong.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::http::Http;
use super::{REALM, Site, within};

pub(crate) const CONTINUATION: u8 = 0;
pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// What is said in the first byte of a frame beside its kind.
pub(crate) const LAST: u8 = 0x80;

/// A frame from the router.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// The kind, and [`LAST`].
    pub(crate) first: u8,
    pub(crate) payload: Vec<u8>,
}

/// A connection after its upgrade.
pub(crate) struct Peer {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// A frame as clients write it: masked, and its length in the shortest form.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len());
    bytes[1] |= 0x80;
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The same without a mask, which only servers may send.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len());
    bytes.extend(payload);
    bytes
}

fn head(first: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    match length {
        0..126 => bytes.push(u8::try_from(length).unwrap()),
        126..0x1_0000 => {
            bytes.push(126);
            bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        _ => {
            bytes.push(127);
            bytes.extend(u64::try_from(length).unwrap().to_be_bytes());
        }
    }
    bytes
}

/// A close frame.
pub(crate) fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(LAST | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

impl Peer {
    /// Connects, and joins in JSON.
    pub(crate) async fn join(site: &Site) -> Self {
        let mut peer = Self::connect(site, "wamp.2.json").await;
        let roles = json!({"caller": {}, "publisher": {}, "subscriber": {}});
        let hello = json!([1, REALM, {"roles": roles}]).to_string();
        peer.send(&frame(LAST | TEXT, hello.as_bytes())).await;
        assert_eq!(peer.message().await[0], 2);
        peer
    }

    /// Connects without a HELLO.
    pub(crate) async fn connect(site: &Site, subprotocol: &str) -> Self {
        let mut http = Http::connect(site).await;
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        );
        http.send(request.as_bytes()).await;
        let answer = http.head().await;
        assert_eq!(answer.status, 101, "{answer:?}");
        http.stream.set_nodelay(true).unwrap();
        Self { stream: http.stream, unread: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The bare connection.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Sends as far as the router listens, which it need not to the end.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// The next frame; none when the connection is closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, length)) = parse(&self.unread) {
                self.unread.drain(..length);
                return Some(frame);
            }
            // A reset is as good an end as any.
            let read = within(self.stream.read_buf(&mut self.unread)).await.unwrap_or(0);
            if read == 0 {
                assert_eq!(self.unread, b"", "a frame is cut off");
                return None;
            }
        }
    }

    /// The next message, whatever comes between; it may come in fragments.
    pub(crate) async fn message(&mut self) -> Value {
        let mut text = Vec::new();
        loop {
            let frame = self.next().await.expect("a message");
            if matches!(frame.first & 0x0f, TEXT | CONTINUATION) {
                text.extend(frame.payload);
                if frame.first & LAST != 0 {
                    return serde_json::from_slice(&text).unwrap();
                }
            }
        }
    }
}

/// The frame at the start of `bytes`, and where it ends, if it is complete.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert!(second & 0x80 == 0, "a router does not mask");
    let (start, length) = match second {
        126 => (4, u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap())),
        length => (2, u64::from(length)),
    };
    let end = start + usize::try_from(length).unwrap();
    let payload = bytes.get(start..end)?.to_vec();
    Some((Frame { first, payload }, end))
}
