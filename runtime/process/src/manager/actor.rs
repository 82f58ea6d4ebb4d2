//! The actor: owns every job, asks the scheduler what to do, and has it done.
//!
//! Each source of news becomes an event of the scheduler in one place, and each
//! action of the scheduler is done in another. Whatever takes time runs as a task
//! of the actor's own set, and comes back as [`Done`].

mod answer;
mod ending;
mod hand_over;
mod perform;
mod restore;
mod sampling;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drover_api::{JobId, Timestamp};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::job::{Link, News, Order};
use super::remembered::{Entry, Memory, Remembered};
use super::{HandedJob, ManagerConfig, ManagerError, Observer, Reply, Request, StdinWriter};
use crate::keeper::{Exit, TreeEnd};
use crate::keeper_client::{Connection, KeeperError, KeeperEvent, connect_or_start};
use crate::lifecycle::{Event, Now, Outcome};
use crate::scheduler::{Key, Scheduler};
use crate::spec::ProcessSpec;
use crate::tree::Tree;
use ending::Ending;
use hand_over::HandOver;
use sampling::{Sampled, Sampling};

/// News of all jobs on their way to the actor; their tasks wait for room.
const NEWS: usize = 1024;

/// How many ended jobs are known for [`ProcessManager::wait`](super::ProcessManager::wait).
const HISTORY: usize = 1000;

/// Between two tries to find a keeper that cannot be reached.
const SEEK_PAUSE: Duration = Duration::from_secs(1);

/// The work of the manager; its owner spawns [`ManagerTask::run`].
pub struct ManagerTask(Actor);

impl ManagerTask {
    /// Works until [`shutdown`](super::ProcessManager::shutdown), or until the last
    /// handle is dropped; then ends what is to be ended.
    pub async fn run(self) {
        self.0.run().await;
    }

    /// The jobs that an earlier manager has handed over to this one, which goes on with
    /// them under the same ids as soon as it runs.
    #[must_use]
    pub fn handed_over(&self) -> Vec<HandedJob> {
        let Mode::Restoring(jobs) = &self.0.mode else { return Vec::new() };
        let handed = jobs.iter().filter_map(|(id, entry)| Some((id, entry.handed.as_ref()?)));
        handed.map(|(id, handed)| HandedJob { id: id.clone(), accepted: handed.accepted }).collect()
    }
}

/// A job that has not ended.
struct Job {
    id: JobId,
    spec: Arc<ProcessSpec>,
    accepted: Timestamp,
    is_on_disk: bool,
    /// Whether its entry on disk says how it was handed over.
    is_handed: bool,
    orders: mpsc::Sender<Order>,
    /// The run that goes on, once its program is started.
    run: Option<Running>,
    /// Whether other processes of the run's tree outlived its first one.
    leftover: bool,
    /// When the last order to launch was given.
    begun: Instant,
    ending: Ending,
    stdin: Option<StdinWriter>,
    /// Who waits for the standard input of the next run.
    stdin_waiters: Vec<Reply<StdinWriter>>,
    waiters: Vec<Reply<Outcome>>,
    /// How it ended, while its observer has not heard of it yet.
    outcome: Option<Outcome>,
    /// When what it uses is measured next.
    sample_due: Option<Instant>,
}

/// A run with a child.
struct Running {
    tree: Option<Tree>,
    pid: u32,
    since: Timestamp,
}

/// What has become of something that took time.
enum Done {
    /// A task that has nothing to say.
    Nothing,
    /// A job that is to be remembered is on disk, or could not be put there.
    Stored {
        id: JobId,
        spec: Box<ProcessSpec>,
        outcome: Result<(), ManagerError>,
        reply: Reply<()>,
    },
    TreeEnd {
        key: Key,
        outcome: Result<TreeEnd, KeeperError>,
    },
    Sampled(Box<Sampled>),
    Connected(Box<Result<(Connection, JoinSet<()>), KeeperError>>),
    /// All jobs are on disk as they stand, or could not be put there.
    Handed(Result<(), ManagerError>),
    /// That the run begins is on disk, where that was to come first.
    Noted {
        key: Key,
        run: u64,
    },
}

