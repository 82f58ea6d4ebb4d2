//! Compiled code on disk.
//!
//! `<hash of the component>-<fingerprint of the engine>.cwasm` holds the code
//! and `….mac` beside it an HMAC of that name and that code. The key is made
//! once per host and kept in `<directory>.key`, outside of the directory. What
//! does not match its HMAC is never used: it is compiled again. What matches is
//! used as a sealed copy, so that the file may come and go.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tempfile::NamedTempFile;

use crate::component::Hash;
use crate::sealed::Sealed;

const CODE: &str = "cwasm";
const CODE_MAC: &str = "mac";
const SCRATCH: &str = "scratch-";
const KEY_BYTES: usize = 32;

/// Unused code of this engine is kept for so long.
const KEEP_OWN: Duration = Duration::from_secs(30 * 24 * 3600);
/// Unused code of other engines is kept for so long: until it is certain that
/// nobody goes back to the version of Drover that they belong to.
const KEEP_FOREIGN: Duration = Duration::from_secs(7 * 24 * 3600);
/// Left-over work of a host that died is removed after so long.
const KEEP_SCRATCH: Duration = Duration::from_secs(24 * 3600);

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// The directory cannot be made, or not be written to.
    #[error(
        "cannot write to the cache directory {path}: let the agent's user own it, or choose another"
    )]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key beside the directory cannot be read or made.
    #[error(
        "cannot use {path}, the key that compiled code is signed with: let the agent's user own it"
    )]
    Key {
        /// The key's file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A directory of compiled code for one engine.
pub(crate) struct Cache {
    directory: PathBuf,
    fingerprint: String,
    key: [u8; KEY_BYTES],
}

/// Compiled code that this host once stored, as it was stored, and fixed.
pub(crate) struct Verified(Sealed);

impl Verified {
    pub(crate) fn file(&self) -> &File {
        self.0.file()
    }
}

impl Cache {
    /// Opens the cache in `directory`, which is made if it is missing.
    pub(crate) fn open(directory: PathBuf, fingerprint: String) -> Result<Self, CacheError> {
        prepare(&directory)
            .map_err(|source| CacheError::Directory { path: directory.clone(), source })?;
        let path = key_path(&directory);
        let key = read_or_make_key(&path).map_err(|source| CacheError::Key { path, source })?;
        Ok(Self { directory, fingerprint, key })
    }

    /// The code of a component, if it is there and as it was stored.
    pub(crate) fn find(&self, hash: &Hash) -> Option<Verified> {
        let name = self.name(hash);
        let mut file = File::open(self.path(&name, CODE)).ok()?;
        match self.verify(&name, &mut file) {
            Ok(code) => {
                // Only pruning looks at the time, so failing to set it does no harm today.
                let _ = file.set_modified(SystemTime::now());
                Some(code)
            }
            Err(error) => {
                let path = self.path(&name, CODE);
                tracing::warn!(file = %path.display(), %error, "compiled code cannot be used, compiling again");
                None
            }
        }
    }

    /// Copies the code and checks the copy.
    fn verify(&self, name: &str, code: &mut File) -> io::Result<Verified> {
        let expected = fs::read(self.path(name, CODE_MAC))?;
        let (sealed, mac) = Sealed::write(|copy| self.mac(name, code, copy))?;
        mac.verify_slice(&expected).map_err(|_| io::Error::other("it was changed"))?;
        Ok(Verified(sealed))
    }

    /// A file of our own in the directory, gone when it is dropped.
    pub(crate) fn scratch(&self) -> io::Result<NamedTempFile> {
        tempfile::Builder::new().prefix(SCRATCH).tempfile_in(&self.directory)
    }

    /// Takes over what the compiler wrote. Nothing waits for the disk: a file
    /// that a crash left half-written does not match its HMAC.
    pub(crate) fn store(&self, hash: &Hash, code: NamedTempFile) -> io::Result<Verified> {
        let name = self.name(hash);
        // Opened anew: the compiler may have put another file in its place.
        let mac = self.mac(&name, &mut File::open(code.path())?, &mut io::sink())?;
        let mut mac_file = self.scratch()?;
        mac_file.write_all(&mac.finalize().into_bytes())?;
        code.persist(self.path(&name, CODE))?;
        mac_file.persist(self.path(&name, CODE_MAC))?;
        self.find(hash).ok_or_else(|| io::Error::other("it cannot be read back"))
    }

    /// Removes what has not been used for long. What cannot be removed stays.
    pub(crate) fn prune(&self, now: SystemTime) {
        let Ok(entries) = fs::read_dir(&self.directory) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let Some(keep) = self.time_to_keep(&path) else { continue };
            let used = entry.metadata().and_then(|metadata| metadata.modified());
            let is_old =
                used.is_ok_and(|used| now.duration_since(used).is_ok_and(|unused| unused > keep));
            if is_old && fs::remove_file(&path).is_ok() {
                tracing::debug!(file = %path.display(), "removed unused compiled code");
                let _ = fs::remove_file(path.with_extension(CODE_MAC));
            }
        }
    }

    /// How long an unused file stays; none for files that are not ours to remove.
    fn time_to_keep(&self, path: &Path) -> Option<Duration> {
        let name = path.file_name()?.to_str()?;
        if name.starts_with(SCRATCH) {
            return Some(KEEP_SCRATCH);
        }
        // An HMAC goes with its code.
        let (_, fingerprint) = name.strip_suffix(CODE)?.strip_suffix('.')?.rsplit_once('-')?;
        Some(if fingerprint == self.fingerprint { KEEP_OWN } else { KEEP_FOREIGN })
    }

    fn name(&self, hash: &Hash) -> String {
        format!("{hash}-{}", self.fingerprint)
    }

    fn path(&self, name: &str, extension: &str) -> PathBuf {
        self.directory.join(format!("{name}.{extension}"))
    }

    /// The HMAC of what it copies from `code` to `copy`.
    fn mac(
        &self,
        name: &str,
        code: &mut impl Read,
        copy: &mut impl Write,
    ) -> io::Result<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).map_err(io::Error::other)?;
        mac.update(name.as_bytes());
        mac.update(&[0]);
        let mut buffer = vec![0; 64 << 10];
        loop {
            match code.read(&mut buffer)? {
                0 => return Ok(mac),
                length => {
                    mac.update(&buffer[..length]);
                    copy.write_all(&buffer[..length])?;
                }
            }
        }
    }
}

