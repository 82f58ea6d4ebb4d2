//! One look at the plugin directory: which files are there, and what can be
//! told of them without reading them.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::describe::check_name;

/// The link in a folder of versions that says which one to use.
pub(crate) const ACTIVE: &str = "active";

/// More plugin files than this are a mistake, and none of them is looked at.
const FILES: usize = 10_000;

/// The plugin directory as it was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listing {
    /// The `*.wasm` files at its top.
    pub(crate) files: Vec<SeenFile>,
    /// The directories with `*.wasm` files, or with an [`ACTIVE`] link.
    pub(crate) folders: Vec<Folder>,
}

/// A file that may be a plugin.
#[derive(Debug, Clone)]
pub(crate) struct SeenFile {
    /// Its name without `.wasm`.
    pub(crate) stem: String,
    /// Its path from the plugin directory.
    pub(crate) path: String,
    /// What it is, or why that cannot be told.
    pub(crate) found: Result<Identity, String>,
    /// How long ago it was written, replaced or renamed.
    pub(crate) age: Duration,
}

/// The versions of one plugin.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    /// The plugin's name.
    pub(crate) name: String,
    pub(crate) versions: Vec<SeenFile>,
    /// The version that [`ACTIVE`] names, or why it names none; none if there
    /// is no such link.
    pub(crate) active: Option<Result<String, String>>,
}

/// What a file is without reading it: differs once it was replaced or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified: i128,
    /// The same of the inode: not even who sets the time of a file back hides
    /// a change from it.
    pub(crate) changed: i128,
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        let nanoseconds = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            size: metadata.size(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn age(&self, now: SystemTime) -> Duration {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let age = i128::try_from(now).unwrap_or(i128::MAX) - self.changed;
        // From the future, where the clock went back: as if it were new.
        Duration::from_nanos(u64::try_from(age).unwrap_or(0))
    }
}

/// Looks at the directory. `on_folder` is called with each folder before that
/// is looked into, so that a watch on it misses nothing.
///
/// # Errors
///
/// If the directory cannot be listed. A folder in it that cannot be is told of
/// as a version that cannot be chosen.
pub(crate) fn list(directory: &Path, mut on_folder: impl FnMut(&Path)) -> io::Result<Listing> {
    let now = SystemTime::now();
    let mut listing = Listing::default();
    let mut count = 0;
    for entry in visible(directory)? {
        let (name, path) = entry?;
        if let Some(stem) = name.strip_suffix(".wasm") {
            listing.files.push(look_at(&path, stem, name.clone(), now));
            count += 1;
        } else if path.is_dir() {
            on_folder(&path);
            let folder = look_into(&path, name, now);
            count += folder.versions.len();
            if !folder.versions.is_empty() || folder.active.is_some() {
                listing.folders.push(folder);
            }
        }
        if count > FILES {
            return Err(io::Error::other(format!("it has more than {FILES} plugin files")));
        }
    }
    listing.files.sort_by(|one, other| one.path.cmp(&other.path));
    listing.folders.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(listing)
}

/// The entries whose names do not begin with a dot: those are editors' and
/// copying programs' own.
fn visible(
    directory: &Path,
) -> io::Result<impl Iterator<Item = io::Result<(String, std::path::PathBuf)>>> {
    let entry = |entry: io::Result<fs::DirEntry>| match entry {
        Ok(entry) => {
            let name = entry.file_name().to_string_lossy().into_owned();
            (!name.starts_with('.')).then(|| Ok((name, entry.path())))
        }
        Err(error) => Some(Err(error)),
    };
    Ok(fs::read_dir(directory)?.filter_map(entry))
}

fn look_into(directory: &Path, name: String, now: SystemTime) -> Folder {
    let mut folder = Folder { name, versions: Vec::new(), active: None };
    let entries = visible(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    match entries {
        Ok(entries) => {
            for (entry, path) in entries {
                if let Some(stem) = entry.strip_suffix(".wasm") {
                    let place = format!("{}/{entry}", folder.name);
                    folder.versions.push(look_at(&path, stem, place, now));
                } else if entry == ACTIVE {
                    folder.active = Some(active(directory, &path));
                }
            }
        }
        // A plugin whose versions cannot be seen is not gone. What cannot be a
        // plugin, such as `lost+found`, is none of ours.
        Err(error) if check_name(&folder.name).is_ok() => {
            folder.active = Some(Err(format!("the folder cannot be read: {error}")));
        }
        Err(_) => {}
    }
    folder.versions.sort_by(|one, other| one.stem.cmp(&other.stem));
    folder
}

fn look_at(path: &Path, stem: &str, place: String, now: SystemTime) -> SeenFile {
    let found = match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Identity::of(&metadata)),
        Ok(_) => {
            Err("it is no file: remove it, or name it so that it does not end in `.wasm`".into())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && path.is_symlink() => {
            Err("it is a link to a file that is not there".to_owned())
        }
        Err(error) => Err(format!("it cannot be read: {error}")),
    };
    let age = found.as_ref().map_or(Duration::MAX, |identity| identity.age(now));
    SeenFile { stem: stem.to_owned(), path: place, found, age }
}

