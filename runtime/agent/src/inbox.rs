//! Durable jobs: what the controller delivers is on disk before it is acknowledged,
//! and a result before it is told.
//!
//! ```text
//!   deliver, cancel ──▶ task (inbox) ──steps──▶ journal ──▶ store (SQLite)
//!                        │   ▲   ◀──── safe ─────┘             │
//!                        ▼   │ ended                           ▼
//!                       jobs ┘                    report ──▶ controller
//! ```
//!
//! One task is the [`keeper`] of the [`drover_jobs::Inbox`], which decides; [`report`]
//! tells the controller.

mod keeper;
mod report;
mod store;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use drover_api::{ErrorCode, JobCancel, JobDelivered, JobDelivery, JobError, JobReported};
use drover_jobs::{Held, InboxRules, Journal, SavedInbox};
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::node::Node;
use keeper::Keeper;
use report::Outbox;
pub(crate) use report::run as report;
use store::Store;

/// Requests that wait; whoever has one more waits.
const BACKLOG: usize = 256;

/// How soon a file is tried again that cannot be opened.
const OPEN_AGAIN: Duration = Duration::from_secs(1);

/// A cheap handle on the durable jobs of the node.
#[derive(Clone)]
pub(crate) struct Inbox {
    requests: mpsc::Sender<Request>,
    outbox: Arc<Outbox>,
    path: Arc<PathBuf>,
    held: watch::Receiver<Held>,
    trouble: watch::Receiver<Option<String>>,
    drain: CancellationToken,
}

/// What the task of the inbox is made of.
pub(crate) struct InboxTask {
    requests: mpsc::Receiver<Request>,
    outbox: Arc<Outbox>,
    path: Arc<PathBuf>,
    rules: InboxRules,
    held: watch::Sender<Held>,
    trouble: watch::Sender<Option<String>>,
    drain: CancellationToken,
}

enum Request {
    Deliver(Box<JobDelivery>, Reply),
    Cancel(JobCancel),
    Acknowledged(String, JobReported),
}

/// To whoever has delivered jobs.
type Reply = oneshot::Sender<Result<JobDelivered, JobError>>;

impl Inbox {
    /// The inbox in a data directory, and what keeps it.
    pub(crate) fn new(data_dir: &Path, rules: InboxRules) -> (Self, InboxTask) {
        let (sender, requests) = mpsc::channel(BACKLOG);
        let (outbox, path) = (Arc::<Outbox>::default(), Arc::new(data_dir.join("jobs.db")));
        let (held, sees_held) = watch::channel(Held::default());
        let (told, trouble) = watch::channel(None);
        let drain = CancellationToken::new();
        let of_task = (Arc::clone(&outbox), Arc::clone(&path));
        let task = InboxTask {
            requests,
            outbox: of_task.0,
            path: of_task.1,
            rules,
            held,
            trouble: told,
            drain: drain.clone(),
        };
        (Self { requests: sender, outbox, path, held: sees_held, trouble, drain }, task)
    }

    /// Takes jobs; answers when they are on disk.
    ///
    /// # Errors
    ///
    /// If the agent is shutting down, or cannot write jobs down: then they stay with the
    /// controller.
    pub(crate) async fn deliver(&self, delivery: JobDelivery) -> Result<JobDelivered, JobError> {
        if let Some(why) = self.trouble() {
            return Err(JobError::new(ErrorCode::Busy, why));
        }
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Deliver(Box::new(delivery), reply)).await?;
        answer.await.map_err(|_| gone())?
    }

    /// Ends jobs, also those that have not arrived.
    ///
    /// # Errors
    ///
    /// If the agent is shutting down, or cannot keep jobs.
    pub(crate) async fn cancel(&self, cancel: JobCancel) -> Result<(), JobError> {
        self.ask(Request::Cancel(cancel)).await
    }

    /// Why jobs cannot be written down at present, and what to do about it.
    pub(crate) fn trouble(&self) -> Option<String> {
        let why = self.trouble.borrow().clone()?;
        let dir = self.path.parent().unwrap_or(&self.path).display();
        Some(format!(
            "durable jobs cannot be written down in {dir} ({why}): make room there, or let the agent \
             write"
        ))
    }

    /// Resolves when that has changed; an error if it does so no more.
    pub(crate) fn watch_trouble(&self) -> watch::Receiver<Option<String>> {
        self.trouble.clone()
    }

    /// Starts none any more; what has come and comes stays for the next start.
    pub(crate) fn drain(&self) {
        self.drain.cancel();
    }

    /// How many there are.
    pub(crate) fn held(&self) -> Held {
        *self.held.borrow()
    }

    /// Results that were written down, for whoever reports them.
    fn store(&self) -> Store {
        Store::new(Arc::clone(&self.path))
    }

    async fn acknowledged(&self, store: String, reported: JobReported) {
        let _ = self.ask(Request::Acknowledged(store, reported)).await;
    }

    async fn ask(&self, request: Request) -> Result<(), JobError> {
        self.requests.send(request).await.map_err(|_| gone())
    }
}

fn gone() -> JobError {
    let message = "the agent is shutting down, or cannot keep jobs: its log says why";
    JobError::new(ErrorCode::ShuttingDown, message)
}

impl InboxTask {
    /// Keeps the inbox until `stop` is cancelled and what runs has ended.
    ///
    /// # Errors
    ///
    /// If a job panicked the task that ran it.
    pub(crate) async fn run(mut self, node: Node, stop: CancellationToken) -> anyhow::Result<()> {
        // A node that never had a durable job has no file for them.
        let mut first = None;
        if !self.path.exists() {
            first = tokio::select! {
                request = self.requests.recv() => request,
                () = stop.cancelled() => return Ok(()),
            };
        }
        let Some((connection, saved)) = self.open(&mut first, &stop).await? else { return Ok(()) };
        let journal = Journal::start("inbox", connection, store::write);
        let journal = journal.context("cannot start the thread that writes jobs")?;
        let mut keeper = Keeper::new(self, node, journal, saved);
        if let Some(request) = first {
            keeper.take(request);
        }
        keeper.run(&stop).await
    }

    /// Opens the file, until it can be opened or `stop` is cancelled; then there is none.
    async fn open(
        &mut self,
        first: &mut Option<Request>,
        stop: &CancellationToken,
    ) -> anyhow::Result<Option<(Connection, SavedInbox)>> {
        loop {
            let opening = Arc::clone(&self.path);
            let opened = spawn_blocking(move || store::open(&opening)).await;
            let error = match opened.context("opening the jobs panicked")? {
                Ok(opened) => {
                    self.trouble.send_replace(None);
                    return Ok(Some(opened));
                }
                Err(error) => error,
            };
            if self.trouble.borrow().is_none() {
                let path = self.path.display();
                tracing::error!("cannot open {path}, so the node takes no durable jobs: {error:#}");
            }
            self.trouble.send_replace(Some(format!("{error:#}")));
            // Whoever waits is told so, and comes again.
            drop(first.take());
            tokio::select! {
                () = sleep(OPEN_AGAIN) => {}
                () = stop.cancelled() => return Ok(None),
            }
            while self.requests.try_recv().is_ok() {}
        }
    }
}
