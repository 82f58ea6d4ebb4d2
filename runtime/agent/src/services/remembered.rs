//! The services that somebody started, in one file: those come back with the
//! agent until they are stopped.
//!
//! Only its owner may read it: arguments can be secrets.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use drover_snapshot::{Format, Found};
use serde::{Deserialize, Serialize};

use super::ServiceSpec;

const FORMAT: Format = Format { name: "the services that were started", steps: &[] };

/// By name.
pub(super) type Specs = BTreeMap<String, ServiceSpec>;

#[derive(Serialize, Deserialize)]
struct Contents {
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
        let services = match FORMAT.read::<Contents>(&path)? {
            Found::Whole(contents) => contents.services,
            Found::Nothing => Specs::new(),
            Found::PutAside(aside) => {
                tracing::error!(
                    file = %path.display(),
                    aside = %aside.path.display(),
                    reason = aside.reason,
                    "the remembered services cannot be read and are put aside: start them again"
                );
                Specs::new()
            }
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
        let (path, contents) = (self.path.clone(), Contents { services });
        let written = tokio::task::spawn_blocking(move || {
            FORMAT.replace(&path, &contents)?;
            Ok::<_, io::Error>(contents.services)
        });
        self.services = written.await.map_err(io::Error::other)??;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
