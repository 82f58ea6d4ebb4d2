//! What the agent's tasks share: who the node is, its plugin host, and which
//! job ids are taken.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use drover_api::{JobId, NodeDescription, NodeId, Timestamp, procedures};
use drover_plugin_host::Host;
use tokio::sync::watch;

use crate::Config;

/// A cheap handle on the node.
#[derive(Clone)]
pub(crate) struct Node {
    shared: Arc<Shared>,
}

struct Shared {
    id: NodeId,
    prefix: String,
    name: String,
    labels: Vec<String>,
    started: Timestamp,
    host: Host,
    max_message_bytes: usize,
    revision: watch::Sender<u64>,
    running: Mutex<HashSet<JobId>>,
}

impl Node {
    pub(crate) fn new(config: &Config, host: Host) -> Self {
        let started = Timestamp::now();
        let shared = Shared {
            id: config.node(),
            prefix: procedures::node_prefix(config.node()),
            name: config.name.clone(),
            labels: config.labels.clone(),
            started,
            host,
            max_message_bytes: config.max_message_bytes(),
            // From the start time, so that a restarted agent never repeats one.
            revision: watch::Sender::new(started.0),
            running: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.shared.id
    }

    /// What the names of the node's procedures begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.shared.prefix
    }

    pub(crate) fn host(&self) -> &Host {
        &self.shared.host
    }

    pub(crate) fn max_message_bytes(&self) -> usize {
        self.shared.max_message_bytes
    }

    pub(crate) fn description(&self) -> NodeDescription {
        let shared = &*self.shared;
        NodeDescription {
            gid: shared.id.gid,
            nid: shared.id.nid,
            name: shared.name.clone(),
            labels: shared.labels.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: shared.started,
            plugins: shared.host.plugins(),
            refused: shared.host.refused(),
        }
    }

    /// Says that the description has changed.
    pub(crate) fn changed(&self) {
        self.shared.revision.send_modify(|revision| *revision += 1);
    }

    /// Counts up with every change of the description.
    pub(crate) fn revision(&self) -> watch::Receiver<u64> {
        self.shared.revision.subscribe()
    }

    /// Takes a job id until the guard is dropped; none if a job has it.
    pub(crate) fn reserve(&self, id: &JobId) -> Option<Reserved> {
        let mut running = self.shared.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.insert(id.clone()).then(|| Reserved { node: self.clone(), id: id.clone() })
    }
}

/// A job id that is taken.
pub(crate) struct Reserved {
    node: Node,
    id: JobId,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let running = &self.node.shared.running;
        running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
