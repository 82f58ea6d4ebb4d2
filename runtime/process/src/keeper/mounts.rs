//! Where the cgroup hierarchies are mounted, and where in them this process is.

use std::fs;
use std::path::{Path, PathBuf};

/// This process' own group in the hierarchies that matter to us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mounts {
    /// In version 2, which may be there besides the old ones.
    pub(crate) unified: Option<PathBuf>,
    /// In the old hierarchy that has the memory controller.
    pub(crate) memory: Option<PathBuf>,
    /// In the old hierarchy that has the pids controller.
    pub(crate) pids: Option<PathBuf>,
}

impl Mounts {
    /// Looks where this process is. What cannot be read is not there.
    pub(crate) fn of_this_process() -> Self {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
    }

    fn parse(mountinfo: &str, own: &str) -> Self {
        let mut mounts = Self::default();
        for line in mountinfo.lines() {
            let Some(mount) = Mount::parse(line) else { continue };
            match mount.kind {
                "cgroup2" => mounts.unified = mount.place(own, ""),
                "cgroup" => {
                    for option in mount.options.split(',') {
                        match option {
                            "memory" => mounts.memory = mount.place(own, option),
                            "pids" => mounts.pids = mount.place(own, option),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
        mounts
    }
}

/// One line of `/proc/self/mountinfo`.
struct Mount<'a> {
    /// What part of the hierarchy is mounted.
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

impl<'a> Mount<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(3);
        let (root, point) = (mount.next()?, mount.next()?);
        let mut file_system = file_system.split(' ');
        let (kind, options) = (file_system.next()?, file_system.nth(1)?);
        Some(Self { root, point, kind, options })
    }

    /// The directory of our group, by the lines of `/proc/self/cgroup`
    /// (`<number>:<controllers>:<path>`).
    fn place(&self, own: &str, controller: &str) -> Option<PathBuf> {
        let path = own.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':').skip(1);
            let controllers = fields.next()?;
            let path = fields.next()?;
            controllers.split(',').any(|name| name == controller).then_some(path)
        })?;
        // In a container a part of the hierarchy is mounted.
        let below = Path::new(path).strip_prefix(self.root).unwrap_or(Path::new(path));
        Some(Path::new(self.point).join(below.strip_prefix("/").unwrap_or(below)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_found_side_by_side() {
        let mountinfo = "\
            31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
            39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        let own = "8:pids:/\n4:memory:/a/b\n0::/system.slice/drover.service\n";
        let mounts = Mounts::parse(mountinfo, own);
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(mounts.unified, path("/sys/fs/cgroup/unified/system.slice/drover.service"));
        assert_eq!(mounts.memory, path("/sys/fs/cgroup/memory/a/b"));
        assert_eq!(mounts.pids, path("/sys/fs/cgroup/pids/"));
    }

    #[test]
    fn a_container_sees_its_own_part() {
        let mountinfo = "9 8 0:38 /docker/abc /sys/fs/cgroup rw - cgroup2 cgroup rw,nsdelegate\n";
        let mounts = Mounts::parse(mountinfo, "0::/docker/abc/init\n");
        assert_eq!(mounts.unified, Some(PathBuf::from("/sys/fs/cgroup/init")));
    }

    #[test]
    fn a_machine_without_cgroups_has_none() {
        let mountinfo = "1 1 8:1 / / rw - ext4 /dev/vda rw\nnonsense\n\n";
        assert_eq!(Mounts::parse(mountinfo, ""), Mounts::default());
    }
}
