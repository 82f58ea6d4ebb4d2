//! The thread that writes: whatever waits goes into one commit, so the more comes at
//! a time, the cheaper each becomes.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::{Notify, watch};

/// Steps in one commit.
const COMMIT_STEPS: usize = 512;

/// Steps that wait; from then on whoever can refuse is to refuse. More than those make
/// who wait for an answer at the same time, so a disk that is only slow is not taken for
/// one that does not answer.
const BACKLOG: usize = 4096;

/// A disk that takes so long for one commit does not answer.
const STALL: Duration = Duration::from_secs(10);

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
///
/// Nobody waits for a disk that does not answer. Whoever takes something new asks
/// before whether there is an [obstacle](Self::obstacle); what follows from what was
/// taken is written in any case, and there is only so much of that.
#[derive(Debug)]
pub struct Journal<W, T> {
    intake: Intake<W, T>,
    safe: Arc<Safe<T>>,
    trouble: watch::Receiver<Option<String>>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
struct Entry<W, T> {
    writes: Vec<W>,
    then: T,
}

/// What waits for the thread.
#[derive(Debug)]
struct Waiting<W, T> {
    steps: Mutex<Steps<W, T>>,
    there_are: Condvar,
}

#[derive(Debug)]
struct Steps<W, T> {
    entries: VecDeque<Entry<W, T>>,
    /// Since when some are being written.
    since: Option<Instant>,
    /// Whether no more come.
    is_closed: bool,
}

/// The end at which steps come in; without it the thread ends when all are written.
#[derive(Debug)]
struct Intake<W, T>(Arc<Waiting<W, T>>);

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
        let steps = Mutex::new(Steps { entries: VecDeque::new(), since: None, is_closed: false });
        let waiting = Arc::new(Waiting { steps, there_are: Condvar::new() });
        let intake = Intake(Arc::clone(&waiting));
        let (told, trouble) = watch::channel(None);
        let safe = Arc::new(Safe { items: Mutex::default(), there_are: Notify::new() });
        let writer = Writer { connection, write, safe: Arc::clone(&safe), trouble: told };
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || writer.run(&waiting))?;
        Ok(Self { intake, safe, trouble, thread })
    }

    /// Has a step written, after all before it; `then` is handed back when it is safe.
    /// Does not wait.
    ///
    /// # Errors
    ///
    /// If the thread has ended.
    pub fn write(&self, writes: Vec<W>, then: T) -> Result<(), JournalClosed> {
        if self.thread.is_finished() {
            return Err(JournalClosed);
        }
        let Intake(waiting) = &self.intake;
        waiting.lock().entries.push_back(Entry { writes, then });
        waiting.there_are.notify_one();
        Ok(())
    }

    /// Why nothing new is to be taken although the disk tells of no trouble: it does not
    /// answer, or too much waits for it.
    #[must_use]
    pub fn obstacle(&self) -> Option<String> {
        self.intake.0.lock().obstacle(Instant::now())
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

    /// The same, for whoever waits for a change of it.
    #[must_use]
    pub fn watch_trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.clone()
    }

    /// Whether the thread works.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.thread.is_finished()
    }

    /// Writes what waits and ends the thread. To be called where one may block.
    pub fn close(self) {
        drop(self.intake);
        // A panic of it was told when it happened.
        let _ = self.thread.join();
    }
}

impl<W, T> Drop for Intake<W, T> {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.there_are.notify_one();
    }
}

impl<W, T> Steps<W, T> {
    fn obstacle(&self, now: Instant) -> Option<String> {
        let has_stalled = |since: Instant| now.saturating_duration_since(since) >= STALL;
        match self.since {
            Some(since) if has_stalled(since) => {
                Some(format!("the disk has not answered for {} s or more", STALL.as_secs()))
            }
            _ if self.entries.len() >= BACKLOG => {
                Some(format!("{BACKLOG} steps wait for the disk"))
            }
            _ => None,
        }
    }
}

