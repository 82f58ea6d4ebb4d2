//! Desired state: which nodes are to have which version of a plugin.

use serde::{Deserialize, Serialize};

use crate::{Authority, NodeId, RolloutId, Selector, Timestamp};

/// A rule: an element of the answer of [`DESIRED_LIST`](crate::procedures::DESIRED_LIST).
///
/// Where several rules of a plugin mean a node, the one that was set last counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredRule {
    /// What is to be so.
    #[serde(flatten)]
    pub set: DesiredSet,
    /// Who set it.
    pub by: String,
    /// On whose word, where a role says what that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<Authority>,
    /// When.
    pub since: Timestamp,
    /// The rollout that ended with it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutId>,
    /// Why nothing follows from it, such as that the version was yanked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// What is to be so, for [`DESIRED_SET`](crate::procedures::DESIRED_SET). It takes the
/// place of a rule of the plugin for the same nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredSet {
    /// The plugin's name.
    pub plugin: String,
    /// A version, or a channel, which is followed.
    pub version: String,
    /// The nodes, those included that join later.
    pub to: Selector,
    /// What follows where it is not so.
    #[serde(default)]
    pub mode: DesiredMode,
    /// How long a node that is brought to it watches the version, in milliseconds.
    pub watch_ms: u64,
}

/// What follows where a node does not have what it is to have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DesiredMode {
    /// The node is brought to it.
    #[default]
    Mend,
    /// It is shown, and nothing else.
    Show,
}

/// Removes a rule, for [`DESIRED_REMOVE`](crate::procedures::DESIRED_REMOVE). Nodes
/// keep what they have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredRemove {
    /// The plugin's name.
    pub plugin: String,
    /// The nodes, as the rule has them.
    pub to: Selector,
}

/// A node that does not have what it is to have: an element of the answer of
/// [`DESIRED_DRIFT`](crate::procedures::DESIRED_DRIFT).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// The node.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// The plugin.
    pub plugin: String,
    /// The version that it is to have.
    pub version: String,
    /// SHA-256 of that, in hexadecimal.
    pub hash: String,
    /// SHA-256 of what it has; none if it does not have the plugin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub has: Option<String>,
    /// What is done about it.
    pub state: DriftState,
    /// Why it failed, or waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What is done about a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftState {
    /// The node is away, and is brought to it when it returns.
    Away,
    /// It waits for its turn.
    Waiting,
    /// The node is at it.
    Mending,
    /// It failed, and is tried again later.
    Failed,
    /// So many nodes failed that no further ones are brought to this version, until
    /// the rule is set again.
    Halted,
    /// A rollout sees to the node.
    InRollout,
    /// The rule says to show it only.
    Shown,
}

impl DriftState {
    /// The state as it is written on the link.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Away => "away",
            Self::Waiting => "waiting",
            Self::Mending => "mending",
            Self::Failed => "failed",
            Self::Halted => "halted",
            Self::InRollout => "in-rollout",
            Self::Shown => "shown",
        }
    }
}
