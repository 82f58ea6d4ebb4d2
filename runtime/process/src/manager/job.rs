//! The task of one job: starts its children one after the other, reads their
//! output, and tells its observer everything in order.
//!
//! It does what the actor orders and decides nothing. It alone waits for the
//! observer.

use std::sync::Arc;

use bytes::Bytes;
use drover_api::{JobId, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::launch::{self, RunOf};
use super::pump::{Pump, ReadyWatch};
use super::{JobEvent, ManagerConfig, OutputStream, StdinWriter};
use crate::keeper_client::{Keeper, Pipes, Spawned};
use crate::scheduler::Key;
use crate::spec::ProcessSpec;
use crate::tree::Tree;

/// Orders that can wait for a job's task. The actor gives at most one launch
/// until it is settled, and with each only a few events to tell.
pub(super) const ORDERS: usize = 16;

/// What the actor orders.
#[derive(Debug)]
pub(super) enum Order {
    /// Start the program.
    Launch { run: u64 },
    /// Take over a child of an earlier agent.
    Adopt(Box<Adoption>),
    /// The child has exited: read to the end, and end what it left behind.
    Settle { leftover: bool },
    /// Tell the observer.
    Tell(JobEvent),
    /// Stop reading, and leave the child to the keeper.
    Detach,
}

/// A child of an earlier agent.
#[derive(Debug)]
pub(super) struct Adoption {
    pub(super) run: u64,
    pub(super) started: Timestamp,
    pub(super) pid: u32,
    pub(super) pipes: Pipes,
}

/// What the task tells the actor.
#[derive(Debug)]
pub(super) enum News {
    Launched {
        run: u64,
        tree: Box<Tree>,
        /// The process of the keeper that started it.
        keeper: u32,
        started: Timestamp,
        stdin: Option<StdinWriter>,
    },
    StdinReady {
        stdin: StdinWriter,
    },
    NotLaunched {
        run: u64,
        message: String,
    },
    Ready {
        run: u64,
    },
    Settled {
        run: u64,
    },
    /// The observer has heard the end, and the keeper has forgotten the job.
    Closed,
}

/// How the keeper can be reached.
#[derive(Debug, Clone)]
pub(super) enum Link {
    /// It is being looked for.
    Sought,
    Here(Keeper),
    /// It cannot be reached; the text says why.
    Away(String),
}

/// The task's own state.
pub(super) struct JobTask {
    pub(super) key: Key,
    pub(super) id: JobId,
    pub(super) spec: Arc<ProcessSpec>,
    pub(super) config: Arc<ManagerConfig>,
    pub(super) observer: mpsc::Sender<JobEvent>,
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) link: watch::Receiver<Link>,
    pub(super) news: mpsc::Sender<(Key, News)>,
    /// Whether the keeper still keeps the exit of the last run. It does until the
    /// observer has heard what came of it, so that the next agent learns of it if this one
    /// dies before.
    pub(super) is_kept: bool,
}

/// Whether the task goes on after a run.
enum After {
    GoOn,
    Detached,
}

impl JobTask {
    /// Runs until the actor has no more orders.
    pub(super) async fn run(mut self) {
        while let Some(order) = self.orders.recv().await {
            let after = match order {
                Order::Launch { run } => self.launch(run).await,
                Order::Adopt(adoption) => self.adopt(*adoption).await,
                Order::Tell(event) => {
                    let is_last = matches!(event, JobEvent::Ended { .. });
                    let is_end_of_run = matches!(event, JobEvent::RunEnded { .. });
                    self.tell(event).await;
                    if !is_end_of_run {
                        // What follows from the end of the run is told as well.
                        self.acknowledge().await;
                    }
                    if is_last {
                        self.report(News::Closed).await;
                        return;
                    }
                    After::GoOn
                }
                Order::Detach => {
                    self.acknowledge().await;
                    After::Detached
                }
                // Of a run that was never launched.
                Order::Settle { .. } => After::GoOn,
            };
            if matches!(after, After::Detached) {
                return;
            }
        }
    }

    async fn launch(&mut self, run: u64) -> After {
        match self.start(run).await {
            Ok((pump, stdin)) => self.follow(run, pump, stdin).await,
            Err(message) => {
                self.remove_script().await;
                self.report(News::NotLaunched { run, message }).await;
                After::GoOn
            }
        }
    }

    /// Starts the program; an error is for people.
    async fn start(&mut self, run: u64) -> Result<(Pump, Option<StdinWriter>), String> {
        let keeper = self.keeper().await?;
        self.acknowledge().await;
        let script = launch::write_script(&self.config.script_dir, &self.id, &self.spec).await?;
        let started = Timestamp::now();
        let wanted = RunOf { id: &self.id, spec: &self.spec, run, started };
        let launch = launch::launch(&wanted, &self.config, script.as_deref());
        let Spawned { tree, stdout, stderr, stdin } =
            keeper.spawn(launch).await.map_err(|error| error.to_string())?;
        let pid = tree.pid;
        let pipes = Pipes { stdout, stderr, stdin };
        match self.take_over(pipes) {
            Ok((pump, stdin)) => {
                let news = News::Launched {
                    run,
                    tree: Box::new(tree),
                    keeper: keeper.pid(),
                    started,
                    stdin: stdin.clone(),
                };
                self.report(news).await;
                self.tell(JobEvent::Started { run, pid, time: started }).await;
                Ok((pump, stdin))
            }
            Err(error) => {
                // It would run without anybody who reads from it.
                drop(keeper.acknowledge(&self.id).await);
                Err(format!("cannot read from the program: {error}"))
            }
        }
    }

