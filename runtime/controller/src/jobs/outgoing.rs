//! What is on its way to nodes: one delivery at a time to each, so that what comes
//! meanwhile goes together, and cancels beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use drover_api::{JobCancel, JobDelivered, JobDelivery, NodeId, Timestamp, procedures};
use drover_jobs::{Effect, Ledger};
use drover_wamp::{CallError, CallOptions, Client, Payload};
use serde::Serialize;
use tokio::task::JoinSet;

/// How long a node may take to write down what it is given.
const ANSWER: Duration = Duration::from_secs(30);

/// Jobs in one delivery.
const MOST_JOBS: usize = 256;

/// Bytes of commands in one delivery, about; a cancel waits behind no more.
const MOST_BYTES: usize = 256 << 10;

/// What became of a call.
pub(super) enum Sent {
    /// A delivery, and the node's answer, if it has answered.
    Delivered(NodeId, Option<JobDelivered>),
    /// A cancel; the result says whether it has arrived.
    Cancelled,
}

/// What waits to be sent, and what was.
pub(super) struct Outgoing {
    store_id: String,
    session: Option<Client>,
    nodes: BTreeMap<NodeId, Waiting>,
    calls: JoinSet<Sent>,
}

#[derive(Default)]
struct Waiting {
    deliver: BTreeSet<u64>,
    ask: BTreeSet<u64>,
    cancel: BTreeSet<u64>,
    is_delivering: bool,
}

impl Outgoing {
    pub(super) fn new(store_id: String) -> Self {
        Self { store_id, session: None, nodes: BTreeMap::new(), calls: JoinSet::new() }
    }

    /// Whether numbers of this store are ours.
    pub(super) fn is_of_store(&self, store: &str) -> bool {
        self.store_id == store
    }

    /// Calls go out by this session from now on.
    pub(super) fn session(&mut self, session: Client) {
        self.session = Some(session);
    }

    pub(super) fn add(&mut self, effect: Effect) {
        match effect {
            Effect::Deliver(node, numbers) => self.node(node).deliver.extend(numbers),
            Effect::Ask(node, numbers) => self.node(node).ask.extend(numbers),
            Effect::Cancel(node, numbers) => self.node(node).cancel.extend(numbers),
            Effect::Settled(..) | Effect::Ended(_) => {}
        }
    }

    fn node(&mut self, node: NodeId) -> &mut Waiting {
        self.nodes.entry(node).or_default()
    }

    /// Sends what can be sent.
    pub(super) fn send(&mut self, ledger: &Ledger) {
        let Some(session) = &self.session else { return };
        let now = Timestamp::now();
        for (node, waiting) in &mut self.nodes {
            let job = |number: u64| Some((number, ledger.job_of(number)?.clone()));
            let jobs: Vec<_> =
                std::mem::take(&mut waiting.cancel).into_iter().filter_map(job).collect();
            if !jobs.is_empty() {
                let cancel = JobCancel { store: self.store_id.clone(), jobs };
                let call = call(session.clone(), *node, procedures::CANCEL, cancel);
                self.calls.spawn(async move {
                    // It is sent again until there is a result.
                    let _ = call.await;
                    Sent::Cancelled
                });
            }
            if waiting.is_delivering {
                continue;
            }
            let delivery = waiting.delivery(&self.store_id, *node, ledger, now);
            if delivery.jobs.is_empty() && delivery.held.is_empty() {
                continue;
            }
            waiting.is_delivering = true;
            let (node, call) = (*node, call(session.clone(), *node, procedures::DELIVER, delivery));
            self.calls.spawn(async move {
                let answer = match call.await {
                    Ok(answer) => answer.first().map_err(CallError::from),
                    Err(error) => Err(error),
                };
                if let Err(error) = &answer {
                    tracing::debug!(%node, %error, "a node did not take its jobs, and gets them again");
                }
                Sent::Delivered(node, answer.ok())
            });
        }
        self.nodes.retain(|_, waiting| !waiting.is_idle());
    }

    /// The next call that was answered; none if there is no call.
    pub(super) async fn answered(&mut self) -> Option<Sent> {
        let sent = match self.calls.join_next().await? {
            Ok(sent) => sent,
            Err(error) => {
                tracing::error!(%error, "calling a node panicked");
                Sent::Cancelled
            }
        };
        if let Sent::Delivered(node, _) = &sent {
            self.node(*node).is_delivering = false;
        }
        Some(sent)
    }
}

impl Waiting {
    /// As much as goes into one message. What is over meanwhile is left out.
    fn delivery(
        &mut self,
        store: &str,
        node: NodeId,
        ledger: &Ledger,
        now: Timestamp,
    ) -> JobDelivery {
        let mut jobs = Vec::new();
        let mut bytes = 0;
        while jobs.len() < MOST_JOBS && bytes < MOST_BYTES {
            let Some(number) = self.deliver.pop_first() else { break };
            if let Some(job) = ledger.delivery(number, now) {
                bytes += drover_jobs::size_of(&job.command);
                jobs.push(job);
            }
        }
        let store = store.to_owned();
        let held = std::mem::take(&mut self.ask).into_iter().collect();
        JobDelivery { store, settled_below: ledger.told_below(node), jobs, held }
    }

    fn is_idle(&self) -> bool {
        !self.is_delivering
            && self.deliver.is_empty()
            && self.ask.is_empty()
            && self.cancel.is_empty()
    }
}

async fn call(
    session: Client,
    node: NodeId,
    procedure: &str,
    argument: impl Serialize,
) -> Result<Payload, CallError> {
    let procedure = procedures::node_prefix(node) + procedure;
    session.call(&procedure, Payload::one(&argument)?, CallOptions::within(ANSWER)).await
}
