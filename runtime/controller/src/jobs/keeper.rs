//! The task that has the ledger.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use drover_api::{
    Authority, ErrorCode, JobError, JobId, JobKilled, JobReported, JobSubmit, JobSubmitted,
    NodeDescription, NodeId, NodeStatus, Presence, Selector, Timestamp,
};
use drover_jobs::{Effect, Journal, Ledger, Step, Stranded, Write};
use serde_json::json;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};

use super::asker::{Asker, Kill, Request, Requests, Submitting, come_again, unwritable};
use super::outgoing::{Outgoing, Sent};
use super::same;
use super::store::StoreWrite;
use crate::access::Access;
use crate::vitals::Vitals;

/// How often what was kept long enough is deleted, and what waits in vain moves on.
const SWEEP: Duration = Duration::from_secs(1);

/// Jobs that are given another node in one go; the next follow with the next sweep.
const MOVES_AT_ONCE: usize = 256;

/// Submissions that ended just now, so that one that comes twice within an instant is
/// recognised although the store did not have it when it was looked for.
const JUST_ENDED: Duration = Duration::from_secs(10);

/// What the keeper is made of.
pub(super) struct Parts {
    pub(super) store_id: String,
    pub(super) ledger: Ledger,
    pub(super) journal: Journal<StoreWrite, Then>,
    /// Where the jobs are.
    pub(super) dir: PathBuf,
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
    /// The last job for which another node was looked for, if there are more.
    moved_until: Option<(NodeId, u64)>,
    vitals: Vitals,
    requests: Requests,
    dir: PathBuf,
}

impl Keeper {
    pub(super) fn new(parts: Parts, access: Access, vitals: Vitals) -> (Self, Asker) {
        let Parts { store_id, ledger, journal, dir } = parts;
        let mut rights = access.changes();
        // It may have changed since these jobs were written down.
        rights.mark_changed();
        let (asker, requests) = Asker::new(&dir, journal.watch_trouble());
        let keeper = Self {
            access,
            rights,
            ledger,
            journal,
            nodes: BTreeMap::new(),
            outgoing: Outgoing::new(store_id),
            waiters: HashMap::new(),
            just_ended: VecDeque::new(),
            moved_until: None,
            vitals,
            requests,
            dir,
        };
        (keeper, asker)
    }

