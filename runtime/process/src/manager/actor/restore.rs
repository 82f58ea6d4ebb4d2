//! What an earlier agent or an earlier keeper has left.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use drover_api::{JobId, Timestamp};

use super::perform::{Newcomer, SLOW};
use super::{Actor, Mode, Running, now};
use crate::keeper::Exit;
use crate::keeper_client::{Kept, Pipes};
use crate::lifecycle::Event;
use crate::manager::Origin;
use crate::manager::job::{Adoption, Link, Order};
use crate::manager::launch::Note;
use crate::manager::remembered::Entry;
use crate::spec::{OnAgentRestart, ProcessSpec, Recurrence};
use crate::tree::Tree;
use crate::usage;

impl Actor {
    /// Asks the keeper what it has, if there was one; else begins at once.
    pub(super) fn restore_or_seek(&mut self) {
        let has_traces = std::fs::read_dir(&self.config.keeper_dir)
            .is_ok_and(|mut entries| entries.next().is_some());
        if has_traces {
            self.seek_keeper(Duration::ZERO);
        } else {
            self.take_kept(Vec::new());
        }
    }

    /// Sees to the runs that the keeper has: of an earlier agent at first, and
    /// after the loss of a keeper those of its time.
    pub(super) fn take_kept(&mut self, kept: Vec<Kept>) {
        match std::mem::replace(&mut self.mode, Mode::Serving) {
            Mode::Restoring(remembered) => self.restore(remembered, kept),
            mode => {
                self.mode = mode;
                self.reconcile(kept);
            }
        }
    }

    fn restore(&mut self, mut remembered: BTreeMap<JobId, Entry>, kept: Vec<Kept>) {
        let mut taken = Vec::new();
        for kept in kept {
            let id = kept.run.tree.id.clone();
            // Without pipes: its keeper was killed, and the next one has ended it.
            let Some(pipes) = kept.pipes else { continue };
            let entry = remembered.remove(&id);
            let note = serde_json::from_str::<Note<'static>>(&kept.run.note);
            match note {
                Ok(note) => {
                    let (tree, exit) = (kept.run.tree, kept.run.exit);
                    let ran_for = usage::age(&tree);
                    let child = Child { note, pipes, tree, ran_for, exit };
                    match entry {
                        Some(entry) if entry.is_of_run(child.note.run) => {
                            taken.push(Taken { id, entry, child: Some(child) });
                        }
                        entry => self.adopt(id, child, entry),
                    }
                }
                Err(error) => {
                    tracing::warn!(job = %id, %error, "a child that cannot be recognised is ended");
                    self.acknowledge(id.clone());
                    if let Some(entry) = entry {
                        remembered.insert(id, entry);
                    }
                }
            }
        }
        let waiting: Vec<_> = remembered.extract_if(.., |_, entry| entry.waits()).collect();
        taken.extend(waiting.into_iter().map(|(id, entry)| Taken { id, entry, child: None }));
        self.take_over(taken);
        self.begin_remembered(remembered);
    }

    /// Takes over a child of an earlier agent; one that is not to live on is then
    /// stopped, so that its output is read to the end like that of any other.
    fn adopt(&mut self, id: JobId, child: Child, entry: Option<Entry>) {
        let Child { note, pipes, tree, ran_for, exit } = child;
        let pid = tree.pid;
        let is_on_disk = entry.is_some();
        // One that was killed is forgotten first, and may have died half-way.
        let goes_on = is_on_disk && note.on_agent_restart == OnAgentRestart::Adopt;
        let (run, started) = (note.run, note.started);
        let spec = Arc::new(entry.map_or_else(|| note.into_spec(), |entry| entry.spec));
        let submission = self.submission(&spec, Vec::new());
        let is_remembered = is_on_disk && spec.is_remembered();
        let (key, actions) = self.scheduler.adopt(submission, run, ran_for, now());
        let origin = Origin::Adopted;
        self.enter(key, Newcomer { id, spec, origin, is_on_disk });
        if let Some(job) = self.jobs.get_mut(&key) {
            job.run = Some(Running { tree: Some(tree), pid, since: started });
            job.leftover = true;
        }
        self.begin_sampling(key);
        let adoption = Adoption { run, started, pid, pipes };
        self.order(key, Order::Adopt(Box::new(adoption)));
        self.perform(actions);
        match exit {
            Some(exit) => self.apply(key, Event::Exited { run, exit }),
            None if goes_on => {}
            None if is_remembered => self.apply(key, Event::Recycle),
            None => self.apply(key, Event::Kill),
        }
    }

    /// Submits what is remembered and has no child; those that others wait for
    /// come first.
    fn begin_remembered(&mut self, mut remembered: BTreeMap<JobId, Entry>) {
        while !remembered.is_empty() {
            let is_free = |spec: &ProcessSpec| {
                !spec.after.iter().any(|wanted| {
                    remembered
                        .iter()
                        .any(|(id, entry)| id.as_str() == wanted || entry.spec.name == *wanted)
                })
            };
            let free: Vec<_> = remembered
                .iter()
                .filter(|(_, entry)| is_free(&entry.spec))
                .map(|(id, _)| id.clone())
                .collect();
            // A circle cannot be submitted, but a file can hold one.
            let next = if free.is_empty() { remembered.keys().cloned().collect() } else { free };
            for id in next {
                if let Some(entry) = remembered.remove(&id) {
                    self.begin_again(id, entry);
                }
            }
        }
    }

