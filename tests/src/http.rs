//! Requests in plain HTTP, as curl and scripts make them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// What came back.
#[derive(Debug)]
pub struct HttpAnswer {
    /// Such as 200.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    /// What follows.
    pub body: String,
}

impl HttpAnswer {
    /// The body, which is JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

/// Makes a request such as `POST /call` to a `host:port`. `headers` are whole
/// lines, each ended by `\n`.
#[must_use]
pub fn http(address: &str, request: &str, headers: &str, body: &str) -> HttpAnswer {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let head = format!(
        "{request} HTTP/1.1\nHost: {address}\nConnection: close\nContent-Length: {}\n{headers}\n",
        body.len()
    );
    stream.write_all((head.replace('\n', "\r\n") + body).as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    HttpAnswer { status, head: head.to_owned(), body: body.to_owned() }
}
