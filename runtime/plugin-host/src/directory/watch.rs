//! Hears that something changed in the plugin directory or in a folder of it.
//!
//! By inotify, bare: what is wanted of it is a wake-up, after which the
//! directory is looked at as a whole. So no event is read for what it says, and
//! one that is lost costs the time until the next look and nothing else.

use std::collections::BTreeSet;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// What wakes: entries that come, go or are renamed, files that are closed
/// after they were written, and rights that change. Not each write: a file that
/// grows is looked at again anyway.
const WAKING: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// A watch on some directories.
pub struct Watcher {
    inotify: AsyncFd<OwnedFd>,
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
    /// A watch on nothing. To be called in a tokio runtime.
    ///
    /// # Errors
    ///
    /// If the user has too many already.
    #[expect(
        deprecated,
        reason = "its heir is unsafe, for types that change their descriptor; this one does not"
    )]
    pub fn new() -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Self { inotify: AsyncFd::new(inotify)? })
    }

    /// Watches a directory; one that is watched already stays so.
    pub fn watch(&self, directory: &Path, watched: &mut Watched) {
        match inotify::add_watch(self.inotify.get_ref(), directory, WAKING) {
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
    /// If the system tells of no more changes.
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
    use std::time::Duration;

    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn whatever_happens_to_an_entry_is_heard() {
        let directory = TempDir::new().unwrap();
        let (one, two) = (directory.path().join("one"), directory.path().join("two"));
        let watcher = Watcher::new().unwrap();
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
        let watcher = Watcher::new().unwrap();
        let mut watched = Watched::default();
        watcher.watch(directory.path(), &mut watched);
        watcher.watch_only(&Watched::default(), &watched);
        // That it is left off is told as well, and once.
        watcher.changed().await.unwrap();
        fs::write(directory.path().join("file"), "").unwrap();
        assert!(timeout(Duration::from_millis(50), watcher.changed()).await.is_err());
    }

    #[test]
    fn a_directory_that_is_not_there_is_told() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let _context = runtime.enter();
        let mut watched = Watched::default();
        Watcher::new().unwrap().watch(Path::new("/nowhere"), &mut watched);
        assert!(watched.error.is_some());
    }
}
