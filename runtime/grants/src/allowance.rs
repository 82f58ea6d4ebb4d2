//! What a plugin may touch: asked for and granted.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use crate::grant::Access;
use crate::http::HttpAllowance;
use crate::pattern::ArgumentPattern;
use crate::secret::Secret;

/// Everything that a plugin may touch. The default is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowance {
    /// Whether it may see what the node is made of.
    pub sysinfo: bool,
    /// How many bytes of state it may keep; none if it may keep none.
    pub state_bytes: Option<u64>,
    /// The environment that it sees. Values may be anything, so nobody prints them.
    pub env: BTreeMap<String, Secret>,
    /// Its settings and secrets, by name.
    pub settings: BTreeMap<String, Secret>,
    /// The directories that it sees.
    pub directories: Vec<AllowedDirectory>,
    /// Where it may send HTTP requests, and which.
    pub http: Vec<HttpAllowance>,
    /// The programs that it may run, by path.
    pub programs: BTreeMap<String, AllowedProgram>,
}

/// A directory that a plugin sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedDirectory {
    /// The path under which the plugin sees it.
    pub seen_as: String,
    /// The directory itself.
    pub path: PathBuf,
    /// What the plugin may do there: never more than it asked for.
    pub access: Access,
}

/// A program that a plugin may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedProgram {
    pub(crate) asked: Vec<ArgumentPattern>,
    pub(crate) granted: Vec<ArgumentPattern>,
    /// Environment variables that the plugin may set for it.
    pub env: BTreeSet<String>,
    /// The user that it runs as; none: the agent's own.
    pub user: Option<String>,
    /// What it and its descendants may use of the memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// How many processes it and its descendants may be.
    pub processes: Option<u64>,
    /// How long one run may take.
    pub max_time: Option<Duration>,
}

impl AllowedProgram {
    /// Whether the program may be called with these arguments: in a way that is
    /// both asked for and granted.
    #[must_use]
    pub fn permits(&self, arguments: &[String]) -> bool {
        [&self.asked, &self.granted]
            .iter()
            .all(|patterns| patterns.iter().any(|pattern| pattern.permits(arguments)))
    }
}
