//! The files that the controller proves itself with: read when it starts, and
//! again when they change.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use drover_wamp::TlsIdentity;
use tokio_util::sync::CancellationToken;

use crate::config::TlsSettings;

/// How often the files are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// What tells one state of a file from another.
type Look = Option<(SystemTime, u64)>;

/// Reads the files.
pub(crate) fn read(settings: &TlsSettings) -> anyhow::Result<TlsIdentity> {
    TlsIdentity::read(&settings.files())
        .context("the files of [tls] in the controller's configuration cannot be used")
}

/// Has `identity` be as the files say until `stop` is cancelled. Files that cannot
/// be used change nothing.
pub(crate) async fn follow(
    settings: TlsSettings,
    identity: TlsIdentity,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let mut last = look(&settings);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let of_task = settings.clone();
        let seen = tokio::task::spawn_blocking(move || {
            let now = look(&of_task);
            let changed = (now != last).then(|| read(&of_task));
            (now, changed)
        });
        let (now, changed) = seen.await.context("reading the files of [tls] panicked")?;
        last = now;
        match changed {
            None => {}
            Some(Ok(new)) => {
                identity.replace(&new);
                tracing::info!("the certificate is as its files say now");
            }
            Some(Err(error)) => tracing::error!(
                error = format!("{error:#}"),
                "the certificate's files have changed and cannot be used, the former stays"
            ),
        }
    }
}

fn look(settings: &TlsSettings) -> [Look; 3] {
    let look = |path: &Path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    [look(&settings.certificate), look(&settings.key), settings.client_ca.as_deref().and_then(look)]
}
