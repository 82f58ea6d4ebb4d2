//! What people ask of rollouts, and how they are answered.

use std::sync::Arc;

use drover_api::{
    Authority, DesiredSet, ErrorCode, Presence, RolloutControl, RolloutDetail, RolloutId,
    RolloutNode, RolloutStart, RolloutTarget, Timestamp, procedures,
};
use drover_rollout::{Event, Machine, Outcome, SETTLE};
use drover_wamp::{ApplicationError, Invocation};
use tokio::task::spawn_blocking;

use super::errands::{self, Owner};
use super::store::{Store, StoreError};
use super::{Called, Found, Service, starting};
use crate::calls::{Answer, argument, caller, encode};
use crate::refusal::refuse;

/// What is wanted of a version.
pub(super) enum Want {
    Rollout(RolloutStart),
    Rule(DesiredSet),
}

impl Want {
    fn plugin_and_version(&self) -> (String, Option<String>) {
        match self {
            Self::Rollout(start) => (start.plugin.clone(), start.version.clone()),
            Self::Rule(set) => (set.plugin.clone(), Some(set.version.clone())),
        }
    }
}

impl Service {
    pub(super) fn call(&mut self, call: Invocation) {
        match call.procedure.as_str() {
            procedures::ROLLOUT_START => match argument::<RolloutStart>(&call) {
                Ok(start) => self.find(call, Want::Rollout(start)),
                Err(refused) => self.due.answers.push((call, Err(refused))),
            },
            procedures::ROLLOUT_CONTROL => {
                let answer = argument(&call).and_then(|order| {
                    let authority = self.access.of_call(&call)?;
                    self.control(&order, &caller(&call), authority.as_ref())
                });
                self.due.answers.push((call, answer));
            }
            procedures::ROLLOUT_LIST => self.read(call, Store::list),
            procedures::ROLLOUT_SHOW => match argument::<RolloutId>(&call) {
                Ok(id) => self.read(call, move |store| store.detail(id)),
                Err(refused) => self.due.answers.push((call, Err(refused))),
            },
            unknown => {
                let message = format!("there is no procedure {unknown}");
                let refused = refuse(ErrorCode::UnknownCommand, message);
                self.due.answers.push((call, Err(refused)));
            }
        }
    }

