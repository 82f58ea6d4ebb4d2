//! The agent: what runs on every host of a site.
//!
//! [`Agent::start`] starts the plugin host and begins to load the plugin
//! directory; [`Agent::run`] keeps the link. The parts and who feeds them:
//!
//! ```text
//!   controller <--WAMP--> link ----invocations----> dispatch ----jobs----> plugin host
//!                          |  <---answers, progress---  |
//!                          +--heartbeats on their own timer, never behind work
//! ```
//!
//! [`link`] registers the prefix of the node's procedures and sends heartbeats;
//! what it stands on dials again for ever.
//! [`dispatch`] turns an invocation into a job and its outcome into an answer.

#![forbid(unsafe_code)]

mod config;
mod dispatch;
mod link;
mod node;

use std::path::PathBuf;

use anyhow::Context;
use drover_plugin_host::{CompilerCommand, Host, HostConfig};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use config::{Config, ConfigError, Limits, default_data_dir};

use node::Node;

/// An agent with its directories checked and its plugin host started.
pub struct Agent {
    config: Config,
    host: Host,
}

impl Agent {
    /// Makes the directories and starts the plugin host. `compiler` is the
    /// program that compiles a component in a process of its own.
    ///
    /// # Errors
    ///
    /// If a directory cannot be made or written.
    pub fn start(config: Config, compiler: CompilerCommand) -> anyhow::Result<Self> {
        for (key, dir) in [("data_dir", &config.data_dir), ("plugin_dir", &config.plugin_dir)] {
            std::fs::create_dir_all(dir).with_context(|| {
                format!(
                    "cannot make the directory {}: set another `{key}`, or make it and give it \
                     to the user of the agent",
                    dir.display()
                )
            })?;
        }
        let host = Host::start(HostConfig {
            cache_dir: config.cache_dir.clone(),
            compiler,
            limits: config.host_limits(),
        })
        .context("cannot start the plugin host")?;
        Ok(Self { config, host })
    }

    /// Loads the plugins and keeps the link until `stop` is cancelled.
    ///
    /// # Errors
    ///
    /// If a task of the agent panicked, or jobs outlived the grace period. A
    /// controller that is away is no error.
    pub async fn run(self, stop: CancellationToken) -> anyhow::Result<()> {
        let Self { config, host } = self;
        let node = Node::new(&config, host);
        let loaded = CancellationToken::new();

        let mut tasks = JoinSet::new();
        tasks.spawn(load(config.plugin_dir.clone(), node.clone(), loaded.clone(), stop.clone()));
        tasks.spawn(link::keep(config, node.clone(), loaded, stop.clone()));
        let mut outcome = Ok(());
        while let Some(ended) = tasks.join_next().await {
            outcome = outcome.and(ended.context("a task panicked").flatten());
            if outcome.is_err() {
                stop.cancel();
            }
        }
        node.host().shutdown().await;
        outcome
    }
}

/// Loads the plugin directory; the host logs what becomes of each file. A directory
/// that cannot be read leaves a node without plugins, which says so.
async fn load(
    dir: PathBuf,
    node: Node,
    loaded: CancellationToken,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        outcome = node.host().load_directory(&dir) => if let Err(error) = outcome {
            let error = anyhow::Error::new(error);
            tracing::error!(dir = %dir.display(), "cannot load the plugin directory: {error:#}");
        },
    }
    node.changed();
    loaded.cancel();
    Ok(())
}
