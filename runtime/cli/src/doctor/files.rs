//! Whether files and directories are there, and for whom.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::{Access, access};

use super::finding::Finding;

/// What is to be known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    is_dir: bool,
    /// The permissions, as in `chmod`.
    mode: u32,
    can_be_read: bool,
    can_be_written: bool,
}

/// Looks at a file; none if there is none.
fn look(path: &Path) -> io::Result<Option<Facts>> {
    let metadata = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    Ok(Some(Facts {
        is_dir: metadata.is_dir(),
        mode: metadata.mode() & 0o777,
        can_be_read: access(path, Access::READ_OK).is_ok(),
        can_be_written: access(path, Access::WRITE_OK).is_ok(),
    }))
}

/// What a program does with a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Reads,
    Writes,
}

/// A directory that `key` of the configuration names.
pub(super) fn directory(check: &'static str, key: &str, path: &Path, used: Use) -> Finding {
    match look(path) {
        Ok(None) => missing(check, key, path, parent(path).as_ref().is_ok_and(Option::is_some)),
        Ok(Some(facts)) => judge_directory(check, key, path, facts, used),
        Err(error) => unreadable(check, path, &error),
    }
}

/// What is nearest above a path that is not there, if it can be written.
fn parent(path: &Path) -> io::Result<Option<Facts>> {
    for above in path.ancestors().skip(1) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        if let Some(facts) = look(above)? {
            return Ok(Some(facts).filter(|facts| facts.is_dir && facts.can_be_written));
        }
    }
    Ok(None)
}

fn missing(check: &'static str, key: &str, path: &Path, can_be_made: bool) -> Finding {
    let path = path.display();
    if can_be_made {
        return Finding::ok(check, format!("{path} (`{key}`) is not there yet, and can be made"));
    }
    Finding::fail(
        check,
        format!("{path} (`{key}`) is not there, and this user cannot make it"),
        format!("mkdir -p {path} && chown USER {path}, as root, or set another `{key}`"),
    )
}

fn judge_directory(
    check: &'static str,
    key: &str,
    path: &Path,
    facts: Facts,
    used: Use,
) -> Finding {
    let path = path.display();
    let named = format!("{path} (`{key}`)");
    if !facts.is_dir {
        return Finding::fail(
            check,
            format!("{named} is no directory"),
            format!("move it away, or set another `{key}`"),
        );
    }
    let verb = if used == Use::Writes { "written" } else { "read" };
    if !facts.can_be_read || (used == Use::Writes && !facts.can_be_written) {
        return Finding::fail(
            check,
            format!("{named} cannot be {verb} by this user"),
            format!("chown USER {path}, as root, or run this as the user of the program"),
        );
    }
    if facts.mode & 0o002 != 0 {
        return Finding::warn(
            check,
            format!("{named} can be written by everybody ({:o})", facts.mode),
            format!("chmod o-w {path}"),
        );
    }
    Finding::ok(check, format!("{named} can be {verb}"))
}

/// A file with a secret in it; none if it is not there.
pub(super) fn secret(check: &'static str, path: &Path) -> Option<Finding> {
    match look(path) {
        Ok(facts) => facts.map(|facts| judge_secret(check, path, facts)),
        Err(error) => Some(unreadable(check, path, &error)),
    }
}

/// The same for one that the configuration names.
pub(super) fn named_secret(check: &'static str, key: &str, path: &Path) -> Finding {
    secret(check, path).unwrap_or_else(|| {
        Finding::fail(
            check,
            format!("{} (`{key}`) is not there", path.display()),
            format!("put it there, or set another `{key}`"),
        )
    })
}

fn judge_secret(check: &'static str, path: &Path, facts: Facts) -> Finding {
    let path = path.display();
    if facts.mode & 0o077 != 0 {
        return Finding::fail(
            check,
            format!("{path} is for others to read or write ({:o})", facts.mode),
            format!("chmod 600 {path}, and make another secret if somebody may have read it"),
        );
    }
    if !facts.can_be_read {
        return Finding::fail(
            check,
            format!("{path} cannot be read by this user"),
            format!("chown USER {path}, as root, or run this as the user of the program"),
        );
    }
    Finding::ok(check, format!("{path} is for its owner alone"))
}

