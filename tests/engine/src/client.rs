//! HTTP over a unix socket, by hand: a test sees the framing.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// Who asks an engine, with a connection for each request.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By its length.
    Length(usize),
    /// By an empty chunk.
    Chunked,
    /// By the end of the connection.
    Close,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// Names in small letters, in the order of the answer.
    pub headers: Vec<(String, String)>,
    /// What follows.
    pub body: Vec<u8>,
}

/// An answer whose body is still coming.
pub struct Reading {
    /// Such as 200.
    pub status: u16,
    /// Names in small letters, in the order of the answer.
    pub headers: Vec<(String, String)>,
    /// How the body ends.
    pub framing: Framing,
    stream: BufReader<UnixStream>,
}

impl Client {
    /// A client of the engine at a socket.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self { socket: socket.to_owned() }
    }

    /// Makes a request such as `GET`, `/v1.41/info` and reads the whole answer.
    /// `headers` are whole lines, each ended by `\r\n`.
    ///
    /// # Panics
    ///
    /// If the engine does not answer.
    #[must_use]
    pub fn ask(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let reading = self.open(method, path, headers, body);
        let (status, headers) = (reading.status, reading.headers.clone());
        Answer { status, headers, body: reading.rest() }
    }

    /// Makes a request and reads the head of the answer.
    ///
    /// # Panics
    ///
    /// If the engine does not answer.
    #[must_use]
    pub fn open(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Reading {
        let mut stream = UnixStream::connect(&self.socket)
            .unwrap_or_else(|error| panic!("no engine at {}: {error}", self.socket.display()));
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: engine\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        Reading::head(BufReader::new(stream), method)
    }
}

impl Answer {
    /// The body, which is JSON.
    ///
    /// # Panics
    ///
    /// If it is not.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&self.body)))
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.map(|(_, value)| value.as_str())
    }
}

impl Reading {
    fn head(mut stream: BufReader<UnixStream>, method: &str) -> Self {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            let read = stream.read_until(b'\n', &mut text).expect("an answer in time");
            assert!(read > 0, "the connection closed: {}", String::from_utf8_lossy(&text));
        }
        let mut parsed = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut parsed);
        assert!(response.parse(&text).unwrap().is_complete());
        let status = response.code.unwrap();
        // Who expects to continue has sent its body already.
        if status == 100 {
            return Self::head(stream, method);
        }
        let headers: Vec<_> = response
            .headers
            .iter()
            .map(|header| {
                let value = String::from_utf8_lossy(header.value).into_owned();
                (header.name.to_ascii_lowercase(), value)
            })
            .collect();
        let value = |name: &str| headers.iter().find(|(known, _)| known == name).map(|(_, v)| v);
        let framing = match value("content-length").and_then(|length| length.parse().ok()) {
            _ if method == "HEAD" || status == 204 || status == 304 => Framing::Length(0),
            Some(length) => Framing::Length(length),
            None if value("transfer-encoding").is_some() => Framing::Chunked,
            None => Framing::Close,
        };
        Self { status, headers, framing, stream }
    }

    /// The next bytes; none at the end of the body.
    ///
    /// # Panics
    ///
    /// If nothing comes in time, or the connection breaks before the end.
    pub fn more(&mut self) -> Option<Vec<u8>> {
        match &mut self.framing {
            Framing::Length(0) => None,
            Framing::Length(left) => {
                let mut bytes = vec![0; (*left).min(64 << 10)];
                let read = self.stream.read(&mut bytes).expect("more of the body in time");
                assert!(read > 0, "the connection closed with {left} bytes to come");
                *left -= read;
                bytes.truncate(read);
                Some(bytes)
            }
            Framing::Chunked => {
                let mut line = String::new();
                self.stream.read_line(&mut line).expect("a chunk in time");
                let size = line.trim().split(';').next().unwrap();
                let size = usize::from_str_radix(size, 16)
                    .unwrap_or_else(|_| panic!("the connection closed within a chunked body"));
                let mut bytes = vec![0; size + 2];
                self.stream.read_exact(&mut bytes).expect("a whole chunk in time");
                bytes.truncate(size);
                if size == 0 {
                    self.framing = Framing::Length(0);
                    return None;
                }
                Some(bytes)
            }
            Framing::Close => {
                let mut bytes = vec![0; 64 << 10];
                let read = self.stream.read(&mut bytes).expect("more of the stream in time");
                bytes.truncate(read);
                (read > 0).then_some(bytes)
            }
        }
    }

    /// All that is still to come.
    #[must_use]
    pub fn rest(mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bytes) = self.more() {
            all.extend(bytes);
        }
        all
    }

    /// Sends bytes after the request, on a connection that was upgraded.
    ///
    /// # Panics
    ///
    /// If the engine has closed it.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).unwrap();
    }

    /// Tells that nothing more will be sent.
    ///
    /// # Panics
    ///
    /// If the engine has closed the connection.
    pub fn finish_sending(&mut self) {
        self.stream.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
    }
}
