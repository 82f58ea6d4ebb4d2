//! Whether there is room, and whether what is on the disk is whole.

use std::fs;
use std::path::Path;

use bytesize::ByteSize;
use rustix::fs::statvfs;

use super::finding::Finding;

/// Below this the programs cannot write for long.
const TIGHT: u64 = 64 << 20;

/// What a file system has.
#[derive(Debug, Clone, Copy)]
struct Room {
    bytes: u64,
    free_bytes: u64,
    /// 0 if it has no bound.
    files: u64,
    free_files: u64,
}

/// The room for bytes and for files where a directory is, or would be.
pub(super) fn room(dir: &Path) -> Vec<Finding> {
    let there = dir.ancestors().find(|path| path.exists()).unwrap_or(Path::new("."));
    match statvfs(there) {
        Ok(found) => {
            let room = Room {
                bytes: found.f_blocks * found.f_frsize,
                free_bytes: found.f_bavail * found.f_frsize,
                files: found.f_files,
                free_files: found.f_favail,
            };
            vec![space(dir, room), inodes(dir, room)]
        }
        Err(error) => vec![Finding::warn(
            "disk.space",
            format!("cannot tell how much room there is for {}: {error}", dir.display()),
            "look with `df`",
        )],
    }
}

fn space(dir: &Path, room: Room) -> Finding {
    let free = percent(room.free_bytes, room.bytes);
    let what = format!(
        "{} of {} are free for {} ({free} %)",
        ByteSize::b(room.free_bytes),
        ByteSize::b(room.bytes),
        dir.display()
    );
    let cure = "remove what is not needed, give it a larger disk, or lower `logs.max_total`";
    match room.free_bytes {
        bytes if bytes < TIGHT || free < 1 => Finding::fail("disk.space", what, cure),
        _ if free < 5 => Finding::warn("disk.space", what, cure),
        _ => Finding::ok("disk.space", what),
    }
}

fn inodes(dir: &Path, room: Room) -> Finding {
    if room.files == 0 {
        return Finding::ok("disk.inodes", "the file system has no bound of files");
    }
    let free = percent(room.free_files, room.files);
    let what = format!("{free} % of the files that may be are free for {}", dir.display());
    let cure = "remove files that are not needed: `df -i` and `du --inodes` show where they are";
    match free {
        0 => Finding::fail("disk.inodes", what, cure),
        1..5 => Finding::warn("disk.inodes", what, cure),
        _ => Finding::ok("disk.inodes", what),
    }
}

fn percent(part: u64, whole: u64) -> u64 {
    part.saturating_mul(100).checked_div(whole).unwrap_or(100)
}

/// Whether a database is whole; none if there is none.
pub(super) fn database(path: &Path) -> Option<Finding> {
    if !path.exists() {
        return None;
    }
    Some(judge_database(path, drover_schema::check(path).map_err(|error| error.to_string())))
}

/// The same for all in a directory: what each plugin keeps.
pub(super) fn databases_in(dir: &Path) -> Vec<Finding> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == "db"));
    paths.sort();
    paths.iter().filter_map(|path| database(path)).collect()
}

fn judge_database(path: &Path, checked: Result<(), String>) -> Finding {
    let path = path.display();
    match checked {
        Ok(()) => Finding::ok("disk.database", format!("{path} is whole")),
        Err(reason) => Finding::fail(
            "disk.database",
            format!("{path}: {reason}"),
            "end the program, and put a backup in its place (`drover controller restore`), or move \
             the file away to begin anew without what is in it",
        ),
    }
}

/// Whether a directory of log files is within its bound.
pub(super) fn logs(dir: &Path, most: ByteSize) -> Finding {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        bytes += entry.metadata().map_or(0, |metadata| metadata.len());
    }
    judge_logs(dir, bytes, most.as_u64())
}

fn judge_logs(dir: &Path, bytes: u64, most: u64) -> Finding {
    let what = format!(
        "the log in {} takes {} of {} (`logs.max_total`)",
        dir.display(),
        ByteSize::b(bytes),
        ByteSize::b(most)
    );
    // What is being written, and files that were set aside, come on top.
    match bytes > most.saturating_add(most / 4) {
        true => Finding::warn(
            "disk.logs",
            what,
            "remove files there that end in `.damaged`, or lower `logs.max_total`",
        ),
        false => Finding::ok("disk.logs", what),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    const GIB: u64 = 1 << 30;

    fn room_of(free_bytes: u64, free_files: u64) -> Room {
        Room { bytes: 100 * GIB, free_bytes, files: 1000, free_files }
    }

    #[test]
    fn room_is_judged_by_its_share_and_by_what_is_needed() {
        let space = |free| space(Path::new("/d"), room_of(free, 500)).state;
        assert_eq!(space(20 * GIB), State::Ok);
        assert_eq!(space(4 * GIB), State::Warn);
        assert_eq!(space(GIB / 2), State::Fail);
        let small = Room { bytes: 100 << 20, free_bytes: 30 << 20, files: 0, free_files: 0 };
        assert_eq!(super::space(Path::new("/d"), small).state, State::Fail);
        let files = |free| inodes(Path::new("/d"), room_of(GIB, free)).state;
        assert_eq!((files(500), files(30), files(3)), (State::Ok, State::Warn, State::Fail));
        assert_eq!(inodes(Path::new("/d"), small).state, State::Ok);
    }

    #[test]
    fn a_log_may_be_a_little_over_its_bound() {
        let judge = |bytes| judge_logs(Path::new("/l"), bytes, 1000).state;
        assert_eq!((judge(0), judge(1100), judge(2000)), (State::Ok, State::Ok, State::Warn));
    }

    #[test]
    fn a_file_that_is_no_database_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("jobs.db");
        assert_eq!(database(&path), None);
        fs::write(&path, "this is no database, and it is long enough to tell".repeat(20)).unwrap();
        assert_eq!(database(&path).unwrap().state, State::Fail);
        let in_it = databases_in(dir.path());
        assert_eq!((in_it.len(), in_it[0].state), (1, State::Fail));
        assert!(databases_in(&dir.path().join("nowhere")).is_empty());
        assert!(!room(dir.path()).is_empty());
    }
}
