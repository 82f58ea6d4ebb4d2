//! Hears what the controller's statement says, whenever there is another one and
//! whenever the link is back: what was withdrawn or put in a channel meanwhile is
//! known without an operator, and nobody can pass off what was current before.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use drover_api::procedures;
use drover_signing::Statement;
use drover_wamp::{Backoff, Link, Status, SubscribeOptions, Subscription};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use super::delivery::Undelivered;
use super::trust::Distrust;
use super::work::{Means, in_words};

/// All nodes hear of a statement at the same time, and ask for it within this time,
/// at moments of their own.
const SPREAD: Duration = Duration::from_millis(500);

/// What the controller has stated.
pub(super) struct Heard {
    pub(super) statement: Statement,
    /// Whatever was pushed before this is in it.
    pub(super) asked: Instant,
}

/// Tells every fresh statement. Goes on until it is dropped.
pub(super) async fn hear(means: Arc<Means>, tell: mpsc::Sender<Heard>) {
    let link = means.delivery.linked().await;
    loop {
        match subscribe(&link) {
            Some(changes) => follow(&means, changes, &tell).await,
            // The link is over, and so is the agent.
            None => return,
        }
    }
}

fn subscribe(link: &Link) -> Option<Subscription> {
    link.subscribe(procedures::CATALOG_CHANGED, SubscribeOptions::default()).ok()
}

/// Asks for the statement with each session and each event, until the subscription
/// is over.
async fn follow(means: &Arc<Means>, mut changes: Subscription, tell: &mpsc::Sender<Heard>) {
    let mut status = changes.watch();
    status.mark_changed();
    loop {
        tokio::select! {
            changed = status.changed() => {
                let now = status.borrow_and_update().clone();
                match (changed, now) {
                    (Ok(()), Status::Active(_)) => {}
                    (Ok(()), Status::Waiting { refusal }) => {
                        if let Some(refusal) = refusal {
                            tracing::warn!(%refusal, topic = procedures::CATALOG_CHANGED, "changes of the catalog are not told");
                        }
                        continue;
                    }
                    _ => return sleep(SPREAD).await,
                }
            }
            event = changes.next() => if event.is_none() {
                return sleep(SPREAD).await;
            },
        }
        sleep(Backoff::new(SPREAD, SPREAD).wait()).await;
        take(means, tell).await;
    }
}

/// Takes the statement as it is now.
async fn take(means: &Arc<Means>, tell: &mpsc::Sender<Heard>) {
    let asked = Instant::now();
    let statement = match means.delivery.statement().await {
        Ok(statement) => statement,
        // A controller without a statement has told nothing yet.
        Err(Undelivered::Refused(reason)) => return tracing::debug!(reason, "no statement"),
        Err(error) => {
            return tracing::warn!(error = in_words(&error), "the statement cannot be had");
        }
    };
    let trust = Arc::clone(means);
    let accept = move || {
        let mut trust = trust.trust.lock().unwrap_or_else(PoisonError::into_inner);
        if trust.has_keys() { trust.accept(&statement).map(Some) } else { Ok(None) }
    };
    match spawn_blocking(accept).await {
        Ok(Ok(Some(statement))) => drop(tell.send(Heard { statement, asked }).await),
        Ok(Ok(None)) => {}
        Ok(Err(error)) => told(&error),
        Err(error) => tracing::error!(%error, "looking at the statement panicked"),
    }
}

fn told(error: &Distrust) {
    tracing::warn!(error = in_words(error), "the controller's statement is not taken");
}
