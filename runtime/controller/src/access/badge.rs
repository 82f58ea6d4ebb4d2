//! How a guest is known to its guard, for as long as its session lasts.

use std::fmt;

/// Who has joined, as the router hands it back with each call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Badge {
    Newcomer,
    Node,
    /// A user, by password or key.
    User,
    /// A user, by this token.
    Token(String),
}

impl fmt::Display for Badge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newcomer => f.write_str("newcomer"),
            Self::Node => f.write_str("node"),
            Self::User => f.write_str("user"),
            Self::Token(id) => write!(f, "token {id}"),
        }
    }
}

impl Badge {
    /// What [`fmt::Display`] has written.
    pub(super) fn read(text: &str) -> Self {
        match text {
            "newcomer" => Self::Newcomer,
            "node" => Self::Node,
            "user" => Self::User,
            other => Self::Token(other.trim_start_matches("token ").to_owned()),
        }
    }
}
