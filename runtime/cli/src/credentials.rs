//! What `drover login` remembers: for each controller a token, and how to know it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use drover_api::Timestamp;
use drover_wamp::{Fingerprint, Secret};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

/// The environment variable with another place for the file.
const PLACE: &str = "DROVER_CREDENTIALS";

/// The file.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Credentials {
    /// The controller that is meant where none is named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// By address.
    controllers: BTreeMap<String, Credential>,
}

/// What it takes to join one controller.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Credential {
    pub(crate) user: String,
    token: String,
    /// Until when the token counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
    /// What the controller's certificate is known by.
    #[serde(skip_serializing_if = "Option::is_none")]
    fingerprint: Option<String>,
    /// The certificates one of which must have signed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ca_file: Option<PathBuf>,
}

impl Credential {
    pub(crate) fn new(user: &str, token: &Secret, fingerprint: Option<Fingerprint>) -> Self {
        Self {
            user: user.to_owned(),
            token: token.reveal().to_owned(),
            expires: None,
            fingerprint: fingerprint.map(|fingerprint| fingerprint.to_string()),
            ca_file: None,
        }
    }

    pub(crate) fn token(&self) -> Secret {
        Secret::new(self.token.clone())
    }

    pub(crate) fn fingerprint(&self) -> Option<Fingerprint> {
        self.fingerprint.as_ref()?.parse().ok()
    }
}

impl Credentials {
    /// Reads the file; nothing is remembered if there is none.
    ///
    /// # Errors
    ///
    /// If it cannot be read or understood, or others than its owner may read it.
    pub(crate) fn read() -> anyhow::Result<Self> {
        match place() {
            Some(path) => Self::read_from(&path),
            None => Ok(Self::default()),
        }
    }

    fn read_from(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let read = || -> io::Result<Option<(u32, String)>> {
            match fs::read_to_string(path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
                Ok(text) => Ok(Some((fs::metadata(path)?.permissions().mode(), text))),
            }
        };
        let found = read().with_context(|| format!("cannot read the credentials in {shown}"))?;
        let Some((mode, text)) = found else { return Ok(Self::default()) };
        anyhow::ensure!(
            mode & 0o077 == 0,
            "others may read the credentials in {shown}: `chmod 600 {shown}`, and log in again if \
             they may have"
        );
        // The parser's own words would show the line.
        toml::from_str(&text).ok().with_context(|| {
            format!("the credentials in {shown} are damaged: remove the file and log in again")
        })
    }

    /// What is remembered of a controller.
    pub(crate) fn of(&self, controller: &str) -> Option<&Credential> {
        self.controllers.get(controller)
    }

    /// Remembers a controller, which is the one that is meant from now on.
    pub(crate) fn remember(&mut self, controller: &str, credential: Credential) {
        self.controllers.insert(controller.to_owned(), credential);
        self.current = Some(controller.to_owned());
    }

    /// Forgets a controller.
    pub(crate) fn forget(&mut self, controller: &str) -> Option<Credential> {
        if self.current.as_deref() == Some(controller) {
            self.current = None;
        }
        self.controllers.remove(controller)
    }

    /// Writes the file, which nobody but its owner may read; where it is.
    pub(crate) fn write(&self) -> anyhow::Result<PathBuf> {
        let path = place().with_context(|| {
            format!("there is no place for credentials: set HOME, or {PLACE} to a file")
        })?;
        self.write_to(&path)
            .with_context(|| format!("cannot write the credentials to {}", path.display()))?;
        Ok(path)
    }

    fn write_to(&self, path: &Path) -> anyhow::Result<()> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        // Made for its owner alone.
        let mut file = NamedTempFile::new_in(dir)?;
        file.write_all(toml::to_string_pretty(self)?.as_bytes())?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    }
}

/// Where the file is.
fn place() -> Option<PathBuf> {
    let named = std::env::var_os(PLACE).filter(|name| !name.is_empty());
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.filter(|dir| dir.is_absolute());
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".config"));
    named.map(PathBuf::from).or_else(|| Some(config.or_else(home)?.join("drover/credentials.toml")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_its_owners_alone_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("drover/credentials.toml");
        let mut credentials = Credentials::read_from(&path).unwrap();
        let fingerprint = "ab".repeat(32).parse().ok();
        let credential = Credential::new("ada", &Secret::new("hunter2"), fingerprint);
        credentials.remember("wss://there/ws", credential);
        credentials.write_to(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let mut read = Credentials::read_from(&path).unwrap();
        assert_eq!(read.current.as_deref(), Some("wss://there/ws"));
        let known = read.of("wss://there/ws").unwrap();
        assert!(known.token().is("hunter2") && known.fingerprint() == fingerprint);
        assert!(read.forget("wss://there/ws").is_some() && read.current.is_none());

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = Credentials::read_from(&path).err().unwrap().to_string();
        assert!(error.contains("chmod 600") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_file_that_is_damaged_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials.toml");
        let mut file = NamedTempFile::new_in(dir.path()).unwrap();
        file.write_all(b"token = hunter2").unwrap();
        file.persist(&path).unwrap();
        let error = format!("{:#}", Credentials::read_from(&path).err().unwrap());
        assert!(error.contains("log in again") && !error.contains("hunter2"), "{error}");
    }
}
