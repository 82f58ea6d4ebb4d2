//! How jobs end: by a result, a deadline or a person; and whether they are tried again.

use std::sync::Arc;

use drover_api::{
    ErrorCode, JobError, JobId, JobKilled, JobResult, JobState, JobSubmit, NodeId, RetryCause,
    Timestamp, Transition,
};

use super::job::Phase;
use super::saved::Write;
use super::{Effect, GRACE, Ledger, LedgerStep, later};
use crate::cause::cause_of;
use crate::inbox::result_without_answer;

impl Ledger {
    /// Looks at a job whose time has come.
    pub(super) fn job_due(&mut self, step: &mut LedgerStep, key: u64, now: Timestamp) {
        let Some(job) = self.jobs.get(&key) else { return };
        let open = &self.submissions[&job.submission];
        let has_passed = |by: Option<Timestamp>| by.is_some_and(|by| by <= now);
        let message = match job.phase {
            Phase::Sent { .. } | Phase::Running => {
                if has_passed(open.end_by.map(|by| later(by, GRACE))) {
                    let (node, number) = (job.node, job.number);
                    step.effects.push(Effect::Cancel(node, vec![number]));
                    Some("its deadline has passed, and the node has not told what became of it")
                } else {
                    None
                }
            }
            _ if has_passed(open.end_by) => Some("its deadline passed before it started"),
            _ if job.attempt == 1 && has_passed(open.start_by) => {
                Some("it could not start in time: its node was away, or had too much to do")
            }
            Phase::Delayed(ready) if ready <= now && self.gives_way(key) => {
                let submission = job.submission.clone();
                self.hold(key);
                self.schedule(key);
                self.release(step, &submission, now);
                return;
            }
            Phase::Delayed(ready) if ready <= now => {
                let (node, by) = (job.node, Arc::clone(&open.by));
                self.jobs.get_mut(&key).expect("it is there").phase = Phase::Queued;
                self.lane(node).queue.push(&by, key);
                self.schedule(key);
                self.pump(step, node, now);
                return;
            }
            _ => None,
        };
        match message {
            Some(message) => {
                let result =
                    self.without_answer(key, JobState::Timeout, ErrorCode::Timeout, message, now);
                self.end(step, key, result, now);
            }
            None => self.schedule(key),
        }
    }

    /// The ledger is that of a backup: what was not with its node then may have been
    /// given to it since. It is ended, unless the submission lets it be tried again
    /// after an interruption; nodes are asked for what was with them. `backup` says, for
    /// people, when it was made.
    pub fn restored(&mut self, backup: &str, now: Timestamp) -> LedgerStep {
        let mut step = LedgerStep::default();
        let message = format!(
            "the controller was restored from a backup of {backup}, and the job may have run since: \
             submit it again if it may run twice (`drover job retry`)"
        );
        let doubtful = self.jobs.values().filter(|job| {
            let retry = &self.submissions[&job.submission].request.retry;
            let may_run_twice =
                retry.on.contains(&RetryCause::Interrupted) && retry.attempts > job.attempt;
            !job.is_with_node() && !may_run_twice
        });
        let mut keys: Vec<_> = doubtful.map(|job| job.key).collect();
        keys.sort_unstable();
        for key in keys {
            let (state, code) = (JobState::Error, ErrorCode::Interrupted);
            let result = self.without_answer(key, state, code, &message, now);
            self.end(&mut step, key, result, now);
        }
        step
    }

    /// Ends every job that `may` no longer allows, with the reason that it gives. What
    /// its node has already, or may have, goes on.
    pub fn judge(
        &mut self,
        may: impl Fn(&JobSubmit, NodeId) -> Result<(), String>,
        now: Timestamp,
    ) -> LedgerStep {
        let mut step = LedgerStep::default();
        let waiting = self.jobs.values().filter(|job| !job.is_with_node());
        let judged = waiting.filter_map(|job| {
            let why = may(&self.submissions[&job.submission].request, job.node).err()?;
            Some((job.key, why))
        });
        let mut denied: Vec<_> = judged.collect();
        denied.sort_unstable();
        // None of them is to go because another one makes room.
        for (key, _) in &denied {
            let job = &self.jobs[key];
            let (node, phase) = (job.node, job.phase);
            let open = self.submissions.get_mut(&job.submission).expect("it is open");
            match phase {
                Phase::Held(_) => open.held.retain(|held| held != key),
                Phase::Queued => {
                    let by = Arc::clone(&open.by);
                    self.lane(node).queue.remove(&by, key);
                }
                _ => {}
            }
        }
        for (key, why) in denied {
            let message = format!("it was not started: {why}");
            let result =
                self.without_answer(key, JobState::Error, ErrorCode::Denied, &message, now);
            self.end(&mut step, key, result, now);
        }
        step
    }

