//! The link: WAMP sessions to the controller, one after the other, for ever.

use std::time::Duration;

use anyhow::Context;
use drover_api::{Heartbeat, procedures};
use drover_wamp::{
    AwayError, Backoff, CallError, ClientConfig, EndReason, Link, LinkConfig, LinkState,
    MatchPolicy, Payload, PublishOptions, RegisterOptions, Registration, SessionId, Status,
};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::node::Node;
use crate::{Config, dispatch};

/// How long joining waits for the plugins. Compiled ones load within
/// milliseconds; a node whose plugins must be compiled first joins without
/// them and tells of them when they are ready.
const LOAD_BEFORE_JOINING: Duration = Duration::from_secs(2);

/// Keeps the link to the controller and serves, until `stop` is cancelled.
/// `loaded` is cancelled when the plugins are there.
pub(crate) async fn keep(
    config: Config,
    node: Node,
    loaded: CancellationToken,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    tokio::select! {
        () = stop.cancelled() => return Ok(()),
        _ = timeout(LOAD_BEFORE_JOINING, loaded.cancelled()) => {}
    }
    let link = Link::open(link_config(&config))?;
    let mut watching = JoinSet::new();
    watching.spawn(tell(config.controller.clone(), link.clone()));

    let mut jobs = JoinSet::new();
    let mut backoff = Backoff::new(config.reconnect_first, config.reconnect_longest);
    while !stop.is_cancelled() {
        let options = RegisterOptions { policy: MatchPolicy::Prefix, ..Default::default() };
        let calls = link.register(node.prefix(), options)?;
        let Some(reason) = serve(&config, &node, &link, calls, &mut jobs, &stop).await? else {
            break;
        };
        // Whatever it was, an operator can change it while the agent runs.
        let wait = backoff.wait();
        tracing::warn!(wait_ms = wait.as_millis(), "cannot join: {:#}", refused(reason, &node));
        let _ = timeout(wait, stop.cancelled()).await;
    }
    node.host().shutdown().await;
    while let Some(ended) = jobs.join_next().await {
        ended.context("answering a call panicked")?;
    }
    link.close().await;
    Ok(())
}

fn link_config(config: &Config) -> LinkConfig {
    let mut client = ClientConfig::new(&config.controller, &config.realm);
    client.max_message_bytes = config.max_message_bytes();
    let mut link = LinkConfig::new(client);
    link.first_wait = config.reconnect_first;
    link.longest_wait = config.reconnect_longest;
    link
}

/// Serves calls and sends heartbeats until the agent is to end, or the
/// controller takes the node's procedures away for good; then returns why.
///
/// Jobs whose session ends are cancelled with their calls: nobody waits for
/// them any more. The heart beats only while the node has its procedures, so a
/// node whose number another agent has stays silent.
async fn serve(
    config: &Config,
    node: &Node,
    link: &Link,
    mut calls: Registration,
    jobs: &mut JoinSet<()>,
    stop: &CancellationToken,
) -> anyhow::Result<Option<EndReason>> {
    let mut status = calls.watch();
    let mut joined = None;
    let mut revision = node.revision();
    let mut beat = interval(config.heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);

    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(None),
            Ok(()) = status.changed() => {
                let now = status.borrow_and_update().clone();
                match now {
                    Status::Active(session) => {
                        tracing::info!(node = %node.id(), controller = config.controller, "joined");
                        joined = Some(session);
                        beat.reset_immediately();
                    }
                    Status::Ended(reason) => return Ok(Some(reason)),
                    Status::Waiting { refusal } => {
                        joined = None;
                        if let Some(refusal) = refusal {
                            let error = refused(EndReason::Refused(refusal), node);
                            tracing::warn!(controller = config.controller, "cannot join: {error:#}");
                        }
                    }
                    _ => joined = None,
                }
            }
            _ = beat.tick() => heartbeat(node, link, joined).await,
            Ok(()) = revision.changed() => heartbeat(node, link, joined).await,
            Some(ended) = jobs.join_next() => ended.context("answering a call panicked")?,
            Some(call) = calls.next() => {
                jobs.spawn(dispatch::answer(node.clone(), call));
            }
        }
    }
}

/// Logs what becomes of the sessions.
async fn tell(controller: String, link: Link) {
    let mut state = link.watch();
    state.mark_changed();
    drop(link);
    while state.changed().await.is_ok() {
        let away = match &*state.borrow_and_update() {
            LinkState::Away(away) => away.clone(),
            _ => continue,
        };
        let Some(error) = away.error else { continue };
        if let AwayError::Lost(reason) = &*error {
            tracing::warn!(%reason, "lost the controller");
        } else {
            tracing::warn!(controller, "cannot join: {:#}", anyhow::Error::new(error));
        }
        tracing::info!(wait_ms = away.retry_in.as_millis(), "dialling again");
    }
}

/// Why the node's procedures are not its own, for people.
fn refused(reason: EndReason, node: &Node) -> anyhow::Error {
    let is_taken = matches!(&reason, EndReason::Refused(CallError::Application(refused))
        if refused.uri == drover_wamp::uri::error::PROCEDURE_ALREADY_EXISTS);
    let error = anyhow::Error::new(reason);
    if is_taken {
        error.context(format!(
            "another agent is node {} already: give one of the two another `nid`",
            node.id()
        ))
    } else {
        error.context(format!("the controller refused the procedures of node {}", node.id()))
    }
}

/// Sends a sign of life in the session in which the node has its procedures.
async fn heartbeat(node: &Node, link: &Link, joined: Option<SessionId>) {
    let session = link.session().filter(|session| Some(session.session()) == joined);
    let Some(session) = session else { return };
    let beat = Heartbeat {
        node: node.id(),
        session: session.session().0,
        revision: *node.revision().borrow(),
    };
    let published = async {
        let payload = Payload::one(&beat)?;
        let options = PublishOptions { is_urgent: true, ..Default::default() };
        session.publish(procedures::HEARTBEAT, payload, options).await
    };
    // A session that has just ended is noticed by whoever watches it.
    if let Err(error) = published.await {
        tracing::debug!(%error, "heartbeat not sent");
    }
}
