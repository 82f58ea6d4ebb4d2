//! The cgroups of the runs.
//!
//! In version 2 every run has a group of its own, which its children cannot leave
//! without rights of the machine's admin. Making and removing one costs as much as
//! starting a small program, so emptied groups are used again. Where memory and
//! processes can be bounded, in version 2 or in the old hierarchies, a run with
//! such a limit has fresh groups for it.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::launch::{Force, Limits};
use super::mounts::Mounts;
use crate::tree::cgroup;

/// Emptied groups that wait for the next run.
const SPARE: usize = 64;

/// All the groups of one keeper.
#[derive(Debug)]
pub(crate) struct Groups {
    /// Where the runs' own groups are.
    own: Option<Base>,
    /// Version 2 bounds memory and processes there.
    own_memory: bool,
    own_pids: bool,
    /// The old hierarchies that bound memory, and processes.
    old_memory: Option<PathBuf>,
    old_pids: Option<PathBuf>,
    made: u64,
    spare: Vec<Group>,
}

#[derive(Debug)]
struct Base(PathBuf);

/// The group of one run.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) path: PathBuf,
    directory: File,
    is_reusable: bool,
}

/// The groups of one run.
#[derive(Debug, Default)]
pub(crate) struct RunGroups {
    pub(crate) own: Option<Group>,
    /// Groups of old hierarchies, to be entered by the child itself.
    pub(crate) old: Vec<PathBuf>,
}

/// What one run gets.
#[derive(Debug, Default)]
pub(crate) struct Placement {
    pub(crate) groups: RunGroups,
    /// Bounds that no group keeps, so that the child's own limits must.
    pub(crate) memory: Option<u64>,
    pub(crate) processes: Option<u64>,
}

impl Groups {
    /// Makes what can be made on this machine; `name` is this one keeper's alone.
    pub(crate) fn new(mounts: &Mounts, name: &str) -> Self {
        let own = mounts.unified.as_ref().and_then(|path| Base::make(path, name));
        let [own_memory, own_pids] = ["memory", "pids"]
            .map(|controller| own.as_ref().is_some_and(|base| base.enable(controller)));
        let old = |path: &Option<PathBuf>| Some(Base::make(path.as_ref()?, name)?.0);
        Self {
            old_memory: if own_memory { None } else { old(&mounts.memory) },
            old_pids: if own_pids { None } else { old(&mounts.pids) },
            own,
            own_memory,
            own_pids,
            made: 0,
            spare: Vec::new(),
        }
    }

    /// Kills and removes what earlier keepers, which were killed, have left: the
    /// groups whose name begins with `prefix`.
    pub(crate) fn sweep(&self, prefix: &str) {
        let own = self.own.as_ref().map(|base| &base.0);
        for base in [own, self.old_memory.as_ref(), self.old_pids.as_ref()].into_iter().flatten() {
            for stale in base.parent().map(cgroup::below).unwrap_or_default() {
                let name = stale.file_name().unwrap_or_default().to_string_lossy();
                if name.starts_with(prefix) && stale != *base {
                    cgroup::kill(&stale);
                    cgroup::remove(&stale);
                }
            }
        }
    }

    /// What is in force.
    pub(crate) fn force(&self) -> Force {
        Force {
            own_cgroup: self.own.is_some(),
            memory_cgroup: self.own_memory || self.old_memory.is_some(),
            pids_cgroup: self.own_pids || self.old_pids.is_some(),
        }
    }

    /// Makes or finds the groups for a run with these limits.
    ///
    /// # Errors
    /// A group that has to be there for a limit cannot be made.
    pub(crate) fn place(&mut self, limits: &Limits) -> io::Result<Placement> {
        let mut placement = Placement {
            memory: limits.memory,
            processes: limits.processes,
            ..Placement::default()
        };
        let needs_fresh = (self.own_memory && limits.memory.is_some())
            || (self.own_pids && limits.processes.is_some());
        placement.groups.own = match self.spare.pop() {
            Some(group) if !needs_fresh => Some(group),
            spare => {
                self.spare.extend(spare);
                self.make(!needs_fresh)
            }
        };
        let filled = self.bound(limits, &mut placement);
        if filled.is_err() {
            self.take_back(std::mem::take(&mut placement.groups));
        }
        filled.map(|()| placement)
    }

