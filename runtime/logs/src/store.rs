//! The record store: everything children say, kept in SQLite files.
//!
//! ```text
//! append ──▶ queue ──▶ writer thread ──▶ current.db ──▶ <epoch>.db, …
//!                            │               ▲              ▲
//!                            └─ committed ─▶ follow, forward, query
//! ```
//!
//! Those who log fill the queue; one thread, the writer, takes all that is
//! there into one transaction and is the only one that ever changes a file.
//! Queries read on the threads of their callers. Who follows the log reads it
//! from the files too, and is only woken by the writer: a record can neither be
//! lost nor doubled between what was and what comes.
//!
//! What a crash takes: if the agent dies, what was not flushed; that is the
//! queue, a few milliseconds' worth while the disk keeps up. If the machine
//! dies, the last second as well, unless every commit is brought to the disk
//! ([`Durability::EveryCommit`]).

mod batch;
mod catalog;
mod collect;
mod config;
mod counts;
mod database;
mod follow;
mod forward;
mod query;
mod queue;
mod reader;
mod record;
mod retention;
mod rows;
mod scan;
mod state;
mod writer;
mod zone;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLockReadGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use drover_api::Level;
use tokio::sync::{oneshot, watch};

pub use batch::{Batch, Origin};
pub use collect::{CollectError, Collector, Delivery};
pub use config::{DeleteError, Durability, OpenError, StoreClosed, StoreConfig};
pub use counts::StoreCounts;
pub use follow::{Follower, MissedRecords, Start};
pub use forward::{Acknowledgement, ForwardBatch, Forwarder};
pub use query::{Cursor, CursorError, Filter, Order, Page, Query};
pub use record::{RecordId, Sent, StoredRecord};

use catalog::{Catalog, is_damage, is_passing, remove_side_files, set_aside};
use counts::Tallies;
use database::{open_finished, read_marks};
use queue::{IsClosed, Item, Queue};
use reader::Reader;
use record::Sequence;
use rows::Found;
use scan::Scan;
use state::{State as Remembered, StateFile};
use writer::{CurrentFile, RESERVED_IDS, WriteError, Writer, own_origin, read_current};

/// The store of an agent. Clones are handles to the same store, which is closed
/// with the last of them.
#[derive(Debug, Clone)]
pub struct LogStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    /// Held as long as the store is open.
    _lock: File,
}

/// What the writer and those who read have in common.
#[derive(Debug)]
struct Shared {
    config: StoreConfig,
    identity: String,
    queue: Queue,
    reader: Reader,
    state: Mutex<StateFile>,
    committed: watch::Sender<Committed>,
    trouble: watch::Sender<Option<String>>,
    tallies: Tallies,
    /// Files that a query found damaged and that were written down.
    reported: Mutex<BTreeSet<PathBuf>>,
    /// What is remembered with the records that are committed.
    marks: Mutex<BTreeMap<String, String>>,
}

/// How far the log has come.
#[derive(Debug, Clone, Copy)]
struct Committed {
    /// The newest place that is committed.
    newest: u64,
    /// Whether it will stay the newest.
    is_closed: bool,
}

/// Records of one page are not larger than this together, about.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

/// Records that are deleted in one go: the writer does nothing else meanwhile.
const DELETED_AT_ONCE: usize = 4096;

