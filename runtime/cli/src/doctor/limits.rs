//! What the system lets a program do.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};
use rustix::process::{Resource, getrlimit};

use super::finding::Finding;

/// Files that an agent or a small controller has open.
const FILES: u64 = 4096;

/// Watches of files that changes are heard by.
const WATCHES: u64 = 8192;

/// The first kernel with all that is used, where it is: pidfds and their cgroups.
const KERNEL: (u32, u32) = (5, 7);

pub(super) fn all() -> Vec<Finding> {
    let hard = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
    let mut findings = vec![files(hard)];
    findings.extend(number("/proc/sys/fs/inotify/max_user_watches").map(watches));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    findings.push(kernel(release.trim()));
    findings
}

/// Whether each child can have a cgroup of its own. That of this program stands for
/// that of the agent.
pub(super) fn cgroup() -> Finding {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let unified = own.lines().find_map(|line| line.strip_prefix("0::"));
    let path = unified.map(|path| below(Path::new("/sys/fs/cgroup"), path));
    let facts = path.filter(|path| path.join("cgroup.procs").exists()).map(|path| {
        let controllers = fs::read_to_string(path.join("cgroup.controllers")).unwrap_or_default();
        (access(&path, Access::WRITE_OK).is_ok(), controllers)
    });
    judge_cgroup(facts)
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Whether it can be written, and which controllers it has.
fn judge_cgroup(facts: Option<(bool, String)>) -> Finding {
    let check = "limits.cgroup";
    let cure = "run the agent by systemd with `Delegate=yes`, or as root on a host with cgroup v2";
    let Some((can_be_written, controllers)) = facts else {
        let what = "there is no cgroup v2 here, so children are found by their process group, and \
                    their limits are those of single processes";
        return Finding::warn(check, what, cure);
    };
    if !can_be_written {
        let what = "the cgroup is not this user's to divide, so children are found by their \
                    process group";
        return Finding::warn(check, what, cure);
    }
    let wanted = ["cpu", "memory", "pids"];
    let has = |name: &&str| controllers.split_whitespace().any(|one| one == *name);
    let missing: Vec<_> = wanted.into_iter().filter(|name| !has(name)).collect();
    if !missing.is_empty() {
        let what = format!("the cgroup has no {} to limit children by", missing.join(", "));
        return Finding::warn(check, what, cure);
    }
    Finding::ok(check, "children can have cgroups with limits")
}

fn files(hard: u64) -> Finding {
    let check = "limits.files";
    if hard < FILES {
        return Finding::warn(
            check,
            format!("a program may open {hard} files, which many jobs or nodes use up"),
            "raise it: `LimitNOFILE=65536` in the systemd unit, or `ulimit -Hn 65536`",
        );
    }
    Finding::ok(check, format!("a program may open {hard} files"))
}

fn watches(most: u64) -> Finding {
    let check = "limits.inotify";
    if most < WATCHES {
        return Finding::warn(
            check,
            format!("{most} files and directories can be watched at once; more are polled"),
            "sysctl fs.inotify.max_user_watches=65536, and the same in /etc/sysctl.d",
        );
    }
    Finding::ok(check, format!("{most} files and directories can be watched at once"))
}

fn kernel(release: &str) -> Finding {
    let check = "limits.kernel";
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) < KERNEL => Finding::warn(
            check,
            format!("the kernel is {release}, and children are followed less exactly before 5.7"),
            "bring the system up to date",
        ),
        _ => Finding::ok(check, format!("the kernel is {release}")),
    }
}

fn number(file: &str) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::finding::State;
    use super::*;

    #[test]
    fn what_is_too_little_is_told() {
        assert_eq!((files(1024).state, files(1 << 20).state), (State::Warn, State::Ok));
        assert_eq!((watches(100).state, watches(1 << 20).state), (State::Warn, State::Ok));
        assert_eq!(kernel("4.19.0-amd64").state, State::Warn);
        assert_eq!(
            (kernel("5.10.1").state, kernel("6.1.0-13-amd64").state),
            (State::Ok, State::Ok)
        );
        assert_eq!(kernel("of my own").state, State::Ok);
    }

    #[test]
    fn a_cgroup_is_to_be_there_to_be_written_and_to_limit() {
        let judge = |facts: Option<(bool, &str)>| {
            judge_cgroup(facts.map(|(can, controllers)| (can, controllers.to_owned()))).state
        };
        assert_eq!(judge(None), State::Warn);
        assert_eq!(judge(Some((false, "cpu memory pids"))), State::Warn);
        assert_eq!(judge(Some((true, "cpu pids"))), State::Warn);
        assert_eq!(judge(Some((true, "cpuset cpu io memory pids"))), State::Ok);
        assert!(!all().is_empty() && !cgroup().what.is_empty());
    }
}
