//! Those who ask the keeper.
//!
//! While nothing can be written down, people are told so at once, with what to do about
//! it: nobody waits for the disk who can come again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drover_api::{
    Authority, ErrorCode, JobError, JobId, JobKilled, JobReport, JobReported, JobSubmit,
    JobSubmitted, NodeId, NodeStatus, Selector,
};
use drover_wamp::Client;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};

use super::store::StoreWrite;

/// Requests that wait for the keeper; whoever has one more waits.
const BACKLOG: usize = 1024;

/// When whoever is refused as the disk takes nothing may try again.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// What the keeper is asked.
pub(super) enum Request {
    Session(Client),
    Node(Box<NodeStatus>),
    Nodes(Vec<NodeStatus>),
    Forgotten(NodeId),
    Report(JobReport, oneshot::Sender<Result<JobReported, JobError>>),
    Kill(Kill, oneshot::Sender<Result<JobKilled, JobError>>),
    /// Whether somebody may have this done.
    Judge(Box<JobSubmit>, Selector, oneshot::Sender<Result<(), JobError>>),
    Submit(Box<Submitting>),
    Wait(JobId, oneshot::Sender<()>),
    IsOpen(JobId, oneshot::Sender<bool>),
    Write(StoreWrite, oneshot::Sender<()>),
}

/// Somebody wants the jobs of a submission ended, or the one on `node`.
pub(super) struct Kill {
    pub(super) id: JobId,
    pub(super) node: Option<NodeId>,
    pub(super) force: bool,
    pub(super) by: String,
    pub(super) authority: Option<Authority>,
}

/// Somebody wants something done.
pub(super) struct Submitting {
    pub(super) request: JobSubmit,
    pub(super) selector: Selector,
    pub(super) by: String,
    pub(super) reply: oneshot::Sender<Result<JobSubmitted, JobError>>,
}

/// A cheap handle for those who ask the keeper. Submissions and those who wait come
/// behind everything else.
#[derive(Clone)]
pub(super) struct Asker {
    urgent: mpsc::Sender<Request>,
    others: mpsc::Sender<Request>,
    /// Why nothing can be written at present.
    trouble: watch::Receiver<Option<String>>,
    dir: Arc<PathBuf>,
}

/// What the keeper is asked by, in the order in which it comes.
pub(super) struct Requests {
    pub(super) urgent: mpsc::Receiver<Request>,
    pub(super) others: mpsc::Receiver<Request>,
}

impl Asker {
    /// Those who ask a keeper whose jobs are in `dir`, and `trouble` says why they
    /// cannot be written.
    pub(super) fn new(dir: &Path, trouble: watch::Receiver<Option<String>>) -> (Self, Requests) {
        let (urgent_requests, urgent) = mpsc::channel(BACKLOG);
        let (other_requests, others) = mpsc::channel(BACKLOG);
        let dir = Arc::new(dir.to_owned());
        let asker = Self { urgent: urgent_requests, others: other_requests, trouble, dir };
        (asker, Requests { urgent, others })
    }

    /// Why nothing can be written at present, and what to do about it.
    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.borrow().as_deref().map(|why| unwritable(&self.dir, why))
    }

    fn refuse_in_trouble(&self, what: &str) -> Result<(), JobError> {
        match self.trouble() {
            Some(why) => Err(come_again(format!("{why}; {what}"))),
            None => Ok(()),
        }
    }

    /// Calls go out by this session from now on.
    pub(super) async fn session(&self, session: Client) {
        let _ = self.urgent.send(Request::Session(session)).await;
    }

    /// A node has changed.
    pub(super) async fn node(&self, node: NodeStatus) {
        let _ = self.urgent.send(Request::Node(Box::new(node))).await;
    }

    /// These are all nodes.
    pub(super) async fn nodes(&self, nodes: Vec<NodeStatus>) {
        let _ = self.urgent.send(Request::Nodes(nodes)).await;
    }

    /// A node is gone for good.
    pub(super) async fn forgotten(&self, node: NodeId) {
        let _ = self.urgent.send(Request::Forgotten(node)).await;
    }

    pub(super) async fn report(&self, report: JobReport) -> Result<JobReported, JobError> {
        self.refuse_in_trouble("results stay with their nodes until then")?;
        ask(&self.urgent, |reply| Request::Report(report, reply)).await?
    }

    pub(super) async fn kill(&self, kill: Kill) -> Result<JobKilled, JobError> {
        ask(&self.urgent, |reply| Request::Kill(kill, reply)).await?
    }

    /// Says why something would not be taken on the word that it has, if that is so.
    pub(super) async fn judge(
        &self,
        request: JobSubmit,
        selector: Selector,
    ) -> Result<(), JobError> {
        ask(&self.others, |reply| Request::Judge(Box::new(request), selector, reply)).await?
    }

    pub(super) async fn submit(
        &self,
        request: JobSubmit,
        selector: Selector,
        by: String,
    ) -> Result<JobSubmitted, JobError> {
        self.refuse_in_trouble("this was not taken: submit it again then")?;
        let id = request.command.id.clone();
        let mut trouble = self.trouble.clone();
        let submit = |reply| Request::Submit(Box::new(Submitting { request, selector, by, reply }));
        tokio::select! {
            biased;
            answer = ask(&self.others, submit) => answer?,
            why = appears(&mut trouble) => Err(come_again(format!(
                "{}; {id} was about to be written, and is done if there is room again: submit it \
                 again with `--id {id}`, and it is done once",
                unwritable(&self.dir, &why)
            ))),
        }
    }

    /// Whether a submission has jobs that have not ended.
    pub(super) async fn is_open(&self, id: JobId) -> Result<bool, JobError> {
        ask(&self.others, |reply| Request::IsOpen(id, reply)).await
    }

    /// Has something written beside the jobs.
    pub(super) async fn write(&self, write: StoreWrite) -> Result<(), JobError> {
        self.refuse_in_trouble("nothing was changed")?;
        ask(&self.others, |reply| Request::Write(write, reply)).await
    }

    /// Waits until a submission has ended, and is so on disk.
    pub(super) async fn wait(&self, id: JobId) -> Result<(), JobError> {
        ask(&self.others, |reply| Request::Wait(id, reply)).await
    }
}

async fn ask<T>(
    requests: &mpsc::Sender<Request>,
    request: impl FnOnce(oneshot::Sender<T>) -> Request,
) -> Result<T, JobError> {
    let gone = || JobError::new(ErrorCode::ShuttingDown, "the controller is shutting down");
    let (reply, answer) = oneshot::channel();
    requests.send(request(reply)).await.map_err(|_| gone())?;
    answer.await.map_err(|_| gone())
}

/// Why nothing can be written into a directory, and what to do about it.
pub(super) fn unwritable(dir: &Path, why: &str) -> String {
    let dir = dir.display();
    format!(
        "the controller cannot write jobs down in {dir} ({why}): make room there, or let it write"
    )
}

pub(super) fn come_again(message: String) -> JobError {
    let wait = json!({ "retry_after_ms": RETRY_AFTER.as_millis() as u64 });
    JobError::new(ErrorCode::Busy, message).with_detail(wait)
}

/// Resolves with the trouble when there is some; never if it was there before.
async fn appears(trouble: &mut watch::Receiver<Option<String>>) -> String {
    loop {
        if trouble.changed().await.is_err() {
            return std::future::pending().await;
        }
        if let Some(why) = trouble.borrow_and_update().clone() {
            return why;
        }
    }
}
