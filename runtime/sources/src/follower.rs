//! Follows all files of some patterns.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::os::unix::fs::DirEntryExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::CHUNK_BYTES;
use crate::file::{OpenFile, Read, check, id_of};
use crate::lines::split;
use crate::pattern::{Found, PathPattern};
use crate::position::{FileId, Position};

/// What is followed, and how.
#[derive(Debug, Clone)]
pub struct FollowerConfig {
    /// The files.
    pub patterns: Vec<PathPattern>,
    /// Where files begin that are there when they are followed for the first
    /// time. Those that come later are read from their start.
    pub beginning: Beginning,
    /// How long a line that has no end may stay as it is before it is taken
    /// without.
    pub unfinished_after: Duration,
    /// How long a file that has lost its name may stay as it is before it is
    /// closed.
    pub nameless_after: Duration,
    /// The most files that are open at the same time.
    pub max_files: usize,
}

impl FollowerConfig {
    /// Follows from now on; 5 s for lines without an end, a minute for files
    /// without a name, 256 files.
    #[must_use]
    pub fn new(patterns: Vec<PathPattern>) -> Self {
        Self {
            patterns,
            beginning: Beginning::End,
            unfinished_after: Duration::from_secs(5),
            nameless_after: Duration::from_secs(60),
            max_files: 256,
        }
    }
}

/// Where a file begins that is followed for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Beginning {
    /// With what it has.
    Start,
    /// With what comes.
    #[default]
    End,
}

/// What happened to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The file.
    pub file: FileId,
    /// What it is called, or was last.
    pub path: PathBuf,
    /// What happened.
    pub what: What,
}

/// What happened to a file. A position is to be kept together with what it came
/// with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// It is followed from here on.
    Begun {
        /// Where.
        position: Position,
    },
    /// It has grown.
    Lines {
        /// Whole lines with their ends, at most [`CHUNK_BYTES`](crate::CHUNK_BYTES).
        lines: Vec<u8>,
        /// Whether the last of them was longer than that, and is cut.
        is_cut: bool,
        /// The place behind them.
        position: Position,
    },
    /// It was cut or replaced before all of it was read.
    Gap {
        /// How much was read of what was there before.
        at: u64,
        /// How many bytes at least were not; nobody knows if it is absent.
        lost: Option<u64>,
        /// Where it goes on.
        position: Position,
    },
    /// It is not followed any more: its position is to be forgotten.
    Ended {
        /// How much of it was read, where it went before anybody could see
        /// whether that was all.
        lost_after: Option<u64>,
    },
}

/// How a file is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStatus {
    /// What it is called, or was last.
    pub path: PathBuf,
    /// Bytes that were read.
    pub offset: u64,
    /// Bytes that there are.
    pub size: u64,
    /// Whether a pattern still finds it.
    pub has_name: bool,
}

/// Follows files. To be asked in a loop: [`Follower::look`], and
/// [`Follower::next`] until there is nothing more.
#[derive(Debug)]
pub struct Follower {
    config: FollowerConfig,
    files: Vec<Followed>,
    /// Where files were left that have not been found again yet.
    remembered: Vec<Position>,
    /// Whether nothing was followed before.
    is_first: bool,
    events: VecDeque<Event>,
    directories: Vec<PathBuf>,
    troubles: Vec<String>,
    /// Whose turn it is.
    turn: usize,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Followed {
    file: OpenFile,
    has_name: bool,
    /// The file that had its name before, and is read to its end first.
    after: Option<FileId>,
    /// Whether there is nothing to read until the next look.
    is_at_end: bool,
    /// What has no line end yet, and since when it is as long as that.
    unfinished: Option<(usize, Instant)>,
    changed_at: Instant,
}

impl Follower {
    /// Goes on at these positions; nothing was followed before if there are
    /// none.
    #[must_use]
    pub fn new(config: FollowerConfig, positions: Option<Vec<Position>>) -> Self {
        Self {
            config,
            files: Vec::new(),
            is_first: positions.is_none(),
            remembered: positions.unwrap_or_default(),
            events: VecDeque::new(),
            directories: Vec::new(),
            troubles: Vec::new(),
            turn: 0,
            buffer: vec![0; CHUNK_BYTES],
        }
    }