    fn bound(&mut self, limits: &Limits, placement: &mut Placement) -> io::Result<()> {
        self.made += 1;
        let bounds = [
            (
                limits.memory,
                self.own_memory,
                &self.old_memory,
                "memory.max",
                "memory.limit_in_bytes",
            ),
            (limits.processes, self.own_pids, &self.old_pids, "pids.max", "pids.max"),
        ];
        let mut is_kept = [false; 2];
        for (place, (bound, is_own, old, file, old_file)) in bounds.into_iter().enumerate() {
            let Some(bound) = bound.map(|bound| bound.to_string()) else { continue };
            if let Some(group) = placement.groups.own.as_ref().filter(|_| is_own) {
                fs::write(group.path.join(file), bound)?;
            } else if let Some(base) = old {
                let path = base.join(format!("run-{}", self.made));
                fs::create_dir(&path)?;
                placement.groups.old.push(path.clone());
                fs::write(path.join(old_file), bound)?;
            } else {
                continue;
            }
            is_kept[place] = true;
        }
        placement.memory = limits.memory.filter(|_| !is_kept[0]);
        placement.processes = limits.processes.filter(|_| !is_kept[1]);
        Ok(())
    }

    /// `None` when there are no groups here, or when one cannot be made for now:
    /// the run is then found by its mark.
    fn make(&mut self, is_reusable: bool) -> Option<Group> {
        let base = self.own.as_ref()?;
        self.made += 1;
        let path = base.0.join(format!("run-{}", self.made));
        fs::create_dir(&path).ok()?;
        let directory = File::open(&path).ok()?;
        Some(Group { path, directory, is_reusable })
    }

    /// Takes the emptied groups of a run back.
    pub(crate) fn take_back(&mut self, groups: RunGroups) {
        for group in groups.old {
            cgroup::remove(&group);
        }
        let Some(group) = groups.own else { return };
        let is_wanted = group.is_reusable && self.spare.len() < SPARE;
        if !is_wanted || cgroup::is_populated(&group.path) {
            cgroup::remove(&group.path);
        } else {
            self.spare.push(group);
        }
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        let own = self.own.as_ref().map(|base| &base.0);
        for base in [own, self.old_memory.as_ref(), self.old_pids.as_ref()].into_iter().flatten() {
            cgroup::remove(base);
        }
    }
}

impl RunGroups {
    /// Says that the group was killed as a whole. Linux 6.18 kills every child that
    /// is cloned into such a group later as well, even when it was empty.
    pub(crate) fn was_killed(&mut self) {
        if let Some(group) = &mut self.own {
            group.is_reusable = false;
        }
    }
}

/// To make a child in it.
impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.directory.as_fd()
    }
}

impl Base {
    /// Makes the place for groups; `None` when there are no rights for it.
    fn make(parent: &Path, name: &str) -> Option<Self> {
        let path = parent.join(name);
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    /// Lets the groups be bounded by a controller; false when that is not to be
    /// had, which is the case below a group that has processes itself.
    fn enable(&self, controller: &str) -> bool {
        let on = format!("+{controller}");
        if let Some(parent) = self.0.parent() {
            drop(fs::write(parent.join("cgroup.subtree_control"), &on));
        }
        drop(fs::write(self.0.join("cgroup.subtree_control"), &on));
        fs::read_to_string(self.0.join("cgroup.subtree_control"))
            .is_ok_and(|enabled| enabled.split_whitespace().any(|name| name == controller))
    }
}
