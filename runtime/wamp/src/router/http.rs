//! The HTTP in front of a WebSocket: which requests are let through, and what others are told.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::Serializer;
use crate::stream::Stream;
use crate::wire::socket_config;

/// The longest head of a request.
const MAX_HEAD: usize = 8 * 1024;

/// How long a refused peer may go on talking.
const PATIENCE: Duration = Duration::from_secs(1);

/// The most header lines of a request.
const MAX_HEADERS: usize = 64;

/// A connection did not become a WebSocket.
#[derive(Debug, thiserror::Error)]
pub(super) enum UpgradeError {
    /// The peer closed, or the connection broke.
    #[error("the connection ended before its request: {0}")]
    Io(#[from] io::Error),
    /// What came is no HTTP; the peer was told nothing.
    #[error("no HTTP: {0}")]
    NotHttp(String),
    /// The request was answered with an error.
    #[error("answered {status}: {text}")]
    Refused {
        /// The status line without the version.
        status: &'static str,
        /// What the peer was told.
        text: String,
    },
}

/// What is of interest in the head of a request.
#[derive(Debug, Default, PartialEq, Eq)]
struct Request {
    method: String,
    path: String,
    is_upgrade: bool,
    key: Option<String>,
    version: Option<String>,
    origin: Option<String>,
    subprotocols: Vec<String>,
}

/// Reads a request and makes a WebSocket of the connection, or tells the peer why not.
///
/// Bounded in bytes by itself; in time by the caller.
pub(super) async fn upgrade(
    mut stream: Stream,
    max_message_bytes: usize,
) -> Result<(WebSocketStream<Stream>, Serializer), UpgradeError> {
    let (request, rest) = read_request(&mut stream).await?;
    let (key, serializer) = match check(&request) {
        Ok(accepted) => accepted,
        Err((status, text)) => return Err(refuse(stream, status, text).await),
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: {serializer}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    stream.write_all(answer.as_bytes()).await?;
    let config = socket_config(max_message_bytes);
    let socket =
        WebSocketStream::from_partially_read(stream, rest, Role::Server, Some(config)).await;
    Ok((socket, serializer))
}

/// Answers a connection for which there is no room.
pub(super) async fn refuse_for_load(mut stream: Stream, sessions: usize) {
    if read_request(&mut stream).await.is_err() {
        return;
    }
    let text = format!("this router has {sessions} sessions already, try again later");
    refuse(stream, "503 Service Unavailable", text).await;
}

async fn read_request(stream: &mut Stream) -> Result<(Request, Vec<u8>), UpgradeError> {
    let mut head = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        match parse(&head) {
            Ok(Some((request, length))) => return Ok((request, head.split_off(length))),
            Ok(None) if head.len() >= MAX_HEAD => {
                return Err(UpgradeError::NotHttp(format!("a head of more than {MAX_HEAD} bytes")));
            }
            Ok(None) => {}
            Err(error) => return Err(UpgradeError::NotHttp(error.to_string())),
        }
    }
}

/// Returns the request and where its head ends, if it is complete.
fn parse(head: &[u8]) -> Result<Option<(Request, usize)>, httparse::Error> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = parsed.parse(head)? else { return Ok(None) };
    let path = parsed.path.unwrap_or_default().split('?').next().unwrap_or_default();
    let mut request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        ..Request::default()
    };
    for header in parsed.headers.iter() {
        let value = String::from_utf8_lossy(header.value).trim().to_owned();
        match header.name.to_ascii_lowercase().as_str() {
            "upgrade" => request.is_upgrade |= value.eq_ignore_ascii_case("websocket"),
            "sec-websocket-key" => request.key = Some(value),
            "origin" => request.origin = Some(value),
            "sec-websocket-version" => request.version = Some(value),
            "sec-websocket-protocol" => {
                request.subprotocols.extend(value.split(',').map(|name| name.trim().to_owned()));
            }
            _ => {}
        }
    }
    Ok(Some((request, length)))
}

