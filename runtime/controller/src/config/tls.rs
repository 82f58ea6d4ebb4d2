//! What the controller proves itself with: `[tls]`.

use std::path::PathBuf;

use drover_wamp::TlsFiles;
use serde::{Deserialize, Serialize};

/// PEM files, which are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// The certificate chain, the controller's own first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The certificates one of which must have signed that of every client; by
    /// default clients need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<PathBuf>,
}

impl TlsSettings {
    pub(crate) fn files(&self) -> TlsFiles {
        TlsFiles {
            certificates: self.certificate.clone(),
            key: self.key.clone(),
            client_ca: self.client_ca.clone(),
        }
    }
}
