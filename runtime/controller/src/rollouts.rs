//! The rollout service: a WAMP session that brings plugin versions to nodes, wave by
//! wave.
//!
//! ```text
//!   start, control ──▶ ┌─────────┐ ◀── nodes come and go
//!                      │ service │
//!   what nodes told ─▶ └─────────┘ ──▶ store, then events for who watches, then errands
//! ```
//!
//! What happens is decided in `drover-rollout`; one task here feeds it, writes down
//! what follows ([`store`]), and only then asks nodes ([`errands`]). All that a node is
//! asked can be asked twice, so a controller that was killed asks again, and the nodes
//! tell how far they are.
//!
//! The same task sees to the rules of what nodes are to have ([`desired`]): nodes that
//! a rollout is about are left to it, and a rollout that is done becomes a rule.

mod calls;
mod desired;
mod errands;
mod rules;
mod starting;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use drover_api::{
    DesiredRule, DesiredSet, NodeId, NodeStatus, Presence, RolloutDetail, RolloutId,
    RolloutOutcome, RolloutPhase, RolloutTarget, Timestamp, procedures,
};
use drover_rollout::{Effect, Event, Machine, Outcome};
use drover_wamp::{
    ApplicationError, Client, CloseReason, Invocation, MatchPolicy, Payload, PublishOptions,
    RegisterOptions, Router, SubscribeOptions,
};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::calls::{Answer, nodes_at_start};
use crate::vitals::Vitals;
use calls::Want;
use desired::{Desired, RuleChange, rule_of};
use errands::{Errands, Heard, Owner};
use store::Store;

/// What all procedures of rollouts share.
const PREFIX: &str = "drover.controller.rollout.";

/// What all procedures of rules share.
const DESIRED_PREFIX: &str = "drover.controller.desired.";

/// How long the catalog, and the list of nodes, may take.
const CATALOG_TIMEOUT: Duration = Duration::from_secs(30);

/// How often all nodes are asked for, in case an event was lost.
const REFRESH: Duration = Duration::from_secs(300);

/// Starts that are looked into at the same time, and reads; more wait.
const CALLS_AT_ONCE: usize = 32;

/// The wait before a disk that failed is tried again.
const DISK_RETRY: Duration = Duration::from_secs(2);

/// The longest time without a look at the clock: it may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Rollouts that are on disk.
pub(crate) struct Rollouts {
    store: Arc<Store>,
    machines: BTreeMap<RolloutId, Machine>,
    last_id: u64,
    rules: Vec<DesiredRule>,
}

impl Rollouts {
    /// Opens the file in the directory `dir`, which is there.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join("rollouts.db");
        let store =
            Store::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
        let under_way = store.under_way().context("cannot read the rollouts")?;
        let machines = under_way.into_iter().map(|(rollout, nodes)| {
            let id = rollout.id;
            (id, Machine::restore(rollout, nodes))
        });
        let (machines, last_id) = (machines.collect(), store.last_id()?);
        let rules = store.rules().context("cannot read what nodes are to have")?;
        Ok(Self { store: Arc::new(store), machines, last_id, rules })
    }
}

/// Serves in a realm of `router` until `stop` is cancelled. A session that is
/// killed by somebody who may do that is followed by another one.
///
/// # Errors
///
/// If there is no such realm, or the router refuses a registration.
pub(crate) async fn run(
    router: Router,
    realm: String,
    rollouts: Rollouts,
    access: Access,
    vitals: Vitals,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Rollouts { store, machines, last_id, rules } = rollouts;
    let mut service = Service {
        access,
        session: router.attach(&realm).context("cannot join the own router")?,
        store,
        machines,
        last_id,
        nodes: BTreeMap::new(),
        errands: Errands::new(),
        desired: Desired::new(rules),
        calls: JoinSet::new(),
        due: Due::default(),
        vitals,
        began: Instant::now(),
    };
    service.everywhere(&Event::Restarted);
    while let Some(reason) = service.serve(&stop).await? {
        tracing::warn!(%reason, "the rollouts lost their session and open another one");
        service.session = router.attach(&realm).context("cannot join the own router again")?;
    }
    service.errands.shutdown().await;
    service.calls.shutdown().await;
    service.session.close().await;
    Ok(())
}

struct Service {
    access: Access,
    session: Client,
    store: Arc<Store>,
    /// Those that are not over.
    machines: BTreeMap<RolloutId, Machine>,
    last_id: u64,
    nodes: BTreeMap<NodeId, NodeStatus>,
    errands: Errands,
    desired: Desired,
    calls: JoinSet<Called>,
    due: Due,
    vitals: Vitals,
    /// When the controller began, as far as this service knows.
    began: Instant,
}

/// What waits for the disk.
#[derive(Default)]
struct Due {
    changes: Vec<RolloutDetail>,
    rules: Vec<RuleChange>,
    effects: Vec<(RolloutId, Effect)>,
    answers: Vec<(Invocation, Answer)>,
    /// When a disk that failed is tried again.
    not_before: Option<Instant>,
}

