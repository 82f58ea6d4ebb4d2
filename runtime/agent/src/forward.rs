//! Sends records on to the controller: those whose level is to be forwarded, in
//! order, and again after every outage until it has them.

use std::time::Duration;

use anyhow::Context;
use drover_api::procedures;
use drover_logs::store::{Delivery, ForwardBatch, Forwarder, MissedRecords};
use drover_wamp::{Backoff, CallError, CallOptions, Link, Payload, uri};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::config::LogSettings;
use crate::node::Node;

/// Whose acknowledgements the log remembers.
const RECEIVER: &str = "controller";

/// Bytes of records in one message, about.
const BATCH_BYTES: usize = 1 << 20;

/// What records may take of a message: those that are no text become four
/// times as long, and their envelopes come on top.
const PART_OF_A_MESSAGE: usize = 8;

/// How long the controller may take to write a batch down.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// Waits between two attempts.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Why a batch was not taken.
enum Refusal {
    /// It may be taken later.
    NotNow(CallError),
    /// It is longer than a message may be.
    TooLong(CallError),
}

/// Forwards until the log is closed. Dropping it loses nothing: what was not
/// acknowledged is sent again.
pub(crate) async fn run(node: Node, link: Link, settings: LogSettings) {
    if let Err(error) = forward(&node, &link, &settings).await {
        tracing::error!("records are no longer forwarded: {error:#}");
    }
}

async fn forward(node: &Node, link: &Link, settings: &LogSettings) -> anyhow::Result<()> {
    let mut forwarder = node.logs().store().forwarder(RECEIVER);
    let max_bytes = BATCH_BYTES.min(node.max_message_bytes() / PART_OF_A_MESSAGE);
    let all = usize::try_from(settings.forward_records).unwrap_or(usize::MAX);
    let mut max_records = all;
    let mut outage = Outage::new();
    loop {
        let batch;
        (forwarder, batch) = read(forwarder, max_records, max_bytes).await?;
        let Some(mut batch) = batch else {
            if forwarder.changed().await.is_err() {
                return Ok(());
            }
            // Others come, and go with it.
            sleep(settings.forward_interval).await;
            continue;
        };
        let sent = match send(node, link, &batch).await {
            Err(Refusal::TooLong(error)) if batch.records.len() == 1 => {
                leave_out(&mut batch, &error);
                send(node, link, &batch).await
            }
            sent => sent,
        };
        match sent {
            Ok(()) => {
                outage.end();
                max_records = all;
                forwarder = acknowledge(forwarder, &batch).await?;
            }
            // The next batch begins with the same record.
            Err(Refusal::TooLong(_)) => max_records = (batch.records.len() / 2).max(1),
            Err(Refusal::NotNow(error)) => outage.wait(&error).await,
        }
    }
}

/// Sends a batch, and returns when the controller has it.
async fn send(node: &Node, link: &Link, batch: &ForwardBatch) -> Result<(), Refusal> {
    let delivery = Delivery {
        node: node.id(),
        log: node.logs().store().identity().to_owned(),
        records: batch.records.clone(),
        places: batch.places.clone(),
        missed: batch.missed,
    };
    let payload = Payload::one(&delivery).map_err(|error| Refusal::TooLong(error.into()))?;
    let options = CallOptions::within(ANSWER_TIMEOUT);
    match link.call(procedures::RECORDS, payload, options).await {
        Ok(_) => Ok(()),
        Err(error @ (CallError::TooLarge { .. } | CallError::Payload(_))) => {
            Err(Refusal::TooLong(error))
        }
        Err(error) => Err(Refusal::NotNow(error)),
    }
}

/// Puts a gap in the place of a record that no message can carry, so that it
/// does not hold up all that follow.
fn leave_out(batch: &mut ForwardBatch, error: &CallError) {
    if let Some((record, place)) = batch.records.pop().zip(batch.places.pop()) {
        tracing::error!(record = record.id.0, %error, "a record cannot be forwarded");
        let first = batch.missed.map_or(record.id, |missed| missed.first);
        batch.missed = Some(MissedRecords { first, last: record.id, place });
    }
}

async fn read(
    mut forwarder: Forwarder,
    max_records: usize,
    max_bytes: usize,
) -> anyhow::Result<(Forwarder, Option<ForwardBatch>)> {
    let read = spawn_blocking(move || {
        let batch = forwarder.batch(max_records, max_bytes);
        (forwarder, batch)
    });
    read.await.context("reading the log panicked")
}

async fn acknowledge(mut forwarder: Forwarder, batch: &ForwardBatch) -> anyhow::Result<Forwarder> {
    let acknowledgement = batch.acknowledgement;
    let acknowledged = spawn_blocking(move || {
        if let Err(error) = forwarder.acknowledge(acknowledgement) {
            // It is sent once more, and the controller leaves it out.
            tracing::warn!(%error, "cannot write down what was forwarded");
        }
        forwarder
    });
    acknowledged.await.context("writing to the log panicked")
}

/// The time in which the controller takes no records.
struct Outage {
    backoff: Backoff,
    is_told: bool,
}

impl Outage {
    fn new() -> Self {
        Self { backoff: Backoff::new(FIRST_WAIT, LONGEST_WAIT), is_told: false }
    }

    /// Waits before the next attempt, and says once why.
    async fn wait(&mut self, error: &CallError) {
        // That there is no session is told by whoever keeps the link.
        if let (CallError::Application(refused), false) = (error, self.is_told) {
            self.is_told = true;
            tracing::warn!(%error, "the controller takes no records{}", cure(&refused.uri));
        }
        sleep(self.backoff.wait()).await;
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.is_told) {
            tracing::info!("the controller takes records again");
        }
        self.backoff.reset();
    }
}

/// What to do about a refusal.
fn cure(refusal: &str) -> &'static str {
    match refusal {
        uri::error::NOT_AUTHORIZED => {
            ": its configuration does not let this agent call `drover.controller.records`; they \
             wait in the log until it does"
        }
        _ => "; they wait in the log until it does",
    }
}
