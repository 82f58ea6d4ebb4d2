//! The thread that changes the files: it alone writes, ends, drops and cleans
//! them.
//!
//! Whatever is in the queue goes into one transaction, so the faster records
//! come, the cheaper each becomes. When a transaction fails, its records stay
//! in memory and it is tried again; meanwhile the queue fills up, and those who
//! log wait or count what they leave out.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::mem;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use drover_api::{Level, Timestamp};

use super::Shared;
use super::batch::{Batch, Origin};
use super::catalog::{CURRENT, FinishedFile, is_damage, remove_side_files, set_aside};
use super::database::{Database, delete_rows, open_finished};
use super::queue::Item;
use super::record::Sequence;
use super::retention;
use super::state::sync_directory;
use crate::source::Source;

/// Bytes of records in one transaction, about.
const TRANSACTION_BYTES: usize = 2 * 1024 * 1024;

/// How long committed records may be in the system's memory only, if not every
/// commit is brought to the disk.
const SYNC_INTERVAL: Duration = Duration::from_secs(1);

/// How soon what failed is tried again; doubled each time.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(5);

/// How often it is tried once the store is being closed.
const LAST_ATTEMPTS: u32 = 3;

/// Ids that are reserved at once. So many are left out after a crash.
pub(super) const RESERVED_IDS: u64 = 1 << 20;

#[derive(Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
    /// `None` after an error: it is opened anew then.
    database: Option<Database>,
    /// The place of the next record.
    next: Sequence,
    /// What the store itself has to say, not written yet.
    notes: Batch,
    trouble: Option<Trouble>,
    synced_at: Instant,
    is_synced: bool,
}

