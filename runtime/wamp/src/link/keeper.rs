//! The tasks of a link: one keeps a session, the others what is in it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Away, AwayError, Backoff, Link, LinkConfig, LinkState};
use crate::client::{CallError, Client, CloseReason, EndReason, Held, Inbox, Intake, StatusCell};
use crate::uri;

/// A session that lasted this long was a good one: the waits begin anew.
const SETTLED: Duration = Duration::from_secs(5);

/// Makes a session, and another one when it ends, until `stop`.
pub(super) async fn keep_session(
    config: LinkConfig,
    state: Arc<watch::Sender<LinkState>>,
    stop: CancellationToken,
) {
    let mut backoff = config.backoff();
    let mut since = Instant::now();
    loop {
        let connected = tokio::select! {
            () = stop.cancelled() => break,
            connected = Client::connect(&config.client) => connected,
        };
        let error = match connected {
            Ok(client) => {
                let began = Instant::now();
                state.send_replace(LinkState::Connected(client.clone()));
                let reason = tokio::select! {
                    () = stop.cancelled() => {
                        client.close().await;
                        break;
                    }
                    reason = client.closed() => reason,
                };
                if began.elapsed() >= SETTLED {
                    backoff.reset();
                }
                since = Instant::now();
                AwayError::Lost(reason)
            }
            Err(error) => AwayError::Connect(error),
        };
        let wait = backoff.wait();
        tracing::debug!(url = config.client.url, %error, wait_ms = wait.as_millis(), "link is away");
        let away = Away { since, error: Some(Arc::new(error)), retry_in: wait };
        state.send_replace(LinkState::Away(away));
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(wait) => {}
        }
    }
    state.send_replace(LinkState::Closed);
}

/// The session, as soon as there is one; None when the link is closed.
pub(super) async fn next_session(state: &mut watch::Receiver<LinkState>) -> Option<Client> {
    match state.wait_for(|state| !matches!(state, LinkState::Away(_))).await.as_deref() {
        Ok(LinkState::Connected(client)) => Some(client.clone()),
        _ => None,
    }
}

/// What a link keeps over its sessions.
#[derive(Debug)]
pub(super) enum Kept {
    /// Procedures.
    Registration(Arc<Intake>),
    /// Topics.
    Subscription(Arc<Inbox>),
}

impl Kept {
    async fn hold(&self, client: &Client) -> Result<Held, CallError> {
        match self {
            Self::Registration(intake) => client.hold_registration(intake).await,
            Self::Subscription(inbox) => client.hold_subscription(inbox).await,
        }
    }

    fn status(&self) -> &StatusCell {
        match self {
            Self::Registration(intake) => &intake.status,
            Self::Subscription(inbox) => &inbox.status,
        }
    }

    fn end(&self, reason: EndReason) {
        match self {
            Self::Registration(intake) => intake.end(reason),
            Self::Subscription(inbox) => inbox.end(reason),
        }
    }
}

/// Asks every session for what is kept, until that is over or given up.
/// The link lives as long as this does.
pub(super) async fn keep(
    link: Link,
    kept: Kept,
    mut backoff: Backoff,
    stop: CancellationToken,
) -> Result<(), CallError> {
    let mut state = link.watch();
    loop {
        let client = tokio::select! {
            () = stop.cancelled() => return Ok(()),
            client = next_session(&mut state) => client,
        };
        let Some(client) = client else {
            kept.end(EndReason::Session(CloseReason::Local));
            return Ok(());
        };
        let held = tokio::select! {
            // What has been asked for already is undone by being dropped.
            () = stop.cancelled() => return Ok(()),
            held = kept.hold(&client) => held,
        };
        match held {
            Ok(held) => {
                backoff.reset();
                tokio::select! {
                    () = stop.cancelled() => return held.undo().await,
                    _ = kept.status().ended() => return Ok(()),
                    _ = client.closed() => {}
                }
            }
            Err(CallError::Closed(_)) => {}
            Err(error) if is_taken(&error) => {
                kept.status().waiting(Some(error));
                tokio::select! {
                    () = stop.cancelled() => return Ok(()),
                    () = sleep(backoff.wait()) => continue,
                    _ = client.closed() => {}
                }
            }
            Err(error) => {
                kept.end(EndReason::Refused(error));
                return Ok(());
            }
        }
        kept.status().waiting(None);
        // The link's task may not have noticed yet that this one is over.
        let session = client.session();
        drop(client);
        let is_other = |state: &LinkState| !matches!(state, LinkState::Connected(now) if now.session() == session);
        if state.wait_for(is_other).await.is_err() {
            return Ok(());
        }
    }
}

fn is_taken(error: &CallError) -> bool {
    matches!(error, CallError::Application(refused)
        if refused.uri == uri::error::PROCEDURE_ALREADY_EXISTS)
}
