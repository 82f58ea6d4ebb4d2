//! The cgroups of the runs.
//!
//! In version 2 every run has a group of its own, which its children cannot leave
//! without rights of the machine's admin. Making and removing one costs as much as
//! starting a small program, so emptied groups are used again. Where memory and
//! processes can be bounded, in version 2 or in the old hierarchies, a run with
//! such a limit has fresh groups for it.
//!
//! A keeper finds out once, when it starts, how children get into their own groups:
//! they are made in them, or go there by themselves, or neither is possible, and the
//! trees are found by their marks.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use super::fork::SingleThread;
use super::launch::{Exit, Force, Limits};
use super::mounts::Mounts;
use crate::tree::cgroup;

/// Emptied groups that wait for the next run.
const SPARE: usize = 64;

/// All the groups of one keeper.
#[derive(Debug)]
pub(crate) struct Groups {
    /// Where the runs' own groups are.
    own: Option<Base>,
    way_in: WayIn,
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

/// How a child gets into the group of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WayIn {
    /// It is made there.
    Made,
    /// It goes there before it is the program.
    Goes,
}

/// The group of one run.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) path: PathBuf,
    /// To make children in it, where that is the way.
    directory: Option<File>,
    is_reusable: bool,
}

/// The groups of one run.
#[derive(Debug, Default)]
pub(crate) struct RunGroups {
    pub(crate) own: Option<Group>,
    /// Groups of old hierarchies, to be entered by the child itself.
    old: Vec<PathBuf>,
    /// The one of them all that counts what is killed for want of memory, and its
    /// count before the run.
    memory: Option<(PathBuf, u64)>,
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
    ///
    /// # Errors
    /// There is no room for another process, to try it out.
    pub(crate) fn new(mounts: &Mounts, name: &str, thread: &SingleThread) -> io::Result<Self> {
        let made = mounts.unified.as_ref().and_then(|path| Base::make(path, name));
        let way_in = made.as_ref().map_or(Ok(None), |base| base.try_ways_in(thread));
        if let (Some(base), Ok(None) | Err(_)) = (&made, &way_in) {
            cgroup::remove(&base.0);
        }
        let way_in = way_in?;
        let own = made.filter(|_| way_in.is_some());
        let [own_memory, own_pids] = ["memory", "pids"]
            .map(|controller| own.as_ref().is_some_and(|base| base.enable(controller)));
        let old = |path: &Option<PathBuf>| Some(Base::make(path.as_ref()?, name)?.0);
        Ok(Self {
            old_memory: if own_memory { None } else { old(&mounts.memory) },
            old_pids: if own_pids { None } else { old(&mounts.pids) },
            own,
            way_in: way_in.unwrap_or(WayIn::Goes),
            own_memory,
            own_pids,
            made: 0,
            spare: Vec::new(),
        })
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
        let spare = if needs_fresh { None } else { self.take_spare() };
        placement.groups.own = spare.or_else(|| self.make(!needs_fresh));
        let filled = self.bound(limits, &mut placement);
        self.count_from_here(&mut placement.groups);
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
                if place == 0 {
                    placement.groups.memory = Some((path.join("memory.oom_control"), 0));
                }
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

    fn take_spare(&mut self) -> Option<Group> {
        // An admin, or a service manager that tidies up, may have removed some.
        std::iter::from_fn(|| self.spare.pop()).find(|group| group.path.exists())
    }

    /// Notes what has been killed before in a group that is used again.
    fn count_from_here(&self, groups: &mut RunGroups) {
        if let Some(group) = groups.own.as_ref().filter(|_| self.own_memory) {
            let file = group.path.join("memory.events");
            groups.memory = Some((file.clone(), cgroup::oom_kills(&file)));
        }
    }

    /// `None` when there are no groups here, or when one cannot be made for now:
    /// the run is then found by its mark.
    fn make(&mut self, is_reusable: bool) -> Option<Group> {
        let base = self.own.as_ref()?;
        self.made += 1;
        let path = base.0.join(format!("run-{}", self.made));
        fs::create_dir(&path).ok()?;
        let directory = match self.way_in {
            WayIn::Made => Some(File::open(&path).ok()?),
            WayIn::Goes => None,
        };
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
    /// Has the group removed and not used again: it was killed as a whole, or a child
    /// could not get in. Linux 6.18 kills every child that is cloned into a killed
    /// group later as well, even when it was empty.
    pub(crate) fn spoil(&mut self) {
        if let Some(group) = &mut self.own {
            group.is_reusable = false;
        }
    }

    /// What the first child of the run is to be made in.
    pub(crate) fn to_be_made_in(&self) -> Option<BorrowedFd<'_>> {
        Some(self.own.as_ref()?.directory.as_ref()?.as_fd())
    }

    /// The `cgroup.procs` of the groups that the child has to go into by itself.
    pub(crate) fn to_enter(&self) -> Vec<PathBuf> {
        let own = self.own.iter().filter(|group| group.directory.is_none());
        let all = own.map(|group| &group.path).chain(&self.old);
        all.map(|path| path.join("cgroup.procs")).collect()
    }

    /// What an exit really was: one that is not a success, of a run of which the kernel
    /// killed something for want of memory, came from that.
    pub(crate) fn judge(&self, exit: Exit) -> Exit {
        let code = match exit {
            Exit::Signal(nix::libc::SIGKILL) => None,
            Exit::Code(code) if code != 0 => Some(code),
            _ => return exit,
        };
        let has_killed =
            self.memory.as_ref().is_some_and(|(file, before)| cgroup::oom_kills(file) > *before);
        if has_killed { Exit::OutOfMemory { code } } else { exit }
    }
}

impl Base {
    /// Makes the place for groups; `None` when there are no rights for it.
    fn make(parent: &Path, name: &str) -> Option<Self> {
        let path = parent.join(name);
        fs::create_dir(&path).ok()?;
        Some(Self(path))
    }

    /// Finds out how children get into groups below: `None` when they do not.
    ///
    /// # Errors
    /// There is no room for another process.
    fn try_ways_in(&self, thread: &SingleThread) -> io::Result<Option<WayIn>> {
        let path = self.0.join("trial");
        let Ok(directory) = fs::create_dir(&path).and_then(|()| File::open(&path)) else {
            return Ok(None);
        };
        // The error of a filter can be any, so none tells more than another.
        let way_in = if thread.try_child(Some(directory.as_fd()), || Ok(())).unwrap_or(false) {
            Some(WayIn::Made)
        } else {
            let goes = || fs::write(path.join("cgroup.procs"), "0");
            thread.try_child(None, goes)?.then_some(WayIn::Goes)
        };
        cgroup::remove(&path);
        Ok(way_in)
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
