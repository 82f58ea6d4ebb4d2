//! What happened, as somebody sees it who sees everything.

use std::collections::{BTreeMap, BTreeSet};

use drover_api::{ErrorCode, JobResult, JobState, NodeId};

/// The history of one seed.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// Starts of each attempt, by number.
    pub(crate) starts: BTreeMap<u64, u32>,
    /// Where each attempt was started, by number.
    pub(crate) places: BTreeMap<u64, BTreeSet<NodeId>>,
    /// The keys of jobs that were accepted: their submitter was told so.
    pub(crate) accepted: Vec<u64>,
    /// Results that the controller has on disk, by the job's key.
    pub(crate) results: BTreeMap<u64, Vec<JobResult>>,
    /// What jobs ended with on their node, by number.
    pub(crate) outcomes: BTreeMap<u64, JobResult>,
    /// The numbers that each job's attempts had, by the job's key.
    pub(crate) attempts: BTreeMap<u64, Vec<u64>>,
    pub(crate) crashes: u32,
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    pub(crate) moves: u32,
    pub(crate) notes: u32,
}

impl History {
    pub(crate) fn judge_starts(&self) {
        for (number, starts) in &self.starts {
            assert!(*starts <= 1, "attempt {number} was started {starts} times");
        }
        for (job, numbers) in &self.attempts {
            let places = numbers.iter().filter_map(|number| self.places.get(number));
            let nodes: BTreeSet<_> = places.flatten().collect();
            assert!(nodes.len() <= 1, "job {job} was started on {nodes:?}");
        }
    }

    /// Holds what happened against what was promised.
    pub(crate) fn judge(&self) {
        self.judge_starts();
        for job in &self.accepted {
            let results = self.results.get(job).map_or(&[][..], Vec::as_slice);
            assert_eq!(results.len(), 1, "{job} has {} results: {results:?}", results.len());
            self.judge_result(*job, &results[0]);
        }
    }

    fn judge_result(&self, job: u64, result: &JobResult) {
        let attempts = self.attempts.get(&job).map_or(&[][..], Vec::as_slice);
        let outcomes: Vec<_> =
            attempts.iter().filter_map(|number| self.outcomes.get(number)).collect();
        let code = result.error.as_ref().map(|error| error.code);
        match result.state {
            // What the controller says was done was done, and is the last attempt's.
            JobState::Ok => assert!(outcomes.contains(&result), "{job}: {result:?}"),
            JobState::Error if code == Some(ErrorCode::Failed) => {
                assert!(outcomes.contains(&result), "{job}: {result:?}");
            }
            // Neither is said of a job that nobody saw die, be killed, or be late.
            JobState::Error => assert_eq!(code, Some(ErrorCode::Interrupted), "{result:?}"),
            JobState::Timeout | JobState::Killed => {}
            JobState::Queued | JobState::Running => panic!("{job} has not ended: {result:?}"),
        }
    }
}

/// What came up in all histories together, so that none of it is simulated in vain.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    states: BTreeMap<String, u64>,
    crashes: u64,
    lost: u64,
    doubled: u64,
    moves: u64,
    notes: u64,
    retried: u64,
}

impl Seen {
    pub(crate) fn add(&mut self, history: &History) {
        for result in history.results.values().flatten() {
            let code = result.error.as_ref().map(|error| error.code);
            *self.states.entry(format!("{:?} {code:?}", result.state)).or_default() += 1;
        }
        self.crashes += u64::from(history.crashes);
        self.lost += u64::from(history.lost);
        self.doubled += u64::from(history.doubled);
        self.moves += u64::from(history.moves);
        self.notes += u64::from(history.notes);
        self.retried += history.attempts.values().filter(|all| all.len() > 1).count() as u64;
    }

    pub(crate) fn is_everything(&self) {
        assert!(self.crashes > 1000 && self.lost > 1000 && self.doubled > 1000, "{self:?}");
        assert!(self.moves > 1000 && self.notes > 100, "{self:?}");
        assert!(self.retried > 100 && self.states.len() >= 5, "{self:?}");
        for (state, count) in &self.states {
            assert!(*count > 20, "{state} came up only {count} times: {self:?}");
        }
    }
}
