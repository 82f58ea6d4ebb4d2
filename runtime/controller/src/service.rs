//! The node service: a WAMP session that feeds the table of nodes and answers
//! questions about it; whoever follows the nodes is told what changes.
//!
//! One task owns the table. It hears heartbeats, ended sessions, answers to
//! its own questions and the sweep's timer, and handles each in one place.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use drover_api::{
    AccessName, ErrorCode, Heartbeat, NodeDescription, NodeId, NodeStatus, Presence, Timestamp,
    procedures,
};
use drover_wamp::{
    CallError, CallOptions, Client, CloseReason, Event, Invocation, Payload, PublishOptions,
    RegisterOptions, Router, SubscribeOptions, uri,
};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::access::{Access, speaks_for};
use crate::calls::{Answer, argument, encode};
use crate::nodes::{Change, Changed, Kept, Nodes, Presences, Reaction, Store};
use crate::refusal::refuse;
use crate::vitals::Vitals;

/// How long a node may take to describe itself before it is asked again.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it is written down that the nodes are there as before.
const ALIVE: Duration = Duration::from_secs(60);

/// The nodes that were to be written down, and whether they were.
type Saved = (Vec<NodeId>, anyhow::Result<()>);

/// A node's answer to `describe`, and the heartbeat that made us ask.
type Described = (Heartbeat, Result<NodeDescription, CallError>);

/// Serves in a realm of `router` until `stop` is cancelled. A session that is
/// killed by somebody who may do that is followed by another one.
///
/// # Errors
///
/// If there is no such realm, or the router refuses a subscription or registration.
pub(crate) async fn run(
    router: Router,
    realm: String,
    rules: Presences,
    kept: Kept,
    access: Access,
    vitals: Vitals,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Kept { store, mut known } = kept;
    // All are written down anew: who was there is lost from now on, and who may not
    // join any more is forgotten.
    let unsaved = known.iter().map(|node| node.description.id()).collect();
    let revoked = access.nodes().into_iter().filter(|node| node.revoked.is_some());
    let revoked: HashSet<_> = revoked.map(|node| node.node).collect();
    known.retain(|node| !revoked.contains(&node.description.id()));
    let mut nodes = Nodes::new(rules);
    nodes.restore(known, Timestamp::now());
    let mut service = Service {
        access,
        vitals,
        session: router.attach(&realm).context("cannot join the own router")?,
        nodes,
        asking: HashSet::new(),
        answers: JoinSet::new(),
        store: Arc::new(store),
        unsaved,
        saving: JoinSet::new(),
        is_saved: true,
        saved: Instant::now(),
    };
    service.relabel().await;
    let mut sweep = interval((rules.lost_after / 8).max(Duration::from_millis(20)));
    sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while let Some(reason) = service.serve(&mut sweep, &stop).await? {
        tracing::warn!(%reason, "the node service lost its session and opens another one");
        service.session = router.attach(&realm).context("cannot join the own router again")?;
    }
    service.session.close().await;
    service.save_until_saved().await;
    Ok(())
}

struct Service {
    access: Access,
    vitals: Vitals,
    session: Client,
    nodes: Nodes,
    /// Nodes with a question under way, so that none is asked twice at once.
    asking: HashSet<NodeId>,
    answers: JoinSet<Described>,
    store: Arc<Store>,
    /// Nodes of which not all is on disk.
    unsaved: BTreeSet<NodeId>,
    /// What is being written down, if something is.
    saving: JoinSet<Saved>,
    /// Whether it could be, the last time, and when that began.
    is_saved: bool,
    saved: Instant,
}

