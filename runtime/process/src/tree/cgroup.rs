//! What a cgroup (version 2) tells, and how it is ended as a whole.

use std::fs;
use std::path::{Path, PathBuf};

/// The processes in a cgroup and all below it.
pub(crate) fn processes(path: &Path) -> Vec<u32> {
    let mut pids: Vec<u32> = fs::read_to_string(path.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect();
    for below in below(path) {
        pids.extend(processes(&below));
    }
    pids
}

/// Whether any process is in a cgroup or below it. One that cannot be read, since
/// it was removed, has none.
pub(crate) fn is_populated(path: &Path) -> bool {
    fs::read_to_string(path.join("cgroup.events"))
        .is_ok_and(|events| events.lines().any(|line| line == "populated 1"))
}

/// Kills every process in a cgroup and below it, those that are just being made
/// included. Does nothing before Linux 5.14: who calls it looks for what is left.
pub(crate) fn kill(path: &Path) {
    drop(fs::write(path.join("cgroup.kill"), "1"));
}

/// The CPU time that its processes have ever used, in microseconds.
pub(crate) fn cpu_usec(path: &Path) -> Option<u64> {
    let stat = fs::read_to_string(path.join("cpu.stat")).ok()?;
    stat.lines().find_map(|line| line.strip_prefix("usage_usec ")?.parse().ok())
}

/// How many processes the kernel has killed for want of memory, by a group's
/// `memory.events` or, in the old hierarchy, `memory.oom_control`.
pub(crate) fn oom_kills(file: &Path) -> u64 {
    let events = fs::read_to_string(file).unwrap_or_default();
    events.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
}

/// Removes a cgroup and all below it; what is not empty stays.
pub(crate) fn remove(path: &Path) {
    for below in below(path) {
        remove(&below);
    }
    drop(fs::remove_dir(path));
}

/// The cgroups right below one.
pub(crate) fn below(path: &Path) -> Vec<PathBuf> {
    fs::read_dir(path)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kills_for_want_of_memory_are_counted_in_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("events");
        for (text, expected) in [
            ("low 0\nhigh 0\nmax 41\noom 2\noom_kill 3\noom_group_kill 1\n", 3),
            ("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", 2),
            // Linux before 4.13.
            ("oom_kill_disable 0\nunder_oom 0\n", 0),
        ] {
            fs::write(&file, text).unwrap();
            assert_eq!(oom_kills(&file), expected, "{text:?}");
        }
        assert_eq!(oom_kills(&dir.path().join("missing")), 0);
    }
}
