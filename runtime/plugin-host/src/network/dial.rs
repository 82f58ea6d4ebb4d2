//! From a granted place to a stream of bytes.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use drover_grants::{HttpPlace, HttpTarget, Scheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;
use wasmtime_wasi_http::Error as HttpError;

use super::Network;
use super::address::is_public;
use super::tls;

/// Time for a connection, name and handshake included, if the plugin says
/// nothing else.
const CONNECT: Duration = Duration::from_secs(10);

/// Silence after which the system asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// A connection.
pub(crate) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Why there is no connection. It names what it was to be connected to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    #[error("`{name}` is not known to the name servers: {reason}")]
    UnknownName { name: String, reason: String },
    #[error(
        "`{name}` stands for {address}, which is in a private network: if that is meant, \
         have `private = true` in its grant"
    )]
    Private { name: String, address: IpAddr },
    #[error("cannot connect to {place}: {source}")]
    Connect { place: String, source: io::Error },
    #[error("cannot connect to the socket {path}: {source}{}", cure(source))]
    Socket { path: PathBuf, source: io::Error },
    #[error("cannot connect to {0} within {1:?}")]
    TimedOut(String, Duration),
    #[error("cannot speak TLS with {place}: {reason}")]
    Tls { place: String, is_certificate: bool, reason: String },
}

/// What helps where the socket is there and may not be used.
fn cure(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; the agent's user must be allowed to read and write it, as a member of its group"
        }
        _ => "",
    }
}

impl DialError {
    /// What the plugin is told. It has no words, so they are in the job's log.
    pub(crate) fn code(&self) -> HttpError {
        match self {
            Self::UnknownName { .. } => {
                HttpError::DnsError { rcode: Some("NXDOMAIN".to_owned()), info_code: None }
            }
            Self::Private { .. } => HttpError::DestinationIpProhibited,
            Self::Connect { source, .. } | Self::Socket { source, .. } => match source.kind() {
                io::ErrorKind::ConnectionRefused => HttpError::ConnectionRefused,
                _ => HttpError::DestinationUnavailable,
            },
            Self::TimedOut(..) => HttpError::ConnectionTimeout,
            Self::Tls { is_certificate: true, .. } => HttpError::TlsCertificateError,
            Self::Tls { .. } => HttpError::TlsProtocolError,
        }
    }
}

/// Connects to a place within `limit`.
pub(crate) async fn dial(
    network: &Network,
    target: &HttpTarget,
    limit: Option<Duration>,
) -> Result<Stream, DialError> {
    let limit = limit.unwrap_or(CONNECT).min(CONNECT);
    let late = |_| DialError::TimedOut(target.authority.to_string(), limit);
    tokio::time::timeout(limit, connect(network, target)).await.map_err(late)?
}

async fn connect(network: &Network, target: &HttpTarget) -> Result<Stream, DialError> {
    match &target.place {
        HttpPlace::Socket(path) => unix(path).await,
        HttpPlace::Network { scheme, is_private, ca_file } => {
            let addresses = addresses(network, target, *is_private).await?;
            let stream = tcp(target, &addresses).await?;
            match scheme {
                Scheme::Http => Ok(Stream::Tcp(stream)),
                Scheme::Https => encrypted(network, target, stream, ca_file.as_deref()).await,
            }
        }
    }
}

async fn unix(path: &Path) -> Result<Stream, DialError> {
    let failed = |source| DialError::Socket { path: path.to_owned(), source };
    UnixStream::connect(path).await.map(Stream::Unix).map_err(failed)
}

/// The addresses to try. What is looked up and checked here is what is dialled,
/// so no later answer of a name server counts.
async fn addresses(
    network: &Network,
    target: &HttpTarget,
    is_private: bool,
) -> Result<Vec<SocketAddr>, DialError> {
    let authority = &target.authority;
    let port = authority.port().unwrap_or(target.place.scheme().default_port());
    if let Some(address) = authority.address() {
        return Ok(vec![(address, port).into()]);
    }
    let name = authority.host();
    let unknown = |reason: String| DialError::UnknownName { name: name.to_owned(), reason };
    let _turn = network.lookups.acquire().await.map_err(|error| unknown(error.to_string()))?;
    let found = lookup_host((name, port)).await.map_err(|error| unknown(error.to_string()))?;
    let found: Vec<_> = found.collect();
    let allowed: Vec<_> =
        found.iter().copied().filter(|address| is_private || is_public(address.ip())).collect();
    match (allowed.is_empty(), found.first()) {
        (false, _) => Ok(allowed),
        (true, Some(address)) => {
            Err(DialError::Private { name: name.to_owned(), address: address.ip() })
        }
        (true, None) => Err(unknown("it has no address".to_owned())),
    }
}

async fn tcp(target: &HttpTarget, addresses: &[SocketAddr]) -> Result<TcpStream, DialError> {
    let mut failed = None;
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Without them a connection is slower, or dies unnoticed.
                let _ = stream.set_nodelay(true);
                let _ = rustix::net::sockopt::set_socket_keepalive(&stream, true);
                let _ = rustix::net::sockopt::set_tcp_keepidle(&stream, KEEPALIVE);
                return Ok(stream);
            }
            Err(source) => failed = Some((*address, source)),
        }
    }
    let (place, source) = match failed {
        Some((address, source)) => (format!("{} ({address})", target.authority), source),
        None => (target.authority.to_string(), io::ErrorKind::AddrNotAvailable.into()),
    };
    Err(DialError::Connect { place, source })
}

async fn encrypted(
    network: &Network,
    target: &HttpTarget,
    stream: TcpStream,
    ca_file: Option<&Path>,
) -> Result<Stream, DialError> {
    let failed = |is_certificate, reason| DialError::Tls {
        place: target.authority.to_string(),
        is_certificate,
        reason,
    };
    let connector = network.connectors.get(ca_file).await.map_err(|reason| failed(true, reason))?;
    let name = ServerName::try_from(target.authority.host().to_owned())
        .map_err(|error| failed(true, error.to_string()))?;
    match connector.connect(name, stream).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream))),
        Err(error) => {
            let (is_certificate, reason) = tls::in_words(&error);
            Err(failed(is_certificate, reason))
        }
    }
}

/// Calls a method of `AsyncRead` or `AsyncWrite` on whichever stream it is.
macro_rules! on_stream {
    ($self:ident.$method:ident($($argument:expr),*)) => {
        match $self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).$method($($argument),*),
            Self::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Self::Tls(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.get_ref().0.as_fd(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_stream!(self.poll_read(cx, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_stream!(self.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_stream!(self.poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_may_not_be_used_is_told_with_what_helps() {
        let told = |kind: io::ErrorKind| {
            let path = PathBuf::from("/var/run/docker.sock");
            DialError::Socket { path, source: kind.into() }.to_string()
        };
        let denied = told(io::ErrorKind::PermissionDenied);
        assert!(
            denied.contains("/var/run/docker.sock: permission denied; the agent's"),
            "{denied}"
        );
        assert!(!told(io::ErrorKind::NotFound).contains("agent"));
    }
}
