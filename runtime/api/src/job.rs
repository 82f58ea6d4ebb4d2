//! Durable jobs: what is submitted to the controller, what becomes of it, and what
//! people ask about it.
//!
//! A submission is a command and the nodes that it is for; it becomes one job on
//! each of them, with the id `<submission>:<gid>.<nid>`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Authority, Command, JobError, JobId, JobResult, JobState, NodeId, Timestamp};

/// A command for many nodes, to be done even if somebody dies in between.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobSubmit {
    /// What each node is to do. Its id is that of the submission: the same again is
    /// the same submission, and is not done twice. `gid` and `nid` are ignored, and
    /// `streaming` is refused: nobody listens.
    pub command: Command,
    /// The nodes, as a [`Selector`](crate::Selector).
    pub nodes: String,
    /// Of the nodes that match, how many; all of them if absent. Those that are
    /// present and have the least to do are taken first. One that stays away before it
    /// was given its job is replaced by another that matches and is present, and the
    /// job's id with it; a job that was given to its node stays there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub any: Option<u32>,
    /// How many may be at it at the same time; as many as there are if absent. A node
    /// that is away does not count, or no longer after a minute if it was given its job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u32>,
    /// A job that has not started so long after the submission does not start any
    /// more, and is `TIMEOUT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_within_ms: Option<u64>,
    /// A job that has not ended so long after the submission is ended, and is
    /// `TIMEOUT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_within_ms: Option<u64>,
    /// What is done about a job that is not `OK`.
    #[serde(default, skip_serializing_if = "Retry::is_none")]
    pub retry: Retry,
    /// The jobs start spread over this time, each node always at the same place in
    /// it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub spread_ms: u64,
    /// How long results are kept after the last of them; the controller's default if
    /// absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_ms: Option<u64>,
    /// The schedule that it comes from; set by the controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// On whose word it is done; set by the controller where a role says what that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<Authority>,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl JobSubmit {
    /// A command for all nodes that match a selector.
    #[must_use]
    pub fn new(command: Command, nodes: impl Into<String>) -> Self {
        Self {
            command,
            nodes: nodes.into(),
            any: None,
            at_once: None,
            start_within_ms: None,
            end_within_ms: None,
            retry: Retry::default(),
            spread_ms: 0,
            keep_ms: None,
            schedule: None,
            authority: None,
        }
    }
}

/// When a job that did not end `OK` is run again. Without this a job is started once
/// at most; with it, once at most for each attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// How often it is run, all in all.
    pub attempts: u32,
    /// The wait before the second attempt; it doubles with each that follows. After
    /// an interruption there is none: that was wait enough.
    pub first_wait_ms: u64,
    /// The longest wait.
    pub longest_wait_ms: u64,
    /// The causes that are tried again.
    pub on: Vec<RetryCause>,
}

/// Why a job did not end `OK`, as far as trying again goes. What would fail in the
/// same way again, such as arguments that do not fit, is never tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetryCause {
    /// It ran, and failed.
    Failed,
    /// It ran out of time.
    Timeout,
    /// The agent ended while it ran.
    Interrupted,
    /// The node had no room for it, or its plugin was in quarantine.
    Busy,
}

impl RetryCause {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Failed, Self::Timeout, Self::Interrupted, Self::Busy];
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 1,
            first_wait_ms: 1000,
            longest_wait_ms: 300_000,
            on: RetryCause::ALL.to_vec(),
        }
    }
}

impl Retry {
    /// Whether nothing is tried again.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.attempts <= 1
    }
}

/// The answer to a submission: it is safe on the controller's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobSubmitted {
    /// The submission.
    pub id: JobId,
    /// How many nodes it is for.
    pub nodes: u64,
    /// Whether it was submitted before, with the same id.
    #[serde(default)]
    pub is_old: bool,
}

/// A submission as lists show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    /// Its id.
    pub id: JobId,
    /// The command.
    pub cmd: String,
    /// The selector.
    pub nodes: String,
    /// Who submitted it.
    pub by: String,
    /// The schedule that it comes from, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// When it was submitted.
    pub time: Timestamp,
    /// When the last job ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// `QUEUED` until the first job starts, `RUNNING` until the last has ended, then
    /// `OK` if all are; else the worst: `ERROR`, `TIMEOUT`, `KILLED`.
    pub state: JobState,
    /// How many jobs are in which state.
    pub counts: JobCounts,
}

