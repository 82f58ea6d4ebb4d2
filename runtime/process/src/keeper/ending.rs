//! Trees on their way out: TERM, the grace, then KILL until nothing is left.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::launch::{Found, TreeEnd};
use crate::tree::{Process, ProcessTable, Search, Tree, cgroup};

/// Between two looks at a tree: soon at first, since most end at once.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// How long a process may outlive its KILL, which is only when the kernel is
/// stuck in it, before the end is told with what is left.
const STUCK: Duration = Duration::from_secs(10);

/// How often a tree without a cgroup is looked at again while all of it is
/// stopped, before it is killed: as often as it gets new processes meanwhile.
const STOP_ROUNDS: usize = 20;

/// All trees that are being ended, by their marks.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    trees: HashMap<String, Ending>,
}

/// A tree that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) tree: Tree,
    /// The requests that wait for it.
    pub(crate) numbers: Vec<u64>,
    pub(crate) end: TreeEnd,
}

#[derive(Debug)]
struct Ending {
    tree: Tree,
    numbers: Vec<u64>,
    kill_at: Instant,
    killed_at: Option<Instant>,
    /// By number and start, with the name.
    found: BTreeMap<(u32, u64), String>,
    next_look: Instant,
    pause: Duration,
}

impl Endings {
    /// Ends a tree, killing what is left of it at `kill_at`. If it is being ended
    /// already, the earlier time holds. `number` is the request that waits for it.
    pub(crate) fn begin(
        &mut self,
        tree: &Tree,
        kill_at: Instant,
        number: Option<u64>,
        now: Instant,
    ) {
        let ending = self.trees.entry(tree.mark.clone()).or_insert_with(|| Ending {
            tree: tree.clone(),
            numbers: Vec::new(),
            kill_at,
            killed_at: None,
            found: BTreeMap::new(),
            next_look: now,
            pause: FIRST_PAUSE,
        });
        ending.kill_at = ending.kill_at.min(kill_at);
        ending.next_look = now;
        ending.numbers.extend(number);
    }

    /// Whether a tree is being ended.
    pub(crate) fn has(&self, tree: &Tree) -> bool {
        self.trees.contains_key(&tree.mark)
    }

    /// Whether none is.
    pub(crate) fn is_empty(&self) -> bool {
        self.trees.is_empty()
    }

    /// When to look at a tree again.
    pub(crate) fn next_look(&self) -> Option<Instant> {
        self.trees.values().map(|ending| ending.next_look.min(ending.next_kill())).min()
    }

    /// Nobody waits for an answer any more.
    pub(crate) fn forget_numbers(&mut self) {
        self.trees.values_mut().for_each(|ending| ending.numbers.clear());
    }

    /// A child has ended: its tree may have.
    pub(crate) fn child_ended(&mut self, now: Instant) {
        for ending in self.trees.values_mut() {
            ending.next_look = ending.next_look.min(now + FIRST_PAUSE);
        }
    }

    /// Looks at the trees whose time has come, sends them what they are due, and
    /// gives those that have ended. `sole` is the mark of the only tree there is, if
    /// there is one: all orphans that came to the keeper are its. `is_unreaped` says
    /// of the first process of a tree whether its exit is still to come.
    pub(crate) fn look(
        &mut self,
        now: Instant,
        keeper: u32,
        sole: Option<&str>,
        is_unreaped: impl Fn(&Tree) -> bool,
    ) -> Vec<Ended> {
        let due: Vec<String> = self
            .trees
            .iter_mut()
            .filter_map(|(mark, ending)| {
                let is_due = ending.is_due(now) && !ending.waits_on(now, &is_unreaped);
                is_due.then(|| mark.clone())
            })
            .collect();
        if due.is_empty() {
            return Vec::new();
        }
        // One pass over the processes for all; without it, later again.
        let Ok(table) = ProcessTable::read() else { return Vec::new() };
        let trees: Vec<Tree> = due.iter().map(|mark| self.trees[mark].tree.clone()).collect();
        let trees: Vec<&Tree> = trees.iter().collect();
        let members = table.members(&trees, Some(keeper), Search::Everywhere);
        let mut ended = Vec::new();
        for (mark, mut members) in due.iter().zip(members) {
            if sole == Some(mark) {
                // Those that have changed their session, left their parents and
                // cleared their environment.
                let is_member = |orphan: &Process| members.iter().any(|one| one.pid == orphan.pid);
                let orphans: Vec<&Process> =
                    table.children_of(keeper).filter(|orphan| !is_member(orphan)).collect();
                members.extend(orphans);
            }
            let alive: Vec<&Process> =
                members.into_iter().filter(|process| process.is_alive()).collect();
            let Some(ending) = self.trees.get_mut(mark) else { continue };
            let is_over = alive.is_empty() && !is_unreaped(&ending.tree);
            if is_over || ending.is_stuck(now) {
                ended.extend(self.trees.remove(mark).map(|ending| ending.end(&alive)));
            } else {
                ending.proceed(&alive, now, keeper);
            }
        }
        ended
    }
}

