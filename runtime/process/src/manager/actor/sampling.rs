//! Measuring what the processes of running jobs use.
//!
//! One sampler looks at all trees that are due or asked for in one pass, on a
//! thread where it may take its time; what is asked meanwhile waits for the next
//! pass.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use drover_api::{JobId, Timestamp};

use super::{Actor, Done, now};
use crate::manager::job::ORDERS;
use crate::manager::{JobEvent, JobUsage, ManagerError, Reply};
use crate::scheduler::Key;
use crate::tree::Tree;
use crate::usage::{TreeUsage, UsageSampler};

/// Measurements that are due within this time are made together.
const SLACK: Duration = Duration::from_millis(50);

/// The sampler, and what waits for it.
#[derive(Default)]
pub(super) struct Sampling {
    is_busy: bool,
    sampler: UsageSampler,
    due: BTreeSet<(Instant, Key)>,
    asks: Vec<Ask>,
}

/// Somebody who wants to know at once.
struct Ask {
    keys: Vec<Key>,
    reply: Reply<Vec<JobUsage>>,
}

/// What one pass found.
pub(super) struct Sampled {
    sampler: UsageSampler,
    found: Vec<(Key, TreeUsage)>,
    asks: Vec<Ask>,
}

impl Sampling {
    /// When the next measurement is due.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.due.first().map(|(due, _)| *due).filter(|_| !self.is_busy)
    }
}

impl Actor {
    /// A job's program runs: it is measured from now on.
    pub(super) fn begin_sampling(&mut self, key: Key) {
        let Some(job) = self.jobs.get_mut(&key) else { return };
        let due = now().instant + job.spec.stats_interval;
        if let Some(before) = job.sample_due.replace(due) {
            self.sampling.due.remove(&(before, key));
        }
        self.sampling.due.insert((due, key));
    }

    pub(super) fn end_sampling(&mut self, key: Key) {
        let due = self.jobs.get_mut(&key).and_then(|job| job.sample_due.take());
        if let Some(due) = due {
            self.sampling.due.remove(&(due, key));
        }
    }

    /// Measures these jobs as soon as the sampler is free.
    pub(super) fn ask_usage(&mut self, keys: Vec<Key>, reply: Reply<Vec<JobUsage>>) {
        self.sampling.asks.push(Ask { keys, reply });
        self.sample();
    }

    /// The jobs that run a program and have this domain and this name.
    pub(super) fn running_under(&self, domain: Option<&str>, name: Option<&str>) -> Vec<Key> {
        let wanted = self.jobs.iter().filter(|(_, job)| {
            job.run.is_some()
                && domain.is_none_or(|domain| job.spec.domain == domain)
                && name.is_none_or(|name| job.spec.name == name)
        });
        let mut keys: Vec<_> = wanted.map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    pub(super) fn usage_of(&mut self, id: &JobId, reply: Reply<Vec<JobUsage>>) {
        match self.ids.get(id).copied() {
            None => drop(reply.send(Err(self.unknown(id)))),
            Some(key) if self.jobs.get(&key).is_none_or(|job| job.run.is_none()) => {
                drop(reply.send(Err(ManagerError::NotRunning(id.clone()))));
            }
            Some(key) => self.ask_usage(vec![key], reply),
        }
    }

    /// Begins a pass, if the sampler is free and there is something to measure.
    pub(super) fn sample(&mut self) {
        let soon = now().instant + SLACK;
        let is_due = self.sampling.next_wake().is_some_and(|due| due <= soon);
        if self.sampling.is_busy || (self.sampling.asks.is_empty() && !is_due) {
            return;
        }
        let mut keys: BTreeSet<Key> = BTreeSet::new();
        let due: Vec<_> =
            self.sampling.due.iter().take_while(|(due, _)| *due <= soon).copied().collect();
        for (_, key) in due {
            self.begin_sampling(key);
            keys.insert(key);
        }
        let asks = std::mem::take(&mut self.sampling.asks);
        keys.extend(asks.iter().flat_map(|ask| ask.keys.iter().copied()));
        let trees: (Vec<Key>, Vec<Tree>) = keys
            .into_iter()
            .filter_map(|key| Some((key, self.jobs.get(&key)?.run.as_ref()?.tree.clone()?)))
            .unzip();
        self.sampling.is_busy = true;
        let mut sampler = std::mem::take(&mut self.sampling.sampler);
        self.tasks.spawn_blocking(move || {
            let (keys, trees) = trees;
            let usages = sampler.sample(&trees);
            let found = keys.into_iter().zip(usages).collect();
            Done::Sampled(Box::new(Sampled { sampler, found, asks }))
        });
    }

    pub(super) fn take_sampled(&mut self, sampled: Sampled) {
        let Sampled { sampler, found, asks } = sampled;
        self.sampling.is_busy = false;
        self.sampling.sampler = sampler;
        let time = Timestamp::now();
        for (key, usage) in &found {
            let Some(job) = self.jobs.get(key).filter(|job| job.run.is_some()) else { continue };
            // A job whose observer is far behind has its next measurement later.
            if job.orders.capacity() > ORDERS / 2 {
                self.tell(*key, JobEvent::Usage { usage: *usage, time });
            }
        }
        for Ask { keys, reply } in asks {
            let usages = found.iter().filter(|(key, _)| keys.contains(key));
            let usages = usages.filter_map(|(key, usage)| {
                let job = self.jobs.get(key)?;
                Some(JobUsage { id: job.id.clone(), spec: job.spec.clone(), usage: *usage, time })
            });
            drop(reply.send(Ok(usages.collect())));
        }
        self.sample();
    }
}