/// A configuration file, which others may read but not write.
pub(super) fn settings(check: &'static str, path: &Path) -> Finding {
    let shown = path.display();
    match look(path) {
        Ok(Some(facts)) if facts.mode & 0o022 != 0 => Finding::fail(
            check,
            format!(
                "others can write {shown} ({:o}), and so have this program do anything",
                facts.mode
            ),
            format!("chmod go-w {shown}"),
        ),
        Ok(Some(_)) => Finding::ok(check, format!("only its owner can write {shown}")),
        Ok(None) => Finding::ok(check, format!("there is no {shown}")),
        Err(error) => unreadable(check, path, &error),
    }
}

fn unreadable(check: &'static str, path: &Path, error: &io::Error) -> Finding {
    Finding::fail(
        check,
        format!("cannot look at {}: {error}", path.display()),
        "run this as the user of the program, or as root",
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    const FINE: Facts =
        Facts { is_dir: true, mode: 0o700, can_be_read: true, can_be_written: true };

    fn judge(facts: Facts, used: Use) -> Finding {
        judge_directory("d", "data_dir", Path::new("/d"), facts, used)
    }

    fn state(finding: &Finding) -> State {
        assert_eq!(finding.cure.is_none(), finding.state == State::Ok, "{finding:?}");
        finding.state
    }

    #[test]
    fn directories_are_to_be_written_by_this_user_and_not_by_everybody() {
        let writes = |facts| state(&judge(facts, Use::Writes));
        assert_eq!(writes(FINE), State::Ok);
        assert_eq!(writes(Facts { mode: 0o755, ..FINE }), State::Ok);
        assert_eq!(writes(Facts { mode: 0o777, ..FINE }), State::Warn);
        assert_eq!(writes(Facts { can_be_written: false, ..FINE }), State::Fail);
        let read_only = judge(Facts { can_be_written: false, ..FINE }, Use::Reads);
        assert_eq!(state(&read_only), State::Ok);
        assert_eq!(writes(Facts { is_dir: false, ..FINE }), State::Fail);
        let missing = |can_be_made| state(&missing("d", "data_dir", Path::new("/d"), can_be_made));
        assert_eq!((missing(true), missing(false)), (State::Ok, State::Fail));
    }

    #[test]
    fn secrets_are_for_their_owner_alone() {
        let judge = |facts| state(&judge_secret("k", Path::new("/k"), facts));
        let file = Facts { is_dir: false, mode: 0o600, ..FINE };
        assert_eq!(judge(file), State::Ok);
        assert_eq!(judge(Facts { mode: 0o400, ..file }), State::Ok);
        for mode in [0o640, 0o604, 0o620, 0o666] {
            assert_eq!(judge(Facts { mode, ..file }), State::Fail, "{mode:o}");
        }
        assert_eq!(judge(Facts { can_be_read: false, ..file }), State::Fail);
    }

    #[test]
    fn what_is_there_is_looked_at() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        assert_eq!(state(&directory("d", "data_dir", dir.path(), Use::Writes)), State::Ok);
        assert_eq!(
            state(&directory("d", "data_dir", &dir.path().join("a/b"), Use::Writes)),
            State::Ok
        );
        let file = dir.path().join("key");
        assert_eq!(secret("k", &file), None);
        assert_eq!(state(&named_secret("k", "key_file", &file)), State::Fail);
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(state(&settings("c", &file)), State::Fail);
        assert_eq!(state(&directory("d", "data_dir", &file, Use::Writes)), State::Fail);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(state(&settings("c", &file)), State::Ok);
        assert_eq!(state(&named_secret("k", "key_file", &file)), State::Ok);
    }
}
