//! What a node tells of the log files that it follows.

use serde::{Deserialize, Serialize};

/// One source of records: files, and how far they have been read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Whether lines are read at present.
    pub state: SourceState,
    /// Why they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// The plugin and the format that parse its lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parser: Option<String>,
    /// Its files.
    pub files: Vec<SourceFile>,
    /// Lines read since the agent started.
    pub lines: u64,
    /// Those of them that did not parse.
    pub unparsed: u64,
    /// Those of them that were longer than a line may be, and were cut.
    pub cut: u64,
    /// Bytes of its files that are still to be read.
    pub lag: u64,
    /// How often something was lost before it could be read; records say what.
    pub gaps: u64,
    /// What could not be read at the last look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub troubles: Vec<String>,
    /// What its parser failed with last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}

/// Whether a source is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceState {
    /// It was not looked at yet.
    #[default]
    Starting,
    /// What its files say is read.
    Following,
    /// Nothing is read; what comes waits in its files.
    Waiting,
    /// A state that this version does not know.
    #[serde(other)]
    Unknown,
}

/// One file of a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its path; the last it had, if it was renamed or removed.
    pub path: String,
    /// How many of its bytes were read.
    pub offset: u64,
    /// How many it has.
    pub size: u64,
    /// Whether it is still found under a path of the source.
    pub has_name: bool,
}
