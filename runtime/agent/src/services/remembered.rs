//! The services that somebody started, in one file: those come back with the
//! agent until they are stopped.
//!
//! The file is JSON, with a version, and always whole: a new one is written
//! beside it, synchronised and renamed over it. Only its owner may read it:
//! arguments can be secrets.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ServiceSpec;

/// The version of the file.
const VERSION: u32 = 1;

/// By name.
pub(super) type Specs = BTreeMap<String, ServiceSpec>;

#[derive(Serialize, Deserialize)]
struct Contents {
    version: u32,
    services: Specs,
}

/// The file, and what is in it.
#[derive(Debug)]
pub(super) struct Remembered {
    path: PathBuf,
    services: Specs,
}

impl Remembered {
    /// Reads the file; one that is missing is empty, one that is damaged is put
    /// aside.
    pub(super) fn open(path: PathBuf) -> io::Result<Self> {
        let services = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Specs::new(),
            Err(error) => return Err(error),
            Ok(text) => match serde_json::from_slice::<Contents>(&text) {
                Ok(contents) if contents.version == VERSION => contents.services,
                Ok(contents) => {
                    let reason = format!("it is of version {}, not {VERSION}", contents.version);
                    put_aside(&path, &reason)?
                }
                Err(error) => put_aside(&path, &error.to_string())?,
            },
        };
        Ok(Self { path, services })
    }

    pub(super) fn services(&self) -> &Specs {
        &self.services
    }

    /// Has the file say this, and is done when it is on disk.
    ///
    /// # Errors
    ///
    /// If it cannot be written; the file is as it was.
    pub(super) async fn set(&mut self, services: Specs) -> io::Result<()> {
        if services == self.services {
            return Ok(());
        }
        let (path, contents) = (self.path.clone(), Contents { version: VERSION, services });
        let written = tokio::task::spawn_blocking(move || {
            replace(&path, &contents)?;
            Ok::<_, io::Error>(contents.services)
        });
        self.services = written.await.map_err(io::Error::other)??;
        Ok(())
    }
}

fn put_aside(path: &Path, reason: &str) -> io::Result<Specs> {
    let aside = path.with_extension("damaged");
    fs::rename(path, &aside)?;
    tracing::error!(
        file = %path.display(),
        aside = %aside.display(),
        reason,
        "the remembered services cannot be read and are put aside: start them again"
    );
    Ok(Specs::new())
}

fn replace(path: &Path, contents: &Contents) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(&serde_json::to_vec(contents)?)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use serde_json::Map;

    use super::*;

    fn specs(names: &[&str]) -> Specs {
        let spec = || ServiceSpec::new("ticker.count".to_owned(), Map::new());
        names.iter().map(|&name| (name.to_owned(), spec())).collect()
    }

    #[tokio::test]
    async fn what_is_set_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("services.json");
        let mut remembered = Remembered::open(path.clone()).unwrap();
        assert!(remembered.services().is_empty());
        remembered.set(specs(&["a", "b"])).await.unwrap();
        assert_eq!(Remembered::open(path.clone()).unwrap().services(), &specs(&["a", "b"]));
        remembered.set(specs(&["b"])).await.unwrap();
        assert_eq!(Remembered::open(path).unwrap().services(), &specs(&["b"]));
    }

    #[tokio::test]
    async fn a_damaged_file_is_put_aside_and_one_that_cannot_be_written_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("services.json");
        fs::write(&path, "{\"version\":1,").unwrap();
        let mut remembered = Remembered::open(path.clone()).unwrap();
        assert!(remembered.services().is_empty() && path.with_extension("damaged").exists());
        remembered.set(specs(&["a"])).await.unwrap();
        fs::create_dir(path.with_extension("new")).unwrap();
        assert!(remembered.set(specs(&["b"])).await.is_err());
        assert_eq!(remembered.services(), &specs(&["a"]));
        assert_eq!(Remembered::open(path).unwrap().services(), &specs(&["a"]));
    }
}
