//! How rules of what nodes are to have are set, and what follows from them.

use drover_api::{
    Authority, DesiredRemove, DesiredRule, DesiredSet, ErrorCode, RolloutTarget, Timestamp,
    procedures,
};
use drover_wamp::{ApplicationError, Invocation, uri};
use tokio::time::sleep;

use super::calls::Want;
use super::desired::RuleChange;
use super::errands::{self, Owner};
use super::{Called, Service, starting};
use crate::calls::{Answer, OWN_RETRY, argument, caller, encode};
use crate::refusal::refuse;

impl Service {
    pub(super) fn call_of_rules(&mut self, call: Invocation) {
        let answer = match call.procedure.as_str() {
            procedures::DESIRED_SET => match argument::<DesiredSet>(&call) {
                Ok(set) => return self.find(call, Want::Rule(set)),
                Err(refused) => Err(refused),
            },
            procedures::DESIRED_LIST => encode(&self.desired.list()),
            procedures::DESIRED_REMOVE => argument(&call).and_then(|remove| {
                let authority = self.access.of_call(&call)?;
                self.judge_rule(authority.as_ref())?;
                self.remove_rule(remove, &caller(&call))
            }),
            procedures::DESIRED_DRIFT => encode(&self.desired.drift(&self.nodes, &self.machines)),
            unknown => {
                let message = format!("there is no procedure {unknown}");
                Err(refuse(ErrorCode::UnknownCommand, message))
            }
        };
        self.due.answers.push((call, answer));
    }

    pub(super) fn set_rule(
        &mut self,
        set: DesiredSet,
        target: RolloutTarget,
        by: String,
        authority: Option<Authority>,
    ) -> Answer {
        self.judge_rule(authority.as_ref())?;
        let (plugin, version) = (set.plugin.clone(), set.version.clone());
        tracing::info!(plugin, version, to = %set.to, by, "what nodes are to have was set");
        let since = Timestamp::now();
        let rule = DesiredRule { set, by, authority, since, rollout: None, trouble: None };
        let answer = encode(&rule)?;
        self.desired.resolved(plugin, version, Ok(target));
        self.due.rules.push(RuleChange::Set(Box::new(rule)));
        Ok(answer)
    }

    /// A rule is about nodes that join later too, and goes before those of others.
    pub(super) fn judge_rule(&self, authority: Option<&Authority>) -> Result<(), ApplicationError> {
        let Some(authority) = authority else { return Ok(()) };
        let judged = self.access.may_run_everywhere(authority, errands::UPDATE);
        judged.map_err(|why| refuse(ErrorCode::Denied, why))
    }

    fn remove_rule(&mut self, remove: DesiredRemove, by: &str) -> Answer {
        let DesiredRemove { plugin, to } = &remove;
        if !self.desired.has(plugin, to) {
            let message = format!(
                "there is no rule of {plugin} for `{to}`; `drover desired list` shows them"
            );
            return Err(refuse(ErrorCode::UnknownCommand, message));
        }
        tracing::info!(plugin, %to, by, "what nodes are to have was removed");
        self.due.rules.push(RuleChange::Remove(remove));
        encode(&())
    }

    /// Takes a change that is on disk.
    pub(super) fn change_rules(&mut self, change: RuleChange) {
        let plugin = match &change {
            RuleChange::Set(rule) => rule.set.plugin.clone(),
            RuleChange::Remove(remove) => remove.plugin.clone(),
        };
        for node in self.desired.change(change) {
            self.errands.leave(Owner::Rules(plugin.clone()), node);
        }
    }

    /// Asks the catalog what the rules' versions and channels stand for.
    pub(super) fn resolve_rules(&mut self) {
        for (plugin, version) in self.desired.wanted() {
            let session = self.session.clone();
            self.calls.spawn(async move {
                let found = loop {
                    let found = starting::find(&session, &plugin, Some(&version)).await;
                    match &found {
                        // The catalog begins at the same time.
                        Err(error) if error.uri == uri::error::NO_SUCH_PROCEDURE => {
                            sleep(OWN_RETRY).await;
                        }
                        _ => break found,
                    }
                };
                let target = found.map_err(|error| error.message().unwrap_or(error.uri));
                Called::Resolved(plugin, version, target)
            });
        }
    }

    /// Brings nodes to what they are to have, where that is due.
    pub(super) fn mend(&mut self) {
        let may = |authority: Option<&Authority>, node| {
            authority.is_none_or(|one| self.access.may_run(one, errands::UPDATE, node).is_ok())
        };
        for (wish, target) in self.desired.look(&self.nodes, &self.machines, may) {
            let (node, version) = (wish.node, &target.version);
            tracing::info!(%node, plugin = wish.plugin, version, "a node is brought to a version");
            let command = errands::update(node, &target, wish.watch_ms, false);
            self.errands.ask(&self.session, Owner::Rules(wish.plugin), node, command);
        }
    }
}