impl<W, T> Waiting<W, T> {
    /// The next steps, at most so many; none if no more come.
    fn next(&self, most: usize) -> Option<Vec<Entry<W, T>>> {
        let is_idle = |steps: &mut Steps<W, T>| steps.entries.is_empty() && !steps.is_closed;
        let mut steps = self.lock();
        steps.since = None;
        let mut steps =
            self.there_are.wait_while(steps, is_idle).unwrap_or_else(PoisonError::into_inner);
        let count = steps.entries.len().min(most);
        let next: Vec<_> = steps.entries.drain(..count).collect();
        steps.since = (!next.is_empty()).then(Instant::now);
        (!next.is_empty()).then_some(next)
    }

    fn is_closed(&self) -> bool {
        self.lock().is_closed
    }

    fn lock(&self) -> MutexGuard<'_, Steps<W, T>> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn run<W>(mut self, waiting: &Waiting<W, T>)
    where
        F: FnMut(&Connection, &W) -> rusqlite::Result<()>,
    {
        while let Some(entries) = waiting.next(COMMIT_STEPS) {
            if !self.commit(&entries, waiting) {
                return;
            }
            self.safe.lock().extend(entries.into_iter().map(|entry| entry.then));
            self.safe.there_are.notify_one();
        }
    }

    /// Commits until it has worked; gives up only when nobody waits any more.
    fn commit<W>(&mut self, entries: &[Entry<W, T>], waiting: &Waiting<W, T>) -> bool
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
            journal.write(vec![number, number], number).unwrap();
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
    async fn a_disk_that_does_not_answer_holds_up_nobody_and_loses_nothing() {
        let (answer, disk) = std::sync::mpsc::channel::<()>();
        let connection = Connection::open_in_memory().unwrap();
        let write = move |_: &Connection, _: &usize| {
            // Until the other end is gone.
            let _ = disk.recv();
            Ok(())
        };
        let journal = Journal::start("test", connection, write).unwrap();
        let mut count = 0;
        while journal.obstacle().is_none() {
            journal.write(vec![count], count).unwrap();
            count += 1;
        }
        assert!(count >= BACKLOG, "{count}");
        assert_eq!(journal.obstacle().unwrap(), "4096 steps wait for the disk");
        // What cannot be refused is taken all the same.
        journal.write(vec![count], count).unwrap();
        drop(answer);
        let mut safe = Vec::new();
        while safe.len() <= count {
            safe.extend(journal.safe().await);
        }
        assert_eq!(safe, (0..=count).collect::<Vec<_>>());
        assert_eq!(journal.obstacle(), None);
    }

    #[test]
    fn a_disk_that_takes_long_for_one_commit_does_not_answer() {
        let since = Instant::now();
        let steps = |since| Steps::<(), ()> { entries: VecDeque::new(), since, is_closed: false };
        let obstacle = |since: Option<Instant>, now| steps(since).obstacle(now);
        assert_eq!(obstacle(None, since + STALL), None);
        assert_eq!(obstacle(Some(since), since + Duration::from_secs(9)), None);
        let why = obstacle(Some(since), since + STALL).unwrap();
        assert_eq!(why, "the disk has not answered for 10 s or more");
    }

    #[test]
    fn what_waits_is_written_before_the_thread_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let journal = journal(&path);
        for number in 0..2000 {
            journal.write(vec![number], number).unwrap();
        }
        journal.close();
        let reader = Connection::open(&path).unwrap();
        let count: i64 =
            reader.query_row("SELECT count(*) FROM numbers", [], |row| row.get(0)).unwrap();
        assert_eq!(count, 2000);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_tried_again_until_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.db");
        let journal = journal(&path);
        let other = Connection::open(&path).unwrap();
        other.execute_batch("ALTER TABLE numbers RENAME TO elsewhere").unwrap();
        journal.write(vec![7], 7).unwrap();
        while journal.trouble().is_none() {
            tokio::task::yield_now().await;
        }
        other.execute_batch("ALTER TABLE elsewhere RENAME TO numbers").unwrap();
        assert_eq!(journal.safe().await, [7]);
        assert_eq!(journal.trouble(), None);
    }
}
