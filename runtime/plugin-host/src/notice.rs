//! What the host has to tell of plugins beside the answers to jobs: for the
//! node's log.

use drover_api::Level;
use tokio::sync::{Mutex, mpsc, watch};

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

/// Where the host tells what happens, for one who listens to the notices and
/// any who look at what has changed.
pub(crate) struct News {
    sender: mpsc::Sender<Notice>,
    receiver: Mutex<mpsc::Receiver<Notice>>,
    revision: watch::Sender<u64>,
}

impl Default for News {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        Self { sender, receiver: Mutex::new(receiver), revision: watch::Sender::new(0) }
    }
}

impl News {
    /// Tells whoever listens. What finds no room is in the program's own log,
    /// like all of them.
    pub(crate) fn tell(&self, notice: Notice) {
        let _ = self.sender.try_send(notice);
    }

    /// Waits for the next notice.
    pub(crate) async fn listen(&self) -> Notice {
        match self.receiver.lock().await.recv().await {
            Some(notice) => notice,
            // The other end is beside this one.
            None => std::future::pending().await,
        }
    }

    /// Says that what is loaded, refused or in quarantine has changed.
    pub(crate) fn changed(&self) {
        self.revision.send_modify(|revision| *revision += 1);
    }

    pub(crate) fn revision(&self) -> watch::Receiver<u64> {
        self.revision.subscribe()
    }
}
