//! The thread that writes: whatever waits goes into one commit, so the more comes at
//! a time, the cheaper each becomes.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::{Notify, mpsc, watch};

/// Steps in one commit.
const COMMIT_STEPS: usize = 512;

/// Steps that wait; whoever has one more waits.
const BACKLOG: usize = 1024;

/// How long one waits for another who has the file.
const BUSY: Duration = Duration::from_secs(10);

/// How soon what failed is tried again; doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// Writes what follows from steps, and hands back what may be done afterwards.
///
/// In order: what is handed back was written, and so was everything before it. When
/// the disk takes nothing it is tried again until it does; meanwhile nothing is
/// handed back, and [`trouble`](Self::trouble) says why.
#[derive(Debug)]
pub struct Journal<W, T> {
    entries: mpsc::Sender<Entry<W, T>>,
    safe: Arc<Safe<T>>,
    trouble: watch::Receiver<Option<String>>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Entry<W, T> {
    writes: Vec<W>,
    then: T,
}

/// What was written, and waits for whoever does the rest. No bound of its own: no
/// more is here than was let in by the queue before.
#[derive(Debug)]
struct Safe<T> {
    items: Mutex<Vec<T>>,
    there_are: Notify,
}

/// The thread has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the journal is closed")]
pub struct JournalClosed;

/// Opens a SQLite file, or makes one that only its owner may read: commands may have
/// secrets in them. What is committed is safe.
///
/// # Errors
///
/// If the file cannot be made or is no database.
pub fn open_file(path: &Path) -> rusqlite::Result<Connection> {
    // What SQLite puts beside the file is for the same eyes.
    let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    // SQLite says better what is wrong.
    drop(made);
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    Ok(connection)
}

impl<W: Send + 'static, T: Send + 'static> Journal<W, T> {
    /// Starts the thread, which is called `name`. `write` writes one thing into the
    /// transaction that is open on the connection; all of a commit is written again
    /// if that fails.
    ///
    /// # Errors
    ///
    /// If the system has no thread for it.
    pub fn start(
        name: &str,
        connection: Connection,
        write: impl FnMut(&Connection, &W) -> rusqlite::Result<()> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (entries, waiting) = mpsc::channel(BACKLOG);
        let (told, trouble) = watch::channel(None);
        let safe = Arc::new(Safe { items: Mutex::default(), there_are: Notify::new() });
        let writer = Writer { connection, write, safe: Arc::clone(&safe), trouble: told };
        let thread =
            std::thread::Builder::new().name(name.to_owned()).spawn(|| writer.run(waiting))?;
        Ok(Self { entries, safe, trouble, thread })
    }

    /// Has a step written, after all before it; `then` is handed back when it is safe.
    ///
    /// # Errors
    ///
    /// If the thread has ended.
    pub async fn write(&self, writes: Vec<W>, then: T) -> Result<(), JournalClosed> {
        self.entries.send(Entry { writes, then }).await.map_err(|_| JournalClosed)
    }

    /// What has become safe since the last time; waits until there is something.
    pub async fn safe(&self) -> Vec<T> {
        loop {
            let there_are = self.safe.there_are.notified();
            let items = std::mem::take(&mut *self.safe.lock());
            if !items.is_empty() {
                return items;
            }
            there_are.await;
        }
    }

    /// Why nothing can be written at present.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.trouble.borrow().clone()
    }

    /// Whether the thread works.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Writes what waits and ends the thread. To be called where one may block.
    pub fn close(self) {
        drop(self.entries);
        // A panic of it was told when it happened.
        let _ = self.thread.join();
    }
}

impl<T> Safe<T> {
    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Writer<F, T> {
    connection: Connection,
    write: F,
    safe: Arc<Safe<T>>,
    trouble: watch::Sender<Option<String>>,
}

impl<F, T> Writer<F, T> {
    fn run<W>(mut self, mut waiting: mpsc::Receiver<Entry<W, T>>)
    where
        F: FnMut(&Connection, &W) -> rusqlite::Result<()>,
    {
        let mut entries = Vec::new();
        while waiting.blocking_recv_many(&mut entries, COMMIT_STEPS) > 0 {
            if !self.commit(&entries, &waiting) {
                return;
            }
            self.safe.lock().extend(entries.drain(..).map(|entry| entry.then));
            self.safe.there_are.notify_one();
        }
    }

    /// Commits until it has worked; gives up only when nobody waits any more.
    fn commit<W>(&mut self, entries: &[Entry<W, T>], waiting: &mpsc::Receiver<Entry<W, T>>) -> bool
    where
        F: FnMut(&Connection, &W) -> rusqlite::Result<()>,
    {
        if entries.iter().all(|entry| entry.writes.is_empty()) {
            return true;
        }
        let mut wait = FIRST_RETRY;
        loop {
            let Err(error) = self.try_commit(entries) else {
                self.trouble.send_if_modified(|trouble| trouble.take().is_some());
                return true;
            };
            let text = error.to_string();
            let is_news = self.trouble.send_if_modified(|trouble| {
                let is_news = trouble.is_none();
                *trouble = Some(text.clone());
                is_news
            });
            if is_news {
                tracing::error!(error = text, "jobs cannot be written down, and wait");
            }
            if waiting.is_closed() {
                tracing::error!(error = text, "what was last is not written down");
                return false;
            }
            pause(wait);
            wait = (wait * 2).min(LAST_RETRY);
        }
    }

    fn try_commit<W>(&mut self, entries: &[Entry<W, T>]) -> rusqlite::Result<()>
    where
        F: FnMut(&Connection, &W) -> rusqlite::Result<()>,
    {
        let transaction = self.connection.unchecked_transaction()?;
        for write in entries.iter().flat_map(|entry| &entry.writes) {
            (self.write)(&transaction, write)?;
        }
        transaction.commit()
    }
}

#[expect(clippy::disallowed_methods, reason = "the thread is the journal's own, and the disk full")]
fn pause(wait: Duration) {
    std::thread::sleep(wait);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(path: &std::path::Path) -> Journal<u32, u32> {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("CREATE TABLE IF NOT EXISTS numbers (number INTEGER)").unwrap();
        let write = |connection: &Connection, number: &u32| {
            connection.execute("INSERT INTO numbers VALUES (?)", [number]).map(drop)
        };
        Journal::start("test", connection, write).unwrap()
    }

    #[tokio::test]
    async fn what_is_handed_back_is_written_and_comes_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let journal = journal(&path);
        for number in 0..100 {
            journal.write(vec![number, number], number).await.unwrap();
        }
        let mut safe = Vec::new();
        while safe.len() < 100 {
            safe.extend(journal.safe().await);
            let reader = Connection::open(&path).unwrap();
            let count: i64 =
                reader.query_row("SELECT count(*) FROM numbers", [], |row| row.get(0)).unwrap();
            assert!(count >= 2 * safe.len() as i64, "{count} of {}", safe.len());
        }
        assert_eq!(safe, (0..100).collect::<Vec<_>>());
        journal.close();
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_tried_again_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let journal = journal(&path);
        let other = Connection::open(&path).unwrap();
        other.execute_batch("ALTER TABLE numbers RENAME TO elsewhere").unwrap();
        journal.write(vec![7], 7).await.unwrap();
        while journal.trouble().is_none() {
            tokio::task::yield_now().await;
        }
        other.execute_batch("ALTER TABLE elsewhere RENAME TO numbers").unwrap();
        assert_eq!(journal.safe().await, [7]);
        assert_eq!(journal.trouble(), None);
    }
}