    /// Looks which files there are now, and that all be read again.
    pub fn look(&mut self, now: Instant) {
        let mut found = Found::default();
        self.config.patterns.iter().for_each(|pattern| pattern.find(&mut found));
        self.troubles = found.troubles.iter().map(|(path, error)| unread(path, error)).collect();
        for followed in &mut self.files {
            followed.has_name = false;
            followed.is_at_end = false;
        }
        for path in found.paths {
            if let Err(error) = self.meet(&path, now) {
                self.troubles.push(unread(&path, &error));
            }
        }
        self.find_remembered(now);
        self.is_first = false;
        found.directories.sort();
        found.directories.dedup();
        self.directories = found.directories;
    }

    /// What happened next; none until the next look.
    pub fn next(&mut self, now: Instant) -> Option<Event> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Some(event);
            }
            let ready = (0..self.files.len())
                .map(|i| (self.turn + i) % self.files.len())
                .find(|at| self.is_ready(*at));
            let Some(at) = ready else {
                return self.close(now);
            };
            self.turn = at + 1;
            match self.files[at].read(&mut self.buffer, &self.config, now) {
                Ok(event) => self.events.extend(event),
                Err(error) => {
                    self.files[at].is_at_end = true;
                    self.troubles.push(unread(&self.files[at].file.path, &error));
                }
            }
        }
    }

    /// The directories in which the files are: a change in one of them is
    /// reason for a look.
    #[must_use]
    pub fn directories(&self) -> &[PathBuf] {
        &self.directories
    }

    /// What the last look could not read, and why.
    #[must_use]
    pub fn troubles(&self) -> &[String] {
        &self.troubles
    }

    /// How the files are followed.
    #[must_use]
    pub fn files(&self) -> Vec<FileStatus> {
        let status = |followed: &Followed| {
            let (size, offset) = followed.file.progress();
            let path = followed.file.path.clone();
            FileStatus { path, offset, size, has_name: followed.has_name }
        };
        self.files.iter().map(status).collect()
    }

    /// Takes note that a path was found, and opens the file if it is a new one.
    fn meet(&mut self, path: &Path, now: Instant) -> io::Result<()> {
        let metadata = fs::metadata(path)?;
        check(&metadata)?;
        if self.is_known(id_of(&metadata), path) {
            return Ok(());
        }
        if self.files.len() >= self.config.max_files {
            let most = self.config.max_files;
            let text = format!("{most} files are followed already, as many as may be at a time");
            return Err(io::Error::other(text));
        }
        let mut file = OpenFile::open(path)?;
        if self.is_known(file.id, path) {
            return Ok(());
        }
        let known = self.remembered.iter().position(|position| position.file == file.id);
        let what = match known.map(|at| self.remembered[at].clone()) {
            Some(position) if file.resume(&position)? => None,
            Some(Position { offset: at, .. }) => {
                Some(What::Gap { at, lost: None, position: file.position() })
            }
            None => {
                if self.is_first && self.config.beginning == Beginning::End {
                    file.go_to_end()?;
                }
                Some(What::Begun { position: file.position() })
            }
        };
        // Only now, so that it is tried again where something failed.
        known.map(|at| self.remembered.swap_remove(at));
        let event = |what| Event { file: file.id, path: path.to_owned(), what };
        self.events.extend(what.map(event));
        // Of several that had it, the one that had it last.
        let followed = self.files.iter().rev();
        let followed = followed.map(|followed| (followed.file.id, &followed.file.path));
        let remembered = self.remembered.iter().map(|position| (position.file, &position.path));
        let after = followed.chain(remembered).find(|(_, had)| *had == path).map(|(id, _)| id);
        self.files.push(Followed::new(file, after, true, now));
        Ok(())
    }

    /// Whether a file is followed; it then is known to have this name.
    fn is_known(&mut self, id: FileId, path: &Path) -> bool {
        let Some(followed) = self.files.iter_mut().find(|followed| followed.file.id == id) else {
            return false;
        };
        if !followed.has_name {
            followed.has_name = true;
            if followed.file.path != path {
                path.clone_into(&mut followed.file.path);
            }
        }
        true
    }

    /// Looks for files that were renamed while nobody followed them, so that no
    /// pattern finds them: beside their names.
    fn find_remembered(&mut self, now: Instant) {
        for position in std::mem::take(&mut self.remembered) {
            match find_beside(&position) {
                Ok(Some(file)) => self.files.push(Followed::new(file, None, false, now)),
                Ok(None) => {
                    let what = What::Ended { lost_after: Some(position.offset) };
                    let Position { file, path, .. } = position;
                    self.events.push_back(Event { file, path, what });
                }
                // It may be there when it can be looked for.
                Err(error) => {
                    self.troubles.push(unread(&position.path, &error));
                    self.remembered.push(position);
                }
            }
        }
    }

    fn is_ready(&self, at: usize) -> bool {
        let Followed { is_at_end, after, .. } = &self.files[at];
        let is_before = |other: &Followed| Some(other.file.id) == *after && !other.is_at_end;
        !is_at_end && !self.files.iter().any(is_before)
    }

    /// Closes a file that has lost its name and changes no more.
    fn close(&mut self, now: Instant) -> Option<Event> {
        let is_over = |followed: &Followed| {
            let quiet = now.saturating_duration_since(followed.changed_at);
            !followed.has_name
                && followed.unfinished.is_none()
                && quiet >= self.config.nameless_after
        };
        let at = self.files.iter().position(is_over)?;
        let OpenFile { id, path, .. } = self.files.remove(at).file;
        Some(Event { file: id, path, what: What::Ended { lost_after: None } })
    }
}

