//! Files that never change, for whoever may call what tells of them.
//!
//! A request has a token that the guard admits, or a ticket that is for files alone;
//! without either it is as good as the bridge's role.
//!
//! They are read piece by piece as they are sent, so a large one takes no more
//! memory than a small one, whoever asks.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{io, ops::Range};

use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use hyper::header::{
    ACCEPT_RANGES, ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG,
    HeaderMap, HeaderValue, RANGE,
};
use hyper::{Method, Request, StatusCode};
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::reply::{self, Body, Reply};
use crate::Pace;

/// How much of a file is in memory for one reader.
const PIECE: u64 = 64 * 1024;

/// A directory whose files are handed out: each is what its name says for ever,
/// such as content under its hash.
#[derive(Debug, Clone)]
pub struct HttpFiles {
    /// What comes before a file's name, such as `/catalog/`.
    pub path: String,
    /// Where the files are. Only names of letters, digits and `-` are looked for.
    pub dir: PathBuf,
    /// What limits all readers together.
    pub pace: Pace,
    /// The procedure that whoever reads them may call; without it everybody may.
    pub procedure: Option<String>,
}

impl HttpFiles {
    /// The file's name, if the path is one of this directory.
    pub(super) fn name<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(self.path.as_str())
    }

    /// Answers a request for a file.
    pub(super) async fn answer<B>(&self, name: &str, request: &Request<B>) -> Reply {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let text = format!("{} is nothing to do here, only GET", request.method());
            let mut reply = reply::text(StatusCode::METHOD_NOT_ALLOWED, &text);
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return reply;
        }
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let opened = if is_name && !name.is_empty() { self.open(name).await } else { Ok(None) };
        let (file, length) = match opened {
            Ok(Some(opened)) => opened,
            Ok(None) => {
                return reply::text(StatusCode::NOT_FOUND, "there is no such content here");
            }
            Err(error) => {
                tracing::error!(name, %error, "cannot read a file that is handed out");
                let text = "the content cannot be read; the log says why";
                return reply::text(StatusCode::INTERNAL_SERVER_ERROR, text);
            }
        };
        let (status, range) = match wanted(request.headers(), length) {
            Wanted::All => (StatusCode::OK, 0..length),
            Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
            Wanted::Nothing => {
                let text = format!("the content has {length} bytes");
                let mut reply = reply::text(StatusCode::RANGE_NOT_SATISFIABLE, &text);
                reply.headers_mut().insert(CONTENT_RANGE, header(&format!("bytes */{length}")));
                return reply;
            }
        };
        let mut reply = reply::empty(status);
        let headers = reply.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers
            .insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
        headers.insert(ETAG, header(&format!("\"{name}\"")));
        headers.insert(CONTENT_LENGTH, header(&(range.end - range.start).to_string()));
        if status == StatusCode::PARTIAL_CONTENT {
            let text = format!("bytes {}-{}/{length}", range.start, range.end - 1);
            headers.insert(CONTENT_RANGE, header(&text));
        }
        if request.method() == Method::GET {
            *reply.body_mut() = Body::File(FileBody::new(file, range, self.pace.clone()));
        }
        reply
    }

    async fn open(&self, name: &str) -> io::Result<Option<(File, u64)>> {
        match File::open(self.dir.join(name)).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(file) => {
                let length = file.metadata().await?.len();
                Ok(Some((file, length)))
            }
        }
    }
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// What a request wants of a file.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    /// A part that the file does not have.
    Nothing,
}

/// One range is answered; of several, and of what is no range, the whole file
/// is as good an answer.
fn wanted(headers: &HeaderMap, length: u64) -> Wanted {
    let text = headers.get(RANGE).and_then(|value| value.to_str().ok());
    let range = text.and_then(|text| text.strip_prefix("bytes=")?.split_once('-'));
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let part = match range {
        Some(("", last)) => match number(last) {
            Some(last) => length.saturating_sub(last)..length,
            None => return Wanted::All,
        },
        Some((first, "")) => match number(first) {
            Some(first) => first..length,
            None => return Wanted::All,
        },
        Some((first, last)) => match (number(first), number(last)) {
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
            _ => return Wanted::All,
        },
        None => return Wanted::All,
    };
    if part.is_empty() { Wanted::Nothing } else { Wanted::Part(part) }
}

type Reading = Pin<Box<dyn Future<Output = io::Result<(File, Bytes)>> + Send>>;

/// A part of a file on its way out.
pub(in crate::router) struct FileBody {
    reading: Reading,
    left: u64,
    pace: Pace,
}

impl FileBody {
    fn new(mut file: File, range: Range<u64>, pace: Pace) -> Self {
        let left = range.end - range.start;
        let first = pace.clone();
        let reading = Box::pin(async move {
            file.seek(SeekFrom::Start(range.start)).await?;
            read(file, left, first).await
        });
        Self { reading, left, pace }
    }
}

/// Reads the next piece when its turn has come.
async fn read(mut file: File, left: u64, pace: Pace) -> io::Result<(File, Bytes)> {
    let length = left.min(PIECE);
    pace.take(length).await;
    let mut piece = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_exact(&mut piece).await?;
    Ok((file, piece.into()))
}

impl hyper::body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let (file, piece) = match ready!(self.reading.as_mut().poll(cx)) {
            Ok(read) => read,
            Err(error) => {
                self.left = 0;
                return Poll::Ready(Some(Err(error)));
            }
        };
        self.left -= piece.len() as u64;
        if self.left > 0 {
            self.reading = Box::pin(read(file, self.left, self.pace.clone()));
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_what_the_file_has_of_it() {
        let wanted = |range: &str| {
            let headers = [(RANGE, range.parse().unwrap())].into_iter().collect();
            wanted(&headers, 10)
        };
        assert_eq!(super::wanted(&HeaderMap::new(), 10), Wanted::All);
        for (range, part) in [
            ("bytes=0-4", 0..5),
            ("bytes=5-", 5..10),
            ("bytes=9-9", 9..10),
            ("bytes=5-99", 5..10),
            ("bytes=-3", 7..10),
            ("bytes=-30", 0..10),
            ("bytes=0-18446744073709551615", 0..10),
        ] {
            assert_eq!(wanted(range), Wanted::Part(part), "{range}");
        }
        for range in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(wanted(range), Wanted::Nothing, "{range}");
        }
        for range in ["bytes=0-1,3-4", "bytes=4-2", "bytes=x-", "bytes=-", "lines=1-2", "bytes="] {
            assert_eq!(wanted(range), Wanted::All, "{range}");
        }
    }
}
