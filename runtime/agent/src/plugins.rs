//! The plugins of the node, while it runs: the directory is kept, what changes is
//! told to the controller, and what happens to plugins goes into the log.

use std::path::PathBuf;
use std::time::Duration;

use drover_api::{JobId, Level, Record, Timestamp};
use drover_logs::Source;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::logs::JobLevels;
use crate::node::Node;

/// How long the plugins that load first wait for the others to be told with them.
const TELL_PLUGINS: Duration = Duration::from_secs(2);

/// How long after the end of a quarantine it is over for sure.
const RELEASED: Duration = Duration::from_millis(10);

/// The job to which records about plugins belong.
const OWN_JOB: &str = "drover.plugins";

/// Keeps what is loaded as the plugin directory says, until `stop` is
/// cancelled. A directory that cannot be read leaves a node without plugins,
/// which says so. `loaded` is cancelled when what was there at first is dealt
/// with.
pub(crate) async fn keep(
    directory: PathBuf,
    node: Node,
    loaded: CancellationToken,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        () = node.host().keep_directory(directory, &loaded, &stop) => {}
        () = tell_changes(&node, &loaded) => {}
        () = record_notices(&node) => {}
    }
    Ok(())
}

async fn tell_changes(node: &Node, loaded: &CancellationToken) {
    let mut revision = node.host().revision();
    // All that was there at first is told at once, unless it takes long.
    let _ = timeout(TELL_PLUGINS, loaded.cancelled()).await;
    node.changed();
    loop {
        tokio::select! {
            changed = revision.changed() => match changed {
                Ok(()) => node.changed(),
                // The host lives as long as the node.
                Err(_) => std::future::pending().await,
            },
            () = next_release(node) => node.changed(),
        }
    }
}

/// Waits until the first plugin is out of its quarantine, which nobody tells.
async fn next_release(node: &Node) {
    let plugins = node.host().statuses().plugins;
    let ends = plugins.iter().filter_map(|plugin| Some(plugin.quarantine.as_ref()?.until));
    match ends.min() {
        Some(end) => tokio::time::sleep(end.since(Timestamp::now()) + RELEASED).await,
        None => std::future::pending().await,
    }
}

async fn record_notices(node: &Node) {
    loop {
        let notice = node.host().notice().await;
        record(node, notice.level, notice.text).await;
    }
}

/// Writes what happened to plugins, or to what is said of them, into the log, for
/// the domain `drover` and the name `plugins`.
pub(crate) async fn record(node: &Node, level: Level, text: String) {
    let job: JobId = OWN_JOB.parse().expect("the letters are allowed in a job's id");
    let source = Source { job, domain: "drover".to_owned(), name: "plugins".to_owned() };
    let mut log = node.logs().of_job(source, JobLevels::default());
    log.record(&Record { time: Timestamp::now(), level, data: text });
    if let Err(error) = log.write().await {
        tracing::warn!(%error, "what happened to a plugin is not in the log");
    }
}