/// How far the actor is.
enum Mode {
    /// What an earlier agent left has not been seen to yet.
    Restoring(BTreeMap<JobId, Entry>),
    Serving,
    /// Nothing is begun any more; jobs are on their way to the next manager.
    HandingOver(HandOver),
    /// Only what ends with the agent is left.
    HandedOver,
    /// No job is taken any more; it ends when the last one that is to be ended is.
    Closing(Vec<Reply<()>>),
}

pub(super) struct Actor {
    config: Arc<ManagerConfig>,
    observer: Observer,
    requests: mpsc::Receiver<Request>,
    news: mpsc::Receiver<(Key, News)>,
    tell_news: mpsc::Sender<(Key, News)>,
    scheduler: Scheduler,
    jobs: HashMap<Key, Job>,
    ids: HashMap<JobId, Key>,
    /// Jobs on their way to the disk.
    storing: HashSet<JobId>,
    /// Jobs that the next manager has.
    handed: HashSet<JobId>,
    history: VecDeque<(JobId, Outcome)>,
    mode: Mode,
    link: watch::Sender<Link>,
    is_seeking: bool,
    exits: Option<mpsc::Receiver<KeeperEvent>>,
    keeper_pid: u32,
    keeper_tasks: JoinSet<()>,
    memory: Memory,
    /// Until the task runs, which may spawn.
    memory_writer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    memory_task: JoinSet<()>,
    /// Of jobs that have ended, while the keeper still has to say what it found.
    last_endings: HashMap<Key, Ending>,
    sampling: Sampling,
    tasks: JoinSet<Done>,
}

impl Actor {
    pub(super) fn begin(
        config: ManagerConfig,
        observer: Observer,
        requests: mpsc::Receiver<Request>,
        remembered: Remembered,
    ) -> ManagerTask {
        let (tell_news, news) = mpsc::channel(NEWS);
        let (memory, memory_writer) = remembered.writer();
        ManagerTask(Self {
            scheduler: Scheduler::new(config.max_jobs),
            config: Arc::new(config),
            observer,
            requests,
            news,
            tell_news,
            jobs: HashMap::new(),
            ids: HashMap::new(),
            storing: HashSet::new(),
            handed: HashSet::new(),
            history: VecDeque::new(),
            mode: Mode::Restoring(remembered.jobs),
            link: watch::Sender::new(Link::Sought),
            is_seeking: false,
            exits: None,
            keeper_pid: 0,
            keeper_tasks: JoinSet::new(),
            memory,
            memory_writer: Some(Box::pin(memory_writer)),
            memory_task: JoinSet::new(),
            last_endings: HashMap::new(),
            sampling: Sampling::default(),
            tasks: JoinSet::new(),
        })
    }

    async fn run(mut self) {
        if let Some(writer) = self.memory_writer.take() {
            self.memory_task.spawn(writer);
        }
        self.restore_or_seek();
        while !self.is_over() {
            self.go_on_handing_over();
            let is_frozen = self.is_frozen();
            let wakes = [self.scheduler.next_wake(now()), self.sampling.next_wake()];
            let wake = wakes.into_iter().flatten().min().filter(|_| !is_frozen);
            tokio::select! {
                request = self.requests.recv(), if !self.is_holding_requests() => match request {
                    Some(request) => self.answer(request),
                    None => self.close(None),
                },
                Some((key, news)) = self.news.recv(), if !is_frozen => self.take_news(key, news),
                exit = next_exit(&mut self.exits), if !is_frozen => match exit {
                    Some(KeeperEvent::Exited { id, exit, leftover }) => {
                        self.take_exit(&id, exit, leftover);
                    }
                    None => self.lose_keeper(),
                },
                Some(done) = self.tasks.join_next() => match done {
                    Ok(done) => self.take_done(done),
                    // Somebody else waits for that.
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => tracing::error!(%error, "a task of the process manager panicked"),
                },
                () = sleep_until(wake) => {
                    let actions = self.scheduler.tick(now());
                    self.perform(actions);
                    self.sample();
                }
            }
        }
        self.finish().await;
    }

