//! The catalog's files: content under its hash, and content on its way.
//!
//! What is in `content/` is whole and was admitted. What is in `incoming/` may
//! be anything, grows at its end only, and belongs to whoever goes on sending it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use drover_signing::ContentHash;

use super::error::CatalogError;

/// Uploads that are remembered at the same time; beyond that the one that was
/// silent the longest is forgotten.
const MOST_INCOMING: usize = 16;

#[derive(Debug)]
pub(super) struct Contents {
    content: PathBuf,
    incoming: PathBuf,
    most_bytes: u64,
}

impl Contents {
    /// Opens the directory, or makes it.
    pub(super) fn open(dir: &Path, most_bytes: u64) -> io::Result<Self> {
        let contents =
            Self { content: dir.join("content"), incoming: dir.join("incoming"), most_bytes };
        fs::create_dir_all(&contents.content)?;
        fs::create_dir_all(&contents.incoming)?;
        Ok(contents)
    }

    /// Where content is, for those who hand it out.
    pub(super) fn dir(&self) -> &Path {
        &self.content
    }

    /// Takes the next piece of content if it begins where the last one ended,
    /// and says where the next one has to begin.
    pub(super) fn write(
        &self,
        hash: ContentHash,
        length: u64,
        offset: u64,
        bytes: &[u8],
    ) -> Result<u64, CatalogError> {
        if length > self.most_bytes {
            return Err(CatalogError::TooLong { length, most: self.most_bytes });
        }
        if self.length(hash)? == Some(length) {
            return Ok(length);
        }
        let path = self.incoming(hash, length);
        let write = || {
            if !path.exists() {
                self.make_room()?;
            }
            let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
            let there = file.metadata()?.len();
            let is_next = offset == there && bytes.len() as u64 <= length.saturating_sub(there);
            if !is_next || bytes.is_empty() {
                return Ok(there);
            }
            file.write_all(bytes)?;
            Ok(there + bytes.len() as u64)
        };
        write().map_err(|source| files(&path, source))
    }

    /// Opens content to be looked at, stored or on its way.
    pub(super) fn arrived(&self, hash: ContentHash, length: u64) -> Result<File, CatalogError> {
        let stored = self.content.join(hash.to_string());
        let path = if stored.exists() { stored } else { self.incoming(hash, length) };
        match File::open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let source = drover_signing::ContentError::TooShort { taken: 0, length };
                Err(CatalogError::NotThere { hash, source })
            }
            opened => opened.map_err(|source| files(&path, source)),
        }
    }

    /// Keeps content for good that has arrived and was admitted.
    pub(super) fn keep(&self, hash: ContentHash, length: u64) -> Result<(), CatalogError> {
        let stored = self.content.join(hash.to_string());
        if stored.exists() {
            return Ok(());
        }
        let arrived = self.incoming(hash, length);
        let keep = || {
            File::open(&arrived)?.sync_all()?;
            fs::rename(&arrived, &stored)?;
            File::open(&self.content)?.sync_all()
        };
        keep().map_err(|source| files(&stored, source))
    }

    /// Forgets content on its way that turned out to be something else.
    pub(super) fn forget(&self, hash: ContentHash, length: u64) {
        let path = self.incoming(hash, length);
        if let Err(error) = fs::remove_file(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove content that was refused");
        }
    }

    /// A piece of stored content, and the length of all of it. None if there is
    /// no such content.
    pub(super) fn read(
        &self,
        hash: ContentHash,
        offset: u64,
        most: usize,
    ) -> Result<Option<(Vec<u8>, u64)>, CatalogError> {
        let path = self.content.join(hash.to_string());
        let read = || {
            let file = match File::open(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                opened => opened?,
            };
            let length = file.metadata()?.len();
            let rest = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX);
            let mut bytes = vec![0; rest.min(most)];
            file.read_exact_at(&mut bytes, offset)?;
            Ok(Some((bytes, length)))
        };
        read().map_err(|source| files(&path, source))
    }

    /// How long stored content is.
    fn length(&self, hash: ContentHash) -> Result<Option<u64>, CatalogError> {
        let path = self.content.join(hash.to_string());
        match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(files(&path, source)),
        }
    }

    fn incoming(&self, hash: ContentHash, length: u64) -> PathBuf {
        self.incoming.join(format!("{hash}-{length}"))
    }

    /// Makes room for one more upload.
    fn make_room(&self) -> io::Result<()> {
        let mut uploads = Vec::new();
        for entry in fs::read_dir(&self.incoming)? {
            let entry = entry?;
            uploads.push((entry.metadata()?.modified()?, entry.path()));
        }
        uploads.sort();
        let surplus = (uploads.len() + 1).saturating_sub(MOST_INCOMING);
        uploads.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

fn files(path: &Path, source: io::Error) -> CatalogError {
    CatalogError::Files { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> (tempfile::TempDir, Contents) {
        let dir = tempfile::tempdir().unwrap();
        let contents = Contents::open(dir.path(), 100).unwrap();
        (dir, contents)
    }

    const CONTENT: &[u8] = b"some content";

    #[test]
    fn content_arrives_in_pieces_and_goes_on_where_it_was_interrupted() {
        let (dir, contents) = contents();
        let hash = ContentHash::of(CONTENT);
        assert_eq!(contents.write(hash, 12, 0, b"").unwrap(), 0);
        assert_eq!(contents.write(hash, 12, 0, &CONTENT[..5]).unwrap(), 5);
        // The answer was lost, and the piece comes again.
        assert_eq!(contents.write(hash, 12, 0, &CONTENT[..5]).unwrap(), 5);
        let contents = Contents::open(dir.path(), 100).unwrap();
        assert_eq!(contents.write(hash, 12, 0, b"").unwrap(), 5);
        assert_eq!(contents.read(hash, 0, 100).unwrap(), None, "it is not whole");
        assert_eq!(contents.write(hash, 12, 5, &CONTENT[5..]).unwrap(), 12);
        contents.keep(hash, 12).unwrap();
        assert_eq!(contents.write(hash, 12, 0, b"").unwrap(), 12, "it is there already");
        assert_eq!(contents.read(hash, 5, 3).unwrap(), Some((b"con".to_vec(), 12)));
        assert_eq!(contents.read(hash, 12, 3).unwrap(), Some((vec![], 12)));
        assert_eq!(contents.read(hash, 99, 3).unwrap(), Some((vec![], 12)));
    }

    #[test]
    fn nothing_grows_beyond_what_was_announced_or_allowed() {
        let (_dir, contents) = contents();
        let hash = ContentHash::of(CONTENT);
        assert_eq!(contents.write(hash, 4, 0, CONTENT).unwrap(), 0);
        let error = contents.write(hash, 101, 0, b"").unwrap_err();
        assert!(matches!(error, CatalogError::TooLong { length: 101, most: 100 }), "{error}");
    }

    #[test]
    fn uploads_that_nobody_ends_do_not_fill_the_disk() {
        let (_dir, contents) = contents();
        for number in 0..2 * MOST_INCOMING {
            let hash = ContentHash::of(&number.to_le_bytes());
            contents.write(hash, 8, 0, b"x").unwrap();
        }
        assert_eq!(fs::read_dir(&contents.incoming).unwrap().count(), MOST_INCOMING);
    }
}
