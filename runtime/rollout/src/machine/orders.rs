//! What people tell a rollout.

use super::{Effect, Machine, Phase, RolloutOrder, RolloutOutcome, State, Timestamp};

/// An order that makes no sense now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// It is over.
    #[error("rollout {id} is over: nothing about it changes any more")]
    Over {
        /// The rollout.
        id: drover_api::RolloutId,
    },
    /// It is not in a phase for that.
    #[error("rollout {id} {is}, and cannot {order}")]
    NotNow {
        /// The rollout.
        id: drover_api::RolloutId,
        /// What it is at.
        is: &'static str,
        /// What it was told.
        order: &'static str,
    },
}

impl Machine {
    /// Takes an order from `by`.
    ///
    /// # Errors
    ///
    /// If it makes no sense now: nothing changes then.
    pub fn order(
        &mut self,
        order: RolloutOrder,
        by: &str,
        now: Timestamp,
    ) -> Result<Vec<Effect>, OrderError> {
        let id = self.rollout.id;
        let not_now = |is, order| Err(OrderError::NotNow { id, is, order });
        let mut effects = Vec::new();
        let text = match (order, &self.rollout.phase) {
            (_, Phase::Ended { .. }) => return Err(OrderError::Over { id }),
            (RolloutOrder::Pause, Phase::Paused { .. }) => return not_now("is paused", "pause"),
            (RolloutOrder::Resume, Phase::Running | Phase::Between { .. }) => {
                return not_now("is not paused", "resume");
            }
            (RolloutOrder::Pause | RolloutOrder::Resume, Phase::GoingBack { .. }) => {
                return not_now("goes back", "pause or resume");
            }
            (RolloutOrder::GoBack, Phase::GoingBack { .. }) => {
                return not_now("goes back already", "go back again");
            }
            (RolloutOrder::Pause, Phase::Between { until }) => {
                let until = Some(*until);
                self.enter(Phase::Paused { until }, now);
                "paused"
            }
            (RolloutOrder::Pause, Phase::Running) => {
                self.enter(Phase::Paused { until: None }, now);
                "paused"
            }
            (RolloutOrder::Resume, Phase::Paused { until }) => {
                let phase = until.map_or(Phase::Running, |until| Phase::Between { until });
                self.enter(phase, now);
                "resumed"
            }
            (RolloutOrder::Abort, _) => "aborted",
            (RolloutOrder::GoBack, _) => "told to go back",
        };
        self.note_by(by.to_owned(), text.to_owned(), now);
        match order {
            RolloutOrder::Abort => self.abort(by, now, &mut effects),
            RolloutOrder::GoBack => {
                self.begin_to_go_back(format!("{by} wants it"), now, &mut effects);
            }
            RolloutOrder::Pause | RolloutOrder::Resume => {}
        }
        self.go_on(now, &mut effects);
        self.count();
        Ok(effects)
    }

    fn abort(&mut self, by: &str, now: Timestamp, effects: &mut Vec<Effect>) {
        for node in self.nodes_in(&[State::Updating, State::Reverting]) {
            effects.push(Effect::Leave(node));
        }
        self.end(RolloutOutcome::Aborted, Some(format!("{by} aborted it")), now);
    }
}