    fn is_over(&self) -> bool {
        matches!(self.mode, Mode::Closing(_)) && self.jobs.is_empty() && self.storing.is_empty()
    }

    /// What an earlier agent left comes first, so that its ids are known.
    fn is_holding_requests(&self) -> bool {
        match self.mode {
            Mode::Restoring(_) => !matches!(*self.link.borrow(), Link::Away(_)),
            Mode::Serving | Mode::HandedOver => false,
            Mode::HandingOver(_) => self.is_frozen(),
            // Everybody who holds a handle has been told.
            Mode::Closing(_) => self.requests.is_closed() && self.requests.is_empty(),
        }
    }

    /// Waits for what is under way, and for the disk.
    async fn finish(mut self) {
        let Mode::Closing(replies) = std::mem::replace(&mut self.mode, Mode::Serving) else {
            return;
        };
        let away = || Link::Away("the process manager is shutting down".to_owned());
        if matches!(*self.link.borrow(), Link::Sought) {
            self.link.send_replace(away());
        }
        while let Some(done) = self.tasks.join_next().await {
            // Another task may wait to be told what the keeper found.
            if let Ok(Done::TreeEnd { key, outcome }) = done {
                self.take_tree_end(key, outcome);
            }
        }
        // Nothing needs the keeper any more, and what still has the link, such as
        // the writer of a standard input, must not hold it.
        self.link.send_replace(away());
        drop(self.memory);
        while self.memory_task.join_next().await.is_some() {}
        // Acknowledgements that are under way are still sent: the driver ends when
        // the last handle of the keeper is dropped.
        while self.keeper_tasks.join_next().await.is_some() {}
        for reply in replies {
            drop(reply.send(Ok(())));
        }
    }

    fn take_news(&mut self, key: Key, news: News) {
        let event = match news {
            News::Launched { run, tree, keeper, started, stdin } => {
                if let Some(job) = self.jobs.get_mut(&key) {
                    job.run = Some(Running { pid: tree.pid, tree: Some(*tree), since: started });
                    job.offer_stdin(stdin);
                }
                self.begin_sampling(key);
                self.apply(key, Event::Launched { run });
                if self.exits.is_some() && self.keeper_pid != keeper {
                    // Its keeper died before this news came.
                    self.apply(key, Event::Exited { run, exit: Exit::Lost });
                }
                return;
            }
            News::StdinReady { stdin } => {
                if let Some(job) = self.jobs.get_mut(&key) {
                    job.offer_stdin(Some(stdin));
                }
                return;
            }
            News::NotLaunched { run, message } => {
                self.end_run(key);
                Event::NotLaunched { run, message }
            }
            News::Closed => return self.close_job(key),
            News::Ready { run } => Event::Ready { run },
            News::Settled { run } => {
                self.end_run(key);
                Event::Settled { run }
            }
        };
        self.apply(key, event);
    }

    /// The run of a job has nothing left.
    fn end_run(&mut self, key: Key) {
        self.end_sampling(key);
        if let Some(job) = self.jobs.get_mut(&key) {
            job.run = None;
            job.stdin = None;
            job.ending.run_is_over();
        }
    }

