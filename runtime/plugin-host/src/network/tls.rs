//! TLS towards servers: whose certificates are trusted, and what is said when
//! one is not.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::{self, CertificateError, ClientConfig, RootCertStore};
use wasmtime_wasi::runtime::spawn_blocking;

/// How long trusted certificates count as they were read.
const FRESH: Duration = Duration::from_secs(60);

/// What TLS connections are made with, by the file of trusted certificates;
/// none stands for those of the system.
#[derive(Default)]
pub(super) struct Connectors(Mutex<HashMap<Option<PathBuf>, (Instant, TlsConnector)>>);

impl Connectors {
    /// Reads the certificates unless they were read a short while ago.
    pub(super) async fn get(&self, ca_file: Option<&Path>) -> Result<TlsConnector, String> {
        let ca_file = ca_file.map(Path::to_owned);
        if let Some((since, connector)) = self.lock().get(&ca_file)
            && since.elapsed() < FRESH
        {
            return Ok(connector.clone());
        }
        let file = ca_file.clone();
        let connector = spawn_blocking(move || connector(file.as_deref())).await?;
        self.lock().insert(ca_file, (Instant::now(), connector.clone()));
        Ok(connector)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Option<PathBuf>, (Instant, TlsConnector)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, String> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(ca_file)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, String> {
    let (certificates, place) = match ca_file {
        None => (rustls_native_certs::load_native_certs().certs, "this system".to_owned()),
        Some(path) => {
            let place = path.display().to_string();
            let text = std::fs::read(path)
                .map_err(|error| format!("its `ca_file` {place} cannot be read: {error}"))?;
            let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
            (found.map_err(|error| format!("its `ca_file` {place} is no PEM: {error}"))?, place)
        }
    };
    let mut store = RootCertStore::empty();
    // Stores of systems have odd ones in them, which trust nothing.
    let (usable, _) = store.add_parsable_certificates(certificates);
    match usable {
        0 => Err(format!(
            "there is no trusted certificate in {place}: install the one that signed the server's, \
             or grant it with a `ca_file`"
        )),
        _ => Ok(store),
    }
}

/// Whether a handshake failed because of the server's certificate, and why it
/// failed.
pub(super) fn in_words(error: &io::Error) -> (bool, String) {
    let source = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
    match source {
        Some(rustls::Error::InvalidCertificate(fault)) => (true, of_certificate(fault)),
        Some(rustls::Error::InvalidMessage(_)) => {
            (false, "what answers there does not speak TLS".to_owned())
        }
        Some(error) => (false, error.to_string()),
        None if matches!(
            error.kind(),
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset
        ) =>
        {
            (false, "the connection ended instead of a TLS handshake".to_owned())
        }
        None => (false, error.to_string()),
    }
}

fn of_certificate(fault: &CertificateError) -> String {
    match fault {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by nobody who is trusted here: install the certificate that \
             signed it, or grant it with a `ca_file`"
                .to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("its certificate is for another name ({fault})")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("its certificate has expired ({fault})")
        }
        other => format!("its certificate cannot be trusted: {other}"),
    }
}