impl LogStore {
    /// Opens the store, and takes in what a crash has left. Files that are
    /// damaged are set aside, and a critical record says so. Where the disk is full,
    /// [`LogStore::trouble`] tells of it, and what is added waits until there is room.
    ///
    /// # Errors
    ///
    /// Another agent has it open, or the directory cannot be used.
    pub fn open(config: StoreConfig) -> Result<Self, OpenError> {
        let directory = config.directory.clone();
        let refuse = |source: io::Error| refuse_to_open(&directory, source.into());
        fs::create_dir_all(&directory).map_err(refuse)?;
        let lock = File::create(directory.join("lock")).map_err(refuse)?;
        if !lock_within(&lock, config.lock_patience).map_err(refuse)? {
            return Err(OpenError::InUse { directory });
        }
        let (shared, next, notes) =
            Shared::open(config).map_err(|error| refuse_to_open(&directory, error.into()))?;
        let shared = Arc::new(shared);
        let writer = Writer::new(Arc::clone(&shared), next, notes);
        let thread = std::thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || writer.run())
            .map_err(refuse)?;
        let writer = Mutex::new(Some(thread));
        Ok(Self { inner: Arc::new(Inner { shared, writer, _lock: lock }) })
    }

    /// Adds records. Waits for room if the disk does not keep up, which is how
    /// a child that says too much is slowed down. They are not yet on disk when
    /// this returns: see [`LogStore::flush`].
    ///
    /// # Errors
    ///
    /// The store is closed.
    pub async fn append(&self, batch: Batch) -> Result<(), StoreClosed> {
        self.shared().queue.push(batch).await.map_err(|IsClosed| StoreClosed)
    }

    /// As [`LogStore::append`], for a thread of its own.
    ///
    /// # Errors
    ///
    /// The store is closed.
    pub fn append_blocking(&self, batch: Batch) -> Result<(), StoreClosed> {
        self.shared().queue.push_blocking(batch).map_err(|IsClosed| StoreClosed)
    }

    /// A way to add records of one job that never waits. What finds no room is
    /// not kept, and a record says how much that was.
    #[must_use]
    pub fn lossy_appender(&self) -> LossyAppender {
        LossyAppender { store: self.clone(), gap: None }
    }

    /// Waits until everything that was added before is committed.
    ///
    /// # Errors
    ///
    /// The store was closed, and could not write what was left.
    pub async fn flush(&self) -> Result<(), StoreClosed> {
        self.request_flush()?.await.map_err(|_| StoreClosed)
    }

    /// As [`LogStore::flush`], for a thread of its own.
    ///
    /// # Errors
    ///
    /// The store was closed, and could not write what was left.
    pub fn flush_blocking(&self) -> Result<(), StoreClosed> {
        self.request_flush()?.blocking_recv().map_err(|_| StoreClosed)
    }

    fn request_flush(&self) -> Result<oneshot::Receiver<()>, StoreClosed> {
        let (reply, answer) = oneshot::channel();
        let request = Item::Flush(reply);
        self.shared().queue.push_request(request).map_err(|IsClosed| StoreClosed)?;
        Ok(answer)
    }

    /// Answers a question from the files: on this thread, which reads from the
    /// disk meanwhile. Records that are not committed are not seen.
    #[must_use]
    pub fn query(&self, query: &Query) -> Page {
        let shared = self.shared();
        let (mut low, mut high) = shared.bounds(&query.filter);
        match (query.cursor, query.order) {
            (Some(Cursor(at)), Order::Newest) => high = high.min(at),
            (Some(Cursor(at)), Order::Oldest) => low = low.max(at),
            (None, _) => {}
        }
        let mut scan = Scan::new(query.filter.clone(), query.order, low, high);
        let mut found = Found::new(query.limit.max(1), PAGE_BYTES);
        scan.run(&shared.reader, &mut found);
        shared.report_damage(&scan.damaged);
        let next = match query.order {
            Order::Newest => scan.high,
            Order::Oldest => scan.low,
        };
        Page {
            records: found.records.into_iter().map(|(_, record)| record).collect(),
            next: (!scan.is_done()).then_some(Cursor(next)),
            damaged: scan.unread_files().map(|path| path.display().to_string()).collect(),
        }
    }

    /// Where everything ends that is committed now: an [`Order::Oldest`] query
    /// from here finds what comes later.
    #[must_use]
    pub fn end(&self) -> Cursor {
        Cursor(self.shared().committed.borrow().newest + 1)
    }

    /// What those who log have the store remember, by [`Batch::mark`]: as it was
    /// committed together with their records. So whoever reads on from a mark
    /// after a crash neither loses nor doubles a record.
    #[must_use]
    pub fn marks(&self) -> BTreeMap<String, String> {
        self.shared().marks().clone()
    }

    /// Tells this log from every other one, and from one that was in its
    /// directory before and was removed.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.shared().identity
    }

    /// Deletes the records that fulfil `filter` and are committed now, and says
    /// how many there were. Not to be called by a task: it waits for the disk.
    ///
    /// # Errors
    ///
    /// The store is closed, or a file cannot be changed.
    pub fn delete(&self, filter: &Filter) -> Result<u64, DeleteError> {
        let shared = self.shared();
        let (low, high) = shared.bounds(filter);
        let mut scan = Scan::new(filter.clone(), Order::Oldest, low, high);
        let mut deleted = 0;
        while !scan.is_done() {
            let mut found = Found::new(DELETED_AT_ONCE, PAGE_BYTES);
            scan.run(&shared.reader, &mut found);
            let places: Vec<Sequence> = found.records.iter().map(|(place, _)| *place).collect();
            if places.is_empty() {
                continue;
            }
            let (reply, answer) = oneshot::channel();
            let request = Item::Delete(places, reply);
            shared.queue.push_request(request).map_err(|IsClosed| StoreClosed)?;
            let answer = answer.blocking_recv().map_err(|_| StoreClosed)?;
            deleted += answer.map_err(|error| DeleteError::Files(error.into()))?;
        }
        Ok(deleted)
    }

    /// A view of the log that goes on as it grows, of the records that fulfil
    /// `filter`.
    #[must_use]
    pub fn follow(&self, filter: Filter, start: Start) -> Follower {
        Follower::new(self.clone(), filter, start)
    }

    /// The records that wait to be forwarded to `receiver`, from where that has
    /// acknowledged them.
    #[must_use]
    pub fn forwarder(&self, receiver: &str) -> Forwarder {
        Forwarder::new(self.clone(), receiver)
    }

    /// Why nothing can be written at present; `None` while all is well. The
    /// agent tells it on its link, since the log cannot.
    #[must_use]
    pub fn trouble(&self) -> watch::Receiver<Option<String>> {
        self.shared().trouble.subscribe()
    }

    /// What went through the store since it was opened, and what it has now.
    #[must_use]
    pub fn counts(&self) -> StoreCounts {
        let shared = self.shared();
        StoreCounts {
            records: shared.tallies.records(),
            left_out: shared.queue.left_out(),
            waiting_bytes: shared.queue.waiting_bytes(),
            file_bytes: shared.catalog().file_bytes(),
        }
    }

    /// Writes what is left and closes the store, for all handles. What cannot
    /// be written after three more attempts is lost, and the program's own log
    /// says how much. Blocks until that is done.
    pub fn close(&self) {
        self.inner.close();
    }

    fn shared(&self) -> &Shared {
        &self.inner.shared
    }
}

