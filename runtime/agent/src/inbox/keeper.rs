//! Who keeps the inbox: hears of everything, has it written down, and does what
//! follows when it is safe.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use drover_api::{ErrorCode, JobDelivered, JobError, JobId, JobResult, Level, Record, Timestamp};
use drover_jobs::{Dropped, Held, InboxEffect, InboxWrite, Journal, SavedInbox, Step, Work};
use drover_logs::Source;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::report::Outbox;
use super::{BACKLOG, InboxTask, Reply, Request};
use crate::dispatch;
use crate::drain;
use crate::logs::JobLevels;
use crate::node::Node;

/// How long what the controller has acknowledged may stay without being written down,
/// unless something else is written anyway: it would only be told once more.
const LAZY: Duration = Duration::from_secs(1);

/// How often somebody looks whether the disk answers.
const LOOK: Duration = Duration::from_secs(5);

/// The job under which the inbox itself is in the log.
const OWN_RECORDS: &str = "drover.jobs";

/// Dropped jobs that are named one by one.
const MOST_NAMED: usize = 20;

/// How long jobs that end with the agent may take to write down how.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The owner of the inbox.
pub(super) struct Keeper {
    node: Node,
    inbox: drover_jobs::Inbox,
    journal: Journal<InboxWrite, Then>,
    outbox: Arc<Outbox>,
    requests: mpsc::Receiver<Request>,
    /// What runs, and writes its last words.
    jobs: JoinSet<()>,
    /// How to end what runs.
    running: HashMap<u64, CancellationToken>,
    /// What is to be ended, and starts only when that it does is on disk.
    stopped: HashSet<u64>,
    ended: mpsc::Sender<(Arc<Work>, End)>,
    ends: mpsc::Receiver<(Arc<Work>, End)>,
    /// What is written when something else is, or in a while.
    lazy: Vec<InboxWrite>,
    write_by: Option<Instant>,
    held: watch::Sender<Held>,
    trouble: watch::Sender<Option<String>>,
    drain: CancellationToken,
}

/// What became of a job that was to run.
enum End {
    Ended(Box<JobResult>),
    /// It has not begun, since the agent ends.
    NotBegun,
    /// It runs, and the next agent hears of its end.
    HandedOver,
}

impl From<JobResult> for End {
    fn from(result: JobResult) -> Self {
        match &result.error {
            Some(error) if error.code == ErrorCode::HandedOver => Self::HandedOver,
            Some(error) if drain::has_not_begun(error) => Self::NotBegun,
            _ => Self::Ended(Box::new(result)),
        }
    }
}

/// What is done when a step is safe.
pub(super) struct Then {
    effects: Vec<InboxEffect>,
    reply: Option<(Reply, JobDelivered)>,
}

impl Keeper {
    /// The keeper of what was saved, which goes on from there.
    pub(super) fn new(
        task: InboxTask,
        node: Node,
        journal: Journal<InboxWrite, Then>,
        saved: SavedInbox,
    ) -> Self {
        let InboxTask { requests, outbox, rules, held, trouble, drain, .. } = task;
        let going_on = node.processes().came().keys().cloned().collect();
        let saved = SavedInbox { going_on, ..saved };
        let (inbox, step) = drover_jobs::Inbox::restore(node.id(), rules, saved, Timestamp::now());
        let (ended, ends) = mpsc::channel(BACKLOG);
        let mut keeper = Self {
            node,
            inbox,
            journal,
            outbox,
            requests,
            jobs: JoinSet::new(),
            running: HashMap::new(),
            ended,
            ends,
            stopped: HashSet::new(),
            lazy: Vec::new(),
            write_by: None,
            held,
            trouble,
            drain,
        };
        keeper.write(step, None);
        let again = keeper.inbox.report_again();
        keeper.write(again, None);
        keeper
    }

