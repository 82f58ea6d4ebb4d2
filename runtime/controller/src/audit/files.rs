//! The files of the audit log: the one that is written, and those that are full.
//!
//! `audit.log` is the one that is written. One that is full is called by its first
//! line, `audit-000000000001.log`, and never touched again. Each but the first begins
//! with a line that is not counted among the others and says what stands before it:
//!
//! ```text
//! {"lines":41234,"hash":"9f86…"}
//! ```

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use super::chain::Head;

/// The longest line that is read.
const MAX_LINE: u64 = 1 << 20;

/// A file of the log, open for reading.
pub(super) struct Part {
    reader: BufReader<File>,
    /// What is to stand before its first line.
    pub(super) after: Head,
    /// Its name, for people.
    pub(super) name: String,
    /// A line that was read to see whether it is the one about what stands before.
    first: Option<String>,
}

/// All files of a log, the oldest first.
pub(super) fn parts(path: &Path) -> io::Result<Vec<Part>> {
    // The one that is written is opened first: it may become one of the others.
    let current = Part::open(path)?;
    let full = full(path.parent().unwrap_or(Path::new(".")))?;
    let mut parts = Vec::with_capacity(full.len() + 1);
    for (_, file) in full {
        parts.push(Part::open(&file)?);
    }
    if parts.last().is_none_or(|last| last.after != current.after) {
        parts.push(current);
    }
    Ok(parts)
}

/// The full files in `dir`, the oldest first, that come before the file `current`, which
/// may be a copy.
pub(crate) fn full_before(current: &Path, dir: &Path) -> io::Result<Vec<PathBuf>> {
    let before = Part::open(current)?.after;
    let mut full = full(dir)?;
    full.retain(|(first, _)| *first <= before.lines);
    Ok(full.into_iter().map(|(_, file)| file).collect())
}

/// The full files in a directory with the numbers of their first lines, the oldest first.
fn full(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut full = Vec::new();
    for file in dir.read_dir()? {
        let file = file?.path();
        if let Some(first) = number_of(&file) {
            full.push((first, file));
        }
    }
    full.sort();
    Ok(full)
}

/// What a file is called when it is full that comes after `head`.
pub(super) fn full_name(path: &Path, head: &Head) -> PathBuf {
    path.with_file_name(format!("audit-{:012}.log", head.lines + 1))
}

/// Whether files of the log are full.
pub(super) fn has_full(path: &Path) -> io::Result<bool> {
    Ok(!full(path.parent().unwrap_or(Path::new(".")))?.is_empty())
}

/// The number of the first line of a full file; none if it is another one.
fn number_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix("audit-")?.strip_suffix(".log")?.parse().ok()
}

impl Part {
    fn open(path: &Path) -> io::Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut part = Self {
            reader: BufReader::new(File::open(path)?),
            after: Head::start(),
            name,
            first: None,
        };
        let first = part.read()?;
        match first.as_deref().map(serde_json::from_str) {
            Some(Ok(after)) => part.after = after,
            _ => part.first = first,
        }
        Ok(part)
    }

    /// The next line, without its end. One that has no end yet is being written.
    fn read(&mut self) -> io::Result<Option<String>> {
        let mut bytes = Vec::new();
        io::Read::take(&mut self.reader, MAX_LINE).read_until(b'\n', &mut bytes)?;
        match bytes.split_last() {
            Some((b'\n', line)) => Ok(Some(String::from_utf8_lossy(line).into_owned())),
            _ if bytes.len() as u64 == MAX_LINE => Ok(Some(String::new())),
            _ => Ok(None),
        }
    }
}

impl Iterator for Part {
    type Item = io::Result<String>;

    fn next(&mut self) -> Option<io::Result<String>> {
        match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => self.read().transpose(),
        }
    }
}
