//! A request that asks for an upgrade, and the head of its answer, byte by
//! byte: what follows is not HTTP any more.

use std::io;

use bytes::{Buf, BytesMut};
use drover_grants::HttpTarget;
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Uri};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dial::Stream;
use super::send::{add_own_headers, is_forbidden};

/// The longest head of an answer, in bytes.
const HEAD: usize = 64 << 10;
/// How much of the body of a refusal is read, in bytes.
const REFUSAL: usize = 64 << 10;
/// Headers of an answer, at most.
const HEADERS: usize = 100;

/// A request that was checked to be one.
pub(crate) struct Asking {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// What a server answers.
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    /// What came after the head already.
    pub(crate) rest: BytesMut,
}

impl Asking {
    /// Checks a request; an error says what is wrong with it.
    pub(crate) fn new(
        method: &str,
        url: &str,
        protocol: &str,
        headers: &[(String, String)],
        body: Vec<u8>,
    ) -> Result<Self, String> {
        let method = Method::from_bytes(method.as_bytes())
            .map_err(|_| format!("{method:?} is no method"))?;
        let uri: Uri = url.parse().map_err(|error| format!("its URL is wrong: {error}"))?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return Err("its URL begins neither with `http://` nor with `https://`".to_owned());
        }
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let own = HeaderName::try_from(name).map_err(|_| format!("{name:?} is no header"))?;
            if is_forbidden(&own) || own == CONTENT_LENGTH {
                return Err(format!("the header `{own}` is the host's"));
            }
            let value = HeaderValue::try_from(value)
                .map_err(|_| format!("the value of the header `{own}` is none"))?;
            map.append(own, value);
        }
        let protocol = HeaderValue::try_from(protocol)
            .map_err(|_| "its protocol cannot be in a header".to_owned())?;
        map.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        map.insert(UPGRADE, protocol);
        map.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        Ok(Self { method, uri, headers: map, body })
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// The bytes that are sent.
    fn bytes(mut self, target: &HttpTarget) -> Option<Vec<u8>> {
        add_own_headers(&mut self.headers, target).ok()?;
        let query = self.uri.query().map_or_else(String::new, |query| format!("?{query}"));
        let line = format!("{} {}{query} HTTP/1.1\r\n", self.method, self.uri.path());
        let mut bytes = line.into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(name.as_str().as_bytes());
            bytes.extend_from_slice(b": ");
            bytes.extend_from_slice(value.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.append(&mut self.body);
        Some(bytes)
    }

    /// Sends the request and reads the head of the answer.
    pub(crate) async fn ask(
        self,
        stream: &mut Stream,
        target: &HttpTarget,
    ) -> io::Result<Answered> {
        let bytes = self.bytes(target).ok_or(io::ErrorKind::InvalidInput)?;
        stream.write_all(&bytes).await?;
        stream.flush().await?;
        let mut read = BytesMut::with_capacity(1 << 10);
        loop {
            if let Some(answered) = parse(&mut read)? {
                return Ok(answered);
            }
            if read.len() >= HEAD {
                return Err(io::Error::other("the head of the answer has more than 64 KiB"));
            }
            if stream.read_buf(&mut read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Answered {
    /// Whether what follows is a stream in both directions: servers that know no
    /// upgrade begin it with an ordinary answer without a length.
    pub(crate) fn is_stream(&self) -> bool {
        self.status == 101
            || self.status == 200
                && self.header(CONTENT_LENGTH.as_str()).is_none()
                && self.header(TRANSFER_ENCODING.as_str()).is_none()
    }

    /// The beginning of an ordinary answer's body.
    pub(crate) async fn body(mut self, stream: &mut Stream) -> Vec<u8> {
        let length = self.header(CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok());
        let length = length.map_or(0, |length: usize| length.min(REFUSAL));
        while self.rest.len() < length {
            // What there is, is shown.
            match stream.read_buf(&mut self.rest).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        self.rest.truncate(length);
        self.rest.to_vec()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }
}

/// Takes the head of an answer from what was read; none if it is not whole.
/// Answers that only say to wait are passed over.
fn parse(read: &mut BytesMut) -> io::Result<Option<Answered>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS];
        let mut head = httparse::Response::new(&mut headers);
        let parsed = head.parse(read).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("the answer is no HTTP: {error}"))
        })?;
        let httparse::Status::Complete(length) = parsed else { return Ok(None) };
        let status = head.code.unwrap_or_default();
        let headers = head.headers.iter().map(|header| {
            let value = String::from_utf8_lossy(header.value).into_owned();
            (header.name.to_ascii_lowercase(), value)
        });
        let headers = headers.collect();
        read.advance(length);
        if !(100..200).contains(&status) || status == 101 {
            return Ok(Some(Answered { status, headers, rest: std::mem::take(read) }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> io::Result<Option<(u16, bool, String)>> {
        let answered = parse(&mut BytesMut::from(text))?;
        Ok(answered.map(|answered| {
            let rest = String::from_utf8(answered.rest.to_vec()).unwrap();
            (answered.status, answered.is_stream(), rest)
        }))
    }

    #[test]
    fn what_follows_the_head_is_the_stream() {
        for (text, status, is_stream, rest) in [
            ("HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\nab", 101, true, "ab"),
            ("HTTP/1.1 200 OK\r\n\r\n\0\r\n", 200, true, "\0\r\n"),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 x\r\n\r\n", 101, true, ""),
            ("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", 200, false, "a"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 200, false, ""),
            ("HTTP/1.1 404 no\r\n\r\n", 404, false, ""),
        ] {
            let rest = rest.to_owned();
            assert_eq!(parsed(text).unwrap(), Some((status, is_stream, rest)), "{text}");
        }
    }

    #[test]
    fn half_a_head_is_waited_for_and_nonsense_is_an_error() {
        for text in ["", "HTTP/1.1 101", "HTTP/1.1 101 x\r\na: b\r\n"] {
            assert_eq!(parsed(text).unwrap(), None, "{text}");
        }
        assert!(parsed("nonsense\r\n\r\n").is_err());
        assert!(parsed(&format!("HTTP/1.1 101 x\r\n{}\r\n", "a: b\r\n".repeat(200))).is_err());
    }

    #[test]
    fn nothing_can_be_smuggled_into_a_request() {
        let asking = |method: &str, url: &str, protocol: &str, name: &str, value: &str| {
            let headers = [(name.to_owned(), value.to_owned())];
            Asking::new(method, url, protocol, &headers, Vec::new()).is_ok()
        };
        assert!(asking("POST", "http://a/b?c", "tcp", "x-a", "b"));
        for (method, url, protocol, name, value) in [
            ("PO ST", "http://a/", "tcp", "x-a", "b"),
            ("POST", "http://a/ HTTP/1.1", "tcp", "x-a", "b"),
            ("POST", "/b", "tcp", "x-a", "b"),
            ("POST", "ftp://a/b", "tcp", "x-a", "b"),
            ("POST", "http://a/", "tcp\r\nx: y", "x-a", "b"),
            ("POST", "http://a/", "tcp", "x a", "b"),
            ("POST", "http://a/", "tcp", "x-a", "b\r\nc: d"),
            ("POST", "http://a/", "tcp", "host", "b"),
            ("POST", "http://a/", "tcp", "Content-Length", "7"),
            ("POST", "http://a/", "tcp", "transfer-encoding", "chunked"),
        ] {
            assert!(!asking(method, url, protocol, name, value), "{method} {url} {name} {value}");
        }
    }
}
