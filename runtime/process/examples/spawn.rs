//! How fast the manager starts and ends children, against bare `std::process`.
//!
//! `cargo run --release --package drover-process --example spawn` prints, each as
//! the median of some interleaved rounds:
//!
//! - start to reaped of `/bin/true`, jobs a second, and the share of the bare rate,
//!   with little memory and while a gigabyte is held;
//! - the time from the `kill -9` of a child to the start of the next one;
//! - the time until 200 children, submitted together, all run.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drover_api::JobId;
use drover_process::{
    JobEvent, JobInfo, ManagerConfig, ManagerError, Observer, Places, ProcessManager, ProcessSpec,
    SpecContext, open, run_keeper,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

const ROUNDS: usize = 5;
const JOBS: usize = 2000;
const CHILDREN: usize = 200;
const KILLS: usize = 200;
const HELD_BYTES: usize = 1 << 30;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Outcome<()> {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|word| word == "keeper") {
        let dir = args.next().ok_or("keeper: name its directory")?;
        return Ok(run_keeper(Path::new(&dir))?);
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> Outcome<()> {
    rates("start to reaped").await?;
    let held = vec![1_u8; HELD_BYTES];
    rates("start to reaped, 1 GB held").await?;
    drop(std::hint::black_box(held));
    restarts().await?;
    for (label, more) in [("", json!({})), (", remembered on disk", json!({"max_time": -1}))] {
        together(label, &more).await?;
    }
    Ok(())
}

/// Jobs a second through the manager, and bare, in turns.
async fn rates(label: &str) -> Outcome<()> {
    let (mut ours, mut bare, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    let mut node = Node::start()?;
    for _ in 0..ROUNDS {
        let begun = Instant::now();
        for _ in 0..JOBS {
            Command::new("/bin/true").status()?;
        }
        bare.push(JOBS as f64 / begun.elapsed().as_secs_f64());
        let (begun, cpu_before) = (Instant::now(), own_cpu()?);
        node.run_all(JOBS, &json!({"cmd": "/bin/true"})).await?;
        ours.push(JOBS as f64 / begun.elapsed().as_secs_f64());
        cpu.push((own_cpu()? - cpu_before).as_secs_f64() * 1e6 / JOBS as f64);
    }
    node.end().await?;
    let (ours, bare) = (median(&mut ours), median(&mut bare));
    let (share, cpu) = (100.0 * ours / bare, median(&mut cpu));
    show(&format!(
        "{label}: {ours:.0} jobs/s, bare {bare:.0}/s, {share:.0} %; {cpu:.0} µs of CPU here a job"
    ));
    Ok(())
}

/// From a kill of the child to the start of the next one.
async fn restarts() -> Outcome<()> {
    let mut node = Node::start()?;
    let args = json!({"cmd": "/bin/sleep", "args": ["3600"], "max_restart": 1_000_000,
                      "restart_delay": 0});
    node.manager.submit(JobId::generate(), spec(&args)?).await?;
    let mut took = Vec::new();
    let mut pid = node.next_start().await?;
    for _ in 0..KILLS {
        let begun = Instant::now();
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL)?;
        pid = node.next_start().await?;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
    }
    node.end().await?;
    let median = median(&mut took);
    let worst = took.last().copied().unwrap_or_default();
    show(&format!("kill -9 to the next start: median {median:.2} ms, worst {worst:.2} ms"));
    Ok(())
}

/// Until so many children all run.
async fn together(label: &str, more: &Value) -> Outcome<()> {
    let mut took = Vec::new();
    for _ in 0..ROUNDS {
        let mut node = Node::start()?;
        let begun = Instant::now();
        let mut args = json!({"cmd": "/bin/sleep", "args": ["3600"]});
        if let (Some(args), Some(more)) = (args.as_object_mut(), more.as_object()) {
            args.extend(more.clone());
        }
        node.submit_all(CHILDREN, &args).await?;
        for _ in 0..CHILDREN {
            node.next_start().await?;
        }
        took.push(begun.elapsed().as_secs_f64());
        for job in node.manager.list().await? {
            node.manager.kill(&job.id).await?;
        }
        node.end().await?;
    }
    let took = median(&mut took);
    show(&format!("{CHILDREN} children started{label}, all running: {took:.3} s"));
    Ok(())
}

/// A manager in a directory of its own.
struct Node {
    manager: ProcessManager,
    events: mpsc::Receiver<JobEvent>,
    tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

impl Node {
    fn start() -> Outcome<Self> {
        let dir = tempfile::tempdir()?;
        let keeper_dir = dir.path().join("run");
        let program = std::env::current_exe()?.display().to_string();
        let config = ManagerConfig {
            keeper_command: vec![program, "keeper".to_owned(), keeper_dir.display().to_string()],
            keeper_dir,
            remembered_file: dir.path().join("jobs.json"),
            script_dir: dir.path().join("scripts"),
            max_jobs: 1000,
            max_accepted: 100_000,
            environment: BTreeMap::new(),
            agent_environment: BTreeMap::new(),
            leak_timeout: Duration::from_secs(1),
        };
        let (tell, events) = mpsc::channel(1024);
        let observer: Observer = Arc::new(move |_: &JobInfo| tell.clone());
        let (manager, task) = open(config, observer)?;
        let mut tasks = JoinSet::new();
        tasks.spawn(task.run());
        Ok(Self { manager, events, tasks, _dir: dir })
    }

    async fn submit_all(&self, count: usize, args: &Value) -> Outcome<()> {
        let mut asks = JoinSet::new();
        for _ in 0..count {
            let (manager, spec) = (self.manager.clone(), spec(args)?);
            asks.spawn(async move { manager.submit(JobId::generate(), spec).await });
        }
        while let Some(asked) = asks.join_next().await {
            asked??;
        }
        Ok(())
    }

    /// Runs jobs to their ends.
    async fn run_all(&mut self, count: usize, args: &Value) -> Outcome<()> {
        let (manager, spec) = (self.manager.clone(), spec(args)?);
        let mut asks = JoinSet::new();
        asks.spawn(async move {
            for _ in 0..count {
                manager.submit(JobId::generate(), spec.clone()).await?;
            }
            Ok::<_, ManagerError>(())
        });
        let mut ended = 0;
        while ended < count {
            let event = self.events.recv().await.ok_or("the manager has ended")?;
            ended += usize::from(matches!(event, JobEvent::Ended { .. }));
        }
        Ok(())
    }

    /// The child that is started next.
    async fn next_start(&mut self) -> Outcome<nix::unistd::Pid> {
        loop {
            let event = self.events.recv().await.ok_or("the manager has ended")?;
            if let JobEvent::Started { pid, .. } = event {
                return Ok(nix::unistd::Pid::from_raw(pid.try_into()?));
            }
        }
    }

    async fn end(mut self) -> Outcome<()> {
        // Nobody listens any more, so nothing is held up.
        drop(self.events);
        self.manager.shutdown().await?;
        while let Some(ended) = self.tasks.join_next().await {
            ended?;
        }
        Ok(())
    }
}

fn spec(args: &Value) -> Outcome<ProcessSpec> {
    let context = SpecContext {
        places: Places { agent_root: "/".into(), root: "/".into(), tmp: "/tmp".into() },
        interpreters: BTreeMap::new(),
        grace: Duration::from_secs(5),
        stats_interval: Duration::from_secs(30),
    };
    let args = args.as_object().ok_or("arguments are an object")?;
    Ok(ProcessSpec::execute(&context, args, "")?)
}

/// The CPU time of this process, without its keeper and its children.
fn own_cpu() -> Outcome<Duration> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let time = |time: nix::sys::time::TimeVal| {
        Duration::from_micros(
            u64::try_from(time.tv_sec() * 1_000_000 + time.tv_usec()).unwrap_or(0),
        )
    };
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

/// Sorts, and takes the one in the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "the output of the measurement")]
fn show(line: &str) {
    println!("{line}");
}