impl Service {
    /// Serves until `stop` is cancelled, or the session ends; then says why.
    async fn serve(
        &mut self,
        sweep: &mut Interval,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<CloseReason>> {
        let session = self.session.clone();
        let options = SubscribeOptions::default;
        let set_up = async {
            let beats = session
                .subscribe(procedures::HEARTBEAT, options())
                .await
                .context("cannot subscribe to heartbeats")?;
            let ends = session
                .subscribe(uri::ON_LEAVE, options())
                .await
                .context("cannot subscribe to ended sessions")?;
            let questions = session
                .register(procedures::NODES, RegisterOptions::default())
                .await
                .context("cannot register the list of nodes")?;
            let farewells = session
                .register(procedures::ACCESS_FORGET, RegisterOptions::default())
                .await
                .context("cannot register how nodes are forgotten")?;
            anyhow::Ok((beats, ends, questions, farewells))
        };
        let mut changes = self.access.changes();
        let (mut beats, mut ends, mut questions, mut farewells) = tokio::select! {
            reason = session.closed() => return Ok(Some(reason)),
            ready = set_up => ready?,
        };
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(None),
                Some(event) = beats.next() => self.heartbeat(&event).await,
                Some(event) = ends.next() => self.session_left(&event).await,
                Some(answer) = self.answers.join_next() => {
                    self.described(answer.context("asking a node panicked")?).await;
                }
                Some(saved) = self.saving.join_next() => {
                    self.take_saved(saved);
                }
                Some(question) = questions.next() => self.list(question).await,
                Some(farewell) = farewells.next() => {
                    let answer = self.forget(&farewell).await;
                    farewell.finish(answer).await;
                }
                // The access is ours, so it does not end.
                _ = changes.changed() => self.relabel().await,
                _ = sweep.tick() => self.sweep().await,
                reason = session.closed() => return Ok(Some(reason)),
            }
        }
    }

    async fn heartbeat(&mut self, event: &Event) {
        let beat: Heartbeat = match event.payload.first() {
            Ok(beat) => beat,
            Err(error) => {
                tracing::warn!(%error, "ignored a heartbeat that is none");
                return;
            }
        };
        if !speaks_for(event.publisher.as_deref(), beat.node) {
            tracing::warn!(
                node = %beat.node,
                by = event.publisher.as_ref().map(|publisher| publisher.authid.as_str()),
                "ignored a heartbeat that somebody else sent"
            );
            return;
        }
        self.vitals.heartbeat();
        let (reaction, change) = self.nodes.heartbeat(beat, Timestamp::now());
        self.tell(change).await;
        if reaction == Reaction::Describe && self.asking.insert(beat.node) {
            let session = self.session.clone();
            self.answers.spawn(async move { (beat, describe(&session, beat.node).await) });
        }
    }

    async fn described(&mut self, (beat, answer): Described) {
        self.asking.remove(&beat.node);
        match answer {
            Ok(mut description) => {
                // Those that it was let in with count, whatever it says of itself.
                if let Some(known) = self.access.node(beat.node) {
                    description.labels = known.labels;
                }
                let change = self.nodes.described(beat, description, Timestamp::now());
                self.tell(change).await;
            }
            // The next heartbeat asks again.
            Err(error) => {
                tracing::warn!(node = %beat.node, %error, "a node did not describe itself");
            }
        }
    }

    /// Has all nodes be known by the labels that they have by now.
    async fn relabel(&mut self) {
        for NodeStatus { description, .. } in self.nodes.list() {
            let node = description.id();
            let Some(known) = self.access.node(node) else { continue };
            let change = self.nodes.relabel(node, &known.labels);
            self.tell(change).await;
        }
    }

    /// Forgets a node that is gone for good, with its key.
    async fn forget(&mut self, call: &Invocation) -> Answer {
        let AccessName { name } = argument(call)?;
        let known =
            self.nodes.list().into_iter().map(|node| (Some(node.presence), node.description));
        let known = known.map(|(presence, one)| (presence, one.id(), one.name));
        let revoked = self.access.nodes().into_iter().map(|one| (None, one.node, one.name));
        let id = name.parse::<NodeId>().ok();
        let meant =
            known.chain(revoked).filter(|(_, node, called)| Some(*node) == id || *called == name);
        let meant: Vec<_> = meant.collect();
        let wrong = |text| Err(refuse(ErrorCode::InvalidArguments, text));
        let Some((_, node, _)) = meant.first().cloned() else {
            return wrong(format!(
                "there is no node `{name}`: `drover nodes` and `drover node list`"
            ));
        };
        if meant.iter().any(|(_, other, _)| *other != node) {
            return wrong(format!("more than one node is called `{name}`: use the number"));
        }
        if meant.iter().any(|(presence, ..)| *presence == Some(Presence::Present)) {
            return wrong(format!(
                "node {node} is there: end its agent, or put an end to it with `drover node revoke \
                 {name}`"
            ));
        }
        let access = self.access.clone();
        let forgotten = tokio::task::spawn_blocking(move || access.forget(node)).await;
        if let Err(error) = forgotten.map_err(anyhow::Error::new).flatten() {
            tracing::error!(%node, "a node cannot be forgotten: {error:#}");
            let text = "the controller cannot write that down: see its log".to_owned();
            return Err(refuse(ErrorCode::Internal, text));
        }
        self.nodes.forget(node);
        // Nobody would say again that it is gone.
        self.unsaved.insert(node);
        self.save_until_saved().await;
        tracing::info!(%node, "node forgotten");
        let told = async {
            let options = PublishOptions::default();
            self.session.publish(procedures::NODE_FORGOTTEN, Payload::one(&node)?, options).await
        };
        if let Err(error) = told.await {
            tracing::warn!(%node, %error, "those who follow the nodes were not told of a change");
        }
        encode(&node)
    }

    async fn session_left(&mut self, event: &Event) {
        if let Ok((session, ..)) =
            event.payload.args::<(u64, serde_json::Value, serde_json::Value)>()
        {
            let change = self.nodes.session_left(session, Timestamp::now());
            self.tell(change).await;
        }
    }

    async fn sweep(&mut self) {
        for change in self.nodes.sweep(Timestamp::now()) {
            self.tell(Some(change)).await;
        }
        self.vitals.nodes(self.nodes.presences());
        self.save();
    }

    /// Writes down what has changed, and from time to time that all else is as it was,
    /// unless that is being done already.
    fn save(&mut self) {
        let is_due = !self.unsaved.is_empty() || self.saved.elapsed() >= ALIVE;
        if !is_due || !self.saving.is_empty() {
            return;
        }
        self.saved = Instant::now();
        let nodes = std::mem::take(&mut self.unsaved).into_iter();
        let changes: Vec<Changed> = nodes.map(|node| (node, self.nodes.status(node))).collect();
        let store = Arc::clone(&self.store);
        self.saving.spawn_blocking(move || {
            let saved = store.save(&changes, Timestamp::now());
            (changes.into_iter().map(|(node, _)| node).collect(), saved)
        });
    }

    fn take_saved(&mut self, saved: Result<Saved, JoinError>) {
        let (nodes, saved) = saved.unwrap_or_else(|panic| (Vec::new(), Err(panic.into())));
        if let Err(error) = &saved {
            // They are tried again at each sweep, and told once.
            self.unsaved.extend(nodes);
            if self.is_saved {
                tracing::error!(
                    error = format_args!("{error:#}"),
                    "the nodes cannot be written down in nodes.db of the data directory, so a \
                     controller that is started again does not know those that it has not heard of: \
                     make room there, or let the controller write"
                );
            }
        }
        self.is_saved = saved.is_ok();
    }

    /// Writes down what has changed, and waits until that was tried.
    async fn save_until_saved(&mut self) {
        // What is being written may be of before the change.
        self.wait_for_saves().await;
        self.save();
        self.wait_for_saves().await;
    }

    async fn wait_for_saves(&mut self) {
        while let Some(saved) = self.saving.join_next().await {
            self.take_saved(saved);
        }
    }

    /// Tells a change to the log, and to those who follow the nodes what a node is now.
    async fn tell(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        let node = change.node();
        self.unsaved.insert(node);
        match change {
            Change::Present(_) => tracing::info!(%node, "node is present"),
            Change::Lost(_) => tracing::info!(%node, "node is lost"),
            Change::Described(_) => {}
            Change::Forgotten(_) => {
                tracing::info!(%node, "node was lost for long and is forgotten");
            }
        }
        let Some(status) = self.nodes.status(node) else { return };
        let told = async {
            let status = Payload::one(&status)?;
            let options = PublishOptions::default();
            self.session.publish(procedures::NODE_CHANGED, status, options).await
        };
        if let Err(error) = told.await {
            tracing::warn!(%node, %error, "those who follow the nodes were not told of a change");
        }
    }

    async fn list(&self, question: Invocation) {
        let answer = Payload::one(&self.nodes.list()).map_err(|error| {
            tracing::error!(%error, "cannot encode the list of nodes");
            drover_wamp::ApplicationError::new("drover.error.internal", &error.to_string())
        });
        question.finish(answer).await;
    }
}

async fn describe(session: &Client, node: NodeId) -> Result<NodeDescription, CallError> {
    let options = CallOptions { timeout: Some(DESCRIBE_TIMEOUT), ..CallOptions::default() };
    let answer = session.call(&procedures::describe(node), Payload::empty(), options).await?;
    Ok(answer.first()?)
}
