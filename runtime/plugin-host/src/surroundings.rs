//! What is around a host: the node that it is on, and who does for plugins what
//! is not the host's own business.

use std::fmt;
use std::sync::Arc;

use drover_api::{JobId, NodeId};

use crate::programs::Programs;

/// What is around a host. The default is no node in particular, where nobody
/// does anything.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// The node, as plugins get to know it.
    pub node: NodeInfo,
    /// Takes what plugins measure; none: it goes nowhere.
    pub meters: Option<Arc<dyn Meters>>,
    /// Runs programs for plugins; none: they cannot run any.
    pub programs: Option<Arc<dyn Programs>>,
}

/// A node, as plugins get to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Its id.
    pub id: NodeId,
    /// What people call it.
    pub name: String,
    /// Its labels.
    pub labels: Vec<String>,
}

/// The node 0.0, which is none's id.
impl Default for NodeInfo {
    fn default() -> Self {
        Self { id: NodeId::new(0, 0), name: String::new(), labels: Vec::new() }
    }
}

/// Takes what the jobs of plugins measure. Called on the host's threads.
pub trait Meters: fmt::Debug + Send + Sync {
    /// A meter for one job, which is asked for when the job first measures
    /// something, and dropped with the job.
    fn meter(&self, job: &JobId, plugin: &str, operation: &str) -> Box<dyn Meter>;
}

/// Takes what one job measures.
pub trait Meter: Send + Sync {
    /// Takes lines as statsd writes them, all of them right. Must not wait.
    fn add(&self, lines: &str);
}
