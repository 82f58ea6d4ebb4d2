//! Which files there are, and what is in them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use drover_api::Timestamp;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::database::{bring_up, open_finished, to_u64};
use super::record::Sequence;
use super::writer::WriteError;

/// The files of a store: complete ones, oldest first, and the current one.
///
/// Whoever reads a file holds the catalog for reading meanwhile, a few
/// milliseconds at most; who moves or removes one, for writing.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) directory: PathBuf,
    pub(super) files: Vec<FinishedFile>,
    /// The first place that may be in the current file.
    pub(super) current_first: Sequence,
}

/// A file that nothing is added to any more.
#[derive(Debug, Clone)]
pub(super) struct FinishedFile {
    pub(super) path: PathBuf,
    /// When it was ended, in milliseconds since 1970; files are ordered by it.
    pub(super) epoch: u64,
    pub(super) first: Sequence,
    pub(super) last: Sequence,
    pub(super) earliest: Timestamp,
    pub(super) latest: Timestamp,
    pub(super) bytes: u64,
}

/// The name of the file that records are written to.
pub(super) const CURRENT: &str = "current.db";

/// What the name of a complete file ends with.
const FINISHED: &str = "db";

/// What the name of a file ends with that could not be used and was set aside.
const DAMAGED: &str = "damaged";

impl Catalog {
    /// Looks through a directory. Files that are damaged are set aside, and
    /// returned by the name they have then.
    pub(super) fn read(directory: &Path) -> Result<(Self, Vec<PathBuf>), WriteError> {
        let mut files = Vec::new();
        let mut damaged = Vec::new();
        for entry in fs::read_dir(directory)? {
            let path = entry?.path();
            let Some(epoch) = epoch_of(&path, FINISHED) else { continue };
            match FinishedFile::read(&path, epoch) {
                Ok(Some(file)) => files.push(file),
                // Without a record it is of no use.
                Ok(None) => fs::remove_file(&path)?,
                Err(error) if is_damage(&error) => {
                    tracing::warn!(path = %path.display(), %error, "log file set aside");
                    damaged.push(set_aside(&path)?);
                }
                Err(error) => return Err(error.into()),
            }
        }
        files.sort_by_key(|file| file.epoch);
        let directory = directory.to_owned();
        Ok((Self { directory, files, current_first: Sequence(0) }, damaged))
    }

    pub(super) fn current(&self) -> PathBuf {
        self.directory.join(CURRENT)
    }

    /// A name for the file that ends at `now`: after those of all others, also
    /// if the clock went back.
    pub(super) fn next_epoch(&self, now: Timestamp) -> u64 {
        self.files.last().map_or(now.0, |newest| now.0.max(newest.epoch + 1))
    }

    pub(super) fn path_of(&self, epoch: u64) -> PathBuf {
        self.directory.join(format!("{epoch}.db"))
    }

    /// What the files take on the disk, about: all of them.
    pub(super) fn file_bytes(&self) -> u64 {
        let finished: u64 = self.files.iter().map(|file| file.bytes).sum();
        finished + fs::metadata(self.current()).map_or(0, |current| current.len())
    }

    pub(super) fn newest(&self) -> Option<Sequence> {
        self.files.iter().map(|file| file.last).max()
    }
}

impl FinishedFile {
    /// Reads what is in a file; `None` if there is no record.
    pub(super) fn read(path: &Path, epoch: u64) -> rusqlite::Result<Option<Self>> {
        // What a crash left half changed is put right here: those who only read
        // may not.
        let mut connection = open_finished(path)?;
        match bring_up(&mut connection) {
            // It is read as it is as well as that goes, until there is room.
            Err(error) if is_passing(&error) => {
                tracing::warn!(path = %path.display(), %error, "log file of an earlier version");
            }
            brought_up => brought_up?,
        }
        // Each by itself: asked for together, every record would be read.
        let sql = "SELECT (SELECT min(id) FROM logs), (SELECT max(id) FROM logs)";
        let ends = connection.query_row(sql, [], |row| {
            Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?))
        })?;
        let Some((first, last)) = ends else { return Ok(None) };
        let sql = "SELECT min(earliest), max(latest) FROM zones";
        let times = connection.query_row(sql, [], |row| {
            Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?))
        })?;
        let (earliest, latest) = times.unwrap_or((0, i64::MAX));
        Ok(Some(Self {
            path: path.to_owned(),
            epoch,
            first: Sequence(to_u64(first)),
            last: Sequence(to_u64(last)),
            earliest: Timestamp(to_u64(earliest)),
            latest: Timestamp(to_u64(latest)),
            bytes: fs::metadata(path).map_or(0, |file| file.len()),
        }))
    }
}

