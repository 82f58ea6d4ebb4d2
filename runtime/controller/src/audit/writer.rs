//! The thread that writes the audit log, and what waits for it.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use drover_snapshot::Found;

use super::chain::Head;
use super::{AuditCounts, Full, Line};

/// The version of the file that says how far the log goes.
const HEAD_VERSION: u32 = 1;

/// How many lines may wait: seconds of work of a busy controller.
const MAX_WAITING: usize = 20_000;

/// How long the writer waits before it tries a disk again that took nothing.
const RETRY: Duration = Duration::from_secs(1);

/// How long what is written may wait to be on disk: what a crash of the machine takes,
/// where one of the controller takes nothing. Others wait for the same disk.
const WINDOW: Duration = Duration::from_secs(1);

/// Lines on their way into the log.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    lines: VecDeque<Line>,
    /// The number of the last line that was put in.
    last: u64,
    /// The number of the last line that is in the file.
    written: u64,
    is_closed: bool,
    is_failing: bool,
}

pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

/// The files.
struct Log {
    file: File,
    head: Head,
    head_path: PathBuf,
    /// The length of the file up to the end of the last line that is whole.
    length: u64,
    /// When what is not on disk yet has to be there.
    due: Option<Instant>,
    /// Whether a part of a line may be behind that.
    is_torn: bool,
}

impl Queue {
    /// Puts in a line if there is room; its number.
    pub(super) fn push(&self, line: Line) -> Result<u64, Full> {
        let state = self.lock();
        if state.lines.len() >= MAX_WAITING {
            return Err(Full);
        }
        Ok(self.put(state, line))
    }

    /// Puts in a line that belongs to one that is there: there are no more of them.
    pub(super) fn push_anyway(&self, line: Line) {
        let state = self.lock();
        self.put(state, line);
    }

    /// Waits until what was put in before is in the file, or the disk takes nothing.
    pub(super) fn settle(&self) {
        let state = self.lock();
        let last = state.last;
        let waits =
            |state: &mut State| state.written < last && !state.is_failing && !state.is_closed;
        drop(self.changed.wait_while(state, waits));
    }

    pub(super) fn counts(&self) -> AuditCounts {
        let state = self.lock();
        let waiting = state.last.saturating_sub(state.written);
        AuditCounts { lines: state.last, waiting, is_writable: !state.is_failing }
    }

    fn put(&self, mut state: MutexGuard<'_, State>, line: Line) -> u64 {
        state.lines.push_back(line);
        state.last += 1;
        let number = state.last;
        drop(state);
        self.changed.notify_all();
        number
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for lines until `due`, and takes them; nothing when the queue is closed
    /// and empty.
    fn take(&self, due: Option<Instant>) -> Option<Vec<Line>> {
        let waits = |state: &mut State| state.lines.is_empty() && !state.is_closed;
        let state = match due {
            None => self.changed.wait_while(self.lock(), waits),
            Some(due) => {
                let left = due.saturating_duration_since(Instant::now());
                let waited = self.changed.wait_timeout_while(self.lock(), left, waits);
                Ok(waited.unwrap_or_else(PoisonError::into_inner).0)
            }
        };
        let state = state.unwrap_or_else(PoisonError::into_inner);
        if state.is_closed && state.lines.is_empty() {
            return None;
        }
        Some(state.lines.iter().cloned().collect())
    }

    /// Forgets lines that are in the file.
    fn wrote(&self, count: usize) {
        let mut state = self.lock();
        state.lines.drain(..count);
        state.written += count as u64;
        state.is_failing = false;
        drop(state);
        self.changed.notify_all();
    }

    /// Notes that the disk takes nothing, and waits a while; whether to try again.
    fn failed(&self) -> bool {
        let mut state = self.lock();
        state.is_failing = true;
        self.changed.notify_all();
        if state.is_closed {
            return false;
        }
        let waited = self.changed.wait_timeout_while(state, RETRY, |state| !state.is_closed);
        drop(waited);
        true
    }
}

impl Writer {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let log = Log::open(path)?;
        let queue = Arc::new(Queue {
            state: Mutex::new(State {
                lines: VecDeque::new(),
                last: log.head.lines,
                written: log.head.lines,
                is_closed: false,
                is_failing: false,
            }),
            changed: Condvar::new(),
        });
        let of_thread = Arc::clone(&queue);
        let thread = std::thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || write(log, &of_thread))
            .context("cannot start the thread that writes it")?;
        Ok(Self { queue, thread })
    }

    pub(super) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }

    pub(super) fn close(self) {
        self.queue.lock().is_closed = true;
        self.queue.changed.notify_all();
        if self.thread.join().is_err() {
            tracing::error!("the writer of the audit log panicked");
        }
    }
}

