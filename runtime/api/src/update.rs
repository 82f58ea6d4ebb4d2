//! What a node tells of the versions that were pushed to it, of plugins and of its own
//! program.

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What the agent's own program is called where plugins have their names: in the
/// catalog, in its statement, and on a node. No plugin has this name.
pub const OWN_PROGRAM: &str = "agent";

/// What `plugin.versions` answers with for each plugin that was ever pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginVersions {
    /// The plugin's name.
    pub name: String,
    /// What is kept on the node, in the order in which it began to serve.
    pub versions: Vec<KeptVersion>,
    /// The update under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateStatus>,
    /// How the last one ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<UpdateEnd>,
    /// Why the active version does not serve; none if it does, or none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// A version on the node's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptVersion {
    /// Its version.
    pub version: String,
    /// SHA-256 of its file, in hexadecimal.
    pub hash: String,
    /// The length of its file in bytes.
    pub length: u64,
    /// Who asked for it, if the controller told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was asked for.
    pub since: Timestamp,
    /// Whether it is the one that is to serve.
    pub is_active: bool,
    /// What was wrong with it when it last served, or was to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
}

/// How far an update is. Progress of `plugin.update` and `agent.update` has the same shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateStatus {
    /// The version that is to serve.
    pub version: String,
    /// SHA-256 of its file, in hexadecimal.
    pub hash: String,
    /// What is being done.
    pub step: UpdateStep,
    /// What a held update waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Bytes that are here.
    pub fetched: u64,
    /// Bytes that there are.
    pub length: u64,
    /// Who asked for it, if the controller told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When it was asked for.
    pub since: Timestamp,
}

/// What is done in an update, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UpdateStep {
    /// Its bytes come from the controller.
    Fetching,
    /// Hash, signature and freshness are checked.
    Verifying,
    /// It is compiled, describes itself, and is held against the grants.
    Preparing,
    /// It waits for something that a person has to change.
    Held,
    /// Its operation `self_test` runs, if it has one.
    Testing,
    /// It is about to serve.
    Swapping,
    /// It serves, and is compared with the one before.
    Watching,
    /// A step that this version does not know.
    #[serde(other)]
    Unknown,
}

impl UpdateStep {
    /// The step as it is written on the link.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetching => "fetching",
            Self::Verifying => "verifying",
            Self::Preparing => "preparing",
            Self::Held => "held",
            Self::Testing => "testing",
            Self::Swapping => "swapping",
            Self::Watching => "watching",
            Self::Unknown => "unknown",
        }
    }
}

/// How an update ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpdateEnd {
    /// The version that was to serve.
    pub version: String,
    /// SHA-256 of its file, in hexadecimal.
    pub hash: String,
    /// What became of it.
    pub outcome: UpdateOutcome,
    /// The step at which it ended.
    pub at: UpdateStep,
    /// Why, for people; none if it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The version that serves again after a fall-back; none if nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back_to: Option<String>,
    /// When.
    pub time: Timestamp,
}

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOutcome {
    /// The version serves, and did well while it was watched.
    Active,
    /// It served and did badly; the one before serves again.
    FellBack,
    /// It never served.
    Refused,
    /// Another version was asked for meanwhile.
    Superseded,
    /// An outcome that this version does not know.
    #[serde(other)]
    Unknown,
}
