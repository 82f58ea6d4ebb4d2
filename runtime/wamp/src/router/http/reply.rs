//! How answers are written.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

/// An answer; its length is known.
pub(super) type Reply = Response<Full<Bytes>>;

pub(super) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Full::default());
    *reply.status_mut() = status;
    reply
}

/// One line for people.
pub(super) fn text(status: StatusCode, text: &str) -> Reply {
    with_body(status, "text/plain; charset=utf-8", format!("{text}\n"))
}

/// `json` is well-formed.
pub(super) fn json(status: StatusCode, json: String) -> Reply {
    with_body(status, "application/json; charset=utf-8", json)
}

fn with_body(status: StatusCode, content_type: &'static str, body: String) -> Reply {
    let mut reply = Response::new(Full::from(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
