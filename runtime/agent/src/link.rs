//! The link: one WAMP session to the controller, made again for ever.

use std::time::Duration;

use anyhow::Context;
use drover_api::{Heartbeat, procedures};
use drover_wamp::{
    CallError, Client, ClientConfig, CloseReason, MatchPolicy, Payload, PublishOptions,
    RegisterOptions, Registration,
};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::node::Node;
use crate::{Config, dispatch};

/// How long joining waits for the plugins. Compiled ones load within
/// milliseconds; a node whose plugins must be compiled first joins without
/// them and tells of them when they are ready.
const LOAD_BEFORE_JOINING: Duration = Duration::from_secs(2);

/// Why a session is over.
enum End {
    /// The agent is stopping.
    Stopped,
    /// The session ended.
    Closed(CloseReason),
}

/// Dials the controller and serves, again and again, until `stop` is
/// cancelled. `loaded` is cancelled when the plugins are there.
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
    let mut backoff = Backoff::new(config.reconnect_first, config.reconnect_longest);
    loop {
        let joined = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            joined = join(&config, &node) => joined,
        };
        match joined {
            Ok((session, calls)) => {
                tracing::info!(node = %node.id(), controller = config.controller, "joined");
                backoff.reset();
                match serve(&config, &node, session, calls, &stop).await? {
                    End::Stopped => return Ok(()),
                    End::Closed(reason) => tracing::warn!(%reason, "lost the controller"),
                }
            }
            Err(error) => {
                tracing::warn!(controller = config.controller, "cannot join: {error:#}");
            }
        }
        let wait = backoff.wait(rand::random());
        tracing::info!(wait_ms = wait.as_millis(), "dialling again");
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(wait) => {}
        }
    }
}

async fn join(config: &Config, node: &Node) -> anyhow::Result<(Client, Registration)> {
    let mut link = ClientConfig::new(&config.controller, &config.realm);
    link.max_message_bytes = config.max_message_bytes();
    let session = Client::connect(&link).await?;
    let options = RegisterOptions { policy: MatchPolicy::Prefix, ..Default::default() };
    match session.register(node.prefix(), options).await {
        Ok(calls) => Ok((session, calls)),
        Err(error) => {
            session.close().await;
            Err(refusal(error, node))
        }
    }
}

fn refusal(error: CallError, node: &Node) -> anyhow::Error {
    let is_taken = matches!(&error, CallError::Application(refused)
        if refused.uri == drover_wamp::uri::error::PROCEDURE_ALREADY_EXISTS);
    let error = anyhow::Error::new(error);
    if is_taken {
        error.context(format!(
            "another agent is node {} already: give one of the two another `nid`",
            node.id()
        ))
    } else {
        error.context(format!("the controller refused the procedures of node {}", node.id()))
    }
}

/// Serves calls and sends heartbeats until the session or the agent ends.
/// Jobs of an ended session are cancelled: nobody waits for them any more.
async fn serve(
    config: &Config,
    node: &Node,
    session: Client,
    mut calls: Registration,
    stop: &CancellationToken,
) -> anyhow::Result<End> {
    let mut jobs = JoinSet::new();
    let mut revision = node.revision();
    let mut beat = interval(config.heartbeat);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);

    let end = loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break End::Stopped,
            reason = session.closed() => break End::Closed(reason),
            _ = beat.tick() => heartbeat(node, &session).await,
            Ok(()) = revision.changed() => heartbeat(node, &session).await,
            Some(ended) = jobs.join_next() => ended.context("answering a call panicked")?,
            Some(call) = calls.next() => {
                jobs.spawn(dispatch::answer(node.clone(), call));
            }
        }
    };
    if matches!(end, End::Stopped) {
        node.host().shutdown().await;
        while let Some(ended) = jobs.join_next().await {
            ended.context("answering a call panicked")?;
        }
        session.close().await;
    }
    Ok(end)
}

async fn heartbeat(node: &Node, session: &Client) {
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
