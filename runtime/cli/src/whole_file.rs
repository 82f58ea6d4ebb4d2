//! Files that others see whole or not at all.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// A file on its way: nothing of it is to be seen until it is kept.
#[derive(Debug)]
pub(crate) struct WholeFile {
    file: NamedTempFile,
    path: PathBuf,
}

impl WholeFile {
    /// Begins the file that will be `path`. One that is there keeps who may read
    /// it; a link stays one, and its target is written.
    pub(crate) fn begin(path: &Path) -> io::Result<Self> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let permissions = match fs::metadata(&path) {
            Ok(metadata) => metadata.permissions(),
            Err(_) => Permissions::from_mode(0o644),
        };
        let file = NamedTempFile::new_in(dir.unwrap_or(Path::new(".")))?;
        file.as_file().set_permissions(permissions)?;
        Ok(Self { file, path })
    }

    /// Where it is written.
    pub(crate) fn file(&self) -> &File {
        self.file.as_file()
    }

    /// Puts it in place. Dropped without this, it is gone.
    pub(crate) fn keep(self) -> io::Result<()> {
        self.file.as_file().sync_all()?;
        self.file.persist(&self.path).map(drop).map_err(|error| error.error)
    }
}