    /// Works until nobody can ask any more; gives back the journal, to be closed.
    pub(super) async fn run(mut self) -> Journal<StoreWrite, Then> {
        let mut sweep: Interval = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.judge_again();
            let due = self.due();
            tokio::select! {
                biased;
                // The access is ours, so it does not end.
                _ = self.rights.changed() => self.rights.mark_changed(),
                request = self.requests.urgent.recv() => match request {
                    Some(request) => self.take(request),
                    None => return self.journal,
                },
                Some(sent) = self.outgoing.answered() => self.sent(sent),
                safe = self.journal.safe() => {
                    for then in safe {
                        self.perform(then);
                    }
                    self.outgoing.send(&self.ledger);
                }
                // What is decided must be written, and the sweep looks again.
                () = due, if self.can_write() => {
                    let step = self.ledger.tick(Timestamp::now());
                    self.write(step, None);
                }
                Some(request) = self.requests.others.recv() => self.take(request),
                _ = sweep.tick() => self.sweep(),
            }
        }
    }

    /// Whether the disk takes what there is to write.
    fn can_write(&self) -> bool {
        self.journal.trouble().is_none() && self.journal.obstacle().is_none()
    }

    /// Why nothing new is taken, if the disk does not answer.
    fn obstacle(&self) -> Option<String> {
        self.journal.obstacle().map(|why| unwritable(&self.dir, &why))
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

    fn take(&mut self, request: Request) {
        let now = Timestamp::now();
        match request {
            Request::Session(session) => self.outgoing.session(session),
            Request::Node(node) => self.node_changed(*node, now),
            Request::Nodes(nodes) => {
                let ids: Vec<_> = nodes.iter().map(|node| node.description.id()).collect();
                self.nodes.retain(|id, _| ids.contains(id));
                for node in nodes {
                    self.node_changed(node, now);
                }
            }
            Request::Forgotten(node) => {
                self.nodes.remove(&node);
                for job in self.ledger.movable_from(node) {
                    self.move_job(&job, now);
                }
                let step = self.ledger.node_forgotten(node, now);
                self.write(step, None);
            }
            Request::Report(report, reply) if !self.outgoing.is_of_store(&report.store) => {
                let message = "these jobs were submitted to a controller with another store, and \
                               this one knows nothing of them";
                let error = JobError::new(ErrorCode::UnknownJob, message);
                drop(reply.send(Err(error)));
            }
            Request::Report(report, reply) => match self.obstacle() {
                Some(why) => {
                    let message = format!("{why}; results stay with their nodes until then");
                    drop(reply.send(Err(come_again(message))));
                }
                None => {
                    let (step, answer) = self.ledger.reported(report, now);
                    self.write(step, Some(Reply::Reported(reply, answer)));
                }
            },
            Request::Kill(kill, reply) => self.kill(kill, reply, now),
            Request::Judge(request, selector, reply) => {
                drop(reply.send(self.judge(&request, &selector)));
            }
            Request::Submit(submitting) => self.submit(*submitting, now),
            Request::Wait(id, reply) => self.wait(id, reply),
            Request::IsOpen(id, reply) => drop(reply.send(self.ledger.is_open(&id))),
            Request::Write(write, reply) => {
                let then = Then { effects: Vec::new(), reply: Some(Reply::Over(reply)) };
                let _ = self.journal.write(vec![write], then);
            }
        }
    }

    /// Ends what waits on the word of somebody who may not have it done any more. This
    /// comes before anything else, so none of it is delivered after such a change.
    fn judge_again(&mut self) {
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
        self.write(step, None);
    }

    fn kill(
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
        if let Some(why) = self.journal.trouble() {
            return drop(reply.send(Err(self.cancel_only(&id, node, &why))));
        }
        let (step, killed) = self.ledger.kill(&id, node, force, &by, now);
        self.write(step, Some(Reply::Killed(reply, killed)));
    }

    /// Has nodes end what they have of a submission, which needs nothing to be written
    /// here; what else there is cannot be ended now.
    fn cancel_only(&mut self, id: &JobId, node: Option<NodeId>, why: &str) -> JobError {
        let mut told = 0;
        for (on, number) in self.ledger.with_nodes(id) {
            if node.is_none_or(|node| node == on) {
                told += 1;
                self.outgoing.add(Effect::Cancel(on, vec![number]));
            }
        }
        self.outgoing.send(&self.ledger);
        let why = unwritable(&self.dir, why);
        come_again(format!(
            "{why}; {told} jobs that are with their nodes are ended there, and the others only when \
             this is tried again then"
        ))
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

    fn node_changed(&mut self, node: NodeStatus, now: Timestamp) {
        let id = node.description.id();
        let is_present = node.presence == Presence::Present;
        let since = node.since;
        let before = self.nodes.insert(id, node);
        let was_present = before
            .filter(|before| before.presence == Presence::Present && before.since == since)
            .is_some();
        if is_present && !was_present {
            let step = self.ledger.node_joined(id, now);
            self.write(step, None);
        } else if !is_present {
            let step = self.ledger.node_left(id, now);
            self.write(step, None);
        }
    }

    /// Has jobs move whose node has stayed away and that may be another's: some of them
    /// at a time, so that nobody waits long.
    fn move_on(&mut self) {
        let now = Timestamp::now();
        let stranded = self.ledger.stranded(self.moved_until, MOVES_AT_ONCE, now);
        let last = stranded.last().filter(|_| stranded.len() == MOVES_AT_ONCE);
        self.moved_until = last.map(|last| (last.node, last.key));
        for job in stranded {
            self.move_job(&job, now);
        }
    }

    fn move_job(&mut self, job: &Stranded, now: Timestamp) {
        if let Some(to) = self.another(job) {
            let step = self.ledger.move_on(job.key, to, now);
            self.write(step, None);
        }
    }

    /// Another node that matches and is there: that with the least to do.
    fn another(&self, job: &Stranded) -> Option<NodeId> {
        // It was one when it was submitted.
        let selector: Selector = job.request.nodes.parse().ok()?;
        let may = |node| match &job.request.authority {
            Some(authority) => {
                self.access.may_run(authority, &job.request.command.cmd, node).is_ok()
            }
            None => true,
        };
        let there = self.nodes.values().filter(|node| node.presence == Presence::Present);
        let meant = there.filter(|node| selector.matches(&node.description));
        let free = meant.map(|node| node.description.id());
        free.filter(|node| self.ledger.may_move(job.key, *node) && may(*node))
            .min_by_key(|node| (self.ledger.load_of(*node), *node))
    }

    fn submit(&mut self, submitting: Submitting, now: Timestamp) {
        let Submitting { request, selector, by, reply } = submitting;
        let submitted = self.try_submit(request, &selector, &by, now);
        self.vitals.submitted(submitted.is_ok());
        match submitted {
            Ok((step, submitted)) => {
                self.write(step, Some(Reply::Submitted(reply, submitted)));
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
            let why = unwritable(&self.dir, &why);
            return Err(come_again(format!("{why}; this was not taken: submit it again then")));
        }
        if let Some(why) = self.obstacle() {
            return Err(come_again(format!("{why}; this was not taken: submit it again then")));
        }
        let id = request.command.id.clone();
        let open = self.ledger.request(&id).map(|(known, nodes)| (Arc::clone(known), nodes));
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
                // Of those that are lost, who was there last comes back first.
                let known = &self.nodes[node];
                let is_lost = known.presence != Presence::Present;
                let lost = is_lost.then_some(Reverse(known.since));
                (is_lost, lost, self.ledger.load_of(*node), *node)
            });
        }
        if let Some(any) = request.any {
            nodes.truncate(any as usize);
        }
        Ok(nodes)
    }

    fn wait(&mut self, id: JobId, reply: oneshot::Sender<()>) {
        if !self.ledger.is_open(&id) {
            // Its end may be on its way to the disk.
            return self.write(Step::default(), Some(Reply::Over(reply)));
        }
        let waiters = self.waiters.entry(id).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(reply);
    }

    fn sent(&mut self, sent: Sent) {
        let now = Timestamp::now();
        if let Sent::Delivered(node, answer) = sent {
            let step = self.ledger.delivered(node, answer.as_ref(), now);
            self.write(step, None);
        }
        self.outgoing.send(&self.ledger);
    }

    fn sweep(&mut self) {
        while self.just_ended.front().is_some_and(|(at, ..)| at.elapsed() > JUST_ENDED) {
            self.just_ended.pop_front();
        }
        let is_writable = self.can_write();
        self.vitals.jobs(self.ledger.census(), is_writable);
        if is_writable {
            self.move_on();
            let then = Then { effects: Vec::new(), reply: None };
            let _ = self.journal.write(vec![StoreWrite::Sweep(Timestamp::now())], then);
        }
    }

    fn write(&mut self, step: Step<Write, Effect>, reply: Option<Reply>) {
        if step.is_empty() && reply.is_none() {
            return;
        }
        self.vitals.jobs_change(&step.writes, Timestamp::now());
        let ended = self.ledger.take_ended().into_iter();
        self.just_ended.extend(ended.map(|(request, nodes)| (Instant::now(), request, nodes)));
        let writes = step.writes.into_iter().map(StoreWrite::Job).collect();
        let then = Then { effects: step.effects, reply };
        if self.journal.write(writes, then).is_err() {
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

#[cfg(test)]
mod tests;