/// Opens a file to read from it; it is not made, and not changed.
pub(super) fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(READ_TIMEOUT)?;
    connection.pragma_update(None, "cache_size", -READ_CACHE_KIB)?;
    Ok(connection)
}

/// How long a query waits for a change to the same pages.
const READ_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// Memory for pages that were read; the system keeps them as well.
const READ_CACHE_KIB: i64 = 512;

/// Moves a file that cannot be used out of the way, and says where it is now.
/// It is kept: somebody may want to save what is in it.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let now = Timestamp::now().0;
    let to = (now..)
        .map(|epoch| path.with_file_name(format!("{epoch}.{DAMAGED}")))
        .find(|to| !to.exists())
        .unwrap_or_else(|| path.with_extension(DAMAGED));
    fs::rename(path, &to)?;
    for suffix in SIDE_FILES {
        match fs::rename(beside(path, suffix), beside(&to, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(to)
}

/// What SQLite keeps beside a file that is open, or was when its program died.
const SIDE_FILES: [&str; 3] = ["-wal", "-shm", "-journal"];

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut side = path.as_os_str().to_owned();
    side.push(suffix);
    side.into()
}

/// Whether a file itself is at fault, so that trying again cannot help.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether the reason may go away by itself: there is no room, no memory or no
/// descriptor, or somebody else is at work.
pub(super) fn is_passing(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{
        SQLITE_IOERR_FSYNC, SQLITE_IOERR_NOMEM, SQLITE_IOERR_SHMMAP, SQLITE_IOERR_SHMOPEN,
        SQLITE_IOERR_SHMSIZE, SQLITE_IOERR_TRUNCATE, SQLITE_IOERR_WRITE,
    };
    let Some(error) = error.sqlite_error() else { return false };
    match error.code {
        ErrorCode::CannotOpen
        | ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::DiskFull
        | ErrorCode::OutOfMemory => true,
        ErrorCode::SystemIoFailure => matches!(
            error.extended_code,
            SQLITE_IOERR_FSYNC
                | SQLITE_IOERR_NOMEM
                | SQLITE_IOERR_SHMMAP
                | SQLITE_IOERR_SHMOPEN
                | SQLITE_IOERR_SHMSIZE
                | SQLITE_IOERR_TRUNCATE
                | SQLITE_IOERR_WRITE
        ),
        _ => false,
    }
}

/// The files that were set aside, oldest first: when, where and how large.
pub(super) fn damaged_files(directory: &Path) -> io::Result<Vec<(u64, PathBuf, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if let Some(epoch) = epoch_of(&entry.path(), DAMAGED) {
            files.push((epoch, entry.path(), entry.metadata()?.len()));
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Removes what SQLite keeps beside a file that is no longer there.
pub(super) fn remove_side_files(path: &Path) -> io::Result<()> {
    for suffix in SIDE_FILES {
        match fs::remove_file(beside(path, suffix)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// The number in the name of a file with this extension.
fn epoch_of(path: &Path, extension: &str) -> Option<u64> {
    let is_one = path.extension().is_some_and(|found| found == extension);
    is_one.then(|| path.file_stem()?.to_str()?.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_go_up_even_if_the_clock_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let (mut catalog, _) = Catalog::read(dir.path()).unwrap();
        assert_eq!(catalog.next_epoch(Timestamp(1000)), 1000);
        catalog.files.push(FinishedFile {
            path: catalog.path_of(1000),
            epoch: 1000,
            first: Sequence(1),
            last: Sequence(2),
            earliest: Timestamp(0),
            latest: Timestamp(0),
            bytes: 0,
        });
        assert_eq!(catalog.next_epoch(Timestamp(5)), 1001);
        assert_eq!(catalog.next_epoch(Timestamp(2000)), 2000);
    }

    #[test]
    fn only_numbered_databases_are_ours() {
        for (name, epoch) in [
            ("17.db", Some(17)),
            ("current.db", None),
            ("17.damaged", None),
            ("17.db-wal", None),
            ("x17.db", None),
        ] {
            assert_eq!(epoch_of(Path::new(name), FINISHED), epoch, "{name}");
        }
    }
}
