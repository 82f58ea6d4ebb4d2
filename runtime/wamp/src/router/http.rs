//! HTTP on the router's port: sessions, the bridge, and what monitors ask.
//!
//! | path | |
//! |---|---|
//! | `/ws`, `/` | a WebSocket |
//! | `POST /call`, `POST /publish` | the bridge, if one is configured or there is a guard for tokens |
//! | `GET` of a path of [`HttpFiles`] | a file, if some are configured |
//! | `GET` of an [`HttpPage`] | what a procedure answers, if some are configured |
//! | `GET /info` | what this router is; no secrets |
//! | `GET /health` | whether it is alive: it answers |
//! | `GET /ready` | whether it takes sessions now, else 503 |
//!
//! hyper reads and writes; it lives until the upgrade and its buffers with it.
//! Every wait is bounded: for a head by `handshake_timeout`, for a body and for
//! the reader of an answer by `http_timeout`. Only a call may take as long as
//! it likes.

mod body;
mod bridge;
mod cors;
mod files;
mod origin;
mod pages;
mod patient;
mod reply;
mod translate;
mod upgrade;

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, HeaderMap, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_util::sync::CancellationToken;

pub(super) use bridge::Bridge;
pub use files::HttpFiles;
pub use pages::HttpPage;

use super::{RealmConfig, Router, RouterConfigError};
use crate::Serializer;
use crate::stream::Stream;
use crate::wire::socket_config;
use origin::Origins;
use patient::Patient;
use reply::Reply;
use translate::Service;
use upgrade::Agreed;

/// The longest head of a request.
const MAX_HEAD: usize = 8 * 1024;

/// How much of a body is read at a time.
const MAX_BUFFER: usize = 64 * 1024;

/// How long a peer may go on sending to whom nobody listens any more.
const PATIENCE: Duration = Duration::from_secs(1);

/// What HTTP peers can use beside WebSockets.
#[derive(Debug, Clone, Default)]
pub struct HttpConfig {
    /// The bridge at `/call` and `/publish`; there is none unless it is
    /// configured, for whoever reaches the port can use it.
    pub bridge: Option<HttpBridge>,
    /// Files that are handed out.
    pub files: Option<HttpFiles>,
    /// Pages that procedures answer with, for those who may call them; they read them
    /// as they would use the bridge.
    pub pages: Vec<HttpPage>,
    /// Web pages that may open sessions and use the bridge, by origin, such as
    /// `https://console.example:8443`. Those of this machine always may.
    pub allowed_origins: Vec<String>,
}

/// On whose behalf the bridge calls and publishes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpBridge {
    /// The realm that it joins.
    pub realm: String,
    /// The role in it; its permissions say what can be done.
    pub role: String,
}

impl HttpConfig {
    /// Says what is wrong with it on a router of these realms, if something is.
    pub(super) fn check(&self, realms: &[RealmConfig]) -> Result<(), RouterConfigError> {
        let Some(HttpBridge { realm: name, role }) = &self.bridge else { return Ok(()) };
        let wrong = |key: &str, rule: String| {
            Err(RouterConfigError { realm: name.clone(), key: key.to_owned(), rule })
        };
        let Some(realm) = realms.iter().find(|realm| realm.name == *name) else {
            return wrong("http.bridge.realm", "there is no such realm".to_owned());
        };
        if realm.roles.iter().any(|known| known.name == *role) {
            return Ok(());
        }
        let known: Vec<_> = realm.roles.iter().map(|role| role.name.as_str()).collect();
        wrong("http.bridge.role", format!("there is no role `{role}`, only {}", known.join(", ")))
    }
}

/// What the HTTP connections of a router share.
#[derive(Debug)]
pub(super) struct Site {
    origins: Origins,
    bridge: Bridge,
    files: Option<HttpFiles>,
    pages: Vec<HttpPage>,
}

impl Site {
    pub(super) fn new(config: HttpConfig) -> Self {
        Self {
            origins: Origins::new(config.allowed_origins),
            bridge: Bridge::new(config.bridge),
            files: config.files,
            pages: config.pages,
        }
    }
}

/// A connection as HTTP sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visit<'a> {
    pub(super) router: &'a Router,
    pub(super) peer: SocketAddr,
    pub(super) stop: &'a CancellationToken,
    /// Whether there is room for one more session.
    pub(super) has_room: bool,
}

/// Answers requests until one of them makes a WebSocket of the connection, or it ends.
///
/// # Errors
/// When the peer speaks no HTTP, is too slow, or is gone.
pub(super) async fn serve(
    stream: Stream,
    visit: Visit<'_>,
) -> Result<Option<(WebSocketStream<Stream>, Serializer)>, hyper::Error> {
    let limits = &visit.router.limits;
    let agreed = OnceLock::new();
    let service = service_fn(|request| {
        let answer = visit.answer(request, &agreed);
        Box::pin(async { Ok::<_, Infallible>(answer.await) })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.handshake_timeout)
        .max_header_size(MAX_HEAD)
        .max_buf_size(MAX_BUFFER)
        .serve_connection(TokioIo::new(Patient::new(stream, limits.http_timeout)), service);
    let served = tokio::select! {
        served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => Some(served),
        () = visit.stop.cancelled() => None,
    };
    let served = match served {
        Some(served) => served,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            let rest = poll_fn(|cx| connection.poll_without_shutdown(cx));
            timeout(PATIENCE, rest).await.unwrap_or(Ok(()))
        }
    };
    let http1::Parts { io, read_buf, .. } = connection.into_parts();
    let stream = io.into_inner().into_inner();
    match agreed.get().copied() {
        Some(serializer) if served.is_ok() => {
            let config = socket_config(limits.max_message_bytes);
            // A copy, for the buffer would stay as long as the session does.
            let rest = read_buf.to_vec();
            let socket =
                WebSocketStream::from_partially_read(stream, rest, Role::Server, Some(config));
            Ok(Some((socket.await, serializer)))
        }
        _ => {
            hear_out(stream).await;
            served.map(|()| None)
        }
    }
}

