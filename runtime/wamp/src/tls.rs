//! TLS: what a router proves itself with.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

use crate::stream::Stream;

/// The certificate and key of a router, ready for [`Router::serve_tls`](crate::Router::serve_tls).
///
/// A handle, cheap to clone. Clients need no certificate: sessions prove who
/// they are in WAMP.
#[derive(Clone)]
pub struct TlsIdentity {
    acceptor: TlsAcceptor,
}

/// Why there is no TLS identity.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The certificates are no PEM.
    #[error("the certificates are broken: {0}")]
    BrokenCertificates(String),
    /// The text has no certificate in it.
    #[error(
        "there is no certificate: the file begins with the server's own, in PEM \
         (-----BEGIN CERTIFICATE-----), and the intermediate ones follow it"
    )]
    NoCertificate,
    /// The text has no private key in it.
    #[error(
        "there is no private key that can be used: {0}; it is in PEM (-----BEGIN PRIVATE KEY-----) \
         and not encrypted"
    )]
    NoKey(String),
    /// Certificate and key are of no use together.
    #[error("the certificate and the key cannot be used: {0}")]
    Unusable(String),
}

impl TlsIdentity {
    /// Reads a certificate chain, the server's own first, and its private key
    /// (PKCS #8, PKCS #1 or SEC 1), both PEM files. Blocks on the disk.
    ///
    /// # Errors
    /// When a file cannot be read, or [`TlsIdentity::from_pem`] refuses what is in it.
    pub fn read(certificates: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
        };
        Self::from_pem(&read(certificates)?, &read(key)?)
    }

    /// The same from the contents of the files.
    ///
    /// # Errors
    /// When there is no certificate or key, or they do not fit each other.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|error| TlsError::BrokenCertificates(error.to_string()))?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            TlsError::NoKey(match error {
                pem::Error::NoItemsFound => "the file has none".to_owned(),
                other => other.to_string(),
            })
        })?;
        let unusable = |error: rustls::Error| TlsError::Unusable(error.to_string());
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// Lets a peer in that begins with a TLS handshake; the caller bounds the time.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let stream = self.acceptor.accept(stream).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of the key.
        formatter.debug_struct("TlsIdentity").finish_non_exhaustive()
    }
}

/// The cryptography of both sides, the same whatever else is linked into the program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