/// How many jobs are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobCounts {
    /// Waiting for their node, their turn or another attempt.
    pub queued: u64,
    /// At work.
    pub running: u64,
    /// Ended with an answer.
    pub ok: u64,
    /// Ended without one.
    pub error: u64,
    /// Ended by a deadline.
    pub timeout: u64,
    /// Ended by an operator.
    pub killed: u64,
}

impl JobCounts {
    /// The number of jobs in a state.
    pub fn of(&mut self, state: JobState) -> &mut u64 {
        match state {
            JobState::Queued => &mut self.queued,
            JobState::Running => &mut self.running,
            JobState::Ok => &mut self.ok,
            JobState::Error => &mut self.error,
            JobState::Timeout => &mut self.timeout,
            JobState::Killed => &mut self.killed,
        }
    }

    /// All jobs.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.unfinished() + self.ok + self.error + self.timeout + self.killed
    }

    /// Those that have not ended.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.queued + self.running
    }

    /// The state of all together.
    #[must_use]
    pub fn state(&self) -> JobState {
        match self {
            _ if self.queued == self.total() && self.queued > 0 => JobState::Queued,
            _ if self.unfinished() > 0 => JobState::Running,
            Self { error: 1.., .. } => JobState::Error,
            Self { timeout: 1.., .. } => JobState::Timeout,
            Self { killed: 1.., .. } => JobState::Killed,
            _ => JobState::Ok,
        }
    }
}

/// The job of a submission on one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeJob {
    /// Its id, under which the node's log has its records.
    pub id: JobId,
    /// The node.
    pub node: NodeId,
    /// Its state.
    pub state: JobState,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// What became of it until now, oldest first.
    pub transitions: Vec<Transition>,
}

impl NodeJob {
    /// The last thing that became of it.
    #[must_use]
    pub fn last(&self) -> Option<&Transition> {
        self.transitions.last()
    }
}

/// A step in the life of a durable job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// When.
    pub time: Timestamp,
    /// The state from then on.
    pub state: JobState,
    /// Why, for people.
    pub reason: String,
}

/// Which submissions to list, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobList {
    /// Those in this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
    /// Those of this command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cmd: Option<String>,
    /// Those that have a job on this node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Those submitted by somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Those that come from a schedule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Those submitted at or after this time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// How many, 50 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Which jobs of a submission are meant. `id` may be that of a job as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobQuery {
    /// The submission, or one of its jobs.
    pub id: JobId,
    /// Only those in this state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<JobState>,
    /// Only those of nodes after this one, for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<NodeId>,
}

impl JobQuery {
    /// All jobs of a submission, or one job.
    #[must_use]
    pub fn new(id: JobId) -> Self {
        Self { id, state: None, after: None }
    }
}

/// All that is known of a submission, but for the results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubmissionDetail {
    /// The submission.
    pub submission: Submission,
    /// What was submitted.
    pub request: JobSubmit,
    /// Its jobs, by node.
    pub jobs: Vec<NodeJob>,
    /// There are more: ask again with this as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NodeId>,
}

/// Results of a submission's jobs, by node; those that have not ended have none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobResults {
    /// The results.
    pub results: Vec<JobResult>,
    /// There are more: ask again with this as `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NodeId>,
}

/// Ends the jobs of a submission, or one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobKill {
    /// The submission, or one of its jobs.
    pub id: JobId,
    /// Do not wait for nodes that are away to say that it has ended there.
    #[serde(default)]
    pub force: bool,
}

/// How many jobs are being ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobKilled {
    /// Those that had not started, and have ended.
    pub ended: u64,
    /// Those whose node is told to end them.
    pub told: u64,
}

/// Jobs on their way to a node: the argument of the node's `deliver`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobDelivery {
    /// The controller's store. Numbers are its own.
    pub store: String,
    /// All jobs with a lower number are over and done with; the node forgets them,
    /// and takes none of them any more.
    pub settled_below: u64,
    /// The jobs. One that the node has or had already is not taken again.
    pub jobs: Vec<DeliveredJob>,
    /// The numbers of jobs that the node took before, and is asked about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<u64>,
}

/// One attempt at a job, on its way to a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveredJob {
    /// The attempt's number, unique in the controller's store and increasing.
    pub number: u64,
    /// What to do; its id is the job's.
    pub command: Command,
    /// It must not start later than this from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_within_ms: Option<u64>,
    /// It must not end later than this from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_within_ms: Option<u64>,
    /// Who submitted it.
    #[serde(default)]
    pub by: String,
}

