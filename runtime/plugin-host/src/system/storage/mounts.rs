//! Mounted file systems, from `/proc/mounts`.

use std::path::Path;

use nix::sys::statvfs::{Statvfs, statvfs};
use procfs::MountEntry;

use crate::bindings::drover::plugin::sysinfo::Mount;

/// File systems in which the kernel shows itself and nobody keeps files.
/// Asking `autofs` would make it mount something.
const OF_THE_KERNEL: &[&str] = &[
    "autofs",
    "bdev",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "efivarfs",
    "fusectl",
    "hugetlbfs",
    "mqueue",
    "nsfs",
    "pipefs",
    "proc",
    "pstore",
    "ramfs",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "sockfs",
    "sysfs",
    "tracefs",
];

pub(super) fn read() -> Vec<Mount> {
    procfs::mounts().unwrap_or_default().into_iter().filter_map(mount).collect()
}

fn mount(entry: MountEntry) -> Option<Mount> {
    if OF_THE_KERNEL.contains(&entry.fs_vfstype.as_str()) {
        return None;
    }
    let mount_point = unescape(&entry.fs_file);
    let sizes = statvfs(Path::new(&mount_point)).ok()?;
    // Containers have single files mounted over others.
    if sizes.blocks() == 0 || !Path::new(&mount_point).is_dir() {
        return None;
    }
    let Space { capacity, free, available, used, used_percent } = Space::of(&sizes);
    Some(Mount {
        device: unescape(&entry.fs_spec),
        mount_point,
        file_system: entry.fs_vfstype,
        read_only: entry.fs_mntops.contains_key("ro"),
        capacity,
        free,
        available,
        used,
        used_percent,
    })
}

#[derive(Debug, PartialEq)]
struct Space {
    capacity: u64,
    free: u64,
    available: u64,
    used: u64,
    used_percent: f64,
}

impl Space {
    fn of(sizes: &Statvfs) -> Self {
        Self::new(
            sizes.fragment_size(),
            sizes.blocks(),
            sizes.blocks_free(),
            sizes.blocks_available(),
        )
    }

    fn new(block: u64, all: u64, free: u64, available: u64) -> Self {
        let used = all.saturating_sub(free);
        // What is kept for root is neither used nor to be had.
        let for_users = used.saturating_add(available);
        Self {
            capacity: block.saturating_mul(all),
            free: block.saturating_mul(free),
            available: block.saturating_mul(available),
            used: block.saturating_mul(used),
            used_percent: 100.0 * used as f64 / for_users.max(1) as f64,
        }
    }
}

/// Undoes the `\040` that the kernel writes for a space and its like.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        let code = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(escaped) if *byte == b'\\' => {
                bytes.push(escaped);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn spaces_in_names_are_spaces_again() {
        assert_eq!(unescape(r"/mnt/a\040b\134c"), r"/mnt/a b\c");
        assert_eq!(unescape(r"/plain\09"), r"/plain\09");
        assert_eq!(unescape(r"\"), r"\");
    }

    #[test]
    fn the_share_is_of_what_users_can_fill() {
        let space = Space::new(4096, 100, 50, 40);
        assert_eq!((space.capacity, space.free), (409_600, 204_800));
        assert_eq!((space.available, space.used), (163_840, 204_800));
        assert!((space.used_percent - 100.0 * 50.0 / 90.0).abs() < 1e-9);
        assert_eq!(Space::new(4096, 0, 0, 0).used_percent, 0.0);
    }

    #[test]
    fn capacities_are_those_that_df_shows() {
        for mount in read() {
            let output =
                Command::new("df").args(["-P", "-B1", &mount.mount_point]).output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let capacity = text.lines().nth(1).and_then(|line| line.split_whitespace().nth(1));
            if let Some(capacity) = capacity {
                assert_eq!(mount.capacity.to_string(), capacity, "{mount:?}");
            }
        }
    }

    #[test]
    fn the_kernels_own_file_systems_are_left_out() {
        assert!(
            read().iter().all(|mount| mount.mount_point != "/proc" && mount.file_system != "sysfs")
        );
    }
}