/// A call that somebody else had to be asked for.
enum Called {
    Answered,
    /// What somebody wants, and what it is about.
    Found(Box<Found>),
    /// What a plugin's version or channel stands for.
    Resolved(String, String, Result<RolloutTarget, String>),
}

struct Found {
    call: Invocation,
    want: Want,
    target: Result<RolloutTarget, ApplicationError>,
}

impl Service {
    /// Serves until `stop` is cancelled, or the session ends; then says why.
    async fn serve(&mut self, stop: &CancellationToken) -> anyhow::Result<Option<CloseReason>> {
        let session = self.session.clone();
        let set_up = async {
            let all = RegisterOptions { policy: MatchPolicy::Prefix, ..RegisterOptions::default() };
            let calls = session.register(PREFIX, all.clone()).await;
            let calls = calls.context("cannot register the rollouts")?;
            let rules = session.register(DESIRED_PREFIX, all).await;
            let rules = rules.context("cannot register what nodes are to have")?;
            let options = SubscribeOptions::default;
            let changes = session.subscribe(procedures::NODE_CHANGED, options()).await;
            let changes = changes.context("cannot follow the nodes")?;
            let farewells = session.subscribe(procedures::NODE_FORGOTTEN, options()).await;
            let farewells = farewells.context("cannot follow the nodes that are forgotten")?;
            let catalog = session.subscribe(procedures::CATALOG_CHANGED, options()).await;
            let catalog = catalog.context("cannot follow the catalog")?;
            let nodes = nodes_at_start(&session).await.context("cannot ask for the nodes")?;
            anyhow::Ok(((calls, rules), (changes, farewells, catalog), nodes))
        };
        let ((mut calls, mut rules), events, nodes) = tokio::select! {
            () = stop.cancelled() => return Ok(None),
            reason = session.closed() => return Ok(Some(reason)),
            ready = set_up => ready?,
        };
        let (mut changes, mut farewells, mut catalog) = events;
        self.take_nodes(nodes);
        self.resolve_rules();
        let mut refresh = interval(REFRESH);
        refresh.reset();
        loop {
            self.settle().await;
            let has_room = self.calls.len() < CALLS_AT_ONCE;
            let next_look = self.next_look();
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                reason = session.closed() => return Ok(Some(reason)),
                Some(call) = calls.next(), if has_room => self.call(call),
                Some(call) = rules.next(), if has_room => self.call_of_rules(call),
                Some(_) = catalog.next() => self.resolve_rules(),
                Some(called) = self.calls.join_next() => {
                    match called.context("a call to the rollouts panicked")? {
                        Called::Answered => {}
                        Called::Found(found) => self.found(*found),
                        Called::Resolved(plugin, version, target) => {
                            self.desired.resolved(plugin, version, target);
                        }
                    }
                }
                Some(event) = changes.next() => {
                    if let Ok(node) = event.payload.first::<NodeStatus>() {
                        self.node_changed(node);
                    }
                    if event.missed > 0 {
                        refresh.reset_immediately();
                    }
                }
                Some(farewell) = farewells.next() => {
                    if let Ok(node) = farewell.payload.first::<NodeId>() {
                        self.nodes.remove(&node);
                        self.everywhere(&Event::Gone(node));
                    }
                }
                heard = self.errands.heard() => self.heard(heard),
                _ = refresh.tick() => match crate::calls::nodes(&session).await {
                    Ok(nodes) => self.take_nodes(nodes),
                    Err(error) => tracing::warn!(%error, "the rollouts cannot see the nodes"),
                },
                () = sleep_until(next_look) => {
                    self.everywhere(&Event::Tick);
                    self.mend();
                }
            }
        }
    }

    /// When there is something to do even if nothing happens.
    fn next_look(&self) -> Instant {
        let now = Timestamp::now();
        let ticks = self.machines.values().filter_map(Machine::next_tick);
        let wait = ticks.min().map_or(LONGEST_SLEEP, |next| next.since(now));
        // A millisecond more: timers count in whole ones, and might be early.
        let wait = wait.saturating_add(Duration::from_millis(1)).min(LONGEST_SLEEP);
        let others = self.due.not_before.into_iter().chain(self.desired.next_look());
        others.chain([Instant::now() + wait]).min().unwrap_or_else(Instant::now)
    }

    fn everywhere(&mut self, event: &Event) {
        let now = Timestamp::now();
        for (id, machine) in &mut self.machines {
            let effects = machine.happened(event.clone(), now);
            self.due.effects.extend(effects.into_iter().map(|effect| (*id, effect)));
        }
    }

    fn happened(&mut self, id: RolloutId, event: Event) {
        if let Some(machine) = self.machines.get_mut(&id) {
            let effects = machine.happened(event, Timestamp::now());
            self.due.effects.extend(effects.into_iter().map(|effect| (id, effect)));
        }
    }

    fn heard(&mut self, first: Heard) {
        let mut next = Some(first);
        while let Some(heard) = next {
            match heard.owner {
                Owner::Rollout(rollout) => self.happened(rollout, heard.event),
                Owner::Rules(plugin) => match heard.event {
                    Event::Told(node, status) => {
                        self.desired.mender.told(node, &plugin, status.reason);
                    }
                    Event::Updated(node, outcome) => {
                        self.desired.mender.ended(node, &plugin, outcome, Timestamp::now());
                        self.desired.look_soon();
                    }
                    _ => {}
                },
            }
            next = self.errands.heard_already();
        }
    }

    fn take_nodes(&mut self, nodes: Vec<NodeStatus>) {
        // Those that the controller has forgotten are forgotten here too.
        let known: BTreeSet<_> = nodes.iter().map(|node| node.description.id()).collect();
        self.nodes.retain(|id, _| known.contains(id));
        for node in nodes {
            self.node_changed(node);
        }
    }

    fn node_changed(&mut self, node: NodeStatus) {
        let id = node.description.id();
        let event = match node.presence {
            Presence::Present => Event::Here(id),
            Presence::Lost => Event::Gone(id),
        };
        self.nodes.insert(id, node);
        self.desired.look_soon();
        let concerned = self.machines.iter().filter(|(_, machine)| machine.has(id));
        let concerned: Vec<_> = concerned.map(|(rollout, _)| *rollout).collect();
        for rollout in concerned {
            self.happened(rollout, event.clone());
        }
    }

    /// Writes down what has changed, and then does what follows from it.
    async fn settle(&mut self) {
        let changes = self.machines.values_mut().filter_map(Machine::take_changes);
        for change in changes {
            let RolloutDetail { rollout, .. } = &change;
            let is_done =
                matches!(rollout.phase, RolloutPhase::Ended { outcome: RolloutOutcome::Done, .. });
            if is_done && rollout.plan.keep {
                let rule = rule_of(rollout, Timestamp::now());
                let DesiredSet { plugin, version, .. } = &rule.set;
                let target = Ok(rollout.target.clone());
                self.desired.resolved(plugin.clone(), version.clone(), target);
                self.due.rules.push(RuleChange::Set(Box::new(rule)));
            }
            self.due.changes.push(change);
        }
        if self.due.not_before.is_some_and(|retry| Instant::now() < retry) {
            return;
        }
        self.due.not_before = None;
        if !self.due.changes.is_empty() || !self.due.rules.is_empty() {
            let store = Arc::clone(&self.store);
            let changes = std::mem::take(&mut self.due.changes);
            let rules = std::mem::take(&mut self.due.rules);
            let saved = spawn_blocking(move || {
                let saved = store.save(&changes, &rules);
                (changes, rules, saved)
            });
            let (changes, rules, saved) = match saved.await {
                Ok(saved) => saved,
                Err(error) => {
                    tracing::error!(%error, "writing down rollouts panicked");
                    return;
                }
            };
            if let Err(error) = saved {
                let error = format!("{:#}", anyhow::Error::new(error));
                tracing::error!(error, "rollouts wait for the disk");
                (self.due.changes, self.due.rules) = (changes, rules);
                self.due.not_before = Some(Instant::now() + DISK_RETRY);
                return;
            }
            for change in changes {
                self.tell(change).await;
            }
            for change in rules {
                self.change_rules(change);
            }
        }
        for (rollout, effect) in std::mem::take(&mut self.due.effects) {
            self.perform(rollout, effect);
        }
        for (call, answer) in std::mem::take(&mut self.due.answers) {
            call.finish(answer).await;
        }
        self.machines.retain(|_, machine| !machine.is_over());
        self.vitals.rollouts(self.machines.values().map(|machine| &machine.rollout().phase));
    }

    /// Tells the log and those who watch what has changed.
    async fn tell(&self, change: RolloutDetail) {
        for note in &change.history {
            let (rollout, by) = (change.rollout.id, note.by.as_deref());
            tracing::info!(%rollout, by, note = note.text, "rollout");
        }
        let told = async {
            let payload = Payload::one(&change)?;
            let options = PublishOptions::default();
            self.session.publish(procedures::ROLLOUT_CHANGED, payload, options).await
        };
        if let Err(error) = told.await {
            tracing::debug!(%error, "nobody was told how a rollout goes on");
        }
    }

    fn perform(&mut self, rollout: RolloutId, effect: Effect) {
        let Some(machine) = self.machines.get(&rollout) else { return };
        let (target, plan) = (&machine.rollout().target, &machine.rollout().plan);
        let (node, command) = match effect {
            Effect::Leave(node) => return self.errands.leave(Owner::Rollout(rollout), node),
            Effect::Revert(node, to) => (node, errands::revert(node, target, to.as_deref())),
            // Whoever is asked once more may have tried it again, and in vain.
            Effect::Update(node) => {
                let authority = machine.rollout().authority.as_ref();
                let may = authority.map(|one| self.access.may_run(one, errands::UPDATE, node));
                if let Some(Err(why)) = may {
                    // Whoever started it may not update it any more.
                    let failed = Event::Updated(node, Outcome::Failed(why));
                    return self.happened(rollout, failed);
                }
                let again = plan.again && machine.is_first_try(node);
                (node, errands::update(node, target, plan.watch_ms, again))
            }
        };
        self.errands.ask(&self.session, Owner::Rollout(rollout), node, command);
    }
}
