//! Who is known: nodes, operators, and the tokens that let more of them in. Pure:
//! no I/O, and the time is an argument.
//!
//! What is asked of it is decided without changing anything; the answer comes with
//! the changes that it takes, which are written first and applied then.
//!
//! ```text
//!   join token ── enrol ──> node ── revoke ──> revoked ── forget ──> nobody
//!   claim ────── approve ───^  └─ rotate: two keys, until the new one is used
//! ```

pub(super) mod nodes;
mod people;

use std::collections::{BTreeMap, HashMap};

use drover_api::{ApiToken, ErrorCode, KnownNode, NodeId, Timestamp, User};
use serde::{Deserialize, Serialize};

use super::password::PasswordHash;

/// Everybody who is known.
#[derive(Debug, Default)]
pub(super) struct Directory {
    nodes: BTreeMap<NodeId, KnownNode>,
    /// The owners of all keys, those of revoked nodes included.
    by_key: HashMap<String, Owner>,
    joins: BTreeMap<String, JoinToken>,
    users: BTreeMap<String, UserRecord>,
    tokens: BTreeMap<String, TokenRecord>,
}

/// Whose a key is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    Node(NodeId),
    User(String),
}

/// A token with which agents become nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct JoinToken {
    pub(super) id: String,
    pub(super) hash: String,
    pub(super) uses: u32,
    pub(super) expires: Timestamp,
    pub(super) labels: Vec<String>,
    pub(super) node: Option<NodeId>,
    /// Who made it.
    pub(super) by: String,
}

/// An operator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UserRecord {
    pub(super) name: String,
    pub(super) role: String,
    pub(super) password: Option<PasswordHash>,
    pub(super) keys: Vec<String>,
    pub(super) since: Timestamp,
}

/// A token that lets programs in on behalf of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TokenRecord {
    pub(super) token: ApiToken,
    pub(super) hash: String,
}

/// A record that is new or different, or gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    Node(KnownNode),
    Join(JoinToken),
    User(UserRecord),
    Token(TokenRecord),
    JoinGone(String),
    UserGone(String),
    TokenGone(String),
    NodeGone(NodeId),
}

/// Why something is not done, for programs and people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) text: String,
}

/// An answer, and what has to be written before it counts.
pub(super) type Decision<T> = Result<(T, Vec<Change>), Refusal>;

impl Refusal {
    pub(super) fn denied(text: impl Into<String>) -> Self {
        Self { code: ErrorCode::Denied, text: text.into() }
    }

    pub(super) fn wrong(text: impl Into<String>) -> Self {
        Self { code: ErrorCode::InvalidArguments, text: text.into() }
    }
}

impl Directory {
    /// Takes a record as it is now.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Node(node) => {
                self.by_key.retain(|_, owner| *owner != Owner::Node(node.node));
                let owners = node.keys.iter().map(|key| (key.clone(), Owner::Node(node.node)));
                self.by_key.extend(owners);
                self.nodes.insert(node.node, node);
            }
            Change::Join(join) => {
                self.joins.insert(join.id.clone(), join);
            }
            Change::User(user) => {
                let owner = Owner::User(user.name.clone());
                self.by_key.retain(|_, other| *other != owner);
                let owners = user.keys.iter().map(|key| (key.clone(), owner.clone()));
                self.by_key.extend(owners);
                self.users.insert(user.name.clone(), user);
            }
            Change::Token(token) => {
                self.tokens.insert(token.token.id.clone(), token);
            }
            Change::JoinGone(id) => {
                self.joins.remove(&id);
            }
            Change::UserGone(name) => {
                self.by_key.retain(|_, owner| *owner != Owner::User(name.clone()));
                self.users.remove(&name);
            }
            Change::TokenGone(id) => {
                self.tokens.remove(&id);
            }
            Change::NodeGone(node) => {
                self.by_key.retain(|_, owner| *owner != Owner::Node(node));
                self.nodes.remove(&node);
            }
        }
    }

    /// Whose a key is.
    pub(super) fn owner(&self, key: &str) -> Option<&Owner> {
        self.by_key.get(key)
    }

    pub(super) fn node(&self, node: NodeId) -> Option<&KnownNode> {
        self.nodes.get(&node)
    }

    pub(super) fn user(&self, name: &str) -> Option<&UserRecord> {
        self.users.get(name)
    }

    pub(super) fn token(&self, id: &str) -> Option<&TokenRecord> {
        self.tokens.get(id)
    }

    /// Every node, revoked ones included.
    pub(super) fn nodes(&self) -> Vec<KnownNode> {
        self.nodes.values().cloned().collect()
    }

    /// Every operator.
    pub(super) fn users(&self) -> Vec<User> {
        let user = |user: &UserRecord| User {
            name: user.name.clone(),
            role: user.role.clone(),
            has_password: user.password.is_some(),
            keys: user.keys.clone(),
            since: user.since,
        };
        self.users.values().map(user).collect()
    }

    /// The tokens of one user, or all.
    pub(super) fn tokens(&self, of: Option<&str>) -> Vec<ApiToken> {
        let tokens = self.tokens.values().map(|record| &record.token);
        tokens.filter(|token| of.is_none_or(|user| token.user == user)).cloned().collect()
    }
}

impl Change {
    /// Whether somebody may do something else after it. One use less of a token takes
    /// nothing from what was asked with it.
    pub(super) fn matters(&self) -> bool {
        !matches!(self, Self::Token(_) | Self::Join(_) | Self::JoinGone(_))
    }

    /// The kind and the name under which the record is kept.
    pub(super) fn place(&self) -> (&'static str, String) {
        match self {
            Self::Node(node) => ("node", node.node.to_string()),
            Self::Join(JoinToken { id, .. }) | Self::JoinGone(id) => ("join", id.clone()),
            Self::User(UserRecord { name, .. }) | Self::UserGone(name) => ("user", name.clone()),
            Self::Token(record) => ("token", record.token.id.clone()),
            Self::TokenGone(id) => ("token", id.clone()),
            Self::NodeGone(node) => ("node", node.to_string()),
        }
    }

    /// The record in JSON, if it is not gone.
    pub(super) fn record(&self) -> serde_json::Result<Option<String>> {
        match self {
            Self::Node(node) => serde_json::to_string(node).map(Some),
            Self::Join(join) => serde_json::to_string(join).map(Some),
            Self::User(user) => serde_json::to_string(user).map(Some),
            Self::Token(token) => serde_json::to_string(token).map(Some),
            Self::JoinGone(_) | Self::UserGone(_) | Self::TokenGone(_) | Self::NodeGone(_) => {
                Ok(None)
            }
        }
    }

    /// A record that was kept.
    pub(super) fn read(kind: &str, record: &str) -> anyhow::Result<Self> {
        Ok(match kind {
            "node" => Self::Node(serde_json::from_str(record)?),
            "join" => Self::Join(serde_json::from_str(record)?),
            "user" => Self::User(serde_json::from_str(record)?),
            "token" => Self::Token(serde_json::from_str(record)?),
            other => anyhow::bail!("`{other}` is no kind of record"),
        })
    }
}