    /// Keeps the inbox until `stop` is cancelled and what runs has ended.
    ///
    /// # Errors
    ///
    /// If a job panicked the task that ran it.
    pub(super) async fn run(mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut is_draining = false;
        let mut trouble = self.journal.watch_trouble();
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = self.due();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.drain.cancelled(), if !is_draining => {
                    is_draining = true;
                    self.inbox.drain();
                }
                Ok(()) = trouble.changed() => self.tell_trouble(),
                // A disk that does not answer does not say so either.
                _ = look.tick() => self.tell_trouble(),
                safe = self.journal.safe() => safe.into_iter().for_each(|then| self.perform(then)),
                Some((work, end)) = self.ends.recv() => self.ended(&work, end),
                Some(ended) = self.jobs.join_next() => ended.context("a job's task panicked")?,
                Some(request) = self.requests.recv() => self.take(request),
                () = due => {
                    let step = self.inbox.tick(Timestamp::now());
                    self.write(step, None);
                    self.write_lazy();
                }
            }
        }
        // What runs ends with the agent, and says so.
        self.requests.close();
        let last_words = async {
            while !self.running.is_empty() {
                let Some((work, end)) = self.ends.recv().await else { break };
                self.ended(&work, end);
            }
        };
        if timeout(LAST_WORDS, last_words).await.is_err() {
            tracing::warn!("jobs end before they have written down how");
        }
        self.write_lazy();
        let journal = self.journal;
        spawn_blocking(move || journal.close()).await.context("closing the jobs panicked")
    }

    /// Resolves when there is something to do that nobody asks for.
    fn due(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let now = Timestamp::now();
        let late = self.inbox.next_due();
        let late = late.map(|due| Instant::now() + due.since(now) + Duration::from_millis(1));
        match late.into_iter().chain(self.write_by).min() {
            Some(due) => Box::pin(sleep_until(due)),
            None => Box::pin(std::future::pending()),
        }
    }

    pub(super) fn take(&mut self, request: Request) {
        let now = Timestamp::now();
        match request {
            Request::Deliver(delivery, reply) => match self.journal.obstacle() {
                // Nothing of it has been taken, so all of it comes again.
                Some(why) => drop(reply.send(Err(not_now(&why)))),
                None => {
                    let (step, answer) = self.inbox.deliver(*delivery, now);
                    self.write(step, Some((reply, answer)));
                }
            },
            Request::Cancel(cancel) => {
                let step = self.inbox.cancel(&cancel, now);
                self.write(step, None);
            }
            Request::Acknowledged(store, reported) => {
                // It has no effects but to end what nobody wants any more.
                let Step { writes, effects } = self.inbox.acknowledged(&store, &reported);
                self.tell_held();
                self.lazy.extend(writes);
                self.write_by.get_or_insert(Instant::now() + LAZY);
                if !effects.is_empty() {
                    self.write(Step { writes: Vec::new(), effects }, None);
                }
            }
        }
    }

    fn ended(&mut self, work: &Work, end: End) {
        self.running.remove(&work.number);
        let step = match end {
            End::Ended(result) => self.inbox.ended(work, *result, Timestamp::now()),
            End::NotBegun => self.inbox.put_back(work),
            // On disk it runs, as it does.
            End::HandedOver => return,
        };
        self.write(step, None);
    }

    fn tell_trouble(&self) {
        let trouble = self.journal.trouble().or_else(|| self.journal.obstacle());
        self.trouble.send_if_modified(|told| {
            let is_news = *told != trouble;
            *told = trouble;
            is_news
        });
    }

    fn tell_held(&self) {
        self.held.send_replace(self.inbox.held());
    }

    /// Has a step written, behind what was only put off. What runs is stopped without
    /// waiting for the disk, which may be full or not answer: there is nothing to write
    /// before it has ended.
    fn write(&mut self, step: Step<InboxWrite, InboxEffect>, reply: Option<(Reply, JobDelivered)>) {
        if step.is_empty() && reply.is_none() {
            return;
        }
        self.tell_held();
        let Step { mut writes, mut effects } = step;
        effects.retain(|effect| match effect {
            InboxEffect::Stop(number) => {
                self.stop(*number);
                false
            }
            _ => true,
        });
        if !writes.is_empty() && !self.lazy.is_empty() {
            self.write_by = None;
            let later = std::mem::replace(&mut writes, std::mem::take(&mut self.lazy));
            writes.extend(later);
        }
        let then = Then { effects, reply };
        if self.journal.write(writes, then).is_err() {
            tracing::error!("the thread that writes durable jobs has ended");
        }
    }

    fn write_lazy(&mut self) {
        let is_due = self.write_by.is_some_and(|by| by <= Instant::now());
        if !self.lazy.is_empty() && (is_due || self.requests.is_closed()) {
            self.write_by = None;
            let writes = std::mem::take(&mut self.lazy);
            let then = Then { effects: Vec::new(), reply: None };
            let _ = self.journal.write(writes, then);
        }
    }

    fn perform(&mut self, then: Then) {
        for effect in then.effects {
            match effect {
                InboxEffect::Start(work) => self.start(work),
                InboxEffect::GoOn(work) => self.go_on(work),
                InboxEffect::Stop(number) => self.stop(number),
                InboxEffect::Report(number) => {
                    self.outbox.ended(self.inbox.store(), number);
                }
                InboxEffect::Dropped(dropped) => self.tell(in_words(&dropped)),
            }
        }
        if let Some((reply, answer)) = then.reply {
            // Whoever has gone delivers again.
            let _ = reply.send(Ok(answer));
        }
    }

    /// Writes a critical record into the node's log.
    fn tell(&mut self, data: String) {
        tracing::error!("{data}");
        let job = OWN_RECORDS.parse().expect("the letters are allowed in a job's id");
        let source = Source { job, domain: "drover".into(), name: "jobs".into() };
        let mut log = self.node.logs().of_job(source, JobLevels::default());
        log.record(&Record { time: Timestamp::now(), level: Level::CRITICAL, data });
        self.jobs.spawn(async move {
            if let Err(error) = log.write().await {
                tracing::warn!(%error, "that jobs were dropped is not in the log");
            }
        });
    }

    /// Ends a job that runs, or will as soon as that is on disk.
    fn stop(&mut self, number: u64) {
        match self.running.get(&number) {
            Some(running) => running.cancel(),
            None => drop(self.stopped.insert(number)),
        }
    }

    /// Notes that a job runs; the token tells it when it is to end.
    fn run_until(&mut self, number: u64) -> CancellationToken {
        let cancel = CancellationToken::new();
        if self.stopped.remove(&number) {
            cancel.cancel();
        }
        self.running.insert(number, cancel.clone());
        cancel
    }

    fn start(&mut self, work: Arc<Work>) {
        self.outbox.started(self.inbox.store(), work.number);
        let cancel = self.run_until(work.number);
        let (node, ended) = (self.node.clone(), self.ended.clone());
        self.jobs.spawn(async move {
            let (result, unwritten) = dispatch::run_durable(&node, &work, &cancel).await;
            let _ = ended.send((work, result.into())).await;
            if let Some(unwritten) = unwritten {
                unwritten.await;
            }
        });
    }

    /// Waits for a job that the agent before has begun.
    fn go_on(&mut self, work: Arc<Work>) {
        let cancel = self.run_until(work.number);
        let (node, ended) = (self.node.clone(), self.ended.clone());
        self.jobs.spawn(async move {
            let result = dispatch::go_on_durable(&node, &work, &cancel).await;
            let _ = ended.send((work, result.into())).await;
        });
    }
}

fn not_now(why: &str) -> JobError {
    let message = format!(
        "the node takes no durable jobs until it has written down those that it has ({why}); these \
         are delivered again"
    );
    JobError::new(ErrorCode::Busy, message)
}

fn in_words(dropped: &Dropped) -> String {
    let Dropped { unfinished, unreported, is_other_store } = dropped;
    let why = match is_other_store {
        true => {
            "they are of another store than the controller now has: if it was made anew, \
                 restore it from a backup, or submit them again"
        }
        false => {
            "the controller waits for them no more: somebody gave them up, or it was \
                  restored from a backup of before they were submitted"
        }
    };
    let shown: Vec<_> = unfinished.iter().take(MOST_NAMED).map(JobId::as_str).collect();
    let more = match unfinished.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let unfinished = match shown.is_empty() {
        true => String::new(),
        false => format!(" that had not ended ({}{more})", shown.join(", ")),
    };
    let and = if unfinished.is_empty() || *unreported == 0 { "" } else { ", and" };
    let unreported = match unreported {
        0 => String::new(),
        count => format!("{and} {count} with results that the controller does not have"),
    };
    format!("durable jobs{unfinished}{unreported} are dropped: {why}")
}
