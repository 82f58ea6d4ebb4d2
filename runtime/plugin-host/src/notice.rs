//! What the host has to tell of plugins beside the answers to jobs: for the
//! node's log.

use drover_api::Level;
use tokio::sync::mpsc;

/// Notices that wait for whoever takes them. Far more than come at once, with
/// every file of a large directory refused.
const WAITING: usize = 4096;

/// Something that happened to a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// How grave it is.
    pub level: Level,
    /// The plugin, or the file, that it is about; may be empty.
    pub subject: String,
    /// What happened, and what to do about it.
    pub text: String,
}

impl Notice {
    pub(crate) fn new(level: Level, subject: &str, text: impl Into<String>) -> Self {
        Self { level, subject: subject.to_owned(), text: text.into() }
    }
}

/// Where notices go, and where they are taken from by one who listens.
pub(crate) fn channel() -> (mpsc::Sender<Notice>, mpsc::Receiver<Notice>) {
    mpsc::channel(WAITING)
}