    /// Ends the jobs of a submission, or the one on `node`.
    pub fn kill(
        &mut self,
        submission: &JobId,
        node: Option<NodeId>,
        force: bool,
        by: &str,
        now: Timestamp,
    ) -> (LedgerStep, JobKilled) {
        let mut step = LedgerStep::default();
        let mut killed = JobKilled { ended: 0, told: 0 };
        let Some(open) = self.submissions.get_mut(submission) else { return (step, killed) };
        let is_meant = |one: &NodeId| node.is_none_or(|node| node == *one);
        let keys: Vec<_> =
            open.jobs.iter().filter(|(node, _)| is_meant(node)).map(|(_, key)| *key).collect();
        // None of them is to take the place of another.
        open.held.retain(|key| !keys.contains(key));
        for key in keys {
            let job = self.jobs.get_mut(&key).expect("it is open");
            let (node, number) = (job.node, job.number);
            if job.is_with_node() {
                let is_first = !std::mem::replace(&mut job.is_killed, true);
                step.effects.push(Effect::Cancel(node, vec![number]));
                if !force {
                    killed.told += 1;
                    if is_first {
                        let reason = format!("{by} ends it; the node is told");
                        let state = job.state();
                        let transition = Transition { time: now, state, reason };
                        step.writes.push(Write::Killing { key, transition });
                    }
                    self.remind_later(node, now);
                    continue;
                }
            }
            killed.ended += 1;
            let message = match self.jobs[&key].is_with_node() {
                true => format!("{by} gave it up: what became of it on the node is not known"),
                false => format!("{by} ended it before it started"),
            };
            let result =
                self.without_answer(key, JobState::Killed, ErrorCode::Cancelled, &message, now);
            self.end(&mut step, key, result, now);
        }
        (step, killed)
    }

    pub(super) fn started(&mut self, step: &mut LedgerStep, key: u64, time: Timestamp) {
        let job = self.jobs.get_mut(&key).expect("whoever asks has looked");
        if matches!(job.phase, Phase::Sent { .. }) {
            job.phase = Phase::Running;
            let transition = job.has_started(time);
            step.writes.push(Write::Started { key, transition });
        }
    }

    /// Takes what a job ended with: that is its end, or it is tried again.
    pub(super) fn take_result(
        &mut self,
        step: &mut LedgerStep,
        key: u64,
        result: JobResult,
        now: Timestamp,
    ) {
        let job = &self.jobs[&key];
        let open = &self.submissions[&job.submission];
        let retry = &open.request.retry;
        let cause = cause_of(&result).filter(|cause| retry.on.contains(cause));
        let Some(cause) = cause.filter(|_| {
            !job.is_killed
                && job.attempt < retry.attempts
                && open.end_by.is_none_or(|end_by| end_by > now)
        }) else {
            return self.end(step, key, result, now);
        };
        let attempt = job.attempt + 1;
        let wait = retry.wait_before(attempt, cause);
        let ready = later(now, wait);
        let reason = format!(
            "attempt {}: {}; attempt {attempt} follows in {wait:?}",
            job.attempt,
            reason(&result)
        );
        let mut transitions: Vec<_> = job.start_of(&result).into_iter().collect();
        transitions.push(Transition { time: now, state: JobState::Queued, reason });
        self.leave_node(step, key, now);
        let job = self.jobs.get_mut(&key).expect("it is there");
        job.attempt = attempt;
        job.phase = Phase::Delayed(ready);
        step.writes.push(Write::Again { key, attempt, ready, transitions });
        self.schedule(key);
        // At once, if there is nothing to wait for.
        if ready <= now {
            self.job_due(step, key, now);
        }
    }

    /// A job has its result, and is forgotten here.
    pub(super) fn end(
        &mut self,
        step: &mut LedgerStep,
        key: u64,
        result: JobResult,
        now: Timestamp,
    ) {
        let job = &self.jobs[&key];
        let mut transitions: Vec<_> = job.start_of(&result).into_iter().collect();
        transitions.push(Transition { time: now, state: result.state, reason: reason(&result) });
        let was = job.state();
        self.leave_node(step, key, now);
        let job = self.jobs.remove(&key).expect("it was there");
        self.pace.count(now);
        self.lane(job.node).flexible.remove(&key);
        let open = self.submissions.get_mut(&job.submission).expect("it is open");
        step.writes.push(Write::Ended {
            key,
            submission: open.key,
            submitted: open.time,
            was,
            transitions,
            result: Box::new(result),
        });
        open.jobs.remove(&job.node);
        if open.request.any.is_some() {
            open.done.insert(job.node);
        }
        if job.has_place {
            open.at_work -= 1;
        }
        if matches!(job.phase, Phase::Held(_)) {
            open.held.retain(|held| *held != key);
        }
        if open.jobs.is_empty() {
            let open = self.submissions.remove(&job.submission).expect("it is open");
            self.ended.push((open.request, open.nodes));
            step.effects.push(Effect::Ended(job.submission));
        } else {
            self.release(step, &job.submission, now);
        }
    }

    /// A job is no longer queued or with its node, which may have another one.
    pub(super) fn leave_node(&mut self, step: &mut LedgerStep, key: u64, now: Timestamp) {
        let job = &self.jobs[&key];
        let (node, number, phase) = (job.node, job.number, job.phase);
        let by = Arc::clone(&self.submissions[&job.submission].by);
        match phase {
            Phase::Queued => self.lane(node).queue.remove(&by, &key),
            Phase::Sent { .. } | Phase::Running => {
                self.sent.remove(&number);
                let lane = self.lane(node);
                lane.sent.remove(&number);
                lane.queue.done(&by);
                self.pump(step, node, now);
            }
            Phase::Held(_) | Phase::Delayed(_) => {}
        }
    }

    pub(super) fn without_answer(
        &self,
        key: u64,
        state: JobState,
        code: ErrorCode,
        message: &str,
        now: Timestamp,
    ) -> JobResult {
        let job = &self.jobs[&key];
        let mut command = self.submissions[&job.submission].request.command.clone();
        command.id = job.id.clone();
        result_without_answer(job.node, &command, state, JobError::new(code, message), now)
    }
}

/// Why a job is in its last state, in a line.
fn reason(result: &JobResult) -> String {
    match &result.error {
        None => "done".to_owned(),
        Some(error) => error.message.chars().take(300).collect(),
    }
}
