//! The admin's grants, read at the start and again whenever they change.

use std::path::PathBuf;
use std::time::Duration;

use drover_api::Level;
use drover_grants::{Grants, GrantsError};
use tokio_util::sync::CancellationToken;

use crate::node::{Node, Part};
use crate::{Config, plugins};

/// How often the files are read. Reading is a matter of microseconds, misses
/// nothing on any file system, and sees a changed secret as well.
const INTERVAL: Duration = Duration::from_secs(1);

/// Where grants are.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    file: PathBuf,
    directory: PathBuf,
}

impl Source {
    pub(crate) fn new(config: &Config) -> Self {
        Self { file: config.grants.clone(), directory: config.grants_dir() }
    }

    /// Reads everything.
    pub(crate) fn load(&self) -> Result<Grants, GrantsError> {
        Grants::load(&self.file, &self.directory)
    }
}

/// What was read last: the grants, or why they cannot be used.
pub(crate) type Read = Result<Grants, String>;

/// The same with an error for people, and for comparing.
pub(crate) fn read(source: &Source) -> Read {
    source.load().map_err(|error| {
        // The parser's own words show the line, over several lines.
        let text = format!("{:#}", anyhow::Error::new(error));
        text.trim_end().to_owned()
    })
}

/// Applies what changes until `stop` is cancelled. Grants that cannot be used
/// leave the former ones in force.
pub(crate) async fn watch(
    source: Source,
    mut last: Read,
    node: Node,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    node.set_unusable(Part::Grants, last.as_ref().err().cloned());
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(INTERVAL) => {}
        }
        let source = source.clone();
        let Ok(now) = tokio::task::spawn_blocking(move || read(&source)).await else { continue };
        if now == last {
            continue;
        }
        last = now;
        node.set_unusable(Part::Grants, last.as_ref().err().cloned());
        match &last {
            Ok(grants) => {
                tracing::info!("the grants have changed");
                node.host().set_grants(grants.clone());
            }
            Err(error) => {
                let text = "the grants cannot be used, the former ones stay in force";
                tracing::error!(error, "{text}");
                plugins::record(&node, Level::ERROR, format!("{text}: {error}")).await;
            }
        }
        node.changed();
    }
}
