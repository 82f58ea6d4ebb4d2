//! The processes of the machine, as one pass over `/proc` sees them.

use std::collections::HashMap;
use std::fs;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal};

use super::{Tree, cgroup};

/// The variable that tells whose a process is, whatever became of its parents.
pub(crate) const MARK: &str = "DROVER_RUN";

/// One process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) name: String,
    pub(crate) state: u8,
    pub(crate) parent: u32,
    pub(crate) session: u32,
    /// In clock ticks since the machine started.
    pub(crate) start_time: u64,
    /// In clock ticks, of itself and of its children that have been waited for.
    pub(crate) cpu_ticks: u64,
    pub(crate) threads: u64,
    pub(crate) virtual_bytes: u64,
    pub(crate) resident_pages: u64,
}

/// Every process of the machine at about one instant.
#[derive(Debug, Default)]
pub(crate) struct ProcessTable {
    processes: Vec<Process>,
}

/// How hard to look for the processes of a tree that has a cgroup of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    /// Believe the cgroup.
    Cgroup,
    /// Look for those that have left it as well.
    Everywhere,
}

impl Process {
    /// Reads about one process; `None` when there is none.
    pub(crate) fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Whether it still runs: a zombie only waits for its parent.
    pub(crate) fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X')
    }

    /// Sends a signal to this very process, never to another one that has got its
    /// number since; to nobody when it is gone.
    pub(crate) fn signal(&self, signal: Signal) {
        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        let Ok(handle) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return };
        let is_same = Self::read(self.pid).is_some_and(|now| now.start_time == self.start_time);
        if is_same {
            // It may end at any time, and a foreign one may be out of our reach;
            // who ends a tree looks afterwards what is left.
            rustix::process::pidfd_send_signal(&handle, signal).unwrap_or_default();
        }
    }

    /// Takes a line of `/proc/<pid>/stat` apart. The name may hold anything,
    /// spaces and brackets too.
    fn parse(stat: &[u8]) -> Option<Self> {
        let open = stat.iter().position(|&byte| byte == b'(')?;
        let close = stat.iter().rposition(|&byte| byte == b')')?;
        let pid = std::str::from_utf8(stat.get(..open)?).ok()?.trim().parse().ok()?;
        let name = String::from_utf8_lossy(stat.get(open + 1..close)?).into_owned();
        let rest = std::str::from_utf8(stat.get(close + 1..)?).ok()?;
        // Numbered from 0 with the state; `man proc` counts it as the third.
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let cpu_ticks = (11..=14).map(number).sum::<Option<u64>>()?;
        Some(Self {
            pid,
            name,
            state: *fields.first()?.as_bytes().first()?,
            parent: u32::try_from(number(1)?).ok()?,
            session: fields.get(3)?.parse().unwrap_or(0),
            start_time: number(19)?,
            cpu_ticks,
            threads: number(17)?,
            virtual_bytes: number(20)?,
            resident_pages: number(21)?,
        })
    }
}

