//! From an address to a stream of bytes: TCP, and TLS where the URL says so.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{self, CertificateError, ClientConfig as RustlsConfig, RootCertStore};

use super::error::ConnectError;
use super::options::ClientConfig;
use crate::stream::Stream;
use crate::tls::provider;

/// What to do where there is no TLS.
const NO_TLS: &str = "the URL of a router without TLS begins with ws://";

/// How a client knows the router that it dials by `wss://`.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Whose signature on the router's certificate is trusted.
    pub roots: Roots,
}

/// Certificates whose signature is trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Roots {
    /// Those of the platform: on Linux what the distribution and the
    /// administrator installed, such as in `/etc/ssl/certs`.
    #[default]
    Platform,
    /// Those in a PEM file, and no others. It is read at each connect.
    File(PathBuf),
}

/// Where a URL leads.
#[derive(Debug)]
pub(super) struct Destination {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) has_tls: bool,
}

/// Opens a stream of bytes; the caller bounds the time.
pub(super) async fn dial(
    config: &ClientConfig,
    destination: Destination,
) -> Result<Stream, ConnectError> {
    let unreachable = |source| ConnectError::Unreachable { url: config.url.clone(), source };
    let Destination { host, port, has_tls } = destination;
    let stream = TcpStream::connect((host.as_str(), port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    if !has_tls {
        return Ok(Stream::Plain(stream));
    }
    let failed = |reason: String| ConnectError::Tls { url: config.url.clone(), reason };
    let name = ServerName::try_from(host)
        .map_err(|_| failed("its host is no name that a certificate can have".into()))?;
    let roots = config.tls.roots.clone();
    // Reads files.
    let connector = tokio::task::spawn_blocking(move || connector(&roots)).await;
    let connector = connector.map_err(|error| failed(error.to_string()))?.map_err(failed)?;
    match connector.connect(name, stream).await {
        Ok(stream) => Ok(Stream::Tls(Box::new(stream.into()))),
        Err(error) => Err(match error.kind() {
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                failed(format!("it ended the connection instead of a handshake; {NO_TLS}"))
            }
            _ => ConnectError::of_stream(&config.url, error),
        }),
    }
}

fn connector(roots: &Roots) -> Result<TlsConnector, String> {
    let mut config = RustlsConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(load(roots)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn load(roots: &Roots) -> Result<RootCertStore, String> {
    let (certificates, place, fault) = match roots {
        Roots::Platform => {
            let found = rustls_native_certs::load_native_certs();
            let fault = found.errors.first().map(ToString::to_string);
            (found.certs, "the platform's store".to_owned(), fault)
        }
        Roots::File(path) => {
            let place = path.display().to_string();
            let text = std::fs::read(path).map_err(|error| {
                format!("the trusted certificates in {place} cannot be read: {error}")
            })?;
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
            let found = found.map_err(|error| {
                format!("the trusted certificates in {place} are no PEM: {error}")
            })?;
            (found, place, None)
        }
    };
    let mut store = RootCertStore::empty();
    // Stores of platforms have odd ones in them, which trust nothing.
    let (usable, _) = store.add_parsable_certificates(certificates);
    if usable == 0 {
        let fault = fault.map_or_else(String::new, |fault| format!(": {fault}"));
        return Err(format!(
            "there is no trusted certificate in {place}{fault}; install the one that signed the \
             router's, or name a PEM file that has it"
        ));
    }
    Ok(store)
}

/// What is wrong, and what to do.
fn in_words(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(fault) => match fault {
            CertificateError::UnknownIssuer => {
                "its certificate is signed by nobody who is trusted here; install the certificate \
                 that signed it, or name a PEM file that has it"
                    .into()
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!(
                    "its certificate is for another name; dial it by one that is in it ({fault})"
                )
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
                "its certificate has expired; renew it, or set the clock of this host right ({fault})"
            ),
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                format!(
                    "its certificate is not valid yet; is the clock of this host right? ({fault})"
                )
            }
            other => format!("its certificate cannot be trusted: {other}"),
        },
        rustls::Error::InvalidMessage(_) => {
            format!("what answers does not speak TLS; {NO_TLS}")
        }
        other => other.to_string(),
    }
}

impl ConnectError {
    /// The failure of a stream.
    pub(super) fn of_stream(url: &str, source: io::Error) -> Self {
        match source.get_ref().and_then(|source| source.downcast_ref()) {
            Some(error) => Self::Tls { url: url.to_owned(), reason: in_words(error) },
            None => Self::Unreachable { url: url.to_owned(), source },
        }
    }
}