    fn take_exit(&mut self, id: &JobId, exit: Exit, leftover: bool) {
        let Some(&key) = self.ids.get(id) else {
            if self.handed.contains(id) {
                // The keeper tells the next manager.
                return;
            }
            tracing::warn!(job = %id, "a child of a job that is not known has ended");
            return;
        };
        let Some(run) = self.scheduler.life(key).map(crate::lifecycle::Life::run) else { return };
        if let Some(job) = self.jobs.get_mut(&key) {
            job.leftover = leftover;
        }
        self.apply(key, Event::Exited { run, exit });
    }

    fn take_done(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            Done::Stored { id, spec, outcome, reply } => {
                self.accept_stored(id, *spec, outcome, reply);
            }
            Done::TreeEnd { key, outcome } => self.take_tree_end(key, outcome),
            Done::Sampled(sampled) => self.take_sampled(*sampled),
            Done::Connected(connected) => self.take_connection(*connected),
            Done::Handed(outcome) => self.let_go(outcome),
            Done::Noted { key, run } => self.order(key, Order::Launch { run }),
        }
    }

    fn apply(&mut self, key: Key, event: Event) {
        let actions = self.scheduler.apply(key, event, now());
        self.perform(actions);
    }

    /// Looks for the keeper, or starts one.
    fn seek_keeper(&mut self, pause: Duration) {
        if std::mem::replace(&mut self.is_seeking, true) {
            return;
        }
        let config = self.config.clone();
        self.tasks.spawn(async move {
            tokio::time::sleep(pause).await;
            let mut tasks = JoinSet::new();
            let program = || {
                let mut command = std::process::Command::new(
                    config.keeper_command.first().map_or("", String::as_str),
                );
                // It outlives this agent, and whatever secrets are there for it.
                command.args(config.keeper_command.iter().skip(1)).env_clear();
                command
            };
            let connected = connect_or_start(&config.keeper_dir, program, &mut tasks).await;
            if let Ok(Connection { keeper, kept, .. }) = &connected {
                // Nothing is left of these. They are forgotten before anything can
                // be started under the same ids.
                for lost in kept.iter().filter(|kept| kept.pipes.is_none()) {
                    drop(keeper.acknowledge(&lost.run.tree.id).await);
                }
            }
            Done::Connected(Box::new(connected.map(|connection| (connection, tasks))))
        });
    }

    fn take_connection(&mut self, connected: Result<(Connection, JoinSet<()>), KeeperError>) {
        self.is_seeking = false;
        match connected {
            Ok((Connection { keeper, kept, events }, tasks)) => {
                self.keeper_tasks = tasks;
                self.exits = Some(events);
                self.keeper_pid = keeper.pid();
                self.link.send_replace(Link::Here(keeper));
                self.take_kept(kept);
            }
            Err(error) => {
                let reason = describe(&error);
                tracing::error!(reason, "the keeper of the processes cannot be reached");
                self.link.send_replace(Link::Away(reason));
                // Somebody's children may be in its hands.
                if self.jobs.values().any(|job| job.run.is_some())
                    || matches!(self.mode, Mode::Restoring(_))
                {
                    self.seek_keeper(SEEK_PAUSE);
                }
            }
        }
    }

    /// The keeper is gone. The next one ends what it has left behind.
    fn lose_keeper(&mut self) {
        self.exits = None;
        self.link.send_replace(Link::Sought);
        self.seek_keeper(Duration::ZERO);
    }
}

/// An error with its causes, for people.
fn describe(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

pub(super) fn now() -> Now {
    Now { instant: Instant::now(), wall: Timestamp::now() }
}

async fn next_exit(exits: &mut Option<mpsc::Receiver<KeeperEvent>>) -> Option<KeeperEvent> {
    match exits {
        Some(exits) => exits.recv().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}

impl Job {
    /// Gives the standard input of a run to who waits for it.
    fn offer_stdin(&mut self, stdin: Option<StdinWriter>) {
        let Some(stdin) = stdin else { return };
        for waiter in self.stdin_waiters.drain(..) {
            drop(waiter.send(Ok(stdin.clone())));
        }
        self.stdin = Some(stdin);
    }
}
