//! What a project is made of, and when it has changed.
//!
//! Editors save in many ways: they write twice, write elsewhere and rename, or
//! save what is as it was. So what counts is what is in the files once it has
//! been quiet for a moment, and no single event.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use drover_watch::{Wakes, Watched, Watcher};
use tokio::time::timeout;

/// How long it has to be quiet before a change is taken for a whole one.
const QUIET: Duration = Duration::from_millis(60);
/// Time between two looks though nothing was heard, for file systems that tell
/// nothing of changes made elsewhere.
const RESCAN: Duration = Duration::from_secs(2);
/// Larger files are known by their length and time alone.
const LARGE: u64 = 4 << 20;

/// The sources of a project, by path, each as a number that changes with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Snapshot(BTreeMap<PathBuf, u64>);

/// The sources of a project, watched.
pub(super) struct Sources {
    dir: PathBuf,
    watcher: Watcher,
    watched: Watched,
    /// What was there when the last build began.
    taken: Snapshot,
}

impl Sources {
    /// Watches the project in `dir`, in a tokio runtime.
    pub(super) fn watch(dir: &Path) -> anyhow::Result<Self> {
        let watcher = Watcher::new(Wakes::OnEntries)
            .context("cannot watch the project; raise fs.inotify.max_user_instances")?;
        let mut sources = Self {
            dir: dir.to_owned(),
            watcher,
            watched: Watched::default(),
            taken: Snapshot::default(),
        };
        sources.taken = sources.look();
        Ok(sources)
    }

    /// Waits until the sources are others than at the last call, and quiet.
    pub(super) async fn changed(&mut self) -> anyhow::Result<()> {
        loop {
            let now = self.quiet().await?;
            if now != self.taken {
                self.taken = now;
                return Ok(());
            }
            self.heard(RESCAN).await?;
        }
    }

    /// What is there once nothing changes.
    async fn quiet(&mut self) -> anyhow::Result<Snapshot> {
        let mut before = self.look();
        loop {
            if !self.heard(QUIET).await? {
                return Ok(before);
            }
            let now = self.look();
            if now == before {
                return Ok(now);
            }
            before = now;
        }
    }

    /// Whether anything was heard within this time.
    async fn heard(&self, within: Duration) -> anyhow::Result<bool> {
        match timeout(within, self.watcher.changed()).await {
            Ok(heard) => heard.map(|()| true).context("cannot watch the project"),
            Err(_) => Ok(false),
        }
    }

    fn look(&mut self) -> Snapshot {
        let mut watched = Watched::default();
        let mut snapshot = Snapshot::default();
        let watcher = &self.watcher;
        look(&self.dir, &mut |folder| watcher.watch(folder, &mut watched), &mut snapshot);
        self.watcher.watch_only(&watched, &self.watched);
        self.watched = watched;
        snapshot
    }
}

/// Looks at a folder and those in it. What is gone by then, or cannot be read,
/// is not there; cargo will say so if it is needed.
fn look(folder: &Path, watch: &mut impl FnMut(&Path), snapshot: &mut Snapshot) {
    watch(folder);
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if !is_source(&path) {
            continue;
        }
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => look(&path, watch, snapshot),
            Ok(metadata) => {
                if let Ok(number) = number(&path, &metadata) {
                    snapshot.0.insert(path, number);
                }
            }
            Err(_) => {}
        }
    }
}

/// Whether the plugin may be another one when this changes: builds make the
/// rest, and editors hide theirs.
fn is_source(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_made = matches!(&*name, "target" | "vendor" | "Cargo.lock") || name.ends_with(".wasm");
    !is_made && !name.starts_with('.') && !name.ends_with('~')
}

fn number(path: &Path, metadata: &fs::Metadata) -> io::Result<u64> {
    let mut hasher = DefaultHasher::new();
    metadata.len().hash(&mut hasher);
    match metadata.is_file() && metadata.len() <= LARGE {
        true => fs::read(path)?.hash(&mut hasher),
        false => metadata.modified()?.hash(&mut hasher),
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn snapshot(dir: &Path) -> Snapshot {
        let mut snapshot = Snapshot::default();
        look(dir, &mut |_| {}, &mut snapshot);
        snapshot
    }

    fn project() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["src/deep", "target", "vendor"] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        fs::write(dir.path().join("src/lib.rs"), "one").unwrap();
        dir
    }

    #[test]
    fn what_a_build_makes_and_what_editors_hide_is_no_source() {
        let dir = project();
        let before = snapshot(dir.path());
        for name in
            ["target/x", "vendor/x", "Cargo.lock", "x.wasm", "src/.lib.rs.swp", "src/lib.rs~"]
        {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        assert_eq!(snapshot(dir.path()), before);
        for name in ["plugin.toml", "src/deep/x.rs", "src/lib.rs"] {
            fs::write(dir.path().join(name), "two").unwrap();
            assert_ne!(snapshot(dir.path()), before, "{name}");
        }
    }

    #[test]
    fn saving_what_is_as_it_was_is_no_change() {
        let dir = project();
        let before = snapshot(dir.path());
        fs::write(dir.path().join("src/new"), "one").unwrap();
        fs::rename(dir.path().join("src/new"), dir.path().join("src/lib.rs")).unwrap();
        assert_eq!(snapshot(dir.path()), before);
    }

    #[tokio::test]
    async fn each_change_is_told_once_however_it_is_saved() {
        let dir = project();
        let mut sources = Sources::watch(dir.path()).unwrap();
        let file = dir.path().join("src/lib.rs");
        let saves: [&dyn Fn(); 3] = [
            &|| fs::write(&file, "two").unwrap(),
            &|| {
                fs::write(file.with_extension("new"), "three").unwrap();
                fs::rename(file.with_extension("new"), &file).unwrap();
            },
            &|| {
                fs::create_dir(dir.path().join("src/new")).unwrap();
                fs::write(dir.path().join("src/new/x.rs"), "").unwrap();
            },
        ];
        for save in saves {
            save();
            timeout(PATIENCE, sources.changed()).await.unwrap().unwrap();
            let now = snapshot(dir.path());
            assert_eq!(sources.taken, now);
            assert_eq!(sources.quiet().await.unwrap(), now);
        }
    }
}
