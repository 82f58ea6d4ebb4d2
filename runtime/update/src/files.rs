//! The files of pushed versions, in one directory for each plugin:
//!
//! ```text
//! <name>/<version>-<first digits of the hash>.wasm   a version, whole
//! <name>/<hash>.part                                 what has come of one so far
//! ```
//!
//! Those of the agent's own program end in `.elf`. A file has its name only when all of it is on disk. All functions block.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use drover_signing::{ContentCheck, ContentError, ContentHash};

use crate::record::Version;

/// The directory of one plugin's pushed versions.
#[derive(Debug, Clone)]
pub struct Files {
    dir: PathBuf,
    /// What whole versions end in.
    ending: &'static str,
}

/// Why a file cannot be kept or used.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The system refused.
    #[error("cannot write {path}: is the disk full?")]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused.
    #[error("cannot read {path}")]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what was asked for.
    #[error("its content is not what was asked for")]
    Other(#[from] ContentError),
}

impl FilesError {
    /// Whether the same may work later, as when the disk was full.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Write { .. })
    }
}

impl Files {
    /// The directory of the plugin `name`, which is a plugin's name and so no path,
    /// in `dir`. It is made when something is written.
    #[must_use]
    pub fn new(dir: &Path, name: &str) -> Self {
        Self { dir: dir.join(name), ending: "wasm" }
    }

    /// The directory of versions of a program.
    #[must_use]
    pub fn of_program(dir: &Path, name: &str) -> Self {
        Self { dir: dir.join(name), ending: "elf" }
    }

    /// Where the record is.
    #[must_use]
    pub fn record(&self) -> PathBuf {
        self.dir.join("record.json")
    }

    /// The file of a version; it is there once [`Files::finish`] has put it there.
    #[must_use]
    pub fn version(&self, version: &Version) -> PathBuf {
        self.dir.join(self.file_name(version))
    }

    /// Makes the directory.
    ///
    /// # Errors
    ///
    /// If it cannot be made.
    pub fn make(&self) -> Result<(), FilesError> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir);
        made.map_err(|source| FilesError::Write { path: self.dir.clone(), source })
    }

    /// How many bytes of a version are here.
    #[must_use]
    pub fn fetched(&self, version: &Version) -> u64 {
        let length = |path| fs::metadata(path).map(|metadata| metadata.len());
        let whole = length(self.version(version));
        whole.or_else(|_| length(self.part(version))).unwrap_or(0)
    }

    /// Adds bytes to a version at `offset`, up to which all must be here.
    ///
    /// # Errors
    ///
    /// If they cannot be written, or are more than there are to be. What is here
    /// is a part of the content in any case.
    pub fn append(&self, version: &Version, offset: u64, bytes: &[u8]) -> Result<(), FilesError> {
        let length = version.length;
        if offset.saturating_add(bytes.len() as u64) > length {
            return Err(ContentError::TooLong { length }.into());
        }
        let path = self.part(version);
        let write = || {
            let mut options = OpenOptions::new();
            let mut file = options.append(true).create(true).mode(0o600).open(&path)?;
            // What a write before left that did not succeed as a whole.
            file.set_len(offset)?;
            file.write_all(bytes)
        };
        write().map_err(|source| FilesError::Write { path: path.clone(), source })
    }

    /// Checks that all bytes of a version are here and are what was asked for, and
    /// gives them their name, on disk. Bytes that are something else are deleted.
    ///
    /// # Errors
    ///
    /// If they are something else, or the disk fails.
    pub fn finish(&self, version: &Version) -> Result<(), FilesError> {
        let (whole, part) = (self.version(version), self.part(version));
        let path = if whole.exists() { &whole } else { &part };
        let read = |source| FilesError::Read { path: path.clone(), source };
        let write = |source| FilesError::Write { path: whole.clone(), source };
        let mut file = File::open(path).map_err(read)?;
        if let Err(error) = check(&mut file, version).map_err(read)? {
            fs::remove_file(path).map_err(write)?;
            return Err(error.into());
        }
        file.sync_all().map_err(write)?;
        if path == &part {
            fs::rename(&part, &whole).map_err(write)?;
        }
        File::open(&self.dir).and_then(|dir| dir.sync_all()).map_err(write)
    }

    /// Deletes the files of all versions but these.
    ///
    /// # Errors
    ///
    /// If the directory cannot be read or a file not be deleted.
    pub fn sweep<'a>(&self, wanted: impl Iterator<Item = &'a Version>) -> Result<(), FilesError> {
        let kept: Vec<_> = wanted.flat_map(|one| [self.version(one), self.part(one)]).collect();
        let read = |source| FilesError::Read { path: self.dir.clone(), source };
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries.map_err(read)?,
        };
        for entry in entries {
            let path = entry.map_err(read)?.path();
            let is_content =
                path.extension().is_some_and(|end| end == self.ending || end == "part");
            if is_content && !kept.contains(&path) {
                fs::remove_file(&path).map_err(|source| FilesError::Write { path, source })?;
            }
        }
        Ok(())
    }

    fn part(&self, version: &Version) -> PathBuf {
        self.dir.join(format!("{}.part", version.hash))
    }

    fn file_name(&self, version: &Version) -> String {
        // Versions may be long, and names of files may not.
        let text: String = version.version.to_string().chars().take(64).collect();
        format!("{text}-{}.{}", short(version.hash), self.ending)
    }
}