fn write(mut log: Log, queue: &Queue) {
    let mut is_failing = false;
    loop {
        let taken = queue.take(log.due);
        let lines = taken.as_deref().unwrap_or_default();
        let done = log.append(lines).and_then(|()| {
            queue.wrote(lines.len());
            if taken.is_none() { log.settle() } else { log.settle_if_due() }
        });
        match done {
            Ok(()) => {
                if std::mem::take(&mut is_failing) {
                    tracing::info!("the audit log can be written again");
                }
                if taken.is_none() {
                    return;
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::error!(%error, "the audit log cannot be written");
                }
                if !queue.failed() {
                    tracing::error!("the end of the audit log is lost");
                    return;
                }
            }
        }
    }
}

impl Log {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(path)
            .context("cannot open the file")?;
        let head_path = path.with_extension("head");
        let noted = match drover_snapshot::read::<Head>(&head_path, HEAD_VERSION)? {
            Found::Whole(head) => head,
            Found::Nothing | Found::PutAside(_) => Head::start(),
        };
        // The head is written after the lines, so there may be some behind it.
        let (head, length) = follow_from(&mut file, &noted)?;
        if file.metadata()?.len() > length {
            tracing::warn!("the last line of the audit log was not whole, and is cut off");
            file.set_len(length)?;
        }
        Ok(Self { file, head, head_path, length, due: None, is_torn: false })
    }

    /// Adds lines, all or none.
    fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let (mut text, mut head) = (String::new(), self.head.clone());
        for line in lines {
            let (line, next) = head.next(line)?;
            text.push_str(&line);
            head = next;
        }
        if self.is_torn {
            self.file.set_len(self.length)?;
            self.is_torn = false;
        }
        if let Err(error) = self.file.write_all(text.as_bytes()) {
            // What is there of them is in the way of the next attempt.
            self.is_torn = true;
            return Err(error);
        }
        self.length += text.len() as u64;
        self.head = head;
        self.due.get_or_insert_with(|| Instant::now() + WINDOW);
        Ok(())
    }

    fn settle_if_due(&mut self) -> io::Result<()> {
        if self.due.is_some_and(|due| due <= Instant::now()) { self.settle() } else { Ok(()) }
    }

    /// Waits until what was written is on disk, and notes how far that is.
    fn settle(&mut self) -> io::Result<()> {
        if self.due.is_some() {
            self.file.sync_data()?;
            drover_snapshot::replace(&self.head_path, HEAD_VERSION, &self.head)?;
            self.due = None;
        }
        Ok(())
    }
}

/// Where the log ends, read from its start: the head of the last line that is
/// whole, and the bytes up to its end. What is wrong in between is for
/// `drover audit verify` to tell; the log goes on from what stands there.
fn follow_from(file: &mut File, noted: &Head) -> anyhow::Result<(Head, u64)> {
    let (mut head, mut length) = (Head::start(), 0);
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes)?;
        let Some((b'\n', line)) = bytes.split_last() else { break };
        length += read as u64;
        let text = String::from_utf8_lossy(line);
        let found = text.split_once(' ').map_or(String::new(), |(hash, _)| hash.to_owned());
        head = Head { lines: head.lines + 1, hash: found };
    }
    if head.lines < noted.lines {
        tracing::error!(
            there = head.lines,
            written = noted.lines,
            "lines are missing at the end of the audit log: somebody has taken them out"
        );
        // So that it stays visible, the chain goes on from what was written.
        return Ok((noted.clone(), length));
    }
    Ok((head, length))
}

/// How far the log went when it was last written.
pub(super) fn noted(path: &Path) -> io::Result<Head> {
    Ok(match drover_snapshot::read::<Head>(&path.with_extension("head"), HEAD_VERSION)? {
        Found::Whole(head) => head,
        Found::Nothing | Found::PutAside(_) => Head::start(),
    })
}
