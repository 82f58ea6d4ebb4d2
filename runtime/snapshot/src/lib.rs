//! A value in one JSON file that outlives its program.
//!
//! The file is always whole: a new one is written beside it, synchronised and
//! renamed over it. Only its owner may read it: what is remembered can be secret.
//! It says its version; one of another version, like one that is damaged, is put
//! aside and kept, so that a program starts whatever became of its files.
//!
//! Both functions block, and neither logs: who calls knows what is lost with the
//! file, and what to do about that.

#![forbid(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

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

/// Reads what [`replace`] has written. `T` is a struct that allows fields it does
/// not know, as the version is one.
///
/// # Errors
///
/// If the file is there and cannot be read, or cannot be put aside.
pub fn read<T: DeserializeOwned>(path: &Path, version: u32) -> io::Result<Found<T>> {
    let text = match fs::read(path) {
        // Below a file there is nothing either; whoever writes there is told.
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(Found::Nothing);
        }
        read => read?,
    };
    match parse(&text, version) {
        Ok(value) => Ok(Found::Whole(value)),
        Err(reason) => {
            let aside = path.with_extension("damaged");
            fs::rename(path, &aside)?;
            Ok(Found::PutAside(Aside { path: aside, reason }))
        }
    }
}

fn parse<T: DeserializeOwned>(text: &[u8], version: u32) -> Result<T, String> {
    // Another version may look different altogether, so this comes first.
    let found: Version = serde_json::from_slice(text).map_err(|error| error.to_string())?;
    if found.version != version {
        return Err(format!("it is of version {}, not {version}", found.version));
    }
    serde_json::from_slice(text).map_err(|error| error.to_string())
}

/// Has the file say this, and is done when that is on disk. `value` is a struct
/// or a map without a field `version`. One call at a time for each file.
///
/// # Errors
///
/// If it cannot be written; the file is as it was.
pub fn replace<T: Serialize>(path: &Path, version: u32, value: &T) -> io::Result<()> {
    let text = serde_json::to_vec(&Contents { version, value })?;
    let fresh = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Jobs {
        jobs: BTreeMap<String, f64>,
    }

    fn jobs(names: &[&str]) -> Jobs {
        Jobs { jobs: names.iter().map(|name| ((*name).to_owned(), 0.1)).collect() }
    }

    #[test]
    fn what_is_written_is_read_again_and_is_the_owners_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        assert_eq!(read::<Jobs>(&path, 1).unwrap(), Found::Nothing);
        fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(read::<Jobs>(&dir.path().join("file/jobs"), 1).unwrap(), Found::Nothing);
        for names in [&["a", "b"][..], &["b"]] {
            replace(&path, 1, &jobs(names)).unwrap();
            assert_eq!(read(&path, 1).unwrap(), Found::Whole(jobs(names)));
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), r#"{"version":1,"jobs":{"b":0.1}}"#);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn what_is_damaged_or_of_another_version_is_put_aside_and_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (path, aside) = (dir.path().join("jobs.json"), dir.path().join("jobs.damaged"));
        for (text, reason) in [
            (&b"{\"version\":1,\"jobs\":{"[..], "EOF while parsing"),
            (b"{\"version\":99,\"tasks\":[]}", "it is of version 99, not 1"),
            (b"{\"version\":1}", "missing field `jobs`"),
            (b"{\"jobs\":{}}", "missing field `version`"),
            (b"\xff\xfe", "expected value"),
            (b"", "EOF while parsing"),
        ] {
            fs::write(&path, text).unwrap();
            let Found::PutAside(found) = read::<Jobs>(&path, 1).unwrap() else {
                panic!("{reason} is no reason");
            };
            assert!(found.reason.contains(reason), "{}", found.reason);
            assert_eq!((found.path, fs::read(&aside).unwrap()), (aside.clone(), text.to_vec()));
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_file_that_cannot_be_written_stays_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.json");
        replace(&path, 1, &jobs(&["a"])).unwrap();
        fs::create_dir(path.with_extension("new")).unwrap();
        replace(&path, 1, &jobs(&["b"])).unwrap_err();
        assert_eq!(read(&path, 1).unwrap(), Found::Whole(jobs(&["a"])));
        read::<Jobs>(dir.path(), 1).unwrap_err();
    }
}