/// Closes a connection so that a peer that is still sending gets its answer:
/// closed with unread bytes in it, it would be reset.
async fn hear_out(mut stream: Stream) {
    let hear_out = async {
        if stream.shutdown().await.is_ok() {
            let mut unread = [0; 1024];
            while stream.read(&mut unread).await.is_ok_and(|length| length > 0) {}
        }
    };
    // Whoever is still sending then is cut off.
    let _ = timeout(PATIENCE, hear_out).await;
}

impl Visit<'_> {
    async fn answer(self, request: Request<Incoming>, agreed: &OnceLock<Serializer>) -> Reply {
        let site = &self.router.http;
        let path = request.uri().path();
        if let Some(files) = site.files.as_ref().filter(|_| self.has_room)
            && let Some(name) = files.name(path)
        {
            return match self.may_read(files, request.headers()).await {
                Ok(()) => files.answer(name, &request).await,
                Err(refusal) => *refusal,
            };
        }
        let mut pages = site.pages.iter().filter(|_| self.has_room);
        if let Some((page, procedure)) = pages.find_map(|page| Some((page, page.procedure(path)?)))
        {
            return page.answer(&procedure, &site.bridge, &request, self).await;
        }
        match path {
            "/health" => monitored(&request, &json!({"status": "alive"}), StatusCode::OK),
            "/ready" => self.readiness(&request),
            "/info" => monitored(&request, &self.info(), StatusCode::OK),
            _ if !self.has_room => self.refusal(),
            "/ws" | "/" if self.is_draining() => going(),
            "/ws" | "/" => self.upgrade(&request, agreed),
            _ => match Service::at(path) {
                Some(service) if self.has_bridge() => {
                    site.bridge.answer(service, request, self).await
                }
                Some(_) => {
                    let text = format!("{path}: this router has no bridge, open a session at /ws");
                    reply::text(StatusCode::NOT_FOUND, &text)
                }
                None => {
                    let path: String = path.chars().take(100).collect();
                    let text = format!("there is nothing at {path}: the WebSocket is at /ws");
                    reply::text(StatusCode::NOT_FOUND, &text)
                }
            },
        }
    }

    /// Whether somebody may have files.
    async fn may_read(self, files: &HttpFiles, headers: &HeaderMap) -> Result<(), Box<Reply>> {
        let Some(procedure) = &files.procedure else { return Ok(()) };
        self.router.http.bridge.may_call(procedure, headers, self).await
    }

    fn upgrade(self, request: &Request<Incoming>, agreed: &OnceLock<Serializer>) -> Reply {
        let websocket = HeaderValue::from_static("websocket");
        match upgrade::check(request, &self.router.http.origins) {
            Ok(Agreed { accept, serializer }) => {
                let mut reply = reply::empty(StatusCode::SWITCHING_PROTOCOLS);
                let headers = reply.headers_mut();
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(UPGRADE, websocket);
                headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
                let subprotocol = HeaderValue::from_static(serializer.subprotocol());
                headers.insert(SEC_WEBSOCKET_PROTOCOL, subprotocol);
                agreed.get_or_init(|| serializer);
                reply
            }
            Err((status, text)) => {
                tracing::debug!(%status, text, "request is no WAMP session");
                let mut reply = reply::text(status, &text);
                let headers = reply.headers_mut();
                headers.insert(UPGRADE, websocket);
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
                reply
            }
        }
    }

    fn refusal(self) -> Reply {
        let sessions = self.router.limits.max_sessions;
        let text = format!("this router has {sessions} sessions already, try again later");
        let mut reply = reply::text(StatusCode::SERVICE_UNAVAILABLE, &text);
        reply.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        reply
    }

    fn readiness(self, request: &Request<Incoming>) -> Reply {
        let (status, word) = match (self.stop.is_cancelled() || self.is_draining(), self.has_room) {
            (true, _) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
            (false, false) => (StatusCode::SERVICE_UNAVAILABLE, "full"),
            (false, true) => (StatusCode::OK, "ready"),
        };
        monitored(request, &json!({"status": word}), status)
    }

    fn is_draining(self) -> bool {
        self.router.is_draining.load(Ordering::Relaxed)
    }

    /// Whether somebody can use the bridge.
    fn has_bridge(self) -> bool {
        self.router.http.bridge.has_own_session() || self.router.has_guard()
    }

    /// What is no secret, for everybody can ask.
    fn info(self) -> Value {
        let serializers: Vec<_> = Serializer::ALL.iter().map(|one| one.subprotocol()).collect();
        json!({
            "name": "drover",
            "version": env!("CARGO_PKG_VERSION"),
            "realms": self.router.entrances.len(),
            "websocket": "/ws",
            "serializers": serializers,
            "has_bridge": self.has_bridge(),
        })
    }
}

/// What whoever wants a session is told by a router that drains.
fn going() -> Reply {
    let text = "this router is about to end: come back in a moment, or go to another one";
    let mut reply = reply::text(StatusCode::SERVICE_UNAVAILABLE, text);
    let headers = reply.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from_static("5"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    reply
}

/// An answer to a monitor, who may only look.
fn monitored(request: &Request<Incoming>, state: &Value, status: StatusCode) -> Reply {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let text = format!("{} is nothing to do here, only GET", request.method());
        let mut reply = reply::text(StatusCode::METHOD_NOT_ALLOWED, &text);
        reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return reply;
    }
    let mut reply = reply::json(status, state.to_string());
    reply.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    reply
}
