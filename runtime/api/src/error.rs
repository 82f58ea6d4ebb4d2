//! Error codes: stable, for programs, with text beside them for people.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a job gave no answer, or did not start. Codes are never
        /// renamed and never used for something else.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($(#[$doc])* $name,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the list above.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code as it is written on the link.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

error_codes! {
    /// The node has no such plugin or operation.
    UnknownCommand = "unknown-command",
    /// A job of this id is running on the node.
    DuplicateId = "duplicate-id",
    /// No job of this id runs or waits on the node.
    UnknownJob = "unknown-job",
    /// The arguments do not fit the operation's schema, or the plugin refused them.
    InvalidArguments = "invalid-arguments",
    /// The message is no command.
    InvalidCommand = "invalid-command",
    /// The command is meant for another node.
    WrongNode = "wrong-node",
    /// The node runs and holds as many jobs as it may; try again later.
    Busy = "busy",
    /// The plugin failed again and again, and gets no jobs for a while; the
    /// detail says until when, in milliseconds since 1970.
    Quarantined = "quarantined",
    /// The operation failed and said why.
    Failed = "failed",
    /// What the plugin asks for is no longer granted, or not to be had.
    Denied = "denied",
    /// The plugin crashed: it panicked, aborted or executed something invalid.
    Trapped = "trapped",
    /// The plugin asked for more memory than it may have, and crashed.
    OutOfMemory = "out-of-memory",
    /// The deadline passed.
    Timeout = "timeout",
    /// The caller cancelled the job.
    Cancelled = "cancelled",
    /// The agent ended while the job ran, or no longer knows of it: it may have done
    /// some of its work, or all.
    Interrupted = "interrupted",
    /// No node is meant.
    NoNode = "no-node",
    /// The answer is longer than the limit, or is no JSON.
    InvalidAnswer = "invalid-answer",
    /// The agent's program is being replaced. The process of the job goes on under the
    /// same id; the detail says with which command to follow it: `process.follow`.
    HandedOver = "handed-over",
    /// The node is shutting down.
    ShuttingDown = "shutting-down",
    /// The host failed; its log says more.
    Internal = "internal",
    /// A code that this version does not know.
    Unknown = "unknown",
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for ErrorCode {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let known = Self::ALL.iter().copied().find(|code| code.as_str() == text);
        Ok(known.unwrap_or(Self::Unknown))
    }
}

/// Why a job ended without an answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct JobError {
    /// For programs.
    pub code: ErrorCode,
    /// For people: what happened, to what, and what to do about it.
    pub message: String,
    /// What belongs to the code: the plugin's own code and backtrace, the
    /// arguments that do not fit, the names that exist.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub detail: Value,
}

impl JobError {
    /// An error without detail.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: Value::Null }
    }

    /// The same error with detail.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = detail;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_reads_back_and_no_two_are_alike() {
        for (index, code) in ErrorCode::ALL.iter().enumerate() {
            let text = serde_json::to_string(code).unwrap();
            assert_eq!(serde_json::from_str::<ErrorCode>(&text).unwrap(), *code);
            assert!(ErrorCode::ALL[..index].iter().all(|other| other.as_str() != code.as_str()));
        }
    }

    #[test]
    fn a_code_of_a_later_version_is_unknown_not_an_error() {
        assert_eq!(serde_json::from_str::<ErrorCode>("\"later\"").unwrap(), ErrorCode::Unknown);
    }
}
