//! A kind of file, its versions, and how a file of each becomes a value.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A kind of file.
#[derive(Debug, Clone, Copy)]
pub struct Format {
    /// What such a file has, for people: `the services that somebody started`.
    pub name: &'static str,
    /// What makes each version of the one before; the first, version 2 of version 1.
    /// One that has been released is never changed.
    pub steps: &'static [Step],
}

/// Makes the fields of a version of those of the one before, or says why that cannot
/// be: then the file is damaged.
pub type Step = fn(&mut Map<String, Value>) -> Result<(), String>;

/// What became of a file.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// It was read.
    Whole(T),
    /// There is none.
    Nothing,
    /// It could not be understood, and is out of the way now.
    PutAside(Aside),
}

/// A file that could not be understood.
#[derive(Debug, PartialEq, Eq)]
pub struct Aside {
    /// Where it is now: beside where it was, with the extension `damaged`. One
    /// that was there before is gone.
    pub path: PathBuf,
    /// Why, for people.
    pub reason: String,
}

/// Why a file was not read. It is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is of a version that this program does not know.
    #[error(
        "a later version of drover has written {name} (version {found}, and this one knows \
         {known}): run that version, or put {} in the place of {}, if it is there",
        .earlier.display(), .path.display()
    )]
    Newer {
        /// What is in it.
        name: &'static str,
        /// The file.
        path: PathBuf,
        /// Where the later version has left what it found, if it found anything.
        earlier: PathBuf,
        /// Its version.
        found: u32,
        /// The latest version that is known.
        known: u32,
    },
    /// It cannot be read, or its copy or what takes it aside not be written.
    #[error(transparent)]
    File(#[from] io::Error),
}

impl From<ReadError> for io::Error {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::File(error) => error,
            newer @ ReadError::Newer { .. } => Self::other(newer),
        }
    }
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

#[derive(Serialize)]
struct Contents<'a, T> {
    version: u32,
    #[serde(flatten)]
    value: &'a T,
}

/// Why text is no value.
enum Unread {
    Newer(u32),
    Damaged(String),
}

impl Format {
    /// The version that is written.
    #[must_use]
    pub const fn version(&self) -> u32 {
        // It holds a handful of steps.
        1 + self.steps.len() as u32
    }

    /// Reads what [`Self::replace`] has written, in this version or an earlier one.
    /// `T` is a struct that allows fields it does not know, as the version is one.
    ///
    /// # Errors
    ///
    /// If the file is of a later version, if it is there and cannot be read, or if it
    /// cannot be put aside or kept beside the one that will be written.
    pub fn read<T: DeserializeOwned>(&self, path: &Path) -> Result<Found<T>, ReadError> {
        let Some(text) = text_of(path)? else { return Ok(Found::Nothing) };
        match self.parse(&text) {
            Ok((value, version)) => {
                if version < self.version() {
                    self.keep(path)?;
                }
                Ok(Found::Whole(value))
            }
            Err(Unread::Newer(found)) => Err(self.newer(path, found)),
            Err(Unread::Damaged(reason)) => {
                let aside = path.with_extension("damaged");
                fs::rename(path, &aside)?;
                Ok(Found::PutAside(Aside { path: aside, reason }))
            }
        }
    }

    /// Reads like [`Self::read`] what is another program's, and changes nothing.
    ///
    /// # Errors
    ///
    /// If the file is there and cannot be read or understood.
    pub fn look<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, ReadError> {
        let Some(text) = text_of(path)? else { return Ok(None) };
        match self.parse(&text) {
            Ok((value, _)) => Ok(Some(value)),
            Err(Unread::Newer(found)) => Err(self.newer(path, found)),
            Err(Unread::Damaged(reason)) => {
                Err(io::Error::new(ErrorKind::InvalidData, reason).into())
            }
        }
    }

    /// Has the file say this, and is done when that is on disk. `value` is a struct
    /// or a map without a field `version`. One call at a time for each file.
    ///
    /// # Errors
    ///
    /// If it cannot be written; the file is as it was.
    pub fn replace<T: Serialize>(&self, path: &Path, value: &T) -> io::Result<()> {
        let text = serde_json::to_vec(&Contents { version: self.version(), value })?;
        let fresh = path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&fresh, path)?;
        sync_directory(path)
    }

    fn newer(&self, path: &Path, found: u32) -> ReadError {
        ReadError::Newer {
            name: self.name,
            path: path.to_owned(),
            earlier: before(path, found),
            found,
            known: self.version(),
        }
    }

    /// The value, and the version that it was written in.
    fn parse<T: DeserializeOwned>(&self, text: &[u8]) -> Result<(T, u32), Unread> {
        let damaged = |error: serde_json::Error| Unread::Damaged(error.to_string());
        // Another version may look different altogether, so this comes first.
        let Version { version } = serde_json::from_slice(text).map_err(damaged)?;
        let Some(done) = version.checked_sub(1).map(|done| done as usize) else {
            return Err(Unread::Damaged("there is no version 0".to_owned()));
        };
        let Some(steps) = self.steps.get(done..) else {
            return Err(Unread::Newer(version));
        };
        if steps.is_empty() {
            let value = serde_json::from_slice(text).map_err(damaged)?;
            return Ok((value, version));
        }
        let mut fields = serde_json::from_slice(text).map_err(damaged)?;
        for (step, to) in steps.iter().zip(version + 1..) {
            step(&mut fields)
                .map_err(|reason| Unread::Damaged(format!("no version {to} of it: {reason}")))?;
        }
        let value = serde_json::from_value(Value::Object(fields)).map_err(damaged)?;
        Ok((value, version))
    }

    /// Has what is in the file outlive that it is replaced. Copies from before
    /// earlier changes go.
    fn keep(&self, path: &Path) -> io::Result<()> {
        for version in 2..=self.version() {
            match fs::remove_file(before(path, version)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        // It takes no room where there are links, and the file is never written in place.
        let kept = before(path, self.version());
        fs::hard_link(path, &kept).or_else(|_| fs::copy(path, &kept).map(drop))?;
        sync_directory(path)
    }
}

/// What is in a file; none if there is none.
fn text_of(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        // Below a file there is nothing either; whoever writes there is told.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        read => read.map(Some),
    }
}

/// Where a file is kept as it was before it became of this version.
fn before(path: &Path, version: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".before-v{version}"));
    name.into()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests;