impl Inner {
    fn close(&self) {
        self.shared.queue.close();
        let thread = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the log's writer panicked; what was not written is lost");
        }
        self.shared.committed.send_modify(|committed| committed.is_closed = true);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Adds records of one job without ever waiting.
#[derive(Debug)]
pub struct LossyAppender {
    store: LogStore,
    /// The gap that has begun and is not written yet.
    gap: Option<u64>,
}

impl LossyAppender {
    /// Adds records if there is room, or counts them. Returns whether they were
    /// added.
    ///
    /// # Errors
    ///
    /// The store is closed.
    pub fn append(&mut self, batch: Batch) -> Result<bool, StoreClosed> {
        let queue = &self.store.shared().queue;
        self.gap = queue.push_or_count(batch, self.gap).map_err(|IsClosed| StoreClosed)?;
        Ok(self.gap.is_none())
    }
}

impl Shared {
    /// Reads what is there: returns also the place of the next record, and what
    /// is to be told about damage.
    fn open(config: StoreConfig) -> Result<(Self, Sequence, Batch), WriteError> {
        let directory = &config.directory;
        let mut notes = Batch::new(Arc::new(own_origin()));
        let (mut catalog, damaged) = Catalog::read(directory)?;
        let mut damaged: Vec<PathBuf> = damaged;
        let current = catalog.current();
        let (mut state, remembered) = StateFile::open(directory)?;
        let identity = state.identity()?;
        let mut is_unread = false;
        let CurrentFile { ends, mut marks } = match read_current(&current) {
            Ok(found) => found,
            Err(error) if is_damage(&error) => {
                tracing::warn!(path = %current.display(), %error, "log file set aside");
                damaged.push(set_aside(&current)?);
                CurrentFile::default()
            }
            // What is remembered has no place that could be in there.
            Err(error) if remembered.is_some() && is_passing(&error) => {
                is_unread = true;
                CurrentFile::default()
            }
            Err(error) => return Err(error.into()),
        };
        if let (true, Some(newest)) = (marks.is_empty(), catalog.files.last()) {
            marks = read_marks(&open_finished(&newest.path)?)?;
        }
        marks.retain(|name, _| !name.is_empty());
        if !current.exists() {
            remove_side_files(&current)?;
        }
        for path in &damaged {
            note_damage(&mut notes, path);
        }
        let newest = ends.map(|(_, last)| last).max(catalog.newest()).map_or(0, |place| place.0);
        let next = match &remembered {
            Some(Remembered { next, .. }) => newest.max(next.saturating_sub(1)) + 1,
            None if newest == 0 && damaged.is_empty() => 1,
            // Places after the newest may have been given and lost.
            None => newest + RESERVED_IDS,
        };
        catalog.current_first = match ends {
            Some((first, _)) => first,
            None if is_unread => Sequence(catalog.newest().map_or(1, |place| place.0 + 1)),
            None => Sequence(next),
        };
        let shared = Self {
            queue: Queue::new(config.max_queue_bytes),
            reader: Reader::new(catalog),
            state: Mutex::new(state),
            committed: watch::Sender::new(Committed { newest: next - 1, is_closed: false }),
            trouble: watch::Sender::new(None),
            tallies: Tallies::default(),
            reported: Mutex::default(),
            marks: Mutex::new(marks),
            identity,
            config,
        };
        Ok((shared, Sequence(next), notes))
    }