/// Makes the directory if it is missing, and closes it to others.
fn prepare(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    if fs::metadata(directory)?.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    }
    // Whether it can be written to shows in no other way.
    tempfile::Builder::new().prefix(SCRATCH).tempfile_in(directory)?;
    Ok(())
}

/// `<directory>.key`, beside the directory.
fn key_path(directory: &Path) -> PathBuf {
    let name = directory.file_name().unwrap_or(OsStr::new("cache"));
    let mut name = name.to_owned();
    name.push(".key");
    directory.with_file_name(name)
}

fn read_or_make_key(path: &Path) -> io::Result<[u8; KEY_BYTES]> {
    match read_key(path) {
        Ok(Some(key)) => return Ok(key),
        Ok(None) => {
            tracing::warn!(file = %path.display(), "others could have read this key, making a new one");
            fs::remove_file(path)?;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let mut file = NamedTempFile::new_in(path.parent().unwrap_or(Path::new(".")))?;
    file.write_all(&rand::random::<[u8; KEY_BYTES]>())?;
    match file.persist_noclobber(path) {
        Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => return Err(error.error),
        // Another host of this user was faster: its key it is.
        _ => {}
    }
    read_key(path)?.ok_or_else(|| io::Error::other("it is no key, or open to other users"))
}

/// The key; none if it is unusable: of a wrong length, or open to other users.
fn read_key(path: &Path) -> io::Result<Option<[u8; KEY_BYTES]>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    (&file).take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    let is_private = file.metadata()?.permissions().mode() & 0o077 == 0;
    Ok(is_private.then(|| bytes.try_into().ok()).flatten())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    struct Fixture {
        temp: TempDir,
        cache: Cache,
    }

    impl Fixture {
        fn new() -> Self {
            let temp = TempDir::new().unwrap();
            let cache = open(&temp, "cache", "f00d");
            Self { temp, cache }
        }

        fn store(&self, content: &str) -> Hash {
            let hash = Hash::of(content.as_bytes());
            let mut code = self.cache.scratch().unwrap();
            code.write_all(b"code of ").unwrap();
            code.write_all(content.as_bytes()).unwrap();
            self.cache.store(&hash, code).unwrap();
            hash
        }

        fn code_path(&self, hash: &Hash) -> PathBuf {
            self.cache.path(&self.cache.name(hash), CODE)
        }
    }

    fn open(temp: &TempDir, name: &str, fingerprint: &str) -> Cache {
        Cache::open(temp.path().join(name), fingerprint.into()).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn what_was_stored_is_found_by_a_later_host() {
        let fixture = Fixture::new();
        let hash = fixture.store("a");
        let later = open(&fixture.temp, "cache", "f00d");
        assert!(later.find(&hash).is_some());
        assert!(later.find(&Hash::of(b"b")).is_none());
    }

    #[test]
    fn changed_truncated_and_lengthened_code_is_not_found() {
        let changes: [fn(&mut Vec<u8>); 3] =
            [|code| code[0] ^= 1, |code| code.truncate(3), |code| code.push(0)];
        for change in changes {
            let fixture = Fixture::new();
            let hash = fixture.store("a");
            let path = fixture.code_path(&hash);
            let mut code = fs::read(&path).unwrap();
            change(&mut code);
            fs::write(&path, code).unwrap();
            assert!(fixture.cache.find(&hash).is_none());
        }
    }

    #[test]
    fn code_without_its_mac_is_not_found() {
        let fixture = Fixture::new();
        let hash = fixture.store("a");
        fs::remove_file(fixture.code_path(&hash).with_extension(CODE_MAC)).unwrap();
        assert!(fixture.cache.find(&hash).is_none());
    }

    #[test]
    fn code_of_another_component_is_not_found_under_this_name() {
        let fixture = Fixture::new();
        let (a, b) = (fixture.store("a"), fixture.store("b"));
        for extension in [CODE, CODE_MAC] {
            let from = fixture.code_path(&a).with_extension(extension);
            fs::copy(from, fixture.code_path(&b).with_extension(extension)).unwrap();
        }
        assert!(fixture.cache.find(&b).is_none());
    }

    #[test]
    fn code_that_another_host_signed_is_not_found() {
        let fixture = Fixture::new();
        let hash = fixture.store("a");
        fs::remove_file(key_path(&fixture.temp.path().join("cache"))).unwrap();
        assert!(open(&fixture.temp, "cache", "f00d").find(&hash).is_none());
    }

    #[test]
    fn directory_and_key_are_closed_to_others() {
        let fixture = Fixture::new();
        let directory = fixture.temp.path().join("cache");
        assert_eq!(mode(&directory), 0o700);
        assert_eq!(mode(&key_path(&directory)), 0o600);

        fs::set_permissions(&directory, Permissions::from_mode(0o777)).unwrap();
        open(&fixture.temp, "cache", "f00d");
        assert_eq!(mode(&directory), 0o700);
    }

    #[test]
    fn a_key_that_others_could_read_is_replaced() {
        let fixture = Fixture::new();
        let hash = fixture.store("a");
        let key = key_path(&fixture.temp.path().join("cache"));
        fs::set_permissions(&key, Permissions::from_mode(0o644)).unwrap();
        assert!(open(&fixture.temp, "cache", "f00d").find(&hash).is_none());
        assert_eq!(mode(&key), 0o600);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let temp = TempDir::new().unwrap();
        fs::write(temp.path().join("file"), "").unwrap();
        let error = Cache::open(temp.path().join("file/cache"), String::new()).err().unwrap();
        assert!(error.to_string().contains("file/cache"), "{error}");
    }

    #[test]
    fn pruning_removes_what_is_unused_and_nothing_else() {
        let fixture = Fixture::new();
        let own = fixture.store("own");
        let foreign = {
            let cache = open(&fixture.temp, "cache", "beef");
            let other = Fixture { temp: TempDir::new().unwrap(), cache };
            let hash = other.store("foreign");
            other.code_path(&hash)
        };
        let unknown = fixture.temp.path().join("cache/notes.txt");
        fs::write(&unknown, "").unwrap();
        let scratch = fixture.cache.scratch().unwrap().keep().unwrap().1;

        fixture.cache.prune(SystemTime::now());
        assert!(scratch.exists() && foreign.exists());

        fixture.cache.prune(SystemTime::now() + KEEP_FOREIGN + Duration::from_secs(60));
        assert!(!scratch.exists() && !foreign.exists());
        assert!(!foreign.with_extension(CODE_MAC).exists());
        assert!(fixture.cache.find(&own).is_some());

        fixture.cache.prune(SystemTime::now() + KEEP_OWN + Duration::from_secs(60));
        assert!(!fixture.code_path(&own).exists() && unknown.exists());
    }
}