/// The first digits of a hash, for people and names of files.
pub fn short(hash: ContentHash) -> String {
    hash.to_string()[..8].to_owned()
}

fn check(file: &mut File, version: &Version) -> io::Result<Result<(), ContentError>> {
    let mut check = ContentCheck::new(version.hash, version.length);
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(check.finish()),
            length => {
                if let Err(error) = check.take(&buffer[..length]) {
                    return Ok(Err(error));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use drover_api::Timestamp;

    use super::*;

    fn version(number: &str, content: &[u8]) -> Version {
        Version {
            version: number.parse().unwrap(),
            hash: ContentHash::of(content),
            length: content.len() as u64,
            signature: String::new(),
            by: None,
            since: Timestamp(0),
            has_served: false,
            fault: None,
        }
    }

    fn files() -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::new(dir.path(), "hello");
        files.make().unwrap();
        (dir, files)
    }

    #[test]
    fn a_version_comes_in_pieces_and_has_its_name_when_it_is_whole() {
        let (_dir, files) = files();
        let version = version("1.2.0", b"some content");
        assert_eq!(files.fetched(&version), 0);
        files.append(&version, 0, b"some ").unwrap();
        assert_eq!(files.fetched(&version), 5);
        // What was written last may be there only in part.
        files.append(&version, 4, b" content").unwrap();
        files.finish(&version).unwrap();
        let path = files.version(&version);
        assert!(path.to_str().unwrap().contains("/hello/1.2.0-"), "{path:?}");
        assert_eq!(fs::read(&path).unwrap(), b"some content");
        assert_eq!(files.fetched(&version), 12);
        files.finish(&version).unwrap();
    }

    #[test]
    fn other_or_endless_content_is_not_kept() {
        let (_dir, files) = files();
        let version = version("1.0.0", b"good");
        let error = files.append(&version, 2, b"data").unwrap_err();
        assert!(error.to_string().contains("not what was asked for"), "{error}");
        files.append(&version, 0, b"evil").unwrap();
        let error = files.finish(&version).unwrap_err();
        assert!(matches!(error, FilesError::Other(_)), "{error}");
        assert_eq!(files.fetched(&version), 0);
        assert!(matches!(files.finish(&version), Err(FilesError::Read { .. })));
    }

    #[test]
    fn what_nobody_wants_is_swept_and_the_record_is_not() {
        let (_dir, files) = files();
        let (one, two, three) =
            (version("1.0.0", b"1"), version("2.0.0", b"2"), version("3.0.0", b"3"));
        for (version, content) in [(&one, b"1"), (&two, b"2")] {
            files.append(version, 0, content).unwrap();
            files.finish(version).unwrap();
        }
        files.append(&three, 0, b"3").unwrap();
        fs::write(files.record(), "{}").unwrap();
        files.sweep([&two].into_iter()).unwrap();
        assert!(!files.version(&one).exists() && files.version(&two).exists());
        assert!(files.fetched(&three) == 0 && files.record().exists());
        Files::new(Path::new("/nowhere"), "a").sweep([].into_iter()).unwrap();
    }
}
