//! The thread that writes the audit log, and what waits for it.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context;
use drover_api::Timestamp;
use drover_snapshot::{Format, Found};

use super::chain::Head;
use super::{AuditCounts, Full, Line, files};

/// The file that says how far the log goes.
const HEAD: Format = Format { name: "the head of the audit log", steps: &[] };

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
    /// How far the file goes.
    written: Head,
    is_closed: bool,
    is_failing: bool,
}

pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

/// The files.
struct Log {
    path: PathBuf,
    file: File,
    /// What stands before the file's first line.
    after: Head,
    head: Head,
    head_path: PathBuf,
    /// The length of the file up to the end of the last line that is whole.
    length: u64,
    /// The length at which the next file is begun.
    max_file: u64,
    /// When what is not on disk yet has to be there.
    due: Option<Instant>,
    /// Whether a part of a line may be behind that.
    is_torn: bool,
    /// Whether the next file could not be begun, and that was told.
    cannot_begin: bool,
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

    /// Waits until what was put in before is in the file, or the disk takes nothing; how
    /// far the file goes then.
    pub(super) fn settle(&self) -> Head {
        let state = self.lock();
        let last = state.last;
        let waits =
            |state: &mut State| state.written.lines < last && !state.is_failing && !state.is_closed;
        let state = self.changed.wait_while(state, waits);
        state.unwrap_or_else(PoisonError::into_inner).written.clone()
    }

    pub(super) fn counts(&self) -> AuditCounts {
        let state = self.lock();
        let waiting = state.last.saturating_sub(state.written.lines);
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

    /// Forgets lines that are in the file, which goes so far by now.
    fn wrote(&self, count: usize, written: &Head) {
        let mut state = self.lock();
        state.lines.drain(..count);
        state.written = written.clone();
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
    pub(super) fn open(path: &Path, max_file: u64) -> anyhow::Result<Self> {
        let log = Log::open(path, max_file)?;
        let queue = Arc::new(Queue {
            state: Mutex::new(State {
                lines: VecDeque::new(),
                last: log.head.lines,
                written: log.head.clone(),
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
            queue.wrote(lines.len(), &log.head);
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
    fn open(path: &Path, max_file: u64) -> anyhow::Result<Self> {
        let head_path = path.with_extension("head");
        let noted = match HEAD.read::<Head>(&head_path)? {
            Found::Whole(head) => Some(head),
            Found::Nothing | Found::PutAside(_) => None,
        };
        let mut file = open(path)?;
        let is_first = !files::has_full(path).context("cannot see which files there are")?;
        if file.metadata()?.len() == 0 && !is_first {
            // It ended after it had put the last file away and before it began this one.
            let head = noted.clone().context("audit.head is missing: put it back")?;
            file.write_all(&beginning(&head)?)?;
        }
        // The head is written after the lines, so there may be some behind it.
        let Written { after, head, length } = follow_from(&mut file, noted.as_ref())?;
        let torn = file.metadata()?.len() - length;
        let mut log = Self {
            path: path.to_owned(),
            file,
            after,
            head,
            head_path,
            length,
            max_file,
            due: None,
            is_torn: torn > 0,
            cannot_begin: false,
        };
        if torn > 0 {
            tracing::warn!(
                bytes = torn,
                "the last line of the audit log was not whole, and is cut off"
            );
            log.note_repair(torn)?;
        }
        // From here on a missing head is one that somebody took away.
        log.due = Some(Instant::now());
        log.settle()?;
        Ok(log)
    }

    /// Says in the log itself that the end of a line was cut off.
    fn note_repair(&mut self, bytes: u64) -> io::Result<()> {
        let time = Timestamp::now();
        let on = format!("{bytes} bytes of a line that a crash had left");
        let begun = Line::Begun {
            time,
            who: "controller".to_owned(),
            role: String::new(),
            from: String::new(),
            what: "audit.repair".to_owned(),
            on,
        };
        let ended = Line::Ended { time, of: self.head.lines + 1, result: "ok".to_owned() };
        self.append(&[begun, ended])
    }

    /// Adds lines, all or none.
    fn append(&mut self, lines: &[Line]) -> io::Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        if self.length >= self.max_file {
            self.begin_file();
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

    /// Puts a full file away and begins the next. While that fails, the full one is
    /// written further.
    fn begin_file(&mut self) {
        match self.try_begin_file() {
            Ok(()) => self.cannot_begin = false,
            Err(error) => {
                if !std::mem::replace(&mut self.cannot_begin, true) {
                    tracing::warn!(%error, "the next file of the audit log cannot be begun");
                }
            }
        }
    }

    fn try_begin_file(&mut self) -> io::Result<()> {
        // How far it goes has to be on disk before it is put away.
        self.due.get_or_insert_with(Instant::now);
        self.settle()?;
        let fresh = self.path.with_extension("new");
        let mut file =
            OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&fresh)?;
        let text = beginning(&self.head)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&self.path, files::full_name(&self.path, &self.after))?;
        fs::rename(&fresh, &self.path)?;
        File::open(self.path.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        // Opened again to add to it, as after a start.
        self.file = open(&self.path).map_err(io::Error::other)?;
        self.after = self.head.clone();
        self.length = text.len() as u64;
        Ok(())
    }

    fn settle_if_due(&mut self) -> io::Result<()> {
        if self.due.is_some_and(|due| due <= Instant::now()) { self.settle() } else { Ok(()) }
    }

    /// Waits until what was written is on disk, and notes how far that is.
    fn settle(&mut self) -> io::Result<()> {
        if self.due.is_some() {
            self.file.sync_data()?;
            HEAD.replace(&self.head_path, &self.head)?;
            self.due = None;
        }
        Ok(())
    }
}

fn open(path: &Path) -> anyhow::Result<File> {
    let mut options = OpenOptions::new();
    let options = options.read(true).append(true).create(true).mode(0o600);
    options.open(path).context("cannot open the file")
}

/// The line that a file begins with which is not the first.
fn beginning(after: &Head) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(after)?;
    text.push(b'\n');
    Ok(text)
}

/// What a file of the log has.
struct Written {
    /// What stands before its first line.
    after: Head,
    /// The last line that is whole.
    head: Head,
    /// The bytes up to its end.
    length: u64,
}

/// Where the log ends, read from the start of its last file. What is wrong in between
/// is for `drover audit verify` to tell; the log goes on from what stands there.
fn follow_from(file: &mut File, noted: Option<&Head>) -> anyhow::Result<Written> {
    file.rewind()?;
    let (mut after, mut length) = (Head::start(), 0);
    let mut head = after.clone();
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes)?;
        let Some((b'\n', line)) = bytes.split_last() else { break };
        if length == 0
            && let Ok(before) = serde_json::from_slice::<Head>(line)
        {
            (after, head) = (before.clone(), before);
        } else {
            let text = String::from_utf8_lossy(line);
            let found = text.split_once(' ').map_or(String::new(), |(hash, _)| hash.to_owned());
            head = Head { lines: head.lines + 1, hash: found };
        }
        length += read as u64;
    }
    if let Some(noted) = noted.filter(|noted| head.lines < noted.lines) {
        tracing::error!(
            there = head.lines,
            written = noted.lines,
            "lines are missing at the end of the audit log: somebody has taken them out"
        );
        // So that it stays visible, the chain goes on from what was written.
        head = noted.clone();
    }
    Ok(Written { after, head, length })
}

/// How far the log went when it was last written; none if that is not there.
pub(super) fn noted(path: &Path) -> io::Result<Option<Head>> {
    let text = match fs::read(path.with_extension("head")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    Ok(serde_json::from_slice(&text).ok())
}
