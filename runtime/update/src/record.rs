//! What is remembered of the pushed versions of one plugin, or of the agent's own
//! program.

use drover_api::{
    KeptVersion, PluginVersions, Timestamp, UpdateEnd, UpdateOutcome, UpdateStatus, UpdateStep,
};
use drover_signing::ContentHash;
use serde::{Deserialize, Serialize};

use crate::judge::Tally;

/// How many versions of a plugin are kept.
pub const KEPT: usize = 10;

/// One plugin: what is on disk, what is to serve, and how far an update is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// What is kept, in the order in which it began to serve; what has not yet is
    /// last.
    #[serde(default)]
    pub versions: Vec<Version>,
    /// The version that is to serve; one of `versions`.
    #[serde(default)]
    pub active: Option<ContentHash>,
    /// The last version that did well to the end of its watch, to which a bad one
    /// goes back.
    #[serde(default)]
    pub good: Option<ContentHash>,
    /// The update under way.
    #[serde(default)]
    pub update: Option<Update>,
    /// How the last one ended.
    #[serde(default)]
    pub last: Option<UpdateEnd>,
    /// What there is to know beside if this is about the agent's own program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Installed>,
}

/// The program that an admin has installed, which runs where none that was pushed
/// is active.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installed {
    /// Its version when a program was last chosen.
    pub version: semver::Version,
    /// What ran before the active one began to be watched; none is the installed
    /// one.
    #[serde(default)]
    pub before: Option<ContentHash>,
    /// Whether the end of the last update has yet to be told.
    #[serde(default)]
    pub is_untold: bool,
}

/// A version of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// What its author calls it.
    pub version: semver::Version,
    /// Its content.
    pub hash: ContentHash,
    /// The length of its content in bytes.
    pub length: u64,
    /// The signature of its content, as the controller has it.
    pub signature: String,
    /// Who asked for it.
    pub by: Option<String>,
    /// When it was asked for.
    pub since: Timestamp,
    /// Whether it has ever served.
    #[serde(default)]
    pub has_served: bool,
    /// What is wrong with it.
    #[serde(default)]
    pub fault: Option<Fault>,
}

/// What is wrong with a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// It served and did badly.
    Failed(String),
    /// It cannot be loaded.
    Unservable(String),
}

/// An update under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// What is to serve.
    pub target: Version,
    /// How long it is watched, in milliseconds; 0: not at all.
    pub watch_ms: u64,
    /// How far it is.
    pub stage: Stage,
}

/// How far an update is; [`crate::step`] shows the way through it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// The content is not here, or not all of it.
    Fetching,
    /// The content is here, and nobody has looked at it.
    Verifying,
    /// It is what was signed; whether it can run is found out.
    Preparing,
    /// It cannot go on until something changes.
    Held {
        /// What.
        reason: String,
    },
    /// It could run, and is asked to test itself.
    Testing,
    /// It is to serve at once.
    Swapping,
    /// It serves.
    Watching {
        /// How the version before did; none if there was none.
        before: Option<Tally>,
        /// How often the agent was started meanwhile.
        starts: u32,
    },
}

impl Stage {
    /// The step as others are told of it.
    #[must_use]
    pub fn step(&self) -> UpdateStep {
        match self {
            Self::Fetching => UpdateStep::Fetching,
            Self::Verifying => UpdateStep::Verifying,
            Self::Preparing => UpdateStep::Preparing,
            Self::Held { .. } => UpdateStep::Held,
            Self::Testing => UpdateStep::Testing,
            Self::Swapping => UpdateStep::Swapping,
            Self::Watching { .. } => UpdateStep::Watching,
        }
    }
}

impl Fault {
    /// Why, for people.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Failed(reason) | Self::Unservable(reason) => reason,
        }
    }
}

impl Update {
    /// How far it is, for others. `fetched` is how many bytes are here.
    #[must_use]
    pub fn status(&self, fetched: u64) -> UpdateStatus {
        let Version { version, hash, length, by, since, .. } = &self.target;
        let is_whole = !matches!(self.stage, Stage::Fetching);
        UpdateStatus {
            version: version.to_string(),
            hash: hash.to_string(),
            step: self.stage.step(),
            reason: match &self.stage {
                Stage::Held { reason } => Some(reason.clone()),
                _ => None,
            },
            fetched: if is_whole { *length } else { fetched.min(*length) },
            length: *length,
            by: by.clone(),
            since: *since,
        }
    }

    pub(crate) fn end(&self, outcome: UpdateOutcome, now: Timestamp) -> UpdateEnd {
        UpdateEnd {
            version: self.target.version.to_string(),
            hash: self.target.hash.to_string(),
            outcome,
            at: self.stage.step(),
            reason: None,
            back_to: None,
            time: now,
        }
    }
}

impl Record {
    /// The kept version with this content.
    #[must_use]
    pub fn kept(&self, hash: &ContentHash) -> Option<&Version> {
        self.versions.iter().find(|version| version.hash == *hash)
    }

    /// The version that is to serve.
    #[must_use]
    pub fn active(&self) -> Option<&Version> {
        self.kept(self.active.as_ref()?)
    }

    /// The contents that are not to be deleted.
    pub fn wanted(&self) -> impl Iterator<Item = &Version> {
        self.versions.iter().chain(self.update.as_ref().map(|update| &update.target))
    }

    /// All this for others. `fetched` is how many bytes of the update are here,
    /// and `trouble` why the active version does not serve.
    #[must_use]
    pub fn describe(&self, name: &str, fetched: u64, trouble: Option<String>) -> PluginVersions {
        let kept = |version: &Version| KeptVersion {
            version: version.version.to_string(),
            hash: version.hash.to_string(),
            length: version.length,
            by: version.by.clone(),
            since: version.since,
            is_active: self.active.as_ref() == Some(&version.hash),
            fault: version.fault.as_ref().map(|fault| fault.reason().to_owned()),
        };
        PluginVersions {
            name: name.to_owned(),
            versions: self.versions.iter().map(kept).collect(),
            update: self.update.as_ref().map(|update| update.status(fetched)),
            last: self.last.clone(),
            trouble,
        }
    }

    pub(crate) fn kept_mut(&mut self, hash: &ContentHash) -> Option<&mut Version> {
        self.versions.iter_mut().find(|version| version.hash == *hash)
    }

    /// Lets the oldest go that nobody needs, down to [`KEPT`].
    pub(crate) fn forget_old(&mut self) {
        let target = self.update.as_ref().map(|update| update.target.hash);
        while self.versions.len() > KEPT {
            let before = self.program.as_ref().and_then(|program| program.before);
            let is_needed = |hash: &ContentHash| {
                let needed = [&self.active, &self.good, &target, &before];
                needed.iter().any(|one| one.as_ref() == Some(hash))
            };
            let Some(oldest) = self.versions.iter().position(|one| !is_needed(&one.hash)) else {
                return;
            };
            self.versions.remove(oldest);
        }
    }
}