/// Nothing can be written at present.
#[derive(Debug)]
struct Trouble {
    since: Instant,
    reason: String,
    attempts: u32,
    retry: Duration,
}

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Database(#[from] rusqlite::Error),
    #[error(transparent)]
    Files(#[from] io::Error),
}

impl WriteError {
    fn is_damage(&self) -> bool {
        matches!(self, Self::Database(error) if is_damage(error))
    }
}

/// The source of the store's own records.
pub(super) fn own_origin() -> Origin {
    let job = "drover.logs".parse().expect("the letters are allowed in a job's id");
    Origin::new(Source { job, domain: "drover".into(), name: "logs".into() })
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, next: Sequence, notes: Batch) -> Self {
        Self {
            shared,
            database: None,
            next,
            notes,
            trouble: None,
            synced_at: Instant::now(),
            is_synced: true,
        }
    }

    /// Works until the queue is closed and empty.
    pub(super) fn run(mut self) {
        self.prepare();
        self.commit(&[]);
        while let Some(items) = self.shared.queue.take(SYNC_INTERVAL, TRANSACTION_BYTES) {
            self.handle(items);
            self.sync_if_due();
        }
        self.finish();
    }

    /// Gets ready to write before anything is to be, so that what comes first waits no
    /// longer than the rest, and a full disk is told of at once.
    fn prepare(&mut self) {
        loop {
            let opened = self.reserve(1).and_then(|()| self.open());
            match opened {
                Ok(database) => {
                    self.database = Some(database);
                    return;
                }
                Err(error) if self.recover(&error) => {}
                // It is being closed, and said so.
                Err(_) => return,
            }
        }
    }

    fn handle(&mut self, items: Vec<Item>) {
        let mut batches = Vec::new();
        let mut answers = Vec::new();
        for item in items {
            match item {
                Item::Write(batch) => batches.push(batch),
                Item::Gap(number) => batches.extend(self.shared.queue.close_gap(number)),
                Item::Flush(reply) => answers.push(reply),
                Item::Delete(places, reply) => {
                    self.commit(&mem::take(&mut batches));
                    // Whoever asked may have gone.
                    let _ = reply.send(self.delete(&places));
                }
            }
        }
        if self.commit(&batches) {
            for reply in answers {
                let _ = reply.send(());
            }
        }
    }

    /// Writes the batches, however often it must be tried; false if it was
    /// given up because the store is being closed.
    fn commit(&mut self, batches: &[Batch]) -> bool {
        loop {
            match self.try_commit(batches) {
                Ok(()) => break,
                Err(error) if self.recover(&error) => {}
                Err(error) => {
                    let records: usize = batches.iter().map(Batch::len).sum();
                    tracing::error!(%error, records, "records are lost: the log cannot be written");
                    return false;
                }
            }
        }
        if let Err(error) = self.end_file_if_full() {
            self.recover(&error);
        }
        if self.notes.is_empty() || self.commit(&[]) {
            return true;
        }
        false
    }

    fn try_commit(&mut self, batches: &[Batch]) -> Result<(), WriteError> {
        let mut opening = Batch::new(Arc::clone(self.notes.origin()));
        if let Some(trouble) = &self.trouble {
            let seconds = trouble.since.elapsed().as_secs();
            let reason = &trouble.reason;
            let text = format!(
                "the log could not be written for {seconds} s: {reason}; what came meanwhile was \
                 kept back and is written now"
            );
            opening.note(Level::CRITICAL, &text);
        }
        let count =
            [&self.notes, &opening].into_iter().chain(batches).map(Batch::len).sum::<usize>();
        let has_marks = batches.iter().any(|batch| !batch.marks().is_empty());
        if count == 0 && !has_marks {
            return Ok(());
        }
        self.reserve(count as u64)?;
        if self.database.is_none() {
            self.database = Some(self.open()?);
        }
        let Some(database) = &mut self.database else { return Ok(()) };
        let own = [&self.notes, &opening];
        let records = own.into_iter().chain(batches).flat_map(Batch::records);
        database.write(self.next, records, batches.iter().flat_map(Batch::marks))?;
        self.is_synced = false;
        if has_marks {
            self.shared.note_marks(batches.iter().flat_map(Batch::marks));
        }
        self.next.0 += count as u64;
        self.shared.tallies.committed(count as u64);
        self.notes = Batch::new(Arc::clone(self.notes.origin()));
        if self.trouble.take().is_some() {
            tracing::info!("the log can be written again");
            self.shared.trouble.send_replace(None);
        }
        self.shared.committed.send_modify(|committed| committed.newest = self.next.0 - 1);
        Ok(())
    }

    fn open(&self) -> Result<Database, WriteError> {
        let path = self.shared.config.directory.join(CURRENT);
        if !path.exists() {
            remove_side_files(&path)?;
        }
        let database = Database::open(&path, self.shared.config.durability)?;
        let marks = self.shared.marks();
        if !marks.is_empty() && database.marks()?.is_empty() {
            database.carry(&marks)?;
        }
        drop(marks);
        Ok(database)
    }

    /// Sees to it that the next ids are never given again.
    fn reserve(&self, count: u64) -> Result<(), WriteError> {
        let mut state = self.shared.state();
        let end = self.next.0 + count;
        if end > state.state().next {
            state.update(|state| state.next = end + RESERVED_IDS)?;
        }
        Ok(())
    }

    /// Does what can be done about an error and waits a moment; false if it is
    /// time to give up.
    fn recover(&mut self, error: &WriteError) -> bool {
        let was_open = self.database.take().is_some();
        if error.is_damage() {
            return self.set_current_aside(error);
        }
        let trouble = self.trouble.get_or_insert_with(|| {
            let directory = self.shared.config.directory.display();
            tracing::error!(%error, was_open, %directory, "the log cannot be written; trying again");
            self.shared.trouble.send_replace(Some(error.to_string()));
            let (since, reason) = (Instant::now(), error.to_string());
            Trouble { since, reason, attempts: 0, retry: FIRST_RETRY }
        });
        let is_closed = self.shared.queue.wait_for_close(trouble.retry);
        trouble.retry = LAST_RETRY.min(trouble.retry * 2);
        trouble.attempts += u32::from(is_closed);
        trouble.attempts < LAST_ATTEMPTS
    }

    /// Goes on with a new file in place of one that is damaged.
    fn set_current_aside(&mut self, error: &WriteError) -> bool {
        let path = self.shared.config.directory.join(CURRENT);
        let mut catalog =
            self.shared.reader.catalog.write().unwrap_or_else(PoisonError::into_inner);
        self.shared.reader.forget(&path);
        let moved = set_aside(&path);
        catalog.current_first = self.next;
        drop(catalog);
        match moved {
            Ok(to) => {
                let text = format!(
                    "the log file was damaged ({error}) and is now {}; records in it are found no \
                     more",
                    to.display()
                );
                tracing::error!(%error, path = %to.display(), "damaged log file set aside");
                self.notes.note(Level::CRITICAL, &text);
                true
            }
            Err(error) => self.recover(&WriteError::Files(error)),
        }
    }

    /// Ends the current file if it has reached its size, and drops old ones if
    /// all together have.
    fn end_file_if_full(&mut self) -> Result<(), WriteError> {
        let Some(database) = &self.database else { return Ok(()) };
        if database.bytes()? < self.shared.config.max_file_bytes {
            return Ok(());
        }
        // What can be done while queries run is done before they are kept out.
        database.sync()?;
        if let Some(database) = self.database.take() {
            self.end_file(database)?;
        }
        retention::drop_oldest(&self.shared, self.next, &mut self.notes)
    }

    fn end_file(&mut self, database: Database) -> Result<(), WriteError> {
        let reader = &self.shared.reader;
        let mut catalog = reader.catalog.write().unwrap_or_else(PoisonError::into_inner);
        let current = catalog.current();
        reader.forget(&current);
        database.finish()?;
        let epoch = catalog.next_epoch(Timestamp::now());
        let path = catalog.path_of(epoch);
        fs::rename(&current, &path)?;
        catalog.current_first = self.next;
        sync_directory(&catalog.directory)?;
        tracing::debug!(path = %path.display(), "log file ended");
        match FinishedFile::read(&path, epoch) {
            Ok(file) => catalog.files.extend(file),
            Err(error) => {
                let to = set_aside(&path)?;
                let text = format!("the log file {} is damaged: {error}", to.display());
                self.notes.note(Level::CRITICAL, &text);
            }
        }
        Ok(())
    }

    /// Deletes records, wherever they are.
    fn delete(&mut self, places: &[Sequence]) -> Result<u64, WriteError> {
        // A file that goes may be the last that has the marks.
        if self.database.is_none() {
            self.database = Some(self.open()?);
        }
        let files = self.shared.catalog().files.clone();
        let mut deleted = 0;
        for file in files {
            let in_file = |place: &&Sequence| (file.first..=file.last).contains(place);
            let places: Vec<Sequence> = places.iter().filter(in_file).copied().collect();
            if places.is_empty() {
                continue;
            }
            let mut connection = open_finished(&file.path)?;
            deleted += delete_rows(&mut connection, &places)?;
            drop(connection);
            retention::shrink(&self.shared, &file.path)?;
        }
        let current = self.shared.catalog().current_first;
        let places: Vec<Sequence> =
            places.iter().filter(|place| **place >= current).copied().collect();
        if let (false, Some(database)) = (places.is_empty(), &mut self.database) {
            deleted += database.delete(&places)?;
            self.is_synced = false;
        }
        Ok(deleted)
    }

    fn sync_if_due(&mut self) {
        if self.is_synced || self.synced_at.elapsed() < SYNC_INTERVAL {
            return;
        }
        self.synced_at = Instant::now();
        self.is_synced = true;
        if let Some(Err(error)) = self.database.as_ref().map(Database::sync) {
            self.is_synced = false;
            self.recover(&error.into());
        }
    }

    fn finish(mut self) {
        let closed = self.database.take().map_or(Ok(()), Database::close);
        let remembered = self.shared.state().update(|state| state.next = self.next.0);
        let result = closed.map_err(WriteError::from).and(remembered.map_err(WriteError::from));
        if let Err(error) = result {
            // Nothing is lost: what was committed is found again.
            tracing::warn!(%error, "the log was not closed in order");
        }
    }
}

/// What is in the current file.
#[derive(Debug, Default)]
pub(super) struct CurrentFile {
    /// The first and the last place, if it has records.
    pub(super) ends: Option<(Sequence, Sequence)>,
    /// What is remembered; empty if the file before this one has it.
    pub(super) marks: BTreeMap<String, String>,
}

/// Looks at the current file when the store is opened. A damaged one is an error.
pub(super) fn read_current(path: &Path) -> Result<CurrentFile, rusqlite::Error> {
    if !path.exists() {
        return Ok(CurrentFile::default());
    }
    // In full, so that a log that was left by a crash is taken in.
    let database = Database::open(path, super::Durability::Window)?;
    let current = CurrentFile { ends: database.ends()?, marks: database.marks()? };
    database.close()?;
    Ok(current)
}