impl Followed {
    fn new(file: OpenFile, after: Option<FileId>, has_name: bool, now: Instant) -> Self {
        Self { file, has_name, after, is_at_end: false, unfinished: None, changed_at: now }
    }

    /// Reads on; none if there was nothing, or nothing of use.
    fn read(
        &mut self,
        buffer: &mut [u8],
        config: &FollowerConfig,
        now: Instant,
    ) -> io::Result<Option<Event>> {
        let length = match self.file.read(buffer)? {
            Read::Bytes(length) => length,
            Read::Replaced { lost, at } => {
                (self.unfinished, self.changed_at) = (None, now);
                let position = self.file.position();
                return Ok(Some(self.event(match lost {
                    0 => What::Begun { position },
                    lost => What::Gap { at, lost: Some(lost), position },
                })));
            }
        };
        let bytes = &buffer[..length];
        let split = split(bytes, CHUNK_BYTES, self.file.is_inside_line);
        if split.consumed() == 0 {
            return Ok(self.wait_for_end(bytes, config, now));
        }
        (self.unfinished, self.changed_at) = (None, now);
        self.file.consume(&bytes[..split.consumed()]);
        self.file.is_inside_line = split.is_inside_line;
        if split.taken == 0 {
            return Ok(None);
        }
        let mut lines = bytes[split.skipped..split.consumed()].to_vec();
        if split.is_cut {
            lines.push(b'\n');
        }
        let position = self.file.position();
        Ok(Some(self.event(What::Lines { lines, is_cut: split.is_cut, position })))
    }

    /// Takes a line without an end that has been one for long enough.
    fn wait_for_end(
        &mut self,
        bytes: &[u8],
        config: &FollowerConfig,
        now: Instant,
    ) -> Option<Event> {
        self.is_at_end = true;
        if bytes.is_empty() {
            self.unfinished = None;
            return None;
        }
        let since = match self.unfinished {
            Some((length, since)) if length == bytes.len() => since,
            _ => {
                (self.unfinished, self.changed_at) = (Some((bytes.len(), now)), now);
                now
            }
        };
        if now.saturating_duration_since(since) < config.unfinished_after {
            return None;
        }
        (self.unfinished, self.changed_at) = (None, now);
        self.file.consume(bytes);
        let lines = [bytes, b"\n"].concat();
        let position = self.file.position();
        Some(self.event(What::Lines { lines, is_cut: false, position }))
    }

    fn event(&self, what: What) -> Event {
        Event { file: self.file.id, path: self.file.path.clone(), what }
    }
}

/// The file that was left at a position, under another name in the same
/// directory.
fn find_beside(position: &Position) -> io::Result<Option<OpenFile>> {
    let directory = position.path.parent().unwrap_or(Path::new("/"));
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.ino() != position.file.inode || !entry.file_type()?.is_file() {
            continue;
        }
        let mut file = OpenFile::open(&entry.path())?;
        if file.id == position.file {
            return Ok(file.resume(position)?.then_some(file));
        }
    }
    Ok(None)
}

fn unread(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}
