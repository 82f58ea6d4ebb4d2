//! What nodes are to have: the rules, what follows from them, and where it is not so.

use std::collections::BTreeMap;
use std::time::Duration;

use drover_api::{
    Authority, DesiredMode, DesiredRemove, DesiredRule, DesiredSet, Drift, DriftState, NodeId,
    NodeStatus, Presence, Rollout, RolloutId, RolloutTarget, Selector, Timestamp,
};
use drover_rollout::{Machine, Mender, Wish};
use tokio::time::Instant;

/// The least time between two looks over all nodes: they come in crowds.
const PACE: Duration = Duration::from_millis(250);

/// The rules, and what was tried because of them.
#[derive(Debug, Default)]
pub(super) struct Desired {
    /// The latest is first.
    rules: Vec<DesiredRule>,
    /// What a plugin's version or channel stands for, or why for nothing.
    targets: BTreeMap<(String, String), Result<RolloutTarget, String>>,
    pub(super) mender: Mender,
    /// When nodes are to be looked at because something changed.
    due: Option<Instant>,
}

/// A change of the rules, to be on disk before anything follows from it.
#[derive(Debug, Clone)]
pub(super) enum RuleChange {
    Set(Box<DesiredRule>),
    Remove(DesiredRemove),
}

/// The rule that a rollout ends with.
pub(super) fn rule_of(rollout: &Rollout, now: Timestamp) -> DesiredRule {
    DesiredRule {
        set: DesiredSet {
            plugin: rollout.target.plugin.clone(),
            version: rollout.target.version.clone(),
            to: rollout.plan.to.clone(),
            mode: DesiredMode::Mend,
            watch_ms: rollout.plan.watch_ms,
        },
        by: rollout.by.clone(),
        authority: rollout.authority.clone(),
        since: now,
        rollout: Some(rollout.id),
        trouble: None,
    }
}

impl Desired {
    pub(super) fn new(rules: Vec<DesiredRule>) -> Self {
        Self { rules, ..Self::default() }
    }

    /// The rules with what stands in their way, the latest first.
    pub(super) fn list(&self) -> Vec<DesiredRule> {
        let rules = self.rules.iter().cloned();
        let with_trouble = rules.map(|rule| {
            let trouble = self.target(&rule.set).and_then(|found| found.as_ref().err().cloned());
            DesiredRule { trouble, ..rule }
        });
        with_trouble.collect()
    }

    pub(super) fn has(&self, plugin: &str, to: &Selector) -> bool {
        self.rules.iter().any(|rule| rule.set.plugin == plugin && rule.set.to == *to)
    }

    /// Every version and channel that rules speak of.
    pub(super) fn wanted(&self) -> Vec<(String, String)> {
        let mut wanted: Vec<_> = self.rules.iter().map(|rule| place(&rule.set)).collect();
        wanted.sort();
        wanted.dedup();
        wanted
    }

    /// Takes what a version or channel stands for.
    pub(super) fn resolved(
        &mut self,
        plugin: String,
        version: String,
        target: Result<RolloutTarget, String>,
    ) {
        self.targets.insert((plugin, version), target);
        self.look_soon();
    }

    /// Takes a change of the rules, and says which nodes are no longer to be listened
    /// to.
    pub(super) fn change(&mut self, change: RuleChange) -> Vec<NodeId> {
        let (plugin, to) = match &change {
            RuleChange::Set(rule) => (rule.set.plugin.clone(), rule.set.to.clone()),
            RuleChange::Remove(remove) => (remove.plugin.clone(), remove.to.clone()),
        };
        self.rules.retain(|rule| rule.set.plugin != plugin || rule.set.to != to);
        if let RuleChange::Set(rule) = change {
            self.rules.insert(0, *rule);
        }
        self.look_soon();
        self.mender.forget(&plugin)
    }

