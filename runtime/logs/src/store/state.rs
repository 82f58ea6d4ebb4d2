//! What the store must remember besides its records: a small file, replaced as
//! a whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use drover_api::JobId;
use serde::{Deserialize, Serialize};

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct State {
    /// The first place that no record has, and none had. Ids are reserved in
    /// steps, so that one that was given is never given again.
    pub(super) next: u64,
    /// The newest place among records that were dropped to make room.
    pub(super) dropped_through: u64,
    /// The newest place that each receiver has acknowledged.
    pub(super) acknowledged: BTreeMap<String, u64>,
}

/// The file that holds the state.
#[derive(Debug)]
pub(super) struct StateFile {
    path: PathBuf,
    state: State,
    /// The log's identity, until it is on the disk: where it belongs, and what it is.
    new_identity: Option<(PathBuf, String)>,
}

impl StateFile {
    /// Reads the file. `None` in place of a state that is missing or damaged.
    pub(super) fn open(directory: &Path) -> io::Result<(Self, Option<State>)> {
        let path = directory.join("state.json");
        let found = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice::<State>(&bytes).ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let state = found.clone().unwrap_or_default();
        Ok((Self { path, state, new_identity: None }, found))
    }

    /// Reads the log's identity, or makes one up, which is on the disk before the
    /// first change of the state is. Kept apart from the state, whose damage changes
    /// nothing about which log this is.
    pub(super) fn identity(&mut self) -> io::Result<String> {
        let path = self.path.with_file_name("identity");
        let found = match fs::read_to_string(&path) {
            Ok(text) => text.trim().parse::<JobId>().ok(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
            Err(error) => return Err(error),
        };
        if let Some(identity) = found {
            return Ok(identity.to_string());
        }
        let identity = JobId::generate().to_string();
        self.new_identity = Some((path, identity.clone()));
        Ok(identity)
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// Changes the state; it is on the disk before this returns. On an error
    /// the old state holds.
    pub(super) fn update(&mut self, change: impl FnOnce(&mut State)) -> io::Result<()> {
        if let Some((path, identity)) = &self.new_identity {
            replace(path, identity.as_bytes())?;
            self.new_identity = None;
        }
        let mut state = self.state.clone();
        change(&mut state);
        replace(&self.path, &serde_json::to_vec(&state)?)?;
        self.state = state;
        Ok(())
    }
}

/// Brings the names in a directory to the disk.
pub(super) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Puts `bytes` in the place of a file; on the disk before this returns.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = File::create(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_reads_back_and_damage_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (mut file, found) = StateFile::open(dir.path()).unwrap();
        assert_eq!(found, None);
        file.update(|state| state.next = 7).unwrap();
        let (_, found) = StateFile::open(dir.path()).unwrap();
        assert_eq!(found, Some(State { next: 7, ..State::default() }));
        fs::write(dir.path().join("state.json"), "{").unwrap();
        assert_eq!(StateFile::open(dir.path()).unwrap().1, None);
    }

    #[test]
    fn a_log_keeps_its_identity_until_that_is_no_text() {
        let dir = tempfile::tempdir().unwrap();
        let identity = || {
            let (mut file, _) = StateFile::open(dir.path()).unwrap();
            let identity = file.identity().unwrap();
            file.update(|state| state.next += 1).unwrap();
            identity
        };
        let first = identity();
        assert_eq!(identity(), first);
        fs::write(dir.path().join("identity"), b"\xff").unwrap();
        assert_ne!(identity(), first);
    }
}