    /// Answers with what is on disk. Null is answered with what there is instead.
    fn read<T: serde::Serialize + Send + 'static>(
        &mut self,
        call: Invocation,
        read: impl FnOnce(&Store) -> Result<T, StoreError> + Send + 'static,
    ) {
        let store = Arc::clone(&self.store);
        self.calls.spawn(async move {
            let read = spawn_blocking(move || read(&store)).await;
            let answer = match read {
                Ok(Ok(answer)) => encode(&answer),
                Ok(Err(error)) => Err(not_stored(error)),
                Err(_) => Err(refuse(ErrorCode::Internal, "the controller failed".to_owned())),
            };
            call.finish(answer).await;
            Called::Answered
        });
    }

    /// Looks up what somebody wants something of.
    pub(super) fn find(&mut self, call: Invocation, want: Want) {
        let session = self.session.clone();
        self.calls.spawn(async move {
            let (plugin, version) = want.plugin_and_version();
            let target = starting::find(&session, &plugin, version.as_deref()).await;
            Called::Found(Box::new(Found { call, want, target }))
        });
    }

    pub(super) fn found(&mut self, found: Found) {
        let Found { call, want, target } = found;
        let by = caller(&call);
        let answer = target.and_then(|target| {
            let authority = self.access.of_call(&call)?;
            match want {
                Want::Rollout(start) => self.admit(start, target, by, authority),
                Want::Rule(set) => self.set_rule(set, target, by, authority),
            }
        });
        self.due.answers.push((call, answer));
    }

    /// Nodes that were here before a restart come back within a moment, and one that is
    /// gone for long must not be the first of them.
    fn refuse_without_nodes(&self, machine: &Machine) -> Result<(), ApplicationError> {
        let is_here = |node: &RolloutNode| {
            let known = self.nodes.get(&node.node);
            known.is_some_and(|known| known.presence == Presence::Present)
        };
        let nodes = machine.nodes();
        if self.began.elapsed() >= SETTLE || nodes.iter().any(is_here) {
            return Ok(());
        }
        let message = format!(
            "the controller has just been started, and none of the {} nodes that are meant has come \
             back yet: start the rollout again in a moment",
            nodes.len()
        );
        Err(refuse(ErrorCode::Busy, message))
    }

    fn admit(
        &mut self,
        start: RolloutStart,
        target: RolloutTarget,
        by: String,
        authority: Option<Authority>,
    ) -> Answer {
        let is_dry = start.dry_run;
        if start.plan.keep && !is_dry {
            self.judge_rule(authority.as_ref()).map_err(|mut refused| {
                let hint = "; `--once` leaves no rule behind";
                if let Some(text) = refused.message() {
                    refused = refuse(ErrorCode::Denied, text + hint);
                }
                refused
            })?;
        }
        let id = RolloutId(if is_dry { 0 } else { self.last_id + 1 });
        let (nodes, others) = (self.nodes.values(), self.machines.values());
        let machine = starting::admit(id, start, target, (by, authority), nodes, others)?;
        self.judge_nodes(machine.rollout().authority.as_ref(), &machine)?;
        self.refuse_without_nodes(&machine)?;
        let rollout = machine.rollout().clone();
        let answer = RolloutDetail { rollout, nodes: machine.nodes(), history: Vec::new() };
        if !is_dry {
            let RolloutTarget { plugin, version, .. } = &answer.rollout.target;
            let (by, nodes) = (&answer.rollout.by, answer.nodes.len());
            tracing::info!(rollout = %id, plugin, version, by, nodes, "rollout started");
            self.last_id = id.0;
            for node in &answer.nodes {
                let (plugin, node) = (plugin.clone(), node.node);
                let left = Outcome::Lost("a rollout sees to it".to_owned());
                self.desired.mender.ended(node, &plugin, left, Timestamp::now());
                self.errands.leave(Owner::Rules(plugin), node);
            }
            self.machines.insert(id, machine);
            self.happened(id, Event::Tick);
        }
        encode(&answer)
    }

    /// Whoever has something to say about a rollout may update each of its nodes.
    fn judge_nodes(
        &self,
        authority: Option<&Authority>,
        machine: &Machine,
    ) -> Result<(), ApplicationError> {
        let Some(authority) = authority else { return Ok(()) };
        let mut nodes = machine.nodes().into_iter();
        let judged =
            nodes.try_for_each(|node| self.access.may_run(authority, errands::UPDATE, node.node));
        judged.map_err(|why| refuse(ErrorCode::Denied, why))
    }

    fn control(
        &mut self,
        control: &RolloutControl,
        by: &str,
        authority: Option<&Authority>,
    ) -> Answer {
        let RolloutControl { id, order } = *control;
        if let Some(machine) = self.machines.get(&id) {
            self.judge_nodes(authority, machine)?;
        }
        let Some(machine) = self.machines.get_mut(&id) else {
            let message = match (1..=self.last_id).contains(&id.0) {
                true => format!("rollout {id} is over: nothing about it changes any more"),
                false => format!("there is no rollout {id}; `drover rollout list` shows them"),
            };
            return Err(refuse(ErrorCode::UnknownCommand, message));
        };
        let effects = machine
            .order(order, by, Timestamp::now())
            .map_err(|error| refuse(ErrorCode::Failed, error.to_string()))?;
        tracing::info!(rollout = %id, ?order, by, "rollout was told");
        self.due.effects.extend(effects.into_iter().map(|effect| (id, effect)));
        encode(machine.rollout())
    }
}

fn not_stored(error: StoreError) -> ApplicationError {
    let error = format!("{:#}", anyhow::Error::new(error));
    tracing::error!(error, "the rollouts cannot be read");
    refuse(ErrorCode::Internal, error)
}
