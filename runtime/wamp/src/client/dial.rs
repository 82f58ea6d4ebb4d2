//! From an address to a stream of bytes: TCP, and TLS where the URL says so.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    self, AlertDescription, CertificateError, ClientConfig as RustlsConfig, RootCertStore,
};

use super::error::ConnectError;
use super::options::ClientConfig;
use super::pin::Pinned;
use crate::stream::Stream;
use crate::tls::{Fingerprint, certificates_in, provider};

/// What to do where there is no TLS.
const NO_TLS: &str = "the URL of a router without TLS begins with ws://";

/// How a client knows the router that it dials by `wss://`.
#[derive(Debug, Clone, Default)]
pub struct TlsOptions {
    /// Whose signature on the router's certificate is trusted.
    pub roots: Roots,
    /// What the client proves itself with, to a router that wants certificates.
    pub certificate: Option<ClientCertificate>,
}

/// The certificate of a client, in PEM files that are read at each connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate chain, the client's own first.
    pub certificates: PathBuf,
    /// Its private key.
    pub key: PathBuf,
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
    /// Nobody's: the router's own certificate must be the one of this
    /// fingerprint, and may be for any name and of any time.
    Fingerprint(Fingerprint),
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
    let options = config.tls.clone();
    // Reads files.
    let connector = tokio::task::spawn_blocking(move || connector(&options)).await;
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

fn connector(options: &TlsOptions) -> Result<TlsConnector, String> {
    let builder = RustlsConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &options.roots {
        Roots::Fingerprint(pin) => {
            let verifier = Arc::new(Pinned::new(*pin, provider()));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
        roots => builder.with_root_certificates(load(roots)?),
    };
    let mut config = match &options.certificate {
        None => builder.with_no_client_auth(),
        Some(certificate) => {
            let (chain, key) = certificate.load()?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let place = certificate.certificates.display();
                format!("the certificate of this client in {place} cannot be used: {error}")
            })?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

impl ClientCertificate {
    fn load(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
        let place = self.certificates.display();
        let text = std::fs::read(&self.certificates)
            .map_err(|error| format!("the certificate in {place} cannot be read: {error}"))?;
        let chain = certificates_in(&text)
            .map_err(|error| format!("the certificate in {place} cannot be used: {error}"))?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| {
            format!("the certificate's key in {} cannot be used: {error}", self.key.display())
        })?;
        Ok((chain, key))
    }
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
        // It needs no root.
        Roots::Fingerprint(_) => return Ok(RootCertStore::empty()),
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
        // Said by us, see `pin`.
        rustls::Error::General(words) => words.clone(),
        rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::BadCertificate,
        ) => "it wants a certificate of this client, signed by somebody whom it trusts".into(),
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
