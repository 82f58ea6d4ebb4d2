//! Content over plain HTTP, such as a router hands it out beside its sessions.
//!
//! A download goes on where an earlier one stopped, and hands out pieces as they
//! come: whoever takes them slowly slows the sender.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, HOST, HeaderMap, HeaderName, HeaderValue, RANGE,
};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::dial::{Destination, TlsOptions, dial};
use super::error::ConnectError;
use super::options::ClientConfig;
use crate::auth::Secret;

/// Content on its way here.
#[derive(Debug)]
pub struct Download {
    url: String,
    body: Incoming,
    offset: u64,
    length: u64,
    patience: Duration,
    _connection: JoinSet<()>,
}

/// Why content does not come.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The URL can be none of content.
    #[error("`{url}` is no address of content: {reason}")]
    Url {
        /// The URL.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server does not hand it out.
    #[error("{url} answers with status {status}")]
    Refused {
        /// The URL.
        url: String,
        /// The status.
        status: StatusCode,
    },
    /// What it answers with is not what was asked for.
    #[error("{url} answers with something else: {reason}")]
    Other {
        /// The URL.
        url: String,
        /// What.
        reason: &'static str,
    },
    /// It broke off.
    #[error("{url} broke off")]
    Broken {
        /// The URL.
        url: String,
        /// Why.
        source: hyper::Error,
    },
    /// It stalls.
    #[error("{url} sends nothing for {patience:?}")]
    Stalled {
        /// The URL.
        url: String,
        /// How long.
        patience: Duration,
    },
}

impl Download {
    /// Asks for the content at an `http://` or `https://` address from `offset` on,
    /// which must be less than its length, with a ticket where the server wants one.
    /// Nothing of it is waited for longer than `patience`.
    ///
    /// # Errors
    ///
    /// If the server cannot be reached or does not hand it out.
    pub async fn begin(
        url: &str,
        tls: &TlsOptions,
        ticket: Option<&Secret>,
        offset: u64,
        patience: Duration,
    ) -> Result<Self, DownloadError> {
        let stalled = || DownloadError::Stalled { url: url.to_owned(), patience };
        let beginning = Self::ask(url, tls, ticket, offset, patience);
        timeout(patience, beginning).await.map_err(|_| stalled())?
    }

    async fn ask(
        url: &str,
        tls: &TlsOptions,
        ticket: Option<&Secret>,
        offset: u64,
        patience: Duration,
    ) -> Result<Self, DownloadError> {
        let broken = |source| DownloadError::Broken { url: url.to_owned(), source };
        let (destination, mut request) = request(url, offset)?;
        if let Some(ticket) = ticket {
            let bearer = HeaderValue::from_str(&format!("Bearer {}", ticket.reveal()));
            let mut bearer = bearer.map_err(|_| DownloadError::Url {
                url: url.to_owned(),
                reason: "the ticket cannot be sent".to_owned(),
            })?;
            bearer.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, bearer);
        }
        let mut config = ClientConfig::new(url, "");
        config.tls = tls.clone();
        let stream = TokioIo::new(dial(&config, destination).await?);
        let (mut sender, connection) = http1::handshake(stream).await.map_err(broken)?;
        let mut carrying = JoinSet::new();
        carrying.spawn(async move {
            // Whoever reads the body is told of it.
            let _ = connection.await;
        });
        let (head, body) = sender.send_request(request).await.map_err(broken)?.into_parts();
        let other = |reason| DownloadError::Other { url: url.to_owned(), reason };
        let (offset, length) = match head.status {
            // Whoever knows no ranges sends all of it.
            StatusCode::OK => (0, number(&head.headers, &CONTENT_LENGTH)),
            StatusCode::PARTIAL_CONTENT => match range(&head.headers) {
                Some((from, length)) if from == offset => (offset, Some(length)),
                _ => return Err(other("it is another part of the content")),
            },
            status => return Err(DownloadError::Refused { url: url.to_owned(), status }),
        };
        let length = length.ok_or_else(|| other("it does not say how long the content is"))?;
        Ok(Self { url: url.to_owned(), body, offset, length, patience, _connection: carrying })
    }

    /// Where it begins: where it was asked to, or at the beginning of the content
    /// if the server does nothing else.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The length of the whole content.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.length
    }

    /// The next piece; none at the end. Nothing is read ahead of it but what the
    /// system holds.
    ///
    /// # Errors
    ///
    /// If it breaks off or stalls.
    pub async fn next(&mut self) -> Result<Option<Bytes>, DownloadError> {
        loop {
            let (url, patience) = (self.url.clone(), self.patience);
            let frame = timeout(patience, self.body.frame()).await;
            match frame.map_err(|_| DownloadError::Stalled { url: url.clone(), patience })? {
                None => return Ok(None),
                Some(Err(source)) => return Err(DownloadError::Broken { url, source }),
                Some(Ok(frame)) => {
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
            }
        }
    }
}

/// Where to dial, and what to ask there.
fn request(url: &str, offset: u64) -> Result<(Destination, Request<Empty<Bytes>>), DownloadError> {
    let wrong =
        |reason: &str| DownloadError::Url { url: url.to_owned(), reason: reason.to_owned() };
    let uri: Uri =
        url.parse().map_err(|error: hyper::http::uri::InvalidUri| wrong(&error.to_string()))?;
    let has_tls = match uri.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        _ => return Err(wrong("it begins with http:// or https://")),
    };
    let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
    let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = authority.port_u16().unwrap_or(if has_tls { 443 } else { 80 });
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::get(path).header(HOST, authority.as_str());
    if offset > 0 {
        request = request.header(RANGE, format!("bytes={offset}-"));
    }
    let request = request.body(Empty::new()).map_err(|error| wrong(&error.to_string()))?;
    Ok((Destination { host, port, has_tls }, request))
}

fn number(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.parse().ok()
}

/// Where a part begins, and how long the whole is: `bytes 5-11/12`.
fn range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (part, length) = text.split_once('/')?;
    let (first, _) = part.split_once('-')?;
    Some((first.parse().ok()?, length.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_to_dial_and_an_offset_what_to_ask() {
        let (to, request) = request("https://mirror.example/plugins/abc", 7).unwrap();
        assert_eq!((to.host.as_str(), to.port, to.has_tls), ("mirror.example", 443, true));
        assert_eq!(request.uri().path(), "/plugins/abc");
        assert_eq!(request.headers()[RANGE], "bytes=7-");
        let (to, request) = super::request("http://[::1]:7117/catalog/abc", 0).unwrap();
        assert_eq!((to.host.as_str(), to.port, to.has_tls), ("::1", 7117, false));
        assert!(!request.headers().contains_key(RANGE));
        for wrong in ["", "/catalog/abc", "ws://a/b", "http://"] {
            let error = super::request(wrong, 0).unwrap_err();
            assert!(matches!(error, DownloadError::Url { .. }), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_part_says_where_it_begins_and_how_long_the_whole_is() {
        let of =
            |text: &str| range(&[(CONTENT_RANGE, text.parse().unwrap())].into_iter().collect());
        assert_eq!(of("bytes 5-11/12"), Some((5, 12)));
        for wrong in ["bytes */12", "bytes 5-11/*", "5-11/12", "bytes 5/12"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
