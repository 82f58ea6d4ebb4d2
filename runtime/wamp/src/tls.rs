//! TLS: what a router proves itself with, and who its clients must be.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, PoisonError, RwLock};

use ring::digest::{SHA256, digest};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{self, CryptoProvider};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{self, RootCertStore, ServerConfig};

use crate::auth::{from_hex, to_hex};
use crate::stream::Stream;

/// The certificate and key of a router, ready for [`Router::serve_tls`](crate::Router::serve_tls).
///
/// A handle, cheap to clone. Clients need no certificate, unless it is made
/// [for those who have one](TlsFiles::client_ca): sessions prove who they are in WAMP.
#[derive(Clone)]
pub struct TlsIdentity {
    acceptor: Arc<RwLock<TlsAcceptor>>,
}

/// The PEM files of a router's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate chain, the router's own first.
    pub certificates: PathBuf,
    /// Its private key: PKCS #8, PKCS #1 or SEC 1.
    pub key: PathBuf,
    /// The certificates one of which must have signed that of every client;
    /// without them, clients need none.
    pub client_ca: Option<PathBuf>,
}

/// The SHA-256 of a certificate, by which a router can be known whoever signed it.
/// Written as 64 hexadecimal digits; colons between them are read as well.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

/// A text is no fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is a SHA-256 of 64 hexadecimal digits")]
pub struct FingerprintError;

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
    /// Reads the files. Blocks on the disk.
    ///
    /// # Errors
    /// When a file cannot be read, or [`TlsIdentity::from_pem`] refuses what is in it.
    pub fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let client_ca = files.client_ca.as_deref().map(read).transpose()?;
        let (certificates, key) = (read(&files.certificates)?, read(&files.key)?);
        Self::new(&certificates, &key, client_ca.as_deref())
    }

    /// An identity of the contents of the files; clients need no certificate.
    ///
    /// # Errors
    /// When there is no certificate or key, or they do not fit each other.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        Self::new(certificates, key, None)
    }

    fn new(certificates: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Self, TlsError> {
        let chain = certificates_in(certificates)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| {
            TlsError::NoKey(match error {
                pem::Error::NoItemsFound => "the file has none".to_owned(),
                other => other.to_string(),
            })
        })?;
        let unusable = |error: rustls::Error| TlsError::Unusable(error.to_string());
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(text) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates_in(text)? {
                    roots.add(certificate).map_err(unusable)?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
                        .build()
                        .map_err(|error| TlsError::Unusable(error.to_string()))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { acceptor: Arc::new(RwLock::new(TlsAcceptor::from(Arc::new(config)))) })
    }

    /// Proves itself as `other` does from the next connection on. Connections
    /// that there are go on.
    pub fn replace(&self, other: &Self) {
        let acceptor = other.acceptor();
        *self.acceptor.write().unwrap_or_else(PoisonError::into_inner) = acceptor;
    }

    fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lets a peer in that begins with a TLS handshake; the caller bounds the time.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let stream = self.acceptor().accept(stream).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    }
}

impl Fingerprint {
    /// That of the first certificate in a PEM text.
    ///
    /// # Errors
    /// When there is none.
    pub fn of_pem(text: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates_in(text)?;
        Ok(Self::of(chain.first().ok_or(TlsError::NoCertificate)?))
    }

    /// That of a certificate in DER.
    #[must_use]
    pub fn of(certificate: &[u8]) -> Self {
        let digest = digest(&SHA256, certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

impl FromStr for Fingerprint {
    type Err = FingerprintError;

    fn from_str(text: &str) -> Result<Self, FingerprintError> {
        from_hex(&text.trim().replace(':', "")).map(Self).ok_or(FingerprintError)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

/// The certificates of a PEM text, at least one.
pub(crate) fn certificates_in(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::BrokenCertificates(error.to_string()))?;
    if chain.is_empty() { Err(TlsError::NoCertificate) } else { Ok(chain) }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Nothing of the key.
        formatter.debug_struct("TlsIdentity").finish_non_exhaustive()
    }
}

/// The cryptography of both sides, the same whatever else is linked into the program.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(crypto::ring::default_provider())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_as_it_is_written_and_as_openssl_writes_it() {
        let fingerprint = Fingerprint::of(&CertificateDer::from(b"certificate".to_vec()));
        let text = fingerprint.to_string();
        assert_eq!(text.parse(), Ok(fingerprint));
        let pairs: Vec<_> = (0..32).map(|at| &text[at * 2..at * 2 + 2]).collect();
        assert_eq!(pairs.join(":").to_uppercase().parse(), Ok(fingerprint));
        for wrong in ["", "ab", &text[1..], "none"] {
            assert_eq!(wrong.parse::<Fingerprint>(), Err(FingerprintError), "{wrong}");
        }
    }
}