    /// Has all nodes looked at before long.
    pub(super) fn look_soon(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + PACE);
    }

    /// When nodes are to be looked at.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let now = Timestamp::now();
        let tick = self.mender.next_tick().map(|next| Instant::now() + next.since(now));
        tick.into_iter().chain(self.due).min()
    }

    /// Which nodes are to be asked for what now; `may` says that it still may be.
    pub(super) fn look(
        &mut self,
        nodes: &BTreeMap<NodeId, NodeStatus>,
        rollouts: &BTreeMap<RolloutId, Machine>,
        may: impl Fn(Option<&Authority>, NodeId) -> bool,
    ) -> Vec<(Wish, RolloutTarget)> {
        self.due = None;
        let mut wishes = Vec::new();
        for (rule, node, target) in self.drifted(nodes) {
            let node = node.description.id();
            if rule.set.mode == DesiredMode::Mend
                && nodes.get(&node).is_some_and(|known| known.presence == Presence::Present)
                && !is_in_rollout(rollouts, &target.plugin, node)
                && may(rule.authority.as_ref(), node)
            {
                let (plugin, hash) = (target.plugin.clone(), target.hash.clone());
                wishes.push(Wish { node, plugin, hash, watch_ms: rule.set.watch_ms });
            }
        }
        let targets: BTreeMap<_, _> =
            self.targets.values().flatten().map(|target| (target.hash.clone(), target)).collect();
        let asked = self.mender.mend(&wishes, Timestamp::now());
        let with_target = asked
            .into_iter()
            .filter_map(|wish| Some((wish.clone(), (*targets.get(&wish.hash)?).clone())));
        with_target.collect()
    }

    /// Which nodes do not have what they are to have, by id.
    pub(super) fn drift(
        &self,
        nodes: &BTreeMap<NodeId, NodeStatus>,
        rollouts: &BTreeMap<RolloutId, Machine>,
    ) -> Vec<Drift> {
        let describe = |(rule, node, target): (&DesiredRule, &NodeStatus, &RolloutTarget)| {
            let id = node.description.id();
            let (state, reason) = if is_in_rollout(rollouts, &target.plugin, id) {
                (DriftState::InRollout, None)
            } else if rule.set.mode == DesiredMode::Show {
                (DriftState::Shown, None)
            } else if node.presence == Presence::Lost {
                (DriftState::Away, None)
            } else {
                self.mender.state(id, &target.plugin, &target.hash)
            };
            Drift {
                node: id,
                name: node.description.name.clone(),
                plugin: target.plugin.clone(),
                version: target.version.clone(),
                hash: target.hash.clone(),
                has: node.description.hash_of(&target.plugin).map(str::to_owned),
                state,
                reason,
            }
        };
        self.drifted(nodes).into_iter().map(describe).collect()
    }

    /// Nodes that do not have what the latest rule that means them says.
    fn drifted<'a>(
        &'a self,
        nodes: &'a BTreeMap<NodeId, NodeStatus>,
    ) -> Vec<(&'a DesiredRule, &'a NodeStatus, &'a RolloutTarget)> {
        let mut drifted = Vec::new();
        for node in nodes.values() {
            let mut seen = Vec::new();
            for rule in &self.rules {
                let plugin = rule.set.plugin.as_str();
                if seen.contains(&plugin) || !rule.set.to.matches(&node.description) {
                    continue;
                }
                seen.push(plugin);
                if let Some(Ok(target)) = self.target(&rule.set)
                    && node.description.hash_of(plugin) != Some(&target.hash)
                {
                    drifted.push((rule, node, target));
                }
            }
        }
        drifted
    }

    fn target(&self, set: &DesiredSet) -> Option<&Result<RolloutTarget, String>> {
        self.targets.get(&place(set))
    }
}

fn place(set: &DesiredSet) -> (String, String) {
    (set.plugin.clone(), set.version.clone())
}

fn is_in_rollout(rollouts: &BTreeMap<RolloutId, Machine>, plugin: &str, node: NodeId) -> bool {
    rollouts
        .values()
        .any(|one| !one.is_over() && one.rollout().target.plugin == plugin && one.has(node))
}
