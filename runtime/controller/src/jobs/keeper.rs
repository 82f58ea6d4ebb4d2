//! The task that has the ledger.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use drover_api::{
    Authority, ErrorCode, JobError, JobId, JobKilled, JobReport, JobReported, JobSubmit,
    JobSubmitted, NodeDescription, NodeId, NodeStatus, Presence, Selector, Timestamp,
};
use drover_jobs::{Effect, Journal, Ledger, Step, Write};
use drover_wamp::Client;
use serde_json::json;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::outgoing::{Outgoing, Sent};
use super::same;
use super::store::StoreWrite;
use crate::access::Access;
use crate::vitals::Vitals;

/// Requests that wait for the keeper; whoever has one more waits.
const BACKLOG: usize = 1024;

/// How often what was kept long enough is deleted.
const SWEEP: Duration = Duration::from_secs(1);

/// Submissions that ended just now, so that one that comes twice within an instant is
/// recognised although the store did not have it when it was looked for.
const JUST_ENDED: Duration = Duration::from_secs(10);

/// What the keeper is made of.
pub(super) struct Parts {
    pub(super) store_id: String,
    pub(super) ledger: Ledger,
    pub(super) journal: Journal<StoreWrite, Then>,
}

/// What is done when a step is safe.
pub(super) struct Then {
    effects: Vec<Effect>,
    reply: Option<Reply>,
}

/// An answer that waits for the disk.
enum Reply {
    Submitted(oneshot::Sender<Result<JobSubmitted, JobError>>, JobSubmitted),
    Killed(oneshot::Sender<Result<JobKilled, JobError>>, JobKilled),
    Reported(oneshot::Sender<Result<JobReported, JobError>>, JobReported),
    /// There is nothing to wait for.
    Over(oneshot::Sender<()>),
}

enum Request {
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

struct Submitting {
    request: JobSubmit,
    selector: Selector,
    by: String,
    reply: oneshot::Sender<Result<JobSubmitted, JobError>>,
}

/// A cheap handle for those who ask the keeper. Submissions and those who wait come
/// behind everything else.
#[derive(Clone)]
pub(super) struct Asker {
    urgent: mpsc::Sender<Request>,
    others: mpsc::Sender<Request>,
}

impl Asker {
    /// Calls go out by this session from now on.
    pub(super) async fn session(&self, session: Client) {
        let _ = self.urgent.send(Request::Session(session)).await;
    }

    /// A node has changed.
    pub(super) async fn node(&self, node: NodeStatus) {
        let _ = self.urgent.send(Request::Node(Box::new(node))).await;
    }

    /// These are all nodes; nothing if nobody knows.
    pub(super) async fn nodes(&self, nodes: Option<Vec<NodeStatus>>) {
        if let Some(nodes) = nodes {
            let _ = self.urgent.send(Request::Nodes(nodes)).await;
        }
    }

    /// A node is gone for good.
    pub(super) async fn forgotten(&self, node: NodeId) {
        let _ = self.urgent.send(Request::Forgotten(node)).await;
    }

    pub(super) async fn report(&self, report: JobReport) -> Result<JobReported, JobError> {
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
        let submit = |reply| Request::Submit(Box::new(Submitting { request, selector, by, reply }));
        ask(&self.others, submit).await?
    }

    /// Whether a submission has jobs that have not ended.
    pub(super) async fn is_open(&self, id: JobId) -> Result<bool, JobError> {
        ask(&self.others, |reply| Request::IsOpen(id, reply)).await
    }

