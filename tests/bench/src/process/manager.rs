//! Ours: a process manager and its keeper.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use drover_api::{JobId, JobState};
use drover_process::{
    JobEvent, JobInfo, ManagerConfig, Observer, Places, ProcessManager, ProcessSpec, SpecContext,
    open,
};
use futures_util::future::try_join_all;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::latency::{self, Sample, median};

/// The program that does nothing.
pub(super) const EMPTY: &str = "/bin/true";

/// The program that stays.
const LASTING: &str = "/bin/sleep";

/// More than a benchmark ever has at a time.
const MOST_JOBS: usize = 1000;

/// Events of a job on their way; it has few, and none with output.
const BACKLOG: usize = 16;

/// A manager whose jobs tell what happens to them.
pub(super) struct Manager {
    manager: ProcessManager,
    context: SpecContext,
    told: Told,
    tasks: JoinSet<()>,
}

/// The events of jobs that nobody has asked for yet.
type Told = Arc<Mutex<HashMap<JobId, mpsc::Receiver<JobEvent>>>>;

/// A job that was submitted.
struct Job {
    id: JobId,
    events: mpsc::Receiver<JobEvent>,
}

impl Manager {
    /// Starts a manager that keeps its files in `dir`.
    pub(super) fn start(drover: &Path, dir: &Path) -> anyhow::Result<Self> {
        let drover = drover.canonicalize().context("cannot find the program `drover`")?;
        let keeper_dir = dir.join("run");
        let text = |path: &Path| path.display().to_string();
        let config = ManagerConfig {
            keeper_command: vec![text(&drover), "keeper".to_owned(), text(&keeper_dir)],
            keeper_dir,
            remembered_file: dir.join("jobs.json"),
            script_dir: dir.join("scripts"),
            max_jobs: MOST_JOBS,
            max_accepted: MOST_JOBS,
            environment: BTreeMap::new(),
            agent_environment: BTreeMap::new(),
            leak_timeout: Duration::from_secs(1),
        };
        let context = SpecContext {
            places: Places { agent_root: dir.into(), root: "/".into(), tmp: dir.into() },
            interpreters: BTreeMap::new(),
            grace: Duration::from_secs(10),
            stats_interval: Duration::from_secs(30),
        };
        let told = Told::default();
        let teller = Arc::clone(&told);
        let observer: Observer = Arc::new(move |job: &JobInfo| {
            let (events, receiver) = mpsc::channel(BACKLOG);
            lock(&teller).insert(job.id.clone(), receiver);
            events
        });
        let (manager, task) = open(config, observer)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(task.run());
        Ok(Self { manager, context, told, tasks })
    }

    /// Keeps so many jobs of a program that does nothing going for `time`.
    pub(super) async fn empty_jobs(
        &self,
        in_flight: usize,
        time: Duration,
    ) -> anyhow::Result<Sample> {
        latency::measure(in_flight, time, || async {
            let mut job = self.submit(json!({ "cmd": EMPTY })).await?;
            job.ended().await
        })
        .await
    }

    /// Milliseconds from the `kill -9` of a child to the start of the next.
    pub(super) async fn restart_ms(&self, times: usize) -> anyhow::Result<f64> {
        let mut job = self
            .submit(json!({
                "cmd": LASTING,
                "args": ["1000"],
                "max_restart": 1_000_000,
                "restart_delay": 0,
            }))
            .await?;
        let mut pid = job.started().await?;
        let mut took = Vec::new();
        for _ in 0..times {
            let killed = Instant::now();
            kill(pid, Signal::SIGKILL).context("the child is not there")?;
            pid = job.started().await?;
            took.push(killed.elapsed().as_secs_f64() * 1e3);
        }
        self.manager.kill(&job.id).await?;
        median(took).context("nothing was killed")
    }

    /// Seconds until so many children that were asked for at once are running.
    pub(super) async fn all_up_s(&self, count: usize) -> anyhow::Result<f64> {
        let asked = Instant::now();
        let lasting = || json!({ "cmd": LASTING, "args": ["1000"] });
        let jobs = try_join_all((0..count).map(|_| async {
            let mut job = self.submit(lasting()).await?;
            job.started().await?;
            anyhow::Ok(job)
        }));
        let jobs = jobs.await?;
        let took = asked.elapsed().as_secs_f64();
        try_join_all(jobs.iter().map(|job| self.manager.kill(&job.id))).await?;
        Ok(took)
    }

    /// Ends the manager and its keeper.
    pub(super) async fn stop(self) -> anyhow::Result<()> {
        self.manager.shutdown().await?;
        drop(self.manager);
        self.tasks.join_all().await;
        Ok(())
    }

    async fn submit(&self, arguments: Value) -> anyhow::Result<Job> {
        let arguments = arguments.as_object().context("arguments are an object")?;
        let spec = ProcessSpec::execute(&self.context, arguments, "")?;
        let id = JobId::generate();
        self.manager.submit(id.clone(), spec).await?;
        let events = lock(&self.told).remove(&id).context("the job has no events")?;
        Ok(Job { id, events })
    }
}

impl Job {
    async fn started(&mut self) -> anyhow::Result<Pid> {
        while let Some(event) = self.events.recv().await {
            match event {
                JobEvent::Started { pid, .. } => return Ok(Pid::from_raw(pid.try_into()?)),
                JobEvent::Ended { outcome } => bail!("the job ended: {}", outcome.message),
                _ => {}
            }
        }
        bail!("the manager has ended")
    }

    async fn ended(&mut self) -> anyhow::Result<()> {
        while let Some(event) = self.events.recv().await {
            if let JobEvent::Ended { outcome } = event {
                ensure!(outcome.state == JobState::Ok, "a job failed: {}", outcome.message);
                return Ok(());
            }
        }
        bail!("the manager has ended")
    }
}

fn lock(told: &Told) -> std::sync::MutexGuard<'_, HashMap<JobId, mpsc::Receiver<JobEvent>>> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}