/// The key to answer with and the serializer to speak, or the status and text of a refusal.
fn check(request: &Request) -> Result<(&str, Serializer), (&'static str, String)> {
    let spoken = Serializer::list(Serializer::ALL);
    if !matches!(request.path.as_str(), "/ws" | "/") {
        let text = format!("there is nothing at {}: the WebSocket is at /ws", request.path);
        return Err(("404 Not Found", text));
    }
    if !request.is_upgrade || request.method != "GET" {
        let text = format!("this is a WAMP router: open a WebSocket here that speaks {spoken}");
        return Err(("426 Upgrade Required", text));
    }
    if let Some(origin) = request.origin.as_deref().filter(|origin| !is_local(origin)) {
        let origin: String = origin.chars().take(100).collect();
        return Err(("403 Forbidden", format!("pages of {origin} may not open sessions here")));
    }
    if request.version.as_deref() != Some("13") {
        return Err(("426 Upgrade Required", "this router speaks WebSocket version 13".into()));
    }
    let Some(key) = request.key.as_deref() else {
        return Err(("400 Bad Request", "the header Sec-WebSocket-Key is missing".into()));
    };
    let offered = request.subprotocols.iter();
    // The client's order decides.
    match offered.filter_map(|name| Serializer::from_subprotocol(name)).next() {
        Some(serializer) => Ok((key, serializer)),
        None => {
            let text = if request.subprotocols.is_empty() {
                format!("no WebSocket subprotocol was offered: this router speaks {spoken}")
            } else {
                let offered = request.subprotocols.join(", ");
                format!("none of the subprotocols {offered} is known: this router speaks {spoken}")
            };
            Err(("400 Bad Request", text))
        }
    }
}

/// Whether a page comes from this machine.
///
/// Only browsers send an origin. Any page in the world can tell the browser of
/// somebody at this machine to open a WebSocket to it, and must not thereby
/// get at the nodes. Comparing with the Host header would not do: a name that
/// a stranger owns may point here.
fn is_local(origin: &str) -> bool {
    let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

async fn refuse(mut stream: Stream, status: &'static str, text: String) -> UpgradeError {
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n{text}\n",
        text.len() + 1
    );
    // A peer that is gone misses nothing. One that is still sending must be
    // heard out, or the connection is reset before it has read the answer.
    if stream.write_all(answer.as_bytes()).await.is_ok() && stream.shutdown().await.is_ok() {
        let hear_out = async {
            let mut unread = [0; 1024];
            while stream.read(&mut unread).await.is_ok_and(|length| length > 0) {}
        };
        let _ = tokio::time::timeout(PATIENCE, hear_out).await;
    }
    UpgradeError::Refused { status, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &str) -> Request {
        let head = format!("{}\r\n\r\n", lines.replace('\n', "\r\n"));
        parse(head.as_bytes()).unwrap().unwrap().0
    }

    const UPGRADE: &str = "GET /ws?x=1 HTTP/1.1\nHost: a\nConnection: keep-alive, Upgrade\n\
        Upgrade: WebSocket\nSec-WebSocket-Version: 13\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

    #[test]
    fn the_clients_first_known_subprotocol_is_taken() {
        let offer = "Sec-WebSocket-Protocol: wamp.2.ubjson, wamp.2.json.batched, wamp.2.msgpack";
        let request = request(&format!("{UPGRADE}\n{offer}"));
        assert_eq!(check(&request).unwrap().1, Serializer::JsonBatched);
    }

    #[test]
    fn a_refusal_says_what_is_spoken() {
        for (lines, status) in [
            ("GET /ws HTTP/1.1\nHost: a".to_owned(), "426"),
            ("POST /ws HTTP/1.1\nHost: a".to_owned(), "426"),
            (UPGRADE.to_owned(), "400"),
            (format!("{UPGRADE}\nSec-WebSocket-Protocol: chat"), "400"),
        ] {
            let request = request(&lines);
            let (answered, text) = check(&request).unwrap_err();
            assert!(answered.starts_with(status), "{answered}");
            assert!(text.contains("wamp.2.msgpack, wamp.2.msgpack.batched, wamp.2.cbor"), "{text}");
        }
        let elsewhere = request("GET /favicon.ico HTTP/1.1\nHost: a");
        assert!(check(&elsewhere).unwrap_err().0.starts_with("404"));
    }

    #[test]
    fn only_pages_of_this_machine_may_open_sessions() {
        for origin in
            ["http://localhost:8080", "http://127.0.0.1", "https://[::1]:80", "http://127.1.2.3:1"]
        {
            assert!(is_local(origin), "{origin}");
        }
        for origin in [
            "null",
            "",
            "http://a.example",
            "http://localhost.a.example",
            "http://127.0.0.1.a.example:80",
            "http://10.0.0.1",
        ] {
            assert!(!is_local(origin), "{origin}");
        }
    }

    #[test]
    fn what_is_no_http_is_told_apart_from_what_is_not_yet_complete() {
        assert!(parse(b"\x16\x03\x01\x02\x00\x01").is_err());
        assert_eq!(parse(b"GET /ws HTTP/1.1\r\nHost:").unwrap(), None);
    }
}