    fn begin_again(&mut self, id: JobId, entry: Entry) {
        let is_remembered = entry.spec.is_remembered();
        let mut spec = entry.spec.clone();
        // The start that was asked for has been; what is due depends on the last
        // run alone. What does not come back must not begin.
        spec.start_delay =
            if is_remembered { left_of_period(&entry, Timestamp::now()) } else { SLOW };
        let after = spec.after.iter().flat_map(|wanted| self.named(wanted)).collect();
        let submission = self.submission(&spec, after);
        let (key, actions) = self.scheduler.submit(submission, now());
        let spec = Arc::new(entry.spec);
        let origin = Origin::Remembered;
        self.enter(key, Newcomer { id, spec, origin, is_on_disk: true });
        self.perform(actions);
        if is_remembered {
            return;
        }
        // It was to be taken over, and it is gone: with the machine, or with its
        // keeper. It is not one that comes back.
        let message = "its processes are gone since the agent was started again".to_owned();
        self.apply(key, Event::DependencyFailed { message });
    }

    /// After the loss of a keeper, or of the connection to it.
    fn reconcile(&mut self, kept: Vec<Kept>) {
        let mut found = HashMap::new();
        for kept in kept {
            let id = kept.run.tree.id.clone();
            if self.ids.contains_key(&id) || kept.pipes.is_none() {
                let exit = if kept.pipes.is_none() { Some(Exit::Lost) } else { kept.run.exit };
                found.insert(id, exit);
            } else if !self.handed.contains(&id) {
                self.acknowledge(id);
            }
        }
        let runs = self.jobs.iter().filter(|(_, job)| job.run.is_some());
        let runs: Vec<_> = runs.map(|(key, job)| (*key, job.id.clone())).collect();
        for (key, id) in runs {
            match found.get(&id) {
                // It runs on; what was asked for may have been lost.
                Some(None) => {
                    let life = self.scheduler.life(key);
                    if life.is_some_and(|life| life.stage().is_stopping()) {
                        self.end_tree(key);
                    }
                }
                Some(Some(exit)) => self.take_exit(&id, *exit, *exit != Exit::Lost),
                None => self.take_exit(&id, Exit::Lost, false),
            }
        }
    }

    /// Has the keeper forget a run, and whatever may be left of it killed.
    fn acknowledge(&mut self, id: JobId) {
        let Link::Here(keeper) = self.link.borrow().clone() else { return };
        self.tasks.spawn(async move {
            // A keeper that is gone has forgotten it.
            drop(keeper.acknowledge(&id).await);
            super::Done::Nothing
        });
    }
}

/// A job that was handed over, and its child if it runs.
pub(super) struct Taken {
    pub(super) id: JobId,
    pub(super) entry: Entry,
    pub(super) child: Option<Child>,
}

/// A child of an earlier agent.
pub(super) struct Child {
    pub(super) note: Note<'static>,
    pub(super) pipes: Pipes,
    pub(super) tree: Tree,
    /// Not by the wall clock, which may have been set since its start.
    pub(super) ran_for: Duration,
    pub(super) exit: Option<Exit>,
}

/// What is left of the period that a job was in when its agent ended. Never more than
/// a period, whatever the clock was set to meanwhile.
fn left_of_period(entry: &Entry, now: Timestamp) -> Duration {
    match (&entry.spec.recurrence, entry.begun) {
        (Some(Recurrence::Every(period)), Some(begun)) => period.saturating_sub(now.since(begun)),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::spec::{Places, SpecContext};

    #[test]
    fn a_period_goes_on_after_a_restart_whatever_the_clock_was_set_to() {
        let context = SpecContext {
            places: Places { agent_root: "/".into(), root: "/".into(), tmp: "/".into() },
            interpreters: BTreeMap::new(),
            grace: Duration::ZERO,
            stats_interval: Duration::ZERO,
        };
        let args = json!({ "cmd": "true", "recurring_period": 3600 });
        let spec = ProcessSpec::execute(&context, args.as_object().unwrap(), "").unwrap();
        let begun = Timestamp(1_700_000_000_000);
        let entry = Entry { begun: Some(begun), ..Entry::new(spec) };
        let hour: i64 = 3_600_000;
        for (set_to, left_minutes) in
            [(hour / 4, 45), (hour, 0), (1000 * hour, 0), (-1, 60), (-1000 * hour, 60)]
        {
            let now = Timestamp(begun.0.saturating_add_signed(set_to));
            let left = left_of_period(&entry, now);
            assert_eq!(left, Duration::from_secs(left_minutes * 60), "{set_to} ms after the start");
        }
    }
}
