//! Rollouts: a version of a plugin on its way over the nodes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Authority, NodeId, Selector, Timestamp, UpdateStep};

/// The number of a rollout; later ones have higher numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RolloutId(pub u64);

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Asks [`ROLLOUT_START`](crate::procedures::ROLLOUT_START) for a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutStart {
    /// The plugin's name.
    pub plugin: String,
    /// A version or a channel; the newest version that was not yanked if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// How it goes about.
    pub plan: RolloutPlan,
    /// Only tell which node would have its turn when.
    #[serde(default)]
    pub dry_run: bool,
}

/// How a rollout goes about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutPlan {
    /// The nodes.
    pub to: Selector,
    /// How many nodes have the version before all others; 0: none has.
    #[serde(default)]
    pub canary: u32,
    /// How many have it after each further wave, canaries included. What is left has
    /// it in a last one.
    #[serde(default)]
    pub then: Vec<Share>,
    /// The time between two waves, in milliseconds.
    #[serde(default)]
    pub pause_ms: u64,
    /// How many nodes may fail; one more, and all go back.
    #[serde(default)]
    pub max_failures: u32,
    /// How long each node watches the version before it counts as good, in milliseconds.
    pub watch_ms: u64,
    /// How long a node may take, its watch not counted, in milliseconds.
    pub node_ms: u64,
    /// How long nodes that are away are waited for, in milliseconds.
    pub away_ms: u64,
    /// How many nodes fetch and prepare the version at the same time, at least one.
    pub at_once: u32,
    /// Whether nodes on which the version did badly before try it again.
    #[serde(default)]
    pub again: bool,
    /// Whether the nodes are to have the version from then on: those that were away,
    /// and those that the selector means later.
    #[serde(default)]
    pub keep: bool,
}

/// How many of the nodes of a rollout: `5`, or `10%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Share {
    /// So many.
    Count(u32),
    /// So much of all, rounded up.
    Percent(u8),
}

impl Share {
    /// How many of `all` that is.
    #[must_use]
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => all.min(usize::try_from(count).unwrap_or(all)),
            Self::Percent(percent) => all.saturating_mul(usize::from(percent)).div_ceil(100),
        }
    }
}

/// A text is no share of nodes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no share of the nodes: write a number, such as 5, or 1% to 100%")]
pub struct ShareError(String);

impl FromStr for Share {
    type Err = ShareError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let share = match text.strip_suffix('%') {
            Some(percent) => {
                percent.parse().ok().filter(|p| (1..=100).contains(p)).map(Self::Percent)
            }
            None => text.parse().ok().filter(|count| *count > 0).map(Self::Count),
        };
        share.ok_or_else(|| ShareError(text.to_owned()))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.fmt(f),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

impl TryFrom<String> for Share {
    type Error = ShareError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

/// What the version that is rolled out is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutTarget {
    /// The plugin's name.
    pub plugin: String,
    /// The version.
    pub version: String,
    /// SHA-256 of its content, in hexadecimal.
    pub hash: String,
    /// The content's length in bytes.
    pub length: u64,
    /// The text of its signature.
    pub signature: String,
}

/// A rollout without its nodes: an element of the answer of
/// [`ROLLOUT_LIST`](crate::procedures::ROLLOUT_LIST).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its number.
    pub id: RolloutId,
    /// What is rolled out.
    pub target: RolloutTarget,
    /// How.
    pub plan: RolloutPlan,
    /// Who started it.
    pub by: String,
    /// On whose word, where a role says what that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<Authority>,
    /// When.
    pub started: Timestamp,
    /// How far it is.
    pub phase: RolloutPhase,
    /// Since when it is there, or the wave is on.
    pub since: Timestamp,
    /// The wave that is on, from 0.
    pub wave: u32,
    /// How many nodes each wave has.
    pub waves: Vec<u32>,
    /// How many nodes are in which state.
    #[serde(default)]
    pub counts: RolloutCounts,
}

