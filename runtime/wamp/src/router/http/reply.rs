//! How answers are written.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};

use super::files::FileBody;

/// An answer; its length is known.
pub(super) type Reply = Response<Body>;

/// What an answer says.
pub(in crate::router) enum Body {
    Whole(Full<Bytes>),
    File(FileBody),
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::File(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::File(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::File(body) => body.size_hint(),
        }
    }
}

pub(super) fn empty(status: StatusCode) -> Reply {
    let mut reply = Response::new(Body::Whole(Full::default()));
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
    let mut reply = Response::new(Body::Whole(Full::from(body)));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}
