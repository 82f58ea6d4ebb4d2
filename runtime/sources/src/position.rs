//! How far a file has been read, and whether a file is the one that was read.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What the system knows a file by, whatever it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileId {
    /// The device that it is on.
    pub device: u64,
    /// Its number there, which may be given again once it is removed.
    pub inode: u64,
}

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.device, self.inode)
    }
}

/// The bytes by which a file is known again: the first ones, as a hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// How many.
    pub length: usize,
    /// FNV-1a: it is written down, and must be the same for ever.
    pub hash: u64,
}

/// The most bytes of a head.
pub(crate) const HEAD_BYTES: usize = 1024;

impl Head {
    /// The head of a file that begins so.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let bytes = &bytes[..bytes.len().min(HEAD_BYTES)];
        let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self { length: bytes.len(), hash }
    }
}

/// How far a file has been read. To be kept with what was read, and given to
/// the next [`Follower`](crate::Follower).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// What the file was called.
    pub path: PathBuf,
    /// Which file it is.
    pub file: FileId,
    /// What it began with.
    pub head: Head,
    /// How many of its bytes were read.
    pub offset: u64,
    /// Whether those end inside a line whose rest is to be left out.
    pub is_inside_line: bool,
}

impl Position {
    /// The position before the last `bytes` bytes, which end at a line's end.
    #[must_use]
    pub fn before(&self, bytes: u64) -> Self {
        let is_inside_line = self.is_inside_line && bytes == 0;
        Self { offset: self.offset.saturating_sub(bytes), is_inside_line, ..self.clone() }
    }

    /// Whether a file of this size that begins so is the one that was read, and
    /// still has all of it: neither was it cut since, nor is it another file
    /// that was given the same number.
    pub(crate) fn is_of(&self, size: u64, begins_with: &[u8]) -> bool {
        size >= self.offset && Head::of(begins_with) == self.head
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_again_by_what_it_begins_with_and_by_its_size() {
        let position = Position {
            path: "/log".into(),
            file: FileId { device: 1, inode: 2 },
            head: Head::of(b"one\n"),
            offset: 4,
            is_inside_line: false,
        };
        for (size, begins_with, is_same) in [
            (4, &b"one\n"[..], true),
            (9, b"one\n", true),
            (3, b"one", false),
            (9, b"two\n", false),
            (9, b"one", false),
        ] {
            assert_eq!(position.is_of(size, begins_with), is_same, "{size} {begins_with:?}");
        }
        let text = serde_json::to_string(&position).unwrap();
        assert_eq!(serde_json::from_str::<Position>(&text).unwrap(), position);
    }
}
