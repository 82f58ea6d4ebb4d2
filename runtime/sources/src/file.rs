//! One file that is open and read.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::position::{FileId, HEAD_BYTES, Head, Position};

/// A file and how far it has been read.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// What it is called, or was last.
    pub(crate) path: PathBuf,
    pub(crate) id: FileId,
    file: File,
    offset: u64,
    pub(crate) is_inside_line: bool,
    /// What it begins with, of what was read.
    head: Vec<u8>,
    /// How large it was when it was read last.
    size: u64,
}

/// What a read has found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many bytes; fewer than there is room for are all there are.
    Bytes(usize),
    /// It was cut, and begins anew. So many bytes at least that were there are
    /// lost; they came after those of which `at` is the number.
    Replaced { lost: u64, at: u64 },
}

/// Which file a path leads to.
pub(crate) fn id_of(metadata: &Metadata) -> FileId {
    FileId { device: metadata.dev(), inode: metadata.ino() }
}

impl OpenFile {
    /// Opens a file, to be read from its start. Never waits, as the opening of a
    /// pipe would.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
        let metadata = file.metadata()?;
        check(&metadata)?;
        Ok(Self {
            path: path.to_owned(),
            id: id_of(&metadata),
            file,
            offset: 0,
            is_inside_line: false,
            head: Vec::new(),
            size: metadata.len(),
        })
    }

    /// Goes on where it was left; false if it is not the same file, or was cut.
    pub(crate) fn resume(&mut self, position: &Position) -> io::Result<bool> {
        let mut head = vec![0; position.head.length.min(HEAD_BYTES)];
        let length = self.read_at(&mut head, 0)?;
        head.truncate(length);
        let is_same = position.is_of(self.file.metadata()?.len(), &head);
        if is_same {
            self.offset = position.offset;
            self.is_inside_line = position.is_inside_line;
            self.head = head;
        }
        Ok(is_same)
    }

    /// Leaves out what is there, with the rest of a line that has begun.
    pub(crate) fn go_to_end(&mut self) -> io::Result<()> {
        self.offset = self.file.metadata()?.len();
        let mut last = [b'\n'];
        if self.offset > 0 {
            self.read_at(&mut last, self.offset - 1)?;
        }
        self.is_inside_line = last != [b'\n'];
        let length = usize::try_from(self.offset).unwrap_or(HEAD_BYTES).min(HEAD_BYTES);
        let mut head = vec![0; length];
        let length = self.read_at(&mut head, 0)?;
        head.truncate(length);
        self.head = head;
        Ok(())
    }

    pub(crate) fn position(&self) -> Position {
        Position {
            path: self.path.clone(),
            file: self.id,
            head: Head::of(&self.head),
            offset: self.offset,
            is_inside_line: self.is_inside_line,
        }
    }

    /// Reads what comes next, and looks then whether it was still the same file:
    /// what was read of one that was cut meanwhile is not used.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Read> {
        let length = self.read_at(buffer, self.offset)?;
        let size = self.file.metadata()?.len();
        let mut head = [0; HEAD_BYTES];
        let head = &mut head[..self.head.len()];
        let is_same = self.read_at(head, 0)? == head.len() && *head == self.head[..];
        if is_same && size >= self.offset + length as u64 {
            self.size = size;
            return Ok(Read::Bytes(length));
        }
        let replaced =
            Read::Replaced { lost: self.size.saturating_sub(self.offset), at: self.offset };
        (self.offset, self.is_inside_line, self.size) = (0, false, size);
        self.head.clear();
        Ok(replaced)
    }

    /// Goes on behind bytes that were read.
    pub(crate) fn consume(&mut self, bytes: &[u8]) {
        if self.offset == self.head.len() as u64 {
            let room = HEAD_BYTES - self.head.len();
            self.head.extend_from_slice(&bytes[..bytes.len().min(room)]);
        }
        self.offset += bytes.len() as u64;
    }

    /// How many bytes there are, and how many of them were read.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let size = self.file.metadata().map_or(self.size, |metadata| metadata.len());
        (size, self.offset)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut length = 0;
        while length < buffer.len() {
            match self.file.read_at(&mut buffer[length..], offset + length as u64) {
                Ok(0) => break,
                Ok(read) => length += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(length)
    }
}

/// Refuses what is no file with lines.
pub(crate) fn check(metadata: &Metadata) -> io::Result<()> {
    match metadata.is_file() {
        true => Ok(()),
        false => Err(io::Error::other("it is no plain file, and only those are followed")),
    }
}
