//! Who may join a controller, and what is asked and told about them.

use serde::{Deserialize, Serialize};

use crate::{NodeId, Timestamp};

/// The role that somebody asks for who has a key and wants to become a node.
pub const NEWCOMER: &str = "newcomer";

/// Asks for a token with which agents become nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewJoinToken {
    /// How many nodes may join with it.
    pub uses: u32,
    /// How long it counts.
    pub life_ms: u64,
    /// The labels of these nodes.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The number of the one node that may join with it; any if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
}

/// A token that was made. What it is told with is the only place where it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeToken {
    /// What it is called in lists, and withdrawn by. No secret.
    pub id: String,
    /// The token itself.
    pub token: String,
    /// Until when it counts; for ever if there is none.
    pub expires: Option<Timestamp>,
}

impl std::fmt::Debug for MadeToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MadeToken").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Somebody with a key asks to become a node.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrol {
    /// The id and the secret of a join token. Without one the controller shows a
    /// code, and the answer waits until somebody approves it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The number that it would like; it gets it if it is free.
    pub node: NodeId,
    /// What people call it.
    pub name: String,
    /// The labels in its configuration.
    #[serde(default)]
    pub labels: Vec<String>,
}

impl std::fmt::Debug for Enrol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Enrol").field("node", &self.node).finish_non_exhaustive()
    }
}

/// What whoever waits for approval is told meanwhile, as a progressive result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimCode {
    /// The code that an admin approves.
    pub code: String,
    /// Until when.
    pub expires: Timestamp,
}

/// What a node is from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolled {
    /// Its number.
    pub node: NodeId,
    /// Its labels, whatever its configuration says.
    pub labels: Vec<String>,
}

/// Somebody who waits for approval.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The code that it shows.
    pub code: String,
    /// What it is called, by its own words.
    pub name: String,
    /// Its public key.
    pub key: String,
    /// Until when it can be approved.
    pub expires: Timestamp,
}

/// Lets somebody in who shows a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approve {
    /// The code.
    pub code: String,
    /// The number that it gets; a free one if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Its labels.
    #[serde(default)]
    pub labels: Vec<String>,
}

/// A node that proves who it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownNode {
    /// Its number.
    pub node: NodeId,
    /// What it was called when it joined.
    pub name: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// Its public keys: one, or two while it changes to another.
    pub keys: Vec<String>,
    /// When it joined.
    pub since: Timestamp,
    /// Who let it in: a join token or an admin.
    pub by: String,
    /// Since when it may not join any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<Timestamp>,
}

/// Asks for, or puts an end to, what has this name, number or id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessName {
    /// The name.
    pub name: String,
}

/// Changes the labels of a node that has joined with a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelNode {
    /// The node, by number or name.
    pub node: String,
    /// Labels that it gets. One such as `zone=eu` takes the place of another `zone=`.
    #[serde(default)]
    pub add: Vec<String>,
    /// Labels that it loses; `zone` stands for `zone=eu` as well.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// A node wants to be known by another key as well, until it has used it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateKey {
    /// The new public key.
    pub key: String,
}

/// Adds or changes an operator. What is absent stays as it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutUser {
    /// The name.
    pub name: String,
    /// The role; needed for a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// All of the Ed25519 keys, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
}

impl std::fmt::Debug for PutUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, role, .. } = self;
        f.debug_struct("PutUser").field("name", name).field("role", role).finish_non_exhaustive()
    }
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// The name.
    pub name: String,
    /// The role.
    pub role: String,
    /// Whether there is a password.
    pub has_password: bool,
    /// The Ed25519 keys, in hexadecimal.
    pub keys: Vec<String>,
    /// When it was added.
    pub since: Timestamp,
}

/// Asks for a token with which programs are let in on behalf of a user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewApiToken {
    /// The user; whoever asks if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What it is for, for people.
    #[serde(default)]
    pub note: String,
    /// The role, if it is to be less than the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What of that role's counts.
    #[serde(default)]
    pub scope: Scope,
    /// How long it counts; for ever if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_ms: Option<u64>,
    /// How many sessions, or requests over HTTP; any number if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<u32>,
}

/// What commands may be run on which nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Commands such as `hello.greet`, or `hello.*`; all if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
    /// A selector of nodes; all if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes: Option<crate::Selector>,
}

impl Scope {
    /// Whether it leaves nothing out.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

/// A token with which programs are let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiToken {
    /// What it is withdrawn by.
    pub id: String,
    /// On whose behalf.
    pub user: String,
    /// What it is for, for people.
    pub note: String,
    /// The role, if it is less than the user's.
    pub role: Option<String>,
    /// What of that role's counts.
    pub scope: Scope,
    /// When it was made.
    pub since: Timestamp,
    /// Until when it counts.
    pub expires: Option<Timestamp>,
    /// How often it still counts.
    pub uses: Option<u32>,
}

/// Who somebody is to the controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhoAmI {
    /// The name.
    pub user: String,
    /// The role.
    pub role: String,
}

/// On whose word something is done later, such as a job for a node that is away. It
/// is kept with what was asked, so that it can be judged again when the time comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// The user.
    pub user: String,
    /// The role, if it is less than the user's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What of that role's counts.
    #[serde(default, skip_serializing_if = "Scope::is_everything")]
    pub scope: Scope,
    /// The token by which that is less, while it is not withdrawn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// When that token expires: what was asked before that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// Asks for lines of the audit log, the newest last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditQuery {
    /// At most so many; all there is room for if there is none.
    #[serde(default)]
    pub limit: Option<u32>,
    /// Only what this one did.
    #[serde(default)]
    pub who: Option<String>,
    /// Only what has this text in what was done, or on what.
    #[serde(default)]
    pub what: Option<String>,
}

/// One thing that was done, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number in the log.
    pub number: u64,
    /// When it was begun.
    pub time: Timestamp,
    /// Who did it.
    pub who: String,
    /// In which role.
    pub role: String,
    /// From where.
    pub from: String,
    /// What was called, a command by its name.
    pub what: String,
    /// On what: a node, or what the call names.
    pub on: String,
    /// What came of it; nothing if that is not known.
    pub result: Option<String>,
}

/// What became of checking the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditVerdict {
    /// How many lines are as they were written.
    pub lines: u64,
    /// The hash of the last of them.
    pub head: String,
    /// In how many files they are.
    #[serde(default)]
    pub files: u32,
    /// What is wrong with the first that is not.
    pub fault: Option<String>,
}