/// How far a rollout is.
///
/// ```text
///              gate passed           time is up
///   running ----------------> between ----------> running, the next wave
///      |  \                      |
///      |   `---- pause --------> paused ---- resume ----> where it was
///      |                         |
///      |  too many failures, or abort with going back, from anywhere
///      +----------------> going back -----> ended: rolled back
///      |
///      +--- abort --> ended: aborted        +--- all waves passed --> ended: done
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum RolloutPhase {
    /// The nodes of a wave are brought to the version.
    Running,
    /// A wave has passed; the next one comes then.
    Between {
        /// When.
        until: Timestamp,
    },
    /// Somebody has paused it: no node begins.
    Paused {
        /// When the next wave was to come, if it was between two.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// The nodes that have the version go back to what they had.
    GoingBack {
        /// Why.
        reason: String,
    },
    /// It is over.
    Ended {
        /// What became of it.
        outcome: RolloutOutcome,
        /// Why, unless all is well.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
}

/// What became of a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutOutcome {
    /// The nodes have the version, but for those that failed, as far as that was
    /// allowed, and those that were away.
    Done,
    /// The nodes are back at what they had, as far as that could be.
    RolledBack,
    /// It was given up; nodes keep what they have.
    Aborted,
}

/// How many nodes are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RolloutCounts {
    /// Their turn has not come.
    pub waiting: u32,
    /// Their turn has come, and they are away.
    pub away: u32,
    /// They are at it.
    pub updating: u32,
    /// They have the version, and it does well.
    pub confirmed: u32,
    /// They do not have it, or it did badly.
    pub failed: u32,
    /// They are going back, or are to.
    pub going_back: u32,
    /// They are back at what they had.
    pub back: u32,
}

/// A node of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutNode {
    /// Its id.
    pub node: NodeId,
    /// Its name when the rollout began.
    pub name: String,
    /// The wave in which its turn comes, from 0.
    pub wave: u32,
    /// How far it is.
    pub state: RolloutNodeState,
    /// The step of its update, as it last told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<UpdateStep>,
    /// Why it failed, what it waits for, or why it could not go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// SHA-256 of what it had of the plugin before, in hexadecimal; none if it had
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// When it was first asked to take the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Timestamp>,
    /// Whether it can be called now.
    #[serde(default)]
    pub is_here: bool,
}

/// How far a node of a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutNodeState {
    /// It was not asked yet.
    Waiting,
    /// It was asked, and tells how far it is.
    Updating,
    /// It was asked, and its answer was lost; it is asked again.
    Interrupted,
    /// It has the version, and has watched it do well.
    Confirmed,
    /// It refused the version, or fell back from it.
    Failed,
    /// It took too long, and may yet go on.
    Overdue,
    /// It was away to the end.
    Missed,
    /// It is to go back.
    ToRevert,
    /// It was asked to go back.
    Reverting,
    /// It is back at what it had.
    Reverted,
    /// It could not go back.
    Stayed,
}

impl RolloutNodeState {
    /// The state as it is written on the link.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Updating => "updating",
            Self::Interrupted => "interrupted",
            Self::Confirmed => "confirmed",
            Self::Failed => "failed",
            Self::Overdue => "overdue",
            Self::Missed => "missed",
            Self::ToRevert => "to-revert",
            Self::Reverting => "reverting",
            Self::Reverted => "reverted",
            Self::Stayed => "stayed",
        }
    }
}

/// Something that happened in a rollout, for people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutNote {
    /// When.
    pub time: Timestamp,
    /// Who did it; none if it came by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// What.
    pub text: String,
}

/// All of a rollout: the answer of [`ROLLOUT_SHOW`](crate::procedures::ROLLOUT_SHOW),
/// and of [`ROLLOUT_START`](crate::procedures::ROLLOUT_START); what has changed in
/// the event of [`ROLLOUT_CHANGED`](crate::procedures::ROLLOUT_CHANGED).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutDetail {
    /// How far it is.
    pub rollout: Rollout,
    /// Its nodes, by wave and id; in an event those that changed.
    #[serde(default)]
    pub nodes: Vec<RolloutNode>,
    /// What happened, the oldest first; in an event what is new.
    #[serde(default)]
    pub history: Vec<RolloutNote>,
}

/// Says something to a rollout, for
/// [`ROLLOUT_CONTROL`](crate::procedures::ROLLOUT_CONTROL).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutControl {
    /// Which.
    pub id: RolloutId,
    /// What it is to do.
    pub order: RolloutOrder,
}

/// What a rollout can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutOrder {
    /// Let no further node begin.
    Pause,
    /// Go on.
    Resume,
    /// Give it up; nodes keep what they have.
    Abort,
    /// Give it up, and have all nodes go back to what they had.
    GoBack,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_a_number_or_a_part_rounded_up() {
        let of = |text: &str, all| text.parse::<Share>().unwrap().of(all);
        assert_eq!((of("5", 200), of("5", 3)), (5, 3));
        assert_eq!((of("10%", 200), of("10%", 3), of("100%", 7)), (20, 1, 7));
        for wrong in ["", "0", "0%", "101%", "-1", "1.5%", "%"] {
            assert!(wrong.parse::<Share>().is_err(), "{wrong}");
        }
        assert_eq!(serde_json::to_string(&Share::Percent(10)).unwrap(), "\"10%\"");
    }
}