impl Ending {
    /// The time of the first KILL, as long as that is to come.
    fn next_kill(&self) -> Instant {
        if self.killed_at.is_none() { self.kill_at } else { self.next_look }
    }

    fn is_due(&self, now: Instant) -> bool {
        self.next_look <= now || self.next_kill() <= now
    }

    fn is_stuck(&self, now: Instant) -> bool {
        self.killed_at.is_some_and(|killed_at| killed_at + STUCK <= now)
    }

    /// Whether it is clear without a look at all processes that there is nothing
    /// to do but to wait: the TERM is sent, the group has processes and the KILL is
    /// not due.
    fn waits_on(&mut self, now: Instant, is_unreaped: &impl Fn(&Tree) -> bool) -> bool {
        let has_time = !self.found.is_empty() && self.killed_at.is_none() && now < self.kill_at;
        let waits = has_time
            && (is_unreaped(&self.tree)
                || self.tree.cgroup.as_deref().is_some_and(cgroup::is_populated));
        if waits {
            self.rest(now);
        }
        waits
    }

    fn rest(&mut self, now: Instant) {
        self.next_look = now + self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }

    fn proceed(&mut self, alive: &[&Process], now: Instant, keeper: u32) {
        if self.kill_at <= now {
            self.killed_at.get_or_insert(now);
            self.note(alive);
            self.kill(alive, keeper);
        } else {
            for process in alive {
                if !self.found.contains_key(&(process.pid, process.start_time)) {
                    process.signal(Signal::TERM);
                    // One that is stopped takes the TERM only when it goes on.
                    process.signal(Signal::CONT);
                }
            }
            self.note(alive);
        }
        self.rest(now);
    }

    fn note(&mut self, alive: &[&Process]) {
        for process in alive {
            let key = (process.pid, process.start_time);
            self.found.entry(key).or_insert_with(|| process.name.clone());
        }
    }

    /// Kills the whole tree. A cgroup is killed at once, with the processes that
    /// are just being made. Else all are stopped first, so that none can make
    /// another while its siblings are killed.
    fn kill(&mut self, alive: &[&Process], keeper: u32) {
        if let Some(cgroup) = &self.tree.cgroup {
            cgroup::kill(cgroup);
        } else {
            self.stop_all(keeper);
        }
        for process in alive {
            process.signal(Signal::KILL);
        }
        // Those that were found while all were stopped.
        for &(pid, start_time) in self.found.keys() {
            if let Some(process) = Process::read(pid).filter(|now| now.start_time == start_time) {
                process.signal(Signal::KILL);
            }
        }
    }

    fn stop_all(&mut self, keeper: u32) {
        for _ in 0..STOP_ROUNDS {
            let Ok(table) = ProcessTable::read() else { return };
            let members = table.members(&[&self.tree], Some(keeper), Search::Everywhere);
            let running: Vec<&Process> = members
                .into_iter()
                .flatten()
                .filter(|process| process.is_alive() && process.state != b'T')
                .collect();
            if running.is_empty() {
                return;
            }
            running.iter().for_each(|process| process.signal(Signal::STOP));
            self.note(&running);
        }
    }

    fn end(self, left: &[&Process]) -> Ended {
        let found = self.found.into_iter().map(|((pid, _), name)| Found { pid, name }).collect();
        let left =
            left.iter().map(|process| Found { pid: process.pid, name: process.name.clone() });
        let end = TreeEnd { found, killed: self.killed_at.is_some(), left: left.collect() };
        Ended { tree: self.tree, numbers: self.numbers, end }
    }
}
