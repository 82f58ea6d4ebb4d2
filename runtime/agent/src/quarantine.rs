//! The quarantines of plugins, in one file: a plugin that crashes again and again
//! is not let out because the agent starts anew.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drover_api::Level;
use drover_plugin_host::{Host, KeptQuarantine};
use drover_snapshot::{Format, Found};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::node::Node;
use crate::plugins;

const FORMAT: Format = Format { name: "the quarantines of plugins", steps: &[] };

/// How soon a file is written again that could not be.
const RETRY: Duration = Duration::from_secs(2);

/// By plugin.
type Quarantines = BTreeMap<String, KeptQuarantine>;

#[derive(Serialize, Deserialize)]
struct Contents {
    quarantines: Quarantines,
}

/// The file, and what was found in it.
pub(crate) struct Kept {
    path: PathBuf,
    written: Quarantines,
    /// Why nothing was, for the node's log.
    trouble: Option<String>,
}

impl Kept {
    /// Reads the file and puts the plugins where they were. To be called before any
    /// is loaded.
    ///
    /// # Errors
    ///
    /// If the file is there and cannot be read.
    pub(crate) fn open(path: PathBuf, host: &Host) -> io::Result<Self> {
        let (written, trouble) = match FORMAT.read::<Contents>(&path)? {
            Found::Whole(contents) => (contents.quarantines, None),
            Found::Nothing => Default::default(),
            Found::PutAside(aside) => {
                let text = format!(
                    "the file of quarantines cannot be read ({}) and is now {}: plugins that were \
                     in quarantine are not any more",
                    aside.reason,
                    aside.path.display()
                );
                tracing::error!("{text}");
                (Quarantines::new(), Some(text))
            }
        };
        host.resume_quarantines(written.clone());
        Ok(Self { path, written, trouble })
    }

    /// Writes down what changes until `stop` is cancelled, and what has then.
    pub(crate) async fn follow(
        mut self,
        node: Node,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        if let Some(trouble) = self.trouble.take() {
            plugins::record(&node, Level::ERROR, trouble).await;
        }
        let mut revision = node.host().revision();
        let mut has_failed = false;
        loop {
            revision.mark_unchanged();
            let now = node.host().quarantines();
            if now != self.written {
                match save(&self.path, now.clone()).await {
                    Ok(()) => (self.written, has_failed) = (now, false),
                    Err(error) if !has_failed => {
                        tracing::error!(%error, file = %self.path.display(), "the quarantines of plugins are not written");
                        has_failed = true;
                    }
                    Err(_) => {}
                }
            }
            if stop.is_cancelled() {
                return Ok(());
            }
            let patience = if has_failed { RETRY } else { Duration::MAX };
            tokio::select! {
                () = stop.cancelled() => {}
                _ = timeout(patience, revision.changed()) => {}
            }
        }
    }
}

async fn save(path: &Path, quarantines: Quarantines) -> io::Result<()> {
    let (path, contents) = (path.to_owned(), Contents { quarantines });
    let replace = move || FORMAT.replace(&path, &contents);
    tokio::task::spawn_blocking(replace).await.map_err(io::Error::other)?
}
