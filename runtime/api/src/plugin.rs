//! What a node tells of its plugins: which version of each serves, and what
//! became of the others.

use serde::{Deserialize, Serialize};

use crate::{RefusedPlugin, Timestamp};

/// The answer of `plugin.list`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginList {
    /// By name.
    pub plugins: Vec<PluginStatus>,
    /// Files that stand for no plugin, as another has their name.
    #[serde(default)]
    pub passed_over: Vec<RefusedPlugin>,
    /// Why the plugin directory cannot be read at present.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What there is to know of one plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PluginStatus {
    /// Its name.
    pub name: String,
    /// Whether it can be called.
    pub state: PluginState,
    /// The version that new jobs get.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serving: Option<ServingVersion>,
    /// The file that is to take its place, and does not yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextVersion>,
    /// Versions that served before and still have jobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draining: Vec<DrainingVersion>,
    /// Why it gets no jobs at present; none if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quarantine: Option<QuarantineStatus>,
}

impl PluginStatus {
    /// A plugin of which nothing is known yet.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            state: PluginState::Loading,
            serving: None,
            next: None,
            draining: Vec::new(),
            quarantine: None,
        }
    }
}

/// Whether a plugin can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PluginState {
    /// Its first version is being loaded.
    Loading,
    /// A version of it gets the jobs, whatever became of later ones.
    Serving,
    /// It failed again and again, and gets no jobs for a while.
    Quarantined,
    /// No version of it serves, and its file cannot be loaded.
    Refused,
    /// Its file is gone, and jobs that began before still run.
    Removed,
    /// A state that this version does not know.
    #[serde(other)]
    Unknown,
}

/// The version of a plugin that new jobs get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServingVersion {
    /// Its file, from the plugin directory.
    pub file: String,
    /// None for a file that is not in a folder of versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Whether the controller pushed it, so that its file is not in the plugin
    /// directory.
    #[serde(default)]
    pub is_pushed: bool,
    /// SHA-256 of the file, in hexadecimal.
    pub hash: String,
    /// Since when it serves.
    pub since: Timestamp,
    /// The jobs that it has, waiting ones and parsers of log lines included.
    pub jobs: u32,
    /// The names of the formats of log lines that it parses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<String>,
}

/// A file that does not serve, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextVersion {
    /// The file, from the plugin directory.
    pub file: String,
    /// None for a file that is not in a folder of versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why it was not loaded; none while that is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// When it is tried again though nothing changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

/// A version that gets no new jobs, and ends with those that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainingVersion {
    /// The file that it came from.
    pub file: String,
    /// None for a file that was not in a folder of versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// SHA-256 of that file, in hexadecimal.
    pub hash: String,
    /// The jobs that it still has.
    pub jobs: u32,
}

/// Why a plugin gets no jobs, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineStatus {
    /// When it gets jobs again.
    pub until: Timestamp,
    /// What the last job before it ended in.
    pub reason: String,
    /// How often it was put there since it last did well.
    pub times: u32,
}