impl ProcessTable {
    /// Reads about every process of the machine.
    ///
    /// # Errors
    /// `/proc` is not there.
    pub(crate) fn read() -> io::Result<Self> {
        let mut processes = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let pid = entry?.file_name().to_str().and_then(|name| name.parse().ok());
            // Whoever has just ended is not there.
            processes.extend(pid.and_then(Process::read));
        }
        Ok(Self { processes })
    }

    /// Those processes that have `parent` as their parent.
    pub(crate) fn children_of(&self, parent: u32) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(move |process| process.parent == parent)
    }

    /// The processes of each tree, zombies included.
    ///
    /// A process belongs to a tree that has it in its cgroup, in the session of
    /// its first process, by the mark in its environment, or whose process is its
    /// ancestor. `keeper` is the parent of the trees, if it lives.
    pub(crate) fn members(
        &self,
        trees: &[&Tree],
        keeper: Option<u32>,
        search: Search,
    ) -> Vec<Vec<&Process>> {
        let owners = self.owners(trees, keeper, search);
        let mut members = vec![Vec::new(); trees.len()];
        for process in &self.processes {
            if let Some(&owner) = owners.get(&process.pid) {
                members[owner].push(process);
            }
        }
        members
    }

    /// The marks of an earlier time that no tree in `known` has, each with one of
    /// its processes.
    pub(crate) fn strays(&self, prefix: &str, known: &[&Tree]) -> Vec<(String, &Process)> {
        let mut strays: Vec<(String, &Process)> = Vec::new();
        for process in self.processes.iter().filter(|process| process.is_alive()) {
            let Some(mark) = mark_of(process.pid) else { continue };
            let is_known = known.iter().any(|tree| tree.mark == mark)
                || strays.iter().any(|(other, _)| *other == mark);
            if mark.starts_with(prefix) && !is_known {
                strays.push((mark, process));
            }
        }
        strays
    }

    /// The place in `trees` of the owner of each process that has one.
    fn owners(&self, trees: &[&Tree], keeper: Option<u32>, search: Search) -> HashMap<u32, usize> {
        let mut owners = HashMap::new();
        for (place, tree) in trees.iter().enumerate() {
            let pids = tree.cgroup.as_deref().map(cgroup::processes).unwrap_or_default();
            owners.extend(pids.into_iter().map(|pid| (pid, place)));
        }
        if search == Search::Cgroup && trees.iter().all(|tree| tree.cgroup.is_some()) {
            return owners;
        }
        let by_pid: HashMap<u32, &Process> =
            self.processes.iter().map(|process| (process.pid, process)).collect();
        let sessions: HashMap<u32, usize> =
            trees.iter().enumerate().map(|(place, tree)| (tree.pid, place)).collect();
        let marks: HashMap<&str, usize> =
            trees.iter().enumerate().map(|(place, tree)| (tree.mark.as_str(), place)).collect();
        let earliest = trees.iter().map(|tree| tree.start_time).min().unwrap_or(0);
        for process in self.processes.iter().filter(|process| process.start_time >= earliest) {
            if owners.contains_key(&process.pid) {
                continue;
            }
            let by_session = sessions.get(&process.session).copied().filter(|&place| {
                match by_pid.get(&process.session) {
                    Some(leader) => leader.start_time == trees[place].start_time,
                    // The number may have been given to another session since, but
                    // not to one below the keeper.
                    None => keeper.is_some_and(|keeper| descends(&by_pid, process, keeper)),
                }
            });
            let owner = by_session.or_else(|| marks.get(mark_of(process.pid)?.as_str()).copied());
            owners.extend(owner.map(|place| (process.pid, place)));
        }
        // Not yet in its session, or in another's by its own wish.
        for (place, tree) in trees.iter().enumerate() {
            if by_pid.get(&tree.pid).is_some_and(|first| first.start_time == tree.start_time) {
                owners.insert(tree.pid, place);
            }
        }
        self.add_descendants(&by_pid, &mut owners);
        owners
    }

    /// Gives every process that has no owner the one of its nearest ancestor.
    fn add_descendants(&self, by_pid: &HashMap<u32, &Process>, owners: &mut HashMap<u32, usize>) {
        for process in &self.processes {
            let owner = ancestors(by_pid, process).find_map(|pid| owners.get(&pid).copied());
            if let Some(owner) = owner {
                owners.entry(process.pid).or_insert(owner);
            }
        }
    }
}

fn descends(by_pid: &HashMap<u32, &Process>, process: &Process, ancestor: u32) -> bool {
    ancestors(by_pid, process).any(|pid| pid == ancestor)
}

/// The parent, its parent and so on. Bounded, since processes that end and begin
/// while the table is read may make a circle of it.
fn ancestors<'a>(
    by_pid: &'a HashMap<u32, &Process>,
    process: &'a Process,
) -> impl Iterator<Item = u32> + 'a {
    let parent = |pid: &u32| by_pid.get(pid).map(|process| process.parent);
    std::iter::successors(Some(process.parent), parent).take(by_pid.len())
}

/// The mark in the environment of a process, if it has one that we may read.
fn mark_of(pid: u32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment
        .split(|&byte| byte == 0)
        .find_map(|pair| pair.strip_prefix(MARK.as_bytes())?.strip_prefix(b"="))?;
    String::from_utf8(value.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_is_read_whole() {
        let line = b"42 (a) R (b) c) S 7 42 41 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 3 0 999 \
                     8192 5 18446744073709551615 1 1 0 0 0";
        let process = Process::parse(line).unwrap();
        assert_eq!(process.name, "a) R (b) c");
        assert_eq!((process.pid, process.state, process.parent), (42, b'S', 7));
        assert_eq!((process.session, process.start_time), (41, 999));
        assert_eq!((process.cpu_ticks, process.threads), (100, 3));
        assert_eq!((process.virtual_bytes, process.resident_pages), (8192, 5));
    }

    #[test]
    fn a_torn_line_is_no_process() {
        for line in [&b""[..], b"42", b"42 (x", b"42 (x) S 1 2", b"(x)", b")(", b"a (b) S 1"] {
            assert_eq!(Process::parse(line), None);
        }
    }

    #[test]
    fn this_process_is_in_the_table() {
        let table = ProcessTable::read().unwrap();
        let own = std::process::id();
        let process = table.processes.iter().find(|process| process.pid == own).unwrap();
        assert_eq!(Process::read(own).unwrap().start_time, process.start_time);
    }
}
