//! Ids: of grids, nodes and jobs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A grid: a set of nodes that are numbered together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Gid(pub u32);

/// The number of a node, unique in its grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Nid(pub u32);

impl fmt::Display for Gid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Nid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A node of the site, written `<gid>.<nid>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NodeId {
    /// The grid that the node belongs to.
    pub gid: Gid,
    /// Its number there.
    pub nid: Nid,
}

impl NodeId {
    /// Puts the two numbers together.
    #[must_use]
    pub fn new(gid: u32, nid: u32) -> Self {
        Self { gid: Gid(gid), nid: Nid(nid) }
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.gid, self.nid)
    }
}

/// A text is no node id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no node id: write two numbers, <gid>.<nid>, such as 1.7")]
pub struct NodeIdError(String);

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split_once('.')
            .and_then(|(gid, nid)| Some(Self::new(gid.parse().ok()?, nid.parse().ok()?)))
            .ok_or_else(|| NodeIdError(text.to_owned()))
    }
}

/// The id of a job, given by whoever asks for it and unique over the site.
///
/// 1 to 128 characters of letters, digits, `-`, `_`, `.` and `:`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

impl JobId {
    /// The longest id, in characters.
    pub const MAX_LENGTH: usize = 128;

    /// Makes an id that nobody else has; ids made later sort later.
    #[must_use]
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

/// A text is no job id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a job id has 1 to 128 letters, digits, `-`, `_`, `.` or `:`, not {0:?}")]
pub struct JobIdError(String);

impl TryFrom<String> for JobId {
    type Error = JobIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:".contains(c);
        if (1..=Self::MAX_LENGTH).contains(&text.len()) && text.chars().all(is_allowed) {
            Ok(Self(text))
        } else {
            // The start is enough to recognise it, whatever was sent.
            Err(JobIdError(text.chars().take(Self::MAX_LENGTH).collect()))
        }
    }
}

impl FromStr for JobId {
    type Err = JobIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_id_reads_back_as_it_was_written() {
        let id = NodeId::new(1, 4_294_967_295);
        assert_eq!(id.to_string().parse(), Ok(id));
    }

    #[test]
    fn what_is_no_node_id_is_refused_by_name() {
        for text in ["", "1", "1.", ".1", "1.2.3", "1.-2", "1.4294967296", "a.b"] {
            let error = text.parse::<NodeId>().unwrap_err();
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn job_ids_are_checked_wherever_they_come_from() {
        assert!(serde_json::from_str::<JobId>(r#""job-1.a:b_c""#).is_ok());
        for text in [r#""""#, r#""a b""#, r#""a/b""#, r#""ä""#] {
            assert!(serde_json::from_str::<JobId>(text).is_err(), "{text}");
        }
        assert!("x".repeat(128).parse::<JobId>().is_ok());
        assert!("x".repeat(129).parse::<JobId>().is_err());
    }

    #[test]
    fn a_generated_id_is_a_valid_one() {
        let id = JobId::generate();
        assert_eq!(id.as_str().parse(), Ok(id.clone()));
        assert_ne!(id, JobId::generate());
    }
}
