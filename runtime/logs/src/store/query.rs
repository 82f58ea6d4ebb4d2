//! What a caller asks the store for, and what it gets.

use std::fmt;
use std::str::FromStr;

use drover_api::{JobId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

use super::record::{RecordId, StoredRecord};
use crate::fields::FieldCondition;
use crate::level_set::LevelSet;

/// Which records are meant: those that fulfil all that is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Records of this job.
    pub job: Option<JobId>,
    /// Records of jobs with this domain.
    pub domain: Option<String>,
    /// Records of jobs with this name.
    pub name: Option<String>,
    /// Records of these levels.
    pub levels: LevelSet,
    /// Records written at this time or later.
    pub from: Option<Timestamp>,
    /// Records written before this time.
    pub until: Option<Timestamp>,
    /// Records in which this text occurs, byte for byte.
    pub text: Option<String>,
    /// Records whose fields fulfil all of these.
    pub fields: Vec<FieldCondition>,
    /// Records that were stored after this one.
    pub after: Option<RecordId>,
    /// Records that this node sent, in a log that keeps those of nodes.
    pub node: Option<NodeId>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            job: None,
            domain: None,
            name: None,
            levels: LevelSet::ALL,
            from: None,
            until: None,
            text: None,
            fields: Vec::new(),
            after: None,
            node: None,
        }
    }
}

/// In which order records are wanted: that in which they were stored, or its
/// reverse. It follows their ids, also where a clock went back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// The last ones first.
    #[default]
    Newest,
    /// The first ones first.
    Oldest,
}

/// A question to the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Query {
    /// Which records.
    pub filter: Filter,
    /// Which of them first.
    pub order: Order,
    /// How many at most.
    pub limit: usize,
    /// Where an earlier page with the same filter and order ended.
    pub cursor: Option<Cursor>,
}

impl Query {
    /// How many records a page has if nobody says.
    pub const LIMIT: usize = 1000;
}

impl Default for Query {
    fn default() -> Self {
        Self { filter: Filter::default(), order: Order::Newest, limit: Self::LIMIT, cursor: None }
    }
}

/// Some of the records that were asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Page {
    /// The records, in the order that was asked for.
    pub records: Vec<StoredRecord>,
    /// Where the next page begins; absent if there is nothing more. A page may
    /// be shorter than its limit and have a next one: records may be large.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cursor>,
    /// Files that could not be read in whole, so that records may be missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
}

/// Where a page ended. To be given back as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor(pub(super) u64);

/// A text is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no cursor: give back the `next` of an earlier page as it was")]
pub struct CursorError(String);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| CursorError(text.chars().take(80).collect()))
    }
}

impl TryFrom<String> for Cursor {
    type Error = CursorError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        cursor.to_string()
    }
}
