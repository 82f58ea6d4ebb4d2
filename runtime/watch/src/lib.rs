//! Hears that something changed in directories.
//!
//! By inotify, bare: what is wanted of it is a wake-up, after which the
//! directory is looked at as a whole. So no event is read for what it says, and
//! one that is lost costs the time until the next look and nothing else.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// Entries that come, go or are renamed, files that are closed after they were
/// written, and rights that change.
const ENTRIES: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// What wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wakes {
    /// Entries that come, go or are renamed, files that are closed after they
    /// were written, and rights that change. Not each write.
    OnEntries,
    /// Each write as well.
    OnWrites,
}

/// A watch on some directories.
#[derive(Debug)]
pub struct Watcher {
    inotify: AsyncFd<OwnedFd>,
    waking: WatchFlags,
}

/// The directories that one look has found. To be made in a look and given to
/// [`Watcher::watch_only`] after it.
#[derive(Debug, Default)]
pub struct Watched {
    watches: BTreeSet<i32>,
    /// Why one of them is not watched.
    pub error: Option<io::Error>,
}

impl Watcher {
    /// To be called in a tokio runtime.
    ///
    /// # Errors
    ///
    /// If the system has no more watchers for this user.
    #[expect(
        deprecated,
        reason = "its heir is unsafe, for types that change their descriptor; this one does not"
    )]
    pub fn new(wakes: Wakes) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let waking = match wakes {
            Wakes::OnEntries => ENTRIES,
            Wakes::OnWrites => ENTRIES.union(WatchFlags::MODIFY),
        };
        Ok(Self { inotify: AsyncFd::new(inotify)?, waking })
    }

    /// Watches a directory; one that is watched already stays so.
    pub fn watch(&self, directory: &Path, watched: &mut Watched) {
        match inotify::add_watch(self.inotify.get_ref(), directory, self.waking) {
            Ok(watch) => drop(watched.watches.insert(watch)),
            Err(error) => watched.error = Some(error.into()),
        }
    }

    /// Leaves off watching what was watched `before` and is not `now`.
    pub fn watch_only(&self, now: &Watched, before: &Watched) {
        for watch in before.watches.difference(&now.watches) {
            // It fails where the directory is gone, and the watch with it.
            let _ = inotify::remove_watch(self.inotify.get_ref(), *watch);
        }
    }

    /// Waits until something has changed since the last call.
    ///
    /// # Errors
    ///
    /// If the system does not say any more.
    pub async fn changed(&self) -> io::Result<()> {
        let mut ready = self.inotify.readable().await?;
        loop {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            match rustix::io::read(self.inotify.get_ref(), &mut buffer) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        ready.clear_ready();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn whatever_happens_to_an_entry_is_heard() {
        let directory = TempDir::new().unwrap();
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        let watcher = Watcher::new(Wakes::OnEntries).unwrap();
        let mut watched = Watched::default();
        watcher.watch(directory.path(), &mut watched);
        assert!(watched.error.is_none());
        let deeds: [&dyn Fn() -> io::Result<()>; 5] = [
            &|| fs::write(&one, "1"),
            &|| fs::write(&one, "2"),
            &|| fs::rename(&one, &two),
            &|| std::os::unix::fs::symlink("two", &one),
            &|| fs::remove_file(&two),
        ];
        for deed in deeds {
            deed().unwrap();
            timeout(Duration::from_secs(30), watcher.changed()).await.unwrap().unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_not_watched_any_more_is_not_heard() {
        let directory = TempDir::new().unwrap();
        let watcher = Watcher::new(Wakes::OnEntries).unwrap();
        let mut watched = Watched::default();
        watcher.watch(directory.path(), &mut watched);
        watcher.watch_only(&Watched::default(), &watched);
        // That it is left off is told as well, and once.
        watcher.changed().await.unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        assert!(timeout(Duration::from_millis(50), watcher.changed()).await.is_err());
    }

    #[tokio::test]
    async fn a_write_is_heard_where_it_is_to_be() {
        let directory = TempDir::new().unwrap();
        let mut file = fs::File::create(directory.path().join("file")).unwrap();
        let watcher = Watcher::new(Wakes::OnWrites).unwrap();
        watcher.watch(directory.path(), &mut Watched::default());
        file.write_all(b"1").unwrap();
        timeout(Duration::from_secs(30), watcher.changed()).await.unwrap().unwrap();
    }

    #[test]
    fn a_directory_that_is_not_there_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _context = runtime.enter();
        let mut watched = Watched::default();
        Watcher::new(Wakes::OnEntries).unwrap().watch(Path::new("/nowhere"), &mut watched);
        assert!(watched.error.is_some());
    }
}