    fn take_over(&self, mut pipes: Pipes) -> std::io::Result<(Pump, Option<StdinWriter>)> {
        let stdin = pipes.stdin.take();
        let stdin = stdin.map(|end| StdinWriter::new(self.id.clone(), self.link.clone(), end));
        Ok((Pump::new(pipes)?, stdin.transpose()?))
    }

    async fn adopt(&mut self, adoption: Adoption) -> After {
        let Adoption { run, started, pid, pipes } = adoption;
        let Ok(keeper) = self.keeper().await else { return After::GoOn };
        match self.take_over(pipes) {
            Ok((pump, stdin)) => {
                self.tell(JobEvent::Started { run, pid, time: started }).await;
                if let Some(stdin) = stdin {
                    self.report(News::StdinReady { stdin }).await;
                }
                self.follow(run, pump, None).await
            }
            Err(error) => {
                let message = format!("cannot read from the program: {error}");
                drop(keeper.acknowledge(&self.id).await);
                self.report(News::NotLaunched { run, message }).await;
                After::GoOn
            }
        }
    }

    /// Reads until the actor says that the child has exited, and then to the end.
    async fn follow(&mut self, run: u64, mut pump: Pump, stdin: Option<StdinWriter>) -> After {
        let input = self.spec.clone();
        let mut ready = self.spec.ready.clone().map(ReadyWatch::new);
        let mut feeding = stdin.is_some() && !input.input.is_empty();
        let feed = async {
            if let Some(stdin) = &stdin {
                // A child that does not read its input has its reasons.
                drop(stdin.write(input.input.as_bytes()).await);
            }
        };
        tokio::pin!(feed);
        let leftover = loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(Order::Settle { leftover }) => break leftover,
                    Some(Order::Tell(event)) => self.tell(event).await,
                    Some(Order::Detach) | None => return After::Detached,
                    Some(order @ (Order::Launch { .. } | Order::Adopt(_))) => {
                        tracing::error!(job = %self.id, ?order, "an order came during a run");
                    }
                },
                block = pump.next(), if pump.is_open() => {
                    self.deliver(run, block, &mut ready).await;
                }
                () = &mut feed, if feeding => feeding = false,
            }
        };
        self.settle(run, pump, ready, leftover).await;
        After::GoOn
    }

    async fn settle(
        &mut self,
        run: u64,
        mut pump: Pump,
        mut ready: Option<ReadyWatch>,
        leftover: bool,
    ) {
        let keeper = self.keeper().await.ok();
        if let Some(keeper) = keeper.as_ref().filter(|_| leftover) {
            // Whoever is only late may finish.
            let patience = Instant::now() + self.config.leak_timeout;
            while pump.is_open() {
                tokio::select! {
                    block = pump.next() => self.deliver(run, block, &mut ready).await,
                    () = tokio::time::sleep_until(patience) => break,
                }
            }
            let (id, grace) = (self.id.clone(), self.spec.grace);
            let end = keeper.end_tree(&id, grace);
            tokio::pin!(end);
            loop {
                tokio::select! {
                    _ = &mut end => break,
                    block = pump.next(), if pump.is_open() => {
                        self.deliver(run, block, &mut ready).await;
                    }
                }
            }
        }
        while pump.is_open() {
            match tokio::time::timeout(self.config.leak_timeout, pump.next()).await {
                Ok(block) => self.deliver(run, block, &mut ready).await,
                Err(_) => {
                    tracing::warn!(job = %self.id, "somebody else holds the output of a program that has ended; it is not read any further");
                    break;
                }
            }
        }
        self.remove_script().await;
        self.is_kept = true;
        self.report(News::Settled { run }).await;
    }

    /// Passes a block on, and looks into it as long as readiness is awaited.
    async fn deliver(
        &mut self,
        run: u64,
        block: Option<(OutputStream, Bytes)>,
        ready: &mut Option<ReadyWatch>,
    ) {
        let Some((stream, bytes)) = block else { return };
        let is_ready = ready.as_mut().is_some_and(|ready| ready.sees(stream, &bytes));
        self.tell(JobEvent::Output { stream, bytes }).await;
        if is_ready {
            *ready = None;
            self.report(News::Ready { run }).await;
            self.tell(JobEvent::Ready).await;
        }
    }

    /// Lets the keeper forget the last run, which frees the id.
    async fn acknowledge(&mut self) {
        if !std::mem::replace(&mut self.is_kept, false) {
            return;
        }
        if let Ok(keeper) = self.keeper().await {
            // A keeper that is gone has forgotten it already.
            drop(keeper.acknowledge(&self.id).await);
        }
    }

    /// Waits until the keeper is found, or cannot be.
    async fn keeper(&mut self) -> Result<Keeper, String> {
        loop {
            match &*self.link.borrow_and_update() {
                Link::Here(keeper) => return Ok(keeper.clone()),
                Link::Away(reason) => return Err(reason.clone()),
                Link::Sought => {}
            }
            if self.link.changed().await.is_err() {
                return Err("the process manager is shutting down".to_owned());
            }
        }
    }

    async fn remove_script(&self) {
        if self.spec.script.is_some() {
            let path = launch::script_path(&self.config.script_dir, &self.id);
            // It may never have been written.
            drop(tokio::fs::remove_file(path).await);
        }
    }

    /// Without an observer, what happens is not told.
    async fn tell(&self, event: JobEvent) {
        drop(self.observer.send(event).await);
    }

    /// Without an actor, the task ends at its next order.
    async fn report(&self, news: News) {
        drop(self.news.send((self.key, news)).await);
    }
}