/// The version that the link stands for: the name of its target without `.wasm`.
fn active(folder: &Path, link: &Path) -> Result<String, String> {
    let cure = "make it a link to a file beside it: `ln -sfn VERSION.wasm active`";
    let target = fs::read_link(link).map_err(|_| format!("it is no symbolic link: {cure}"))?;
    let wrong = || format!("it points to {}: {cure}", target.display());
    let is_beside = match target.parent() {
        None => false,
        Some(parent) if parent.components().all(|part| part == Component::CurDir) => true,
        Some(parent) => {
            let parent = folder.join(parent).canonicalize();
            parent.is_ok_and(|parent| folder.canonicalize().is_ok_and(|folder| folder == parent))
        }
    };
    let name = target.file_name().and_then(|name| name.to_str());
    let version = name.filter(|_| is_beside).and_then(|name| name.strip_suffix(".wasm"));
    version.map(str::to_owned).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;

    use super::*;

    fn directory(files: &[&str]) -> TempDir {
        let directory = TempDir::new().unwrap();
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        directory
    }

    fn look(directory: &TempDir) -> Listing {
        list(directory.path(), |_| ()).unwrap()
    }

    #[test]
    fn plugin_files_and_folders_of_versions_are_seen_and_nothing_else() {
        let directory = directory(&[
            "b.wasm",
            "a.wasm",
            ".c.wasm.swp",
            ".d.wasm",
            "notes.txt",
            "e/2.wasm",
            "e/1.wasm",
            "e/README",
            "f/nothing",
            ".g/1.wasm",
        ]);
        let listing = look(&directory);
        let paths: Vec<_> = listing.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["a.wasm", "b.wasm"]);
        assert_eq!(listing.folders.len(), 1);
        let versions = &listing.folders[0].versions;
        let paths: Vec<_> = versions.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["e/1.wasm", "e/2.wasm"]);
    }

    #[test]
    fn whatever_changes_a_file_changes_its_identity() {
        let directory = directory(&["a.wasm"]);
        let path = directory.path().join("a.wasm");
        let seen = || look(&directory).files[0].found.clone().unwrap();
        let first = seen();
        assert_eq!(seen(), first);

        let file = fs::File::options().append(true).open(&path).unwrap();
        io::Write::write_all(&mut &file, b"more").unwrap();
        let longer = seen();
        assert_ne!(longer, first);

        fs::write(directory.path().join("other"), "a.wasmmore").unwrap();
        fs::rename(directory.path().join("other"), &path).unwrap();
        assert_ne!(seen(), longer);
    }

    #[test]
    fn what_is_no_file_says_so() {
        let directory = directory(&[]);
        fs::create_dir(directory.path().join("folder.wasm")).unwrap();
        symlink("nowhere", directory.path().join("link.wasm")).unwrap();
        let listing = look(&directory);
        let reasons: Vec<_> = listing.files.iter().map(|f| f.found.clone().unwrap_err()).collect();
        assert!(reasons[0].contains("no file") && reasons[1].contains("not there"), "{reasons:?}");
    }

    #[test]
    fn the_active_link_names_a_file_beside_it() {
        let directory = directory(&["a/1.0.0.wasm", "other/1.0.0.wasm"]);
        let absolute = directory.path().join("a/1.0.0.wasm");
        for (target, expected) in [
            (Path::new("1.0.0.wasm"), Some("1.0.0")),
            (Path::new("./1.0.0.wasm"), Some("1.0.0")),
            (&absolute, Some("1.0.0")),
            // Whether it is there is found out later.
            (Path::new("2.wasm"), Some("2")),
            (Path::new("../other/1.0.0.wasm"), None),
            (Path::new("README"), None),
            (Path::new("/"), None),
        ] {
            let link = directory.path().join("a/active");
            let _ = fs::remove_file(&link);
            symlink(target, &link).unwrap();
            let active = look(&directory).folders[0].active.clone().unwrap();
            assert_eq!(active.as_ref().ok().map(String::as_str), expected, "{active:?}");
        }
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        assert!(list(Path::new("/nowhere/plugins"), |_| ()).is_err());
    }
}
