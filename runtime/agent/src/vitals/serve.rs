//! `/metrics` on a socket of this host, for a Prometheus or its like that runs here.
//!
//! Others are served by the controller: an agent listens to nobody else.

use std::convert::Infallible;
use std::fs;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use drover_vitals::OPEN_METRICS;

use super::page;
use crate::config::MetricsSettings;
use crate::node::Node;

/// Connections at the same time; more wait.
const CONNECTIONS: usize = 8;

/// How long a connection may wait for the head of a request, and stay at all.
const HEAD: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(60);

/// How long nothing is accepted after the system refused, as when there are no
/// descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The sockets, bound before anything else starts.
#[derive(Debug, Default)]
pub(crate) struct Listening {
    tcp: Option<std::net::TcpListener>,
    unix: Option<(std::os::unix::net::UnixListener, PathBuf)>,
}

impl Listening {
    /// Binds what the configuration asks for.
    ///
    /// # Errors
    ///
    /// If an address is in use or not this host's.
    pub(crate) fn bind(settings: &MetricsSettings) -> anyhow::Result<Self> {
        let tcp = settings.listen.map(bind_tcp).transpose()?;
        let unix = settings.unix.as_deref().map(bind_unix).transpose()?;
        Ok(Self { tcp, unix })
    }
}

fn bind_tcp(address: SocketAddr) -> anyhow::Result<std::net::TcpListener> {
    let bound = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        tracing::info!(address = %listener.local_addr()?, "serving /metrics");
        Ok(listener)
    });
    bound.with_context(|| {
        format!(
            "cannot listen on {address}: end the program that uses this address, or set another \
             `metrics.listen` in the configuration"
        )
    })
}

fn bind_unix(path: &Path) -> anyhow::Result<(std::os::unix::net::UnixListener, PathBuf)> {
    let bound = remove_stale(path).and_then(|()| {
        let listener = std::os::unix::net::UnixListener::bind(path)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    let bound = bound.with_context(|| {
        format!(
            "cannot listen on {}: set another `metrics.unix` in the configuration, in a directory \
             of the agent's user",
            path.display()
        )
    })?;
    tracing::info!(path = %path.display(), "serving /metrics");
    Ok((bound, path.to_owned()))
}

/// Removes the socket of an agent that is gone, and nothing else.
fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt;
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    if is_socket && std::os::unix::net::UnixStream::connect(path).is_err() {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Whoever asks.
enum Peer {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Serves until `stop` is cancelled.
pub(crate) async fn run(
    node: Node,
    listening: Listening,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Listening { tcp, unix } = listening;
    let tcp = tcp.map(TcpListener::from_std).transpose().context("cannot serve /metrics")?;
    let (unix, path) = unix.unzip();
    let unix = unix.map(UnixListener::from_std).transpose().context("cannot serve /metrics")?;
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = next(tcp.as_ref(), unix.as_ref(), &room) => accepted,
        };
        match accepted {
            Ok((Peer::Tcp(stream), place)) => {
                drop(connections.spawn(talk(node.clone(), stream, place)));
            }
            Ok((Peer::Unix(stream), place)) => {
                drop(connections.spawn(talk(node.clone(), stream, place)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection for /metrics");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.shutdown().await;
    if let Some(path) = path {
        // Who starts next removes it otherwise.
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// The next connection, when there is room for one.
async fn next(
    tcp: Option<&TcpListener>,
    unix: Option<&UnixListener>,
    room: &Arc<Semaphore>,
) -> io::Result<(Peer, OwnedSemaphorePermit)> {
    let place = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let of_tcp = async {
        match tcp {
            Some(listener) => Ok(Peer::Tcp(listener.accept().await?.0)),
            None => pending().await,
        }
    };
    let of_unix = async {
        match unix {
            Some(listener) => Ok(Peer::Unix(listener.accept().await?.0)),
            None => pending().await,
        }
    };
    let accepted: io::Result<Peer> = tokio::select! {
        accepted = of_tcp => accepted,
        accepted = of_unix => accepted,
    };
    Ok((accepted?, place))
}

/// Answers the requests of one connection. Whoever is too slow asks again.
async fn talk<S>(node: Node, stream: S, _place: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let node = node.clone();
        async move { Ok::<_, Infallible>(answer(&node, &request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    // Nor does it matter that somebody has hung up.
    let _ = timeout(WHOLE, serving).await;
}

async fn answer(node: &Node, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut reply = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => match page(node).await {
            Ok(text) => Response::new(Full::from(text)),
            Err(error) => refusal(StatusCode::SERVICE_UNAVAILABLE, error.message),
        },
        (&Method::GET | &Method::HEAD, _) => {
            refusal(StatusCode::NOT_FOUND, "there is only /metrics here".to_owned())
        }
        _ => {
            let mut reply = refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "there is nothing to do here, only to GET /metrics".to_owned(),
            );
            reply.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            reply
        }
    };
    if reply.status() == StatusCode::OK {
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
    }
    reply
}

fn refusal(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::from(text + "\n"));
    *reply.status_mut() = status;
    reply
}