/// The node's answer to a delivery: what it has of each job that was named. What it
/// says to have is on its disk.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobDelivered {
    /// By number.
    pub jobs: Vec<(u64, Holding)>,
}

/// What a node has of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Holding {
    /// It waits for its turn.
    Waiting,
    /// It runs.
    Running,
    /// It has ended; the result is being reported.
    Ended,
    /// The node has no room for it: deliver it again later.
    Full,
    /// The node does not know it, or has been told to forget it.
    Unknown,
}

/// Jobs that a node is to end: the argument of the node's `cancel`. One that has
/// not arrived yet will not start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobCancel {
    /// The controller's store.
    pub store: String,
    /// The jobs: number and id.
    pub jobs: Vec<(u64, JobId)>,
}

/// What a node tells of its durable jobs. Results come again until they are
/// acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobReport {
    /// The node.
    pub node: NodeId,
    /// The store whose jobs they are.
    pub store: String,
    /// Jobs that have started, and when.
    #[serde(default)]
    pub started: Vec<(u64, Timestamp)>,
    /// Jobs that have ended, with their results.
    #[serde(default)]
    pub ended: Vec<(u64, JobResult)>,
}

/// The controller's answer to a report: it is on its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobReported {
    /// The numbers whose results need not be told again.
    pub acknowledged: Vec<u64>,
    /// All jobs with a lower number are over and done with.
    pub settled_below: u64,
}

/// The id of a submission's job on a node.
///
/// # Errors
///
/// If the submission's id is too long for that: more than 100 characters.
pub fn job_on(submission: &JobId, node: NodeId) -> Result<JobId, JobError> {
    format!("{submission}:{node}").parse().map_err(|_| {
        let message = format!(
            "the id {submission} is too long for a submission: its jobs are called `<id>:<node>`, \
             so it may have 100 characters"
        );
        JobError::new(crate::ErrorCode::InvalidCommand, message)
    })
}

/// The submission and the node of a job's id; none if it is no job of a submission.
#[must_use]
pub fn parts_of_job(id: &JobId) -> Option<(JobId, NodeId)> {
    let (submission, node) = id.as_str().rsplit_once(':')?;
    Some((submission.parse().ok()?, node.parse().ok()?))
}

impl Retry {
    /// The wait before an attempt, from 2 on.
    #[must_use]
    pub fn wait_before(&self, attempt: u32, cause: RetryCause) -> Duration {
        if cause == RetryCause::Interrupted {
            return Duration::ZERO;
        }
        let doubled = attempt.saturating_sub(2).min(32);
        let wait = self.first_wait_ms.saturating_mul(1 << doubled);
        Duration::from_millis(wait.min(self.longest_wait_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_called_after_its_submission_and_its_node() {
        let submission: JobId = "nightly:7".parse().unwrap();
        let id = job_on(&submission, NodeId::new(1, 7)).unwrap();
        assert_eq!(id.as_str(), "nightly:7:1.7");
        assert_eq!(parts_of_job(&id), Some((submission, NodeId::new(1, 7))));
        assert_eq!(parts_of_job(&JobId::generate()), None);
        let long = "x".repeat(127).parse().unwrap();
        assert!(job_on(&long, NodeId::new(1, 7)).is_err());
    }

    #[test]
    fn the_wait_doubles_up_to_the_longest_and_an_interruption_has_none() {
        let retry =
            Retry { attempts: 9, first_wait_ms: 100, longest_wait_ms: 350, ..Retry::default() };
        let waits =
            [2, 3, 4, 40].map(|attempt| retry.wait_before(attempt, RetryCause::Failed).as_millis());
        assert_eq!(waits, [100, 200, 350, 350]);
        assert_eq!(retry.wait_before(4, RetryCause::Interrupted), Duration::ZERO);
    }

    #[test]
    fn the_state_of_all_is_that_of_the_worst() {
        let counts = |queued, running, ok, error, timeout, killed| {
            JobCounts { queued, running, ok, error, timeout, killed }.state()
        };
        assert_eq!(counts(2, 0, 0, 0, 0, 0), JobState::Queued);
        assert_eq!(counts(2, 0, 1, 0, 0, 0), JobState::Running);
        assert_eq!(counts(0, 0, 1, 0, 0, 0), JobState::Ok);
        assert_eq!(counts(0, 0, 1, 0, 1, 1), JobState::Timeout);
        assert_eq!(counts(0, 0, 1, 1, 1, 1), JobState::Error);
    }
}