    /// Writes down, once, that files cannot be read in whole.
    fn report_damage(&self, paths: &[PathBuf]) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        for path in paths {
            if reported.insert(path.clone()) {
                let mut note = Batch::new(Arc::new(own_origin()));
                let text = format!(
                    "the log file {} cannot be read in whole: records in it are missing from what \
                     is found",
                    path.display()
                );
                note.note(Level::CRITICAL, &text);
                // A store that is being closed has nothing to tell any more.
                let _ = self.queue.push_request(Item::Write(note));
            }
        }
    }

    /// The places that may fulfil `filter` now, both ends included.
    fn bounds(&self, filter: &Filter) -> (u64, u64) {
        let newest = self.committed.borrow().newest;
        let after = filter.after.map_or(0, |id| Sequence::of(id, Sequence(newest)).0);
        (after + 1, newest)
    }

    fn catalog(&self) -> RwLockReadGuard<'_, Catalog> {
        self.reader.catalog.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn marks(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of marks that are committed.
    fn note_marks<'m>(&self, changes: impl Iterator<Item = &'m (String, Option<String>)>) {
        let mut marks = self.marks();
        for (name, value) in changes {
            match value {
                Some(value) => marks.insert(name.clone(), value.clone()),
                None => marks.remove(name),
            };
        }
    }

    fn state(&self) -> MutexGuard<'_, StateFile> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes the lock; false if another program still has it after `patience`.
#[expect(clippy::disallowed_methods, reason = "no kernel tells of a lock with a time limit")]
fn lock_within(lock: &File, patience: Duration) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(true),
            Err(fs::TryLockError::Error(error)) => return Err(error),
            Err(fs::TryLockError::WouldBlock) if Instant::now() >= deadline => return Ok(false),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn refuse_to_open(directory: &Path, source: Box<dyn std::error::Error + Send + Sync>) -> OpenError {
    OpenError::Files { directory: directory.to_owned(), source }
}

fn note_damage(notes: &mut Batch, path: &Path) {
    let text = format!(
        "a log file was damaged and is now {}; records in it are found no more",
        path.display()
    );
    notes.note(Level::CRITICAL, &text);
}
