//! What a plugin may touch: asked for and granted.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::grant::Access;
use crate::http::HttpAllowance;
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
