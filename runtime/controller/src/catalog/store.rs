//! The catalog itself: what it has, what may be done to it. Everything here
//! blocks.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use drover_api::{
    CatalogAdd, CatalogDetail, CatalogName, CatalogPlugin, CatalogSetChannel, CatalogStatement,
    CatalogVersion, CatalogWrite, CatalogYank, Timestamp,
};
use drover_signing::{ContentHash, Statement, TrustedKeys, accept, read_statement};

use super::admission::{admit, check_channel, check_version};
use super::contents::Contents;
use super::error::CatalogError;
use super::index::Index;

/// A catalog in a directory.
#[derive(Debug)]
pub(super) struct Store {
    keys: TrustedKeys,
    contents: Contents,
    /// Held while content or index is changed.
    index: Mutex<Index>,
}

impl Store {
    /// Opens the catalog in `dir`, or makes it. Content of more than
    /// `most_bytes` is refused.
    pub(super) fn open(dir: &Path, keys: TrustedKeys, most_bytes: u64) -> anyhow::Result<Self> {
        let contents = Contents::open(dir, most_bytes);
        let contents = contents.with_context(|| format!("cannot use {}", dir.display()))?;
        let path = dir.join("index.db");
        let index =
            Index::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { keys, contents, index: Mutex::new(index) })
    }

    /// Where content is that was admitted: a file for each, named by its hash.
    pub(super) fn content_dir(&self) -> &Path {
        self.contents.dir()
    }

    pub(super) fn list(&self) -> Result<Vec<CatalogPlugin>, CatalogError> {
        self.index().list()
    }

    pub(super) fn show(&self, wanted: &CatalogName) -> Result<CatalogDetail, CatalogError> {
        let index = self.index();
        let version = resolve(&index, &wanted.name, wanted.version.as_deref())?;
        let detail = index.detail(&wanted.name, &version.version)?;
        detail.ok_or_else(|| unknown(format!("{}@{}", wanted.name, version.version), &[]))
    }

    /// Takes a piece of content; says where the next one begins.
    pub(super) fn write(&self, piece: &CatalogWrite) -> Result<u64, CatalogError> {
        let hash = piece.hash.parse()?;
        let _one_at_a_time = self.index();
        self.contents.write(hash, piece.length, piece.offset, &piece.bytes.0)
    }

    /// Adds a version whose content has arrived. Adding it once more gives it
    /// the new signature.
    pub(super) fn add(
        &self,
        add: &CatalogAdd,
        pushed_by: &str,
    ) -> Result<CatalogDetail, CatalogError> {
        let hash: ContentHash = add.hash.parse()?;
        add.channel.as_deref().map_or(Ok(()), check_channel)?;
        let mut index = self.index();
        let former = index.detail(&add.name, &add.version)?;
        if let Some(former) = former.as_ref().filter(|former| former.version.hash != add.hash) {
            return Err(CatalogError::Taken {
                name: add.name.clone(),
                version: add.version.clone(),
                hash: former.version.hash.clone(),
            });
        }
        let content = self.contents.arrived(hash, add.length)?;
        let admitted = admit(add, content, &self.keys, jiff::Timestamp::now());
        if let Err(CatalogError::NotThere {
            source: drover_signing::ContentError::WrongHash { .. },
            ..
        }) = &admitted
        {
            // Nobody could end it; it has to begin anew.
            self.contents.forget(hash, add.length);
        }
        let admitted = admitted?;
        let mut version = CatalogVersion {
            version: add.version.clone(),
            hash: admitted.hash.to_string(),
            length: add.length,
            signed_by: admitted.signed_by,
            pushed_by: pushed_by.to_owned(),
            pushed_at: Timestamp::now(),
            yanked: None,
        };
        if let Some(former) = former {
            let CatalogVersion { pushed_by, pushed_at, yanked, .. } = former.version;
            version = CatalogVersion { pushed_by, pushed_at, yanked, ..version };
        }
        let detail = CatalogDetail {
            name: add.name.clone(),
            version,
            signature: add.signature.clone(),
            manifest: serde_json::to_value(&admitted.manifest)?,
            operations: add.operations.clone(),
            formats: add.formats.clone(),
        };
        if add.channel.is_some() && detail.version.yanked.is_some() {
            return Err(yanked(&add.name, &add.version));
        }
        self.contents.keep(hash, add.length)?;
        index.put(&detail, add.channel.as_deref())?;
        Ok(detail)
    }

    /// A piece of content of at most `most` bytes, and the length of all of it.
    pub(super) fn read(
        &self,
        hash: &str,
        offset: u64,
        most: usize,
    ) -> Result<(Vec<u8>, u64), CatalogError> {
        let hash: ContentHash = hash.parse()?;
        let read = self.contents.read(hash, offset, most)?;
        read.ok_or_else(|| unknown(format!("content {hash}"), &[]))
    }

    pub(super) fn statement(&self) -> Result<Option<CatalogStatement>, CatalogError> {
        Ok(self.index().statement()?.map(|(statement, _)| statement))
    }

    /// Has a statement count from now on that a trusted key has signed, that
    /// is not older than the one before, and says nothing but what is so.
    /// Returns its serial.
    pub(super) fn state(&self, statement: &CatalogStatement) -> Result<u64, CatalogError> {
        let now = jiff::Timestamp::now();
        let bytes = statement.statement.as_bytes();
        let signed = read_statement(bytes, &statement.signature, &self.keys, now)?;
        let mut index = self.index();
        let previous = index.statement()?.map(|(_, seen)| seen);
        let seen = accept(previous.as_ref(), &signed, &self.keys, now)?;
        compare(signed.statement(), &index.list()?)?;
        index.set_statement(statement, &seen)?;
        Ok(seen.serial)
    }

    pub(super) fn yank(&self, yank: &CatalogYank) -> Result<(), CatalogError> {
        let CatalogYank { name, version, reason } = yank;
        let mut index = self.index();
        resolve(&index, name, Some(version))?;
        check_version(version)?;
        let channels = index.channels(name)?;
        if let Some(channel) = channels.into_iter().find(|channel| channel.version == *version)
            && reason.is_some()
        {
            return Err(CatalogError::IsCurrent {
                name: name.clone(),
                version: version.clone(),
                channel: channel.name,
            });
        }
        index.set_yanked(name, version, reason.as_deref())
    }

    /// Has a channel stand for a version, or for the one that another channel
    /// stands for; says for which.
    pub(super) fn set_channel(
        &self,
        change: &CatalogSetChannel,
    ) -> Result<Option<String>, CatalogError> {
        let CatalogSetChannel { name, channel, version } = change;
        check_channel(channel)?;
        let mut index = self.index();
        let version = match version {
            Some(version) => Some(resolve(&index, name, Some(version))?),
            None => {
                resolve(&index, name, Some(channel))?;
                None
            }
        };
        if version.as_ref().is_some_and(|version| version.yanked.is_some()) {
            let version = version.map(|version| version.version).unwrap_or_default();
            return Err(yanked(name, &version));
        }
        let version = version.map(|version| version.version);
        index.set_channel(name, channel, version.as_deref())?;
        Ok(version)
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        // SQLite undoes a transaction that a panic has cut off.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The version that is meant: by its number or a channel, or the newest.
fn resolve(
    index: &Index,
    name: &str,
    wanted: Option<&str>,
) -> Result<CatalogVersion, CatalogError> {
    let versions = index.versions(name)?;
    if versions.is_empty() {
        return Err(unknown(format!("plugin `{name}`"), &index.names()?));
    }
    let channels = index.channels(name)?;
    let number = wanted.map(|wanted| {
        let channel = channels.iter().find(|channel| channel.name == wanted);
        channel.map_or(wanted, |channel| channel.version.as_str())
    });
    let is_meant = |version: &&CatalogVersion| match number {
        Some(number) => version.version == number,
        None => version.yanked.is_none(),
    };
    let meant = versions.iter().find(is_meant).or(versions.first().filter(|_| number.is_none()));
    meant.cloned().ok_or_else(|| {
        let numbers = versions.iter().map(|version| version.version.clone());
        let known: Vec<_> = channels.into_iter().map(|one| one.name).chain(numbers).collect();
        unknown(format!("{name}@{}", wanted.unwrap_or_default()), &known)
    })
}

/// Refuses a statement that says what is not so. It need not say everything:
/// what was pushed since is for the next one.
fn compare(statement: &Statement, plugins: &[CatalogPlugin]) -> Result<(), CatalogError> {
    for (name, stated) in &statement.plugins {
        let plugin = plugins.iter().find(|plugin| plugin.name == *name);
        let versions = plugin.map_or(&[][..], |plugin| &plugin.versions);
        for (number, version) in &stated.versions {
            let known = versions.iter().find(|known| known.version == *number);
            let is_so = known.is_some_and(|known| {
                known.hash == version.hash.to_string() && known.length == version.length
            });
            if !is_so {
                return Err(CatalogError::Contradiction { what: format!("{name}@{number}") });
            }
        }
        let dangling =
            stated.channels.iter().find(|(_, number)| !stated.versions.contains_key(*number));
        if let Some((channel, _)) = dangling {
            let what = format!("the channel `{channel}` of {name}");
            return Err(CatalogError::Contradiction { what });
        }
    }
    Ok(())
}

fn unknown(what: String, known: &[String]) -> CatalogError {
    let known = match known {
        [] => String::new(),
        known => format!("; there are {}", known.join(", ")),
    };
    CatalogError::Unknown { what, known }
}

fn yanked(name: &str, version: &str) -> CatalogError {
    CatalogError::Yanked { name: name.to_owned(), version: version.to_owned() }
}

#[cfg(test)]
mod tests {
    use drover_api::Octets;
    use jiff::ToSpan;

    use super::super::trial::{Signer, component};
    use super::*;

    struct Site {
        dir: tempfile::TempDir,
        signer: Signer,
        store: Store,
    }

    impl Site {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let signer = Signer::new();
            let store = Store::open(dir.path(), signer.keys.clone(), 1 << 20).unwrap();
            Self { dir, signer, store }
        }

        fn restarted(mut self) -> Self {
            self.store = Store::open(self.dir.path(), self.signer.keys.clone(), 1 << 20).unwrap();
            self
        }

        fn upload(&self, content: &[u8]) {
            let piece = CatalogWrite {
                hash: ContentHash::of(content).to_string(),
                length: content.len() as u64,
                offset: 0,
                bytes: Octets(content.to_vec()),
            };
            assert_eq!(self.store.write(&piece).unwrap(), content.len() as u64);
        }

        fn push(&self, version: &str, channel: Option<&str>) -> Vec<u8> {
            let content = component(&format!("name = \"hello\"\nversion = \"{version}\""));
            self.upload(&content);
            let channel = channel.map(str::to_owned);
            let add = CatalogAdd { channel, ..self.signer.add("hello", version, &content) };
            self.store.add(&add, "ada").unwrap();
            content
        }

        fn show(&self, version: Option<&str>) -> Result<String, String> {
            let name =
                CatalogName { name: "hello".to_owned(), version: version.map(str::to_owned) };
            let shown = self.store.show(&name).map_err(|error| error.to_string())?;
            Ok(shown.version.version)
        }

        fn channel(&self, channel: &str, version: Option<&str>) -> Result<Option<String>, String> {
            let change = CatalogSetChannel {
                name: "hello".to_owned(),
                channel: channel.to_owned(),
                version: version.map(str::to_owned),
            };
            self.store.set_channel(&change).map_err(|error| error.to_string())
        }

        fn yank(&self, version: &str, reason: Option<&str>) -> Result<(), String> {
            let yank = CatalogYank {
                name: "hello".to_owned(),
                version: version.to_owned(),
                reason: reason.map(str::to_owned),
            };
            self.store.yank(&yank).map_err(|error| error.to_string())
        }
    }

    #[test]
    fn what_was_pushed_is_there_after_a_restart_with_who_and_when() {
        let site = Site::new();
        let content = site.push("1.2.0", Some("stable"));
        site.push("1.10.0", None);
        let site = site.restarted();
        let list = site.store.list().unwrap();
        let numbers: Vec<_> = list[0].versions.iter().map(|one| one.version.as_str()).collect();
        assert_eq!(numbers, ["1.10.0", "1.2.0"]);
        assert_eq!(list[0].channels[0].version, "1.2.0");
        let version = &list[0].versions[1];
        assert_eq!((version.pushed_by.as_str(), version.signed_by.as_str()), ("ada", "release"));
        let (read, length) = site.store.read(&version.hash, 8, 5).unwrap();
        assert_eq!((read, length), (content[8..13].to_vec(), content.len() as u64));
    }

    #[test]
    fn a_version_is_found_by_number_by_channel_and_as_the_newest() {
        let site = Site::new();
        site.push("1.2.0", Some("stable"));
        site.push("2.0.0", Some("edge"));
        assert_eq!(site.show(None).unwrap(), "2.0.0");
        assert_eq!(site.show(Some("stable")).unwrap(), "1.2.0");
        assert_eq!(site.show(Some("2.0.0")).unwrap(), "2.0.0");
        let error = site.show(Some("3.0.0")).unwrap_err();
        assert_eq!(
            error,
            "there is no hello@3.0.0 in the catalog; there are edge, stable, 2.0.0, 1.2.0"
        );
    }

    #[test]
    fn a_version_never_changes_but_may_be_signed_again() {
        let site = Site::new();
        let content = site.push("1.2.0", None);
        let other = component("name = \"hello\"\nversion = \"1.2.0\"\ndescription = \"new\"");
        site.upload(&other);
        let error = site.store.add(&site.signer.add("hello", "1.2.0", &other), "eve").unwrap_err();
        assert!(error.to_string().contains("a version never changes"), "{error}");
        let again = site.signer.add("hello", "1.2.0", &content);
        let detail = site.store.add(&again, "eve").unwrap();
        assert_eq!((detail.signature, detail.version.pushed_by.as_str()), (again.signature, "ada"));
    }

    #[test]
    fn content_that_is_something_else_is_refused_and_can_be_sent_anew() {
        let site = Site::new();
        let content = component("name = \"hello\"\nversion = \"1.2.0\"");
        let add = site.signer.add("hello", "1.2.0", &content);
        let mut wrong = content.clone();
        *wrong.last_mut().unwrap() ^= 1;
        let piece = |bytes: Vec<u8>| CatalogWrite {
            hash: add.hash.clone(),
            length: add.length,
            offset: 0,
            bytes: Octets(bytes),
        };
        site.store.write(&piece(wrong)).unwrap();
        assert!(site.store.add(&add, "ada").unwrap_err().to_string().contains("as a whole"));
        assert!(site.store.read(&add.hash, 0, 10).is_err(), "nobody is given it");
        assert_eq!(site.store.write(&piece(vec![])).unwrap(), 0);
        assert_eq!(site.store.write(&piece(content)).unwrap(), add.length);
        site.store.add(&add, "ada").unwrap();
    }

    #[test]
    fn a_yanked_version_is_no_ones_current_one() {
        let site = Site::new();
        site.push("1.2.0", None);
        site.push("1.3.0", Some("stable"));
        let error = site.yank("1.3.0", Some("it leaks")).unwrap_err();
        assert!(error.contains("`drover catalog channel hello stable VERSION`"), "{error}");
        assert_eq!(site.channel("stable", Some("1.2.0")).unwrap().unwrap(), "1.2.0");
        site.yank("1.3.0", Some("it leaks")).unwrap();
        assert_eq!(site.show(None).unwrap(), "1.2.0");
        assert!(site.channel("stable", Some("1.3.0")).unwrap_err().contains("was yanked"));
        site.yank("1.3.0", None).unwrap();
        assert_eq!(site.channel("edge", Some("1.3.0")).unwrap().unwrap(), "1.3.0");
        assert_eq!(site.channel("edge", None).unwrap(), None);
        assert!(site.channel("edge", None).is_err(), "it is gone");
    }

    #[test]
    fn a_statement_counts_if_it_is_signed_newer_and_true() {
        let site = Site::new();
        site.push("1.2.0", Some("stable"));
        assert_eq!(site.store.statement().unwrap(), None);
        let soon = jiff::Timestamp::now() + 24.hours();
        let state = |serial, expires| {
            let statement = site.signer.state(serial, expires, &site.store.list().unwrap());
            site.store.state(&statement).map(|_| statement)
        };
        let first = state(3, soon).unwrap();
        let site = site.restarted();
        assert_eq!(site.store.statement().unwrap(), Some(first));

        let state = |serial, expires, list: &[CatalogPlugin]| {
            let statement = site.signer.state(serial, expires, list);
            site.store.state(&statement).map_err(|error| format!("{error:?}"))
        };
        let list = site.store.list().unwrap();
        assert!(state(2, soon, &list).unwrap_err().contains("RolledBack"));
        assert!(state(4, jiff::Timestamp::now(), &list).unwrap_err().contains("Expired"));
        let mut untrue = list.clone();
        untrue[0].versions[0].length += 1;
        assert!(state(4, soon, &untrue).unwrap_err().contains("hello@1.2.0"));
        let mut dangling = list.clone();
        dangling[0].channels[0].version = "9.0.0".to_owned();
        assert!(state(4, soon, &dangling).unwrap_err().contains("channel `stable`"));
        assert_eq!(state(4, soon, &list), Ok(4));
        let stranger = Signer::new().state(5, soon, &list);
        assert!(site.store.state(&stranger).is_err());
    }
}
