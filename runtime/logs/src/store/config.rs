//! Where records are kept, how many and how safely, and why that may fail.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Where records are kept, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// The directory for the files; made if it is missing. One store at a time.
    pub directory: PathBuf,
    /// The size at which the current file is ended and a new one begun.
    pub max_file_bytes: u64,
    /// The size of all files together, at which the oldest are dropped; at
    /// least that of three, whatever is said here.
    pub max_total_bytes: u64,
    /// What waits in memory before those who log must wait.
    pub max_queue_bytes: usize,
    /// What is safe when a flush is answered.
    pub durability: Durability,
    /// How long another store in the directory may take to go: one whose program
    /// was killed a moment ago is there until the kernel has cleared it away.
    pub lock_patience: Duration,
}

/// What is safe once a record is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Durability {
    /// It survives the end of the program, by `kill -9` too, and within a second
    /// that of the machine.
    #[default]
    Window,
    /// It survives the end of the machine at once, at the price of slower writing.
    EveryCommit,
}

impl StoreConfig {
    /// Files of 100 MB, 2 GB in all.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            max_file_bytes: 100_000_000,
            max_total_bytes: 2_000_000_000,
            max_queue_bytes: 4 * 1024 * 1024,
            durability: Durability::Window,
            lock_patience: Duration::from_secs(5),
        }
    }
}

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another program has it open.
    #[error(
        "the log in {directory} is in use: another agent is running there; stop it, or give this \
         one a directory of its own"
    )]
    InUse {
        /// The store's directory.
        directory: PathBuf,
    },
    /// The directory cannot be used.
    #[error("cannot open the log in {directory}")]
    Files {
        /// The store's directory.
        directory: PathBuf,
        /// What the operating system or the database said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The store is closed: nothing more is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the log is closed: the agent is shutting down")]
pub struct StoreClosed;

/// Why records could not be deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// The store is closed.
    #[error(transparent)]
    Closed(#[from] StoreClosed),
    /// A file could not be changed. What was deleted before stays deleted.
    #[error("cannot delete from the log")]
    Files(#[source] Box<dyn std::error::Error + Send + Sync>),
}
