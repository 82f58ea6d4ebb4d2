//! Who waits for the processes of a job to be gone.

use tokio::sync::oneshot;
use tokio::task::AbortHandle;

use super::{Actor, Done};
use crate::keeper::TreeEnd;
use crate::keeper_client::KeeperError;
use crate::scheduler::Key;

/// The ends of trees that are under way for one job, and who waits for them.
#[derive(Default)]
pub(super) struct Ending {
    in_flight: u32,
    asked: Vec<AbortHandle>,
    found: TreeEnd,
    waiting: Vec<oneshot::Sender<TreeEnd>>,
}

impl Ending {
    /// Somebody waits for the end; the answer comes when nothing is left.
    pub(super) fn wait(&mut self) -> oneshot::Receiver<TreeEnd> {
        let (reply, answer) = oneshot::channel();
        self.waiting.push(reply);
        answer
    }

    pub(super) fn begins(&mut self) {
        self.in_flight += 1;
    }

    /// Leaves the end to whoever has the job from now on.
    pub(super) fn leave(&mut self) {
        self.asked.drain(..).for_each(|asked| asked.abort());
    }

    /// Nothing of the run is left. If the keeper still has to say what it found,
    /// that is waited for.
    pub(super) fn run_is_over(&mut self) {
        if self.in_flight == 0 {
            self.answer();
        }
    }

    fn ended(&mut self, end: Option<TreeEnd>, has_run: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        let is_known = end.is_some();
        if let Some(end) = end {
            self.found.found.extend(end.found);
            self.found.found.sort_by_key(|process| process.pid);
            self.found.found.dedup();
            self.found.killed |= end.killed;
            self.found.left = end.left;
        }
        // Without word from the keeper, the run's own end is waited for.
        if self.in_flight == 0 && (is_known || !has_run) {
            self.answer();
        }
    }

    fn answer(&mut self) {
        let end = std::mem::take(&mut self.found);
        for reply in self.waiting.drain(..) {
            drop(reply.send(end.clone()));
        }
    }
}

impl Actor {
    /// Has the tree of a job ended by the keeper.
    pub(super) fn end_tree(&mut self, key: Key) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        job.ending.begins();
        let (id, grace) = (job.id.clone(), job.spec.grace);
        let link = self.link.borrow().clone();
        let asked = self.tasks.spawn(async move {
            let outcome = match link {
                super::Link::Here(keeper) => keeper.end_tree(&id, grace).await,
                super::Link::Sought | super::Link::Away(_) => Err(KeeperError::Lost),
            };
            Done::TreeEnd { key, outcome }
        });
        job.ending.asked.retain(|asked| !asked.is_finished());
        job.ending.asked.push(asked);
    }

    pub(super) fn take_tree_end(&mut self, key: Key, outcome: Result<TreeEnd, KeeperError>) {
        let end = match outcome {
            Ok(end) => Some(end),
            // It ended, and that was acknowledged, while the request was under way.
            Err(KeeperError::Unknown { .. }) => Some(TreeEnd::default()),
            Err(error) => {
                tracing::warn!(%error, "the end of a tree waits for the next keeper");
                None
            }
        };
        let ending = match self.jobs.get_mut(&key) {
            Some(job) => {
                let has_run = job.run.is_some();
                job.ending.ended(end, has_run);
                return;
            }
            None => self.last_endings.get_mut(&key),
        };
        if let Some(ending) = ending {
            ending.ended(end, false);
            if ending.in_flight == 0 {
                self.last_endings.remove(&key);
            }
        }
    }

    /// Keeps the end of a job that is over until the keeper has said what it
    /// found.
    pub(super) fn keep_ending(&mut self, key: Key, mut ending: Ending) {
        ending.run_is_over();
        if ending.in_flight > 0 {
            self.last_endings.insert(key, ending);
        }
    }
}
