//! One job of a submission, while it has not ended.

use drover_api::{JobId, JobResult, JobState, NodeId, Timestamp, Transition};

use super::saved::NewJob;

#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: u64,
    pub(super) id: JobId,
    pub(super) submission: JobId,
    pub(super) node: NodeId,
    /// Of the attempt that was sent; 0 if none was.
    pub(super) number: u64,
    pub(super) attempt: u32,
    pub(super) phase: Phase,
    /// Whether it counts among those of its submission that are at work.
    pub(super) has_place: bool,
    /// Whether the node is to end it.
    pub(super) is_killed: bool,
    /// Whether its history says why it does not move to another node.
    pub(super) is_known_to_stay: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Until others of its submission have ended, and not before this time.
    Held(Timestamp),
    /// Until this time.
    Delayed(Timestamp),
    /// Until its node is there and has room.
    Queued,
    /// The node has it, or will have it.
    Sent {
        /// Whether the node has said so.
        is_confirmed: bool,
    },
    /// The node has started it.
    Running,
}

impl Job {
    pub(super) fn state(&self) -> JobState {
        match self.phase {
            Phase::Running => JobState::Running,
            _ => JobState::Queued,
        }
    }

    /// Whether only the node knows how far it is.
    pub(super) fn is_with_node(&self) -> bool {
        matches!(self.phase, Phase::Sent { .. } | Phase::Running)
    }

    /// Whether it is certain that no node has begun it, or ever had it.
    pub(super) fn may_move(&self) -> bool {
        !self.is_with_node() && self.attempt == 1
    }

    pub(super) fn confirm(&mut self) {
        if matches!(self.phase, Phase::Sent { .. }) {
            self.phase = Phase::Sent { is_confirmed: true };
        }
    }

    pub(super) fn has_started(&self, time: Timestamp) -> Transition {
        let reason = match self.attempt {
            1 => "started".to_owned(),
            attempt => format!("attempt {attempt} started"),
        };
        Transition { time, state: JobState::Running, reason }
    }

    /// The start that is only known by the result.
    pub(super) fn start_of(&self, result: &JobResult) -> Option<Transition> {
        let has_run = result.time > 0.0;
        let is_news = matches!(self.phase, Phase::Sent { .. });
        (has_run && is_news).then(|| self.has_started(result.starttime))
    }

    pub(super) fn row(&self) -> NewJob {
        let ready = match self.phase {
            Phase::Held(ready) | Phase::Delayed(ready) => ready,
            _ => Timestamp(0),
        };
        NewJob { key: self.key, node: self.node, number: self.number, ready }
    }
}
