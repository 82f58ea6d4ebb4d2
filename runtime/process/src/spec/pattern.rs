//! The pattern of the line that says that a program is ready.

use regex::bytes::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};

/// The memory that one compiled pattern may take.
const SIZE_LIMIT: usize = 1 << 20;

/// A regular expression over one line of output, as bytes.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReadyPattern(Regex);

impl ReadyPattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// If the text is no regular expression, or one that takes too much memory.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        RegexBuilder::new(pattern).size_limit(SIZE_LIMIT).build().map(Self)
    }

    /// Whether the pattern is somewhere in the line.
    #[must_use]
    pub fn is_in(&self, line: &[u8]) -> bool {
        self.0.is_match(line)
    }

    /// The pattern's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for ReadyPattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl TryFrom<String> for ReadyPattern {
    type Error = regex::Error;

    fn try_from(pattern: String) -> Result<Self, Self::Error> {
        Self::new(&pattern)
    }
}

impl From<ReadyPattern> for String {
    fn from(pattern: ReadyPattern) -> Self {
        pattern.as_str().to_owned()
    }
}
