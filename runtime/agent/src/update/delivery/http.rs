//! Content by HTTP: from the controller's own port, or from a mirror of the site.

use bytes::BytesMut;
use drover_wamp::{Download, DownloadError, Secret, TlsOptions};

use super::{ANSWER, Intake, Undelivered};

/// How much is written down at once.
const PIECE: usize = 256 << 10;

/// Where content is.
#[derive(Debug, Clone)]
pub(in crate::update) struct HttpSource {
    /// What comes before a hash in an address.
    pub(in crate::update) address: String,
    /// Whether that is the controller's own port, which asks who is there.
    pub(in crate::update) is_controllers: bool,
    pub(in crate::update) tls: TlsOptions,
}

/// Why it is left off.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The link may do better.
    #[error(transparent)]
    Download(#[from] DownloadError),
    /// So much that is something else need not come.
    #[error("it has {found} bytes, and {stated} were stated")]
    Length { found: u64, stated: u64 },
    /// It would be the same over the link.
    #[error(transparent)]
    Here(#[from] Undelivered),
}

impl HttpSource {
    /// Gets what is missing, as far as it comes.
    pub(super) async fn rest(
        &self,
        intake: &mut Intake<'_>,
        ticket: Option<&Secret>,
    ) -> Result<(), Undelivered> {
        if intake.is_whole() {
            return Ok(());
        }
        let url = format!("{}{}", self.address, intake.version.hash);
        match self.take(&url, intake, ticket).await {
            Ok(()) => Ok(()),
            Err(Failure::Here(error)) => Err(error),
            Err(error) => {
                let error = anyhow::Error::new(error);
                tracing::warn!(url, "{error:#}: the rest comes over the link");
                Ok(())
            }
        }
    }

    async fn take(
        &self,
        url: &str,
        intake: &mut Intake<'_>,
        ticket: Option<&Secret>,
    ) -> Result<(), Failure> {
        let mut download = Download::begin(url, &self.tls, ticket, intake.here, ANSWER).await?;
        let (found, stated) = (download.length(), intake.version.length);
        if found != stated {
            return Err(Failure::Length { found, stated });
        }
        intake.here = download.offset();
        // What comes is small, and writing it down costs the same for more.
        let mut piece = BytesMut::new();
        loop {
            let next = download.next().await;
            if let Ok(Some(bytes)) = &next {
                piece.extend_from_slice(bytes);
            }
            let is_over = !matches!(next, Ok(Some(_)));
            if !piece.is_empty() && (is_over || piece.len() >= PIECE) {
                intake.take(piece.split().freeze()).await?;
            }
            if is_over {
                return Ok(next.map(drop)?);
            }
        }
    }
}
