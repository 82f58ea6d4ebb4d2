//! Tells the controller what became of durable jobs, again and again until it has it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use drover_api::{JobReport, JobReported, Timestamp, procedures};
use drover_wamp::{Backoff, CallError, CallOptions, Link, Payload, uri};
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::node::Node;

/// Results in one report.
const MOST_RESULTS: usize = 256;

/// Bytes of results in one report, about; at most a part of a message.
const MOST_BYTES: usize = 1 << 20;
const PART_OF_A_MESSAGE: usize = 4;

/// How long the start of a job may wait for its end, to be told with it.
const START_WAITS: Duration = Duration::from_millis(100);

/// How long the controller may take to write a report down.
const ANSWER: Duration = Duration::from_secs(30);

/// Waits between two attempts.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What the controller does not know yet.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    news: Mutex<News>,
    has_started: Notify,
    has_ended: Notify,
}

/// All of one store.
#[derive(Debug, Default, Clone)]
struct News {
    store: String,
    started: Vec<(u64, Timestamp)>,
    ended: BTreeSet<u64>,
}

impl Outbox {
    /// A job has started, just now.
    pub(super) fn started(&self, store: &str, number: u64) {
        self.of(store).started.push((number, Timestamp::now()));
        self.has_started.notify_one();
    }

    /// A job has ended, and is so on disk.
    pub(super) fn ended(&self, store: &str, number: u64) {
        self.of(store).ended.insert(number);
        self.has_ended.notify_one();
    }

    /// The news of a store; that of another one is of no use any more.
    fn of(&self, store: &str) -> MutexGuard<'_, News> {
        let mut news = self.lock();
        if news.store != store {
            *news = News { store: store.to_owned(), ..News::default() };
        }
        news
    }

    /// What there is; waits until there is something.
    async fn news(&self) -> News {
        loop {
            let (has_started, has_ended) = (self.has_started.notified(), self.has_ended.notified());
            let news = self.lock().clone();
            if !news.ended.is_empty() {
                return news;
            }
            if news.started.is_empty() {
                tokio::select! {
                    () = has_started => {}
                    () = has_ended => {}
                }
            } else if timeout(START_WAITS, has_ended).await.is_err() {
                return self.lock().clone();
            }
        }
    }

    /// Forgets what the controller knows by now.
    fn told(&self, report: &JobReport, ended: &[u64]) {
        let mut news = self.lock();
        if news.store == report.store {
            news.started.drain(..report.started.len());
            news.ended.retain(|number| !ended.contains(number));
        }
    }

    fn lock(&self) -> MutexGuard<'_, News> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reports until it is dropped, which loses nothing: what was not acknowledged is on
/// disk and told again.
pub(crate) async fn run(node: Node, link: Link) {
    if let Err(error) = report(&node, &link).await {
        tracing::error!("results of durable jobs are no longer reported: {error:#}");
    }
}

async fn report(node: &Node, link: &Link) -> anyhow::Result<()> {
    let inbox = node.inbox();
    let most_bytes = MOST_BYTES.min(node.max_message_bytes() / PART_OF_A_MESSAGE);
    let mut store = inbox.store();
    let mut backoff = Backoff::new(FIRST_WAIT, LONGEST_WAIT);
    loop {
        let news = inbox.outbox.news().await;
        let numbers: Vec<_> = news.ended.iter().copied().take(MOST_RESULTS).collect();
        let read = spawn_blocking(move || {
            let results = store.results(&numbers, most_bytes);
            (store, results)
        });
        let results;
        (store, results) = read.await.context("reading results panicked")?;
        let results = match results {
            Ok(results) => results,
            Err(error) => {
                tracing::warn!(%error, "cannot read results of durable jobs, and try again");
                sleep(backoff.wait()).await;
                continue;
            }
        };
        let read: Vec<_> = results.iter().map(|(number, _)| *number).collect();
        let ended = results.into_iter().filter_map(|(number, result)| Some((number, result?)));
        let report = JobReport {
            node: node.id(),
            store: news.store,
            started: news.started,
            ended: ended.collect(),
        };
        match tell(link, &report).await {
            Ok(reported) => {
                backoff.reset();
                inbox.outbox.told(&report, &read);
                inbox.acknowledged(report.store, reported).await;
            }
            Err(error) => {
                match &error {
                    CallError::Application(refused) => {
                        let cure = cure(&refused.uri);
                        tracing::warn!(%error, "the controller takes no results{cure}");
                    }
                    CallError::Payload(_) | CallError::TooLarge { .. } => {
                        tracing::error!(%error, "results of durable jobs cannot be sent");
                    }
                    // That there is no session is told by whoever keeps the link.
                    _ => {}
                }
                sleep(backoff.wait()).await;
            }
        }
    }
}

async fn tell(link: &Link, report: &JobReport) -> Result<JobReported, CallError> {
    let options = CallOptions::within(ANSWER);
    let answer = link.call(procedures::JOB_REPORT, Payload::one(report)?, options).await?;
    answer.first().map_err(CallError::from)
}

/// What to do about a refusal.
fn cure(refusal: &str) -> &'static str {
    match refusal {
        uri::error::NOT_AUTHORIZED => {
            ": its configuration does not let this agent call `drover.controller.job.report`; they \
             are kept until it does"
        }
        _ => "; they are kept, and told again",
    }
}
