//! The audit log: who did what, from where, to what, and what came of it.
//!
//! Lines that are only ever added. Each says what the hash of the one before is, so
//! that none can be changed, taken out or moved unnoticed ([`chain`]); a file beside
//! them says how far the log goes, so that none can be taken from its end either. A
//! file that is full is put away and the chain goes on in the next ([`files`]).
//!
//! ```text
//!   guard ── begin, end ──> queue ──> writer (a thread) ──> audit.log, audit.head
//!                                           when it is full ──> audit-<line>.log
//! ```
//!
//! A line is written when something is begun, and another one when it has ended;
//! what a crash of the machine takes of them is a second at most.
//! Whoever asks for something waits for neither, but while the queue is full,
//! because the disk is, nothing is begun.

mod chain;
mod files;
mod read;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use drover_api::{AuditEntry, AuditQuery, AuditVerdict, Timestamp};
use serde::{Deserialize, Serialize};

pub(crate) use files::full_before as full_files_before;
use writer::{Queue, Writer};

/// What is done, as it is begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Act {
    pub(crate) who: String,
    pub(crate) role: String,
    pub(crate) from: String,
    pub(crate) what: String,
    pub(crate) on: String,
}

/// One line, without its number and hashes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Begun { time: Timestamp, who: String, role: String, from: String, what: String, on: String },
    Ended { time: Timestamp, of: u64, result: String },
}

/// An audit log that is open; a handle, cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    queue: Arc<Queue>,
    path: PathBuf,
}

/// The thread that writes it.
pub(crate) struct AuditTask(Writer);

/// How long the log is, and how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AuditCounts {
    /// Those included that are not written yet.
    pub(crate) lines: u64,
    /// Not written yet.
    pub(crate) waiting: u64,
    pub(crate) is_writable: bool,
}

/// The log takes nothing at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the audit log cannot be written, so nothing is done that has to be in it: see the \
     controller's log, and make room on its disk"
)]
pub(crate) struct Full;

impl Audit {
    /// Opens the log in `dir`, or begins one there. A file that has `max_file` bytes is
    /// full.
    ///
    /// # Errors
    ///
    /// If it cannot be read or written, or its end is not as it was written.
    pub(crate) fn open(dir: &Path, max_file: u64) -> anyhow::Result<(Self, AuditTask)> {
        std::fs::create_dir_all(dir)
            .with_context(|| format!("cannot make the directory {}", dir.display()))?;
        let path = dir.join("audit.log");
        let writer = Writer::open(&path, max_file)
            .with_context(|| format!("cannot open the audit log {}", path.display()))?;
        Ok((Self { queue: writer.queue(), path }, AuditTask(writer)))
    }

    /// Says that something is begun; the number is for [`end`](Self::end).
    pub(crate) fn begin(&self, act: Act) -> Result<u64, Full> {
        let Act { who, role, from, what, on } = act;
        let time = Timestamp::now();
        self.queue.push(Line::Begun { time, who, role, from, what, on })
    }

    /// Says what came of it.
    pub(crate) fn end(&self, number: u64, result: &str) {
        let result = result.to_owned();
        self.queue.push_anyway(Line::Ended { time: Timestamp::now(), of: number, result });
    }

    /// Says both at once.
    pub(crate) fn done(&self, act: Act, result: &str) {
        if let Ok(number) = self.begin(act) {
            self.end(number, result);
        }
    }

    pub(crate) fn counts(&self) -> AuditCounts {
        self.queue.counts()
    }

    /// What is in it, the newest last. Waits until what was said before is written;
    /// reads as many files, the newest first, as it takes.
    pub(crate) fn list(&self, query: &AuditQuery) -> anyhow::Result<Vec<AuditEntry>> {
        self.queue.settle();
        read::list(&self.path, query)
    }

    /// Checks all of it, up to what was said before.
    pub(crate) fn verify(&self) -> anyhow::Result<AuditVerdict> {
        let written = self.queue.settle();
        read::verify(&self.path, Some(written))
    }
}

impl AuditTask {
    /// Writes what still waits, and ends.
    pub(crate) fn close(self) {
        self.0.close();
    }
}

#[cfg(test)]
mod tests;
