//! What happens to the children, and to those of a keeper that was killed.

use std::fs;
use std::io;
use std::time::Instant;

use drover_api::JobId;
use nix::sys::signal::Signal;
use rustix::process::{WaitOptions, WaitStatus};

use super::{GRACE, Leaving, Server};
use crate::keeper::child::{self, Step};
use crate::keeper::groups::RunGroups;
use crate::keeper::launch::Exit;
use crate::keeper::message::Answer;
use crate::keeper::run::{Run, Starting};
use crate::tree::{ProcessTable, Tree, cgroup};

impl Server {
    /// Ends what a killed keeper has left; until that is done no agent is welcome.
    pub(super) fn recover(&mut self, mut lost: Vec<(Tree, Exit)>) -> io::Result<()> {
        let table = ProcessTable::read()?;
        let known: Vec<&Tree> = lost.iter().map(|(tree, _)| tree).collect();
        let strays: Vec<(Tree, Exit)> = table
            .strays(&self.names.marks, &known)
            .into_iter()
            .filter_map(|(mark, process)| {
                let id = JobId::try_from(mark.split_once('/')?.1.to_owned()).ok()?;
                let (pid, start_time) = (process.pid, process.start_time);
                let tree = Tree { id, pid, start_time, mark, cgroup: None, cpu_before: 0 };
                Some((tree, Exit::Lost))
            })
            .collect();
        lost.extend(strays);
        let now = Instant::now();
        for (tree, exit) in lost {
            self.endings.begin(&tree, now + GRACE, None, now);
            self.recovering.insert(tree.mark.clone());
            let run = Run {
                note: String::new(),
                exit: Some(exit),
                pipes: None,
                groups: RunGroups::default(),
                tree,
            };
            self.runs.insert(run.tree.id.clone(), run);
        }
        if self.recovering.is_empty() {
            self.groups.sweep(&self.names.groups);
        }
        self.tidy_journal();
        Ok(())
    }

    pub(super) fn take_signals(&mut self) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            if signal.ssi_signo != Signal::SIGCHLD as u32 {
                self.stop();
            }
        }
        self.reap();
    }

    /// Takes every child that has ended: ours, and the orphans of their trees.
    fn reap(&mut self) {
        let mut has_reaped = false;
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            has_reaped = true;
            let pid = pid.as_raw_nonzero().get().unsigned_abs();
            // One that was its program for an instant only is told as started first.
            if let Some(place) = self.starting.iter().position(|one| one.run.tree.pid == pid) {
                let starting = self.starting.swap_remove(place);
                self.started_or_failed(starting);
            }
            if let Some(tree) = self.unreaped.remove(&pid) {
                self.exited(&tree, exit_of(status));
            }
        }
        if has_reaped {
            self.endings.child_ended(Instant::now());
        }
    }

    fn exited(&mut self, tree: &Tree, exit: Exit) {
        let Some(run) = self.runs.get_mut(&tree.id).filter(|run| run.tree.mark == tree.mark) else {
            return;
        };
        let exit = run.groups.judge(exit);
        run.exit = Some(exit);
        self.journal.exited(tree, exit);
        let leftover = self.has_leftover(tree);
        self.say(&Answer::Exited { id: tree.id.clone(), exit, leftover }, Vec::new());
    }

    /// Whether anything of a tree is there after its first process: in its group,
    /// or, where there are no groups, among the orphans that came to this process.
    fn has_leftover(&self, tree: &Tree) -> bool {
        if let Some(group) = &tree.cgroup {
            return cgroup::is_populated(group);
        }
        match fs::read_to_string(format!("/proc/self/task/{}/children", self.pid)) {
            Ok(children) => children
                .split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .any(|pid: u32| !self.unreaped.contains_key(&pid)),
            // A kernel without this file: look closely.
            Err(_) => true,
        }
    }

    /// Finishes those children that have become their programs, or failed to.
    pub(super) fn finish_starting(&mut self, is_ready: &[bool]) {
        for (place, _) in is_ready.iter().enumerate().rev().filter(|(_, is_ready)| **is_ready) {
            let starting = self.starting.swap_remove(place);
            self.started_or_failed(starting);
        }
        self.welcome();
    }

    fn started_or_failed(&mut self, starting: Starting) {
        let Starting { number, launch, mut run, report } = starting;
        if let Some((step, error)) = child::outcome(report) {
            if step == Step::Cgroup {
                run.groups.spoil();
            }
            if let Some(number) = number {
                let error = child::explain(&launch, step, &error);
                self.say(&Answer::SpawnFailed { number, error }, Vec::new());
            }
            return self.leave(run);
        }
        self.journal.spawned(&run.tree);
        if let (Some(number), Some(pipes)) = (number, &run.pipes) {
            let descriptors = pipes.descriptors();
            self.say(&Answer::Spawned { number, tree: run.tree.clone() }, descriptors);
        }
        if self.is_stopping {
            let now = Instant::now();
            self.endings.begin(&run.tree, now + GRACE, None, now);
        }
        self.runs.insert(run.tree.id.clone(), run);
    }

    /// Lets go of a run that nobody wants to know of any more, and kills what is
    /// left of it.
    pub(super) fn leave(&mut self, run: Run) {
        let Run { tree, groups, pipes, .. } = run;
        // A killed keeper's tree was ended before anyone could acknowledge it.
        let is_over = pipes.is_none()
            || (!self.unreaped.contains_key(&tree.pid)
                && !self.endings.has(&tree)
                && !self.has_leftover(&tree));
        if is_over {
            self.journal.forgotten(&tree);
            self.groups.take_back(groups);
        } else {
            let now = Instant::now();
            self.endings.begin(&tree, now, None, now);
            self.leaving.insert(tree.mark.clone(), Leaving { tree, groups });
        }
    }

    /// Goes on with the trees that are being ended.
    pub(super) fn look_at_endings(&mut self) {
        let unreaped = &self.unreaped;
        let is_unreaped =
            |tree: &Tree| unreaped.get(&tree.pid).is_some_and(|child| child.mark == tree.mark);
        let sole = self.sole_mark();
        for ended in self.endings.look(Instant::now(), self.pid, sole.as_deref(), is_unreaped) {
            for number in ended.numbers {
                self.say(&Answer::Ended { number, end: Some(ended.end.clone()) }, Vec::new());
            }
            let is_same = |tree: &Tree| tree.mark == ended.tree.mark;
            if let Some(run) = self
                .runs
                .get_mut(&ended.tree.id)
                .filter(|run| ended.end.killed && is_same(&run.tree))
            {
                run.groups.spoil();
            }
            if let Some(mut leaving) = self.leaving.remove(&ended.tree.mark) {
                leaving.groups.spoil();
                self.journal.forgotten(&leaving.tree);
                self.groups.take_back(leaving.groups);
            }
            if self.recovering.remove(&ended.tree.mark) && self.recovering.is_empty() {
                self.groups.sweep(&self.names.groups);
                self.welcome();
            }
        }
    }
}

impl Server {
    /// The mark of the only tree there is.
    fn sole_mark(&self) -> Option<String> {
        let runs = self.runs.values().map(|run| &run.tree);
        let starting = self.starting.iter().map(|one| &one.run.tree);
        let leaving = self.leaving.values().map(|one| &one.tree);
        let mut trees = runs.chain(starting).chain(leaving);
        let sole = trees.next()?;
        trees.next().is_none().then(|| sole.mark.clone())
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        // Not asked for: a child that is stopped or goes on.
        (None, None) => Exit::Lost,
    }
}