    /// Has something written beside the jobs.
    pub(super) async fn write(&self, write: StoreWrite) -> Result<(), JobError> {
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

/// Whether a command may be run on all of these nodes on somebody's word.
fn allowed(
    access: &Access,
    authority: &Authority,
    cmd: &str,
    mut nodes: impl Iterator<Item = NodeId>,
) -> Result<(), JobError> {
    let judged = nodes.try_for_each(|node| access.may_run(authority, cmd, node));
    judged.map_err(|why| {
        let message = format!("{why}: choose nodes on which you may");
        JobError::new(ErrorCode::Denied, message)
    })
}

/// The owner of the ledger.
pub(super) struct Keeper {
    access: Access,
    /// Whether what people may do has changed.
    rights: watch::Receiver<()>,
    ledger: Ledger,
    journal: Journal<StoreWrite, Then>,
    nodes: BTreeMap<NodeId, NodeStatus>,
    outgoing: Outgoing,
    waiters: HashMap<JobId, Vec<oneshot::Sender<()>>>,
    just_ended: VecDeque<(Instant, Arc<JobSubmit>, u64)>,
    vitals: Vitals,
    urgent: mpsc::Receiver<Request>,
    others: mpsc::Receiver<Request>,
}

impl Keeper {
    pub(super) fn new(parts: Parts, access: Access, vitals: Vitals) -> (Self, Asker) {
        let Parts { store_id, ledger, journal } = parts;
        let mut rights = access.changes();
        // It may have changed since these jobs were written down.
        rights.mark_changed();
        let (urgent_requests, urgent) = mpsc::channel(BACKLOG);
        let (other_requests, others) = mpsc::channel(BACKLOG);
        let keeper = Self {
            access,
            rights,
            ledger,
            journal,
            nodes: BTreeMap::new(),
            outgoing: Outgoing::new(store_id),
            waiters: HashMap::new(),
            just_ended: VecDeque::new(),
            vitals,
            urgent,
            others,
        };
        (keeper, Asker { urgent: urgent_requests, others: other_requests })
    }

    /// Works until nobody can ask any more; gives back the journal, to be closed.
    pub(super) async fn run(mut self) -> Journal<StoreWrite, Then> {
        let mut sweep: Interval = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.judge_again().await;
            let due = self.due();
            tokio::select! {
                biased;
                // The access is ours, so it does not end.
                _ = self.rights.changed() => self.rights.mark_changed(),
                request = self.urgent.recv() => match request {
                    Some(request) => self.take(request).await,
                    None => return self.journal,
                },
                Some(sent) = self.outgoing.answered() => self.sent(sent).await,
                safe = self.journal.safe() => {
                    for then in safe {
                        self.perform(then);
                    }
                    self.outgoing.send(&self.ledger);
                }
                () = due => {
                    let step = self.ledger.tick(Timestamp::now());
                    self.write(step, None).await;
                }
                Some(request) = self.others.recv() => self.take(request).await,
                _ = sweep.tick() => self.sweep().await,
            }
        }
    }

    /// Resolves when the ledger has something to do.
    fn due(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        match self.ledger.next_due() {
            Some(due) => {
                let wait = due.since(Timestamp::now()) + Duration::from_millis(1);
                Box::pin(sleep_until(Instant::now() + wait))
            }
            None => Box::pin(std::future::pending()),
        }
    }

    async fn take(&mut self, request: Request) {
        let now = Timestamp::now();
        match request {
            Request::Session(session) => self.outgoing.session(session),
            Request::Node(node) => self.node_changed(*node, now).await,
            Request::Nodes(nodes) => {
                let ids: Vec<_> = nodes.iter().map(|node| node.description.id()).collect();
                self.nodes.retain(|id, _| ids.contains(id));
                for node in nodes {
                    self.node_changed(node, now).await;
                }
            }
            Request::Forgotten(node) => {
                self.nodes.remove(&node);
                let step = self.ledger.node_forgotten(node, now);
                self.write(step, None).await;
            }
            Request::Report(report, reply) if !self.outgoing.is_of_store(&report.store) => {
                let message = "these jobs were submitted to a controller with another store, and \
                               this one knows nothing of them";
                let error = JobError::new(ErrorCode::UnknownJob, message);
                drop(reply.send(Err(error)));
            }
            Request::Report(report, reply) => {
                let (step, answer) = self.ledger.reported(report, now);
                self.write(step, Some(Reply::Reported(reply, answer))).await;
            }
            Request::Kill(kill, reply) => self.kill(kill, reply, now).await,
            Request::Judge(request, selector, reply) => {
                drop(reply.send(self.judge(&request, &selector)));
            }
            Request::Submit(submitting) => self.submit(*submitting, now).await,
            Request::Wait(id, reply) => self.wait(id, reply).await,
            Request::IsOpen(id, reply) => drop(reply.send(self.ledger.is_open(&id))),
            Request::Write(write, reply) => {
                let then = Then { effects: Vec::new(), reply: Some(Reply::Over(reply)) };
                let _ = self.journal.write(vec![write], then).await;
            }
        }
    }

    /// Ends what waits on the word of somebody who may not have it done any more. This
    /// comes before anything else, so none of it is delivered after such a change.
    async fn judge_again(&mut self) {
        if !self.rights.has_changed().unwrap_or(false) {
            return;
        }
        self.rights.mark_unchanged();
        let access = &self.access;
        let may = |request: &JobSubmit, node| match &request.authority {
            Some(authority) => access.may_run(authority, &request.command.cmd, node),
            None => Ok(()),
        };
        let step = self.ledger.judge(may, Timestamp::now());
        self.write(step, None).await;
    }

    async fn kill(
        &mut self,
        kill: Kill,
        reply: oneshot::Sender<Result<JobKilled, JobError>>,
        now: Timestamp,
    ) {
        let Kill { id, node, force, by, authority } = kill;
        if let (Some(authority), Some((request, _))) = (&authority, self.ledger.request(&id)) {
            let nodes = self.ledger.nodes_of(&id);
            let meant = nodes.filter(|one| node.is_none_or(|node| node == *one));
            let judged = allowed(&self.access, authority, &request.command.cmd, meant);
            if let Err(error) = judged {
                return drop(reply.send(Err(error)));
            }
        }
        let (step, killed) = self.ledger.kill(&id, node, force, &by, now);
        self.write(step, Some(Reply::Killed(reply, killed))).await;
    }

    fn judge(&self, request: &JobSubmit, selector: &Selector) -> Result<(), JobError> {
        let Some(authority) = &request.authority else { return Ok(()) };
        let nodes = self.nodes.values().map(|node| &node.description);
        let meant = nodes.filter(|node| selector.matches(node)).map(NodeDescription::id);
        let cmd = &request.command.cmd;
        self.access
            .may_run_somewhere(authority, cmd)
            .map_err(|why| JobError::new(ErrorCode::Denied, why))?;
        allowed(&self.access, authority, cmd, meant)
    }

    async fn node_changed(&mut self, node: NodeStatus, now: Timestamp) {
        let id = node.description.id();
        let is_present = node.presence == Presence::Present;
        let since = node.since;
        let before = self.nodes.insert(id, node);
        let was_present = before
            .filter(|before| before.presence == Presence::Present && before.since == since)
            .is_some();
        if is_present && !was_present {
            let step = self.ledger.node_joined(id, now);
            self.write(step, None).await;
        } else if !is_present {
            self.ledger.node_left(id);
        }
    }

    async fn submit(&mut self, submitting: Submitting, now: Timestamp) {
        let Submitting { request, selector, by, reply } = submitting;
        let submitted = self.try_submit(request, &selector, &by, now);
        self.vitals.submitted(submitted.is_ok());
        match submitted {
            Ok((step, submitted)) => {
                self.write(step, Some(Reply::Submitted(reply, submitted))).await;
            }
            Err(error) => drop(reply.send(Err(error))),
        }
    }

    fn try_submit(
        &mut self,
        request: JobSubmit,
        selector: &Selector,
        by: &str,
        now: Timestamp,
    ) -> Result<(Step<Write, Effect>, JobSubmitted), JobError> {
        if let Some(why) = self.journal.trouble() {
            let message = format!("the controller cannot write jobs down: {why}");
            return Err(JobError::new(ErrorCode::Internal, message));
        }
        let id = request.command.id.clone();
        let open = self.ledger.request(&id).map(|(known, nodes)| (Arc::clone(known), nodes as u64));
        let ended = || {
            let ended = self.just_ended.iter().find(|(_, known, _)| known.command.id == id);
            ended.map(|(_, known, nodes)| (Arc::clone(known), *nodes))
        };
        if let Some((known, nodes)) = open.or_else(ended) {
            return Ok((Step::default(), same(&known, &request, nodes)?));
        }
        let nodes = self.choose(&request, selector)?;
        if let Some(authority) = &request.authority {
            allowed(&self.access, authority, &request.command.cmd, nodes.iter().copied())?;
        }
        let count = nodes.len() as u64;
        let step = self.ledger.submit(request, &nodes, by, now).map_err(|refusal| {
            let wait = u64::try_from(refusal.wait.as_millis()).unwrap_or(u64::MAX);
            JobError::new(ErrorCode::Busy, refusal.to_string())
                .with_detail(json!({ "retry_after_ms": wait }))
        })?;
        Ok((step, JobSubmitted { id, nodes: count, is_old: false }))
    }

    /// The nodes of a submission: those that are present first, and of them those that
    /// have the least to do.
    fn choose(&self, request: &JobSubmit, selector: &Selector) -> Result<Vec<NodeId>, JobError> {
        let choice = selector.choose(self.nodes.values().map(|node| &node.description));
        if let Some(why) = choice.why_none(selector) {
            let nearly = json!({ "nearly": choice.nearly });
            return Err(JobError::new(ErrorCode::NoNode, why).with_detail(nearly));
        }
        let mut nodes = choice.nodes;
        if request.any.is_some() || request.at_once.is_some() {
            nodes.sort_by_cached_key(|node| {
                let is_lost = self.nodes[node].presence != Presence::Present;
                (is_lost, self.ledger.load_of(*node), *node)
            });
        }
        if let Some(any) = request.any {
            nodes.truncate(any as usize);
        }
        Ok(nodes)
    }

    async fn wait(&mut self, id: JobId, reply: oneshot::Sender<()>) {
        if !self.ledger.is_open(&id) {
            // Its end may be on its way to the disk.
            return self.write(Step::default(), Some(Reply::Over(reply))).await;
        }
        let waiters = self.waiters.entry(id).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(reply);
    }

    async fn sent(&mut self, sent: Sent) {
        let now = Timestamp::now();
        if let Sent::Delivered(node, answer) = sent {
            let step = self.ledger.delivered(node, answer.as_ref(), now);
            self.write(step, None).await;
        }
        self.outgoing.send(&self.ledger);
    }

    async fn sweep(&mut self) {
        while self.just_ended.front().is_some_and(|(at, ..)| at.elapsed() > JUST_ENDED) {
            self.just_ended.pop_front();
        }
        self.vitals.jobs(self.ledger.census());
        if self.journal.trouble().is_none() {
            let then = Then { effects: Vec::new(), reply: None };
            let _ = self.journal.write(vec![StoreWrite::Sweep(Timestamp::now())], then).await;
        }
    }

    async fn write(&mut self, step: Step<Write, Effect>, reply: Option<Reply>) {
        if step.is_empty() && reply.is_none() {
            return;
        }
        self.vitals.jobs_change(&step.writes, Timestamp::now());
        let writes = step.writes.into_iter().map(StoreWrite::Job).collect();
        let then = Then { effects: step.effects, reply };
        if self.journal.write(writes, then).await.is_err() {
            tracing::error!("the thread that writes jobs has ended");
        }
    }

    fn perform(&mut self, then: Then) {
        for effect in then.effects {
            match effect {
                Effect::Settled(node, below) => self.ledger.settled(node, below),
                Effect::Ended(id) => {
                    for waiter in self.waiters.remove(&id).unwrap_or_default() {
                        let _ = waiter.send(());
                    }
                }
                outgoing => self.outgoing.add(outgoing),
            }
        }
        // Whoever has gone does not want the answer.
        match then.reply {
            Some(Reply::Submitted(reply, answer)) => drop(reply.send(Ok(answer))),
            Some(Reply::Killed(reply, answer)) => drop(reply.send(Ok(answer))),
            Some(Reply::Reported(reply, answer)) => drop(reply.send(Ok(answer))),
            Some(Reply::Over(reply)) => drop(reply.send(())),
            None => {}
        }
    }
}
