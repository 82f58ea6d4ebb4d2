//! An agent that is killed again and again: `test-agent <directory> <keeper> <mode>`.
//!
//! Under `load` it submits and kills jobs for as long as it lives; under `watch`
//! it only opens the manager, tells what there is, and ends everything when its
//! standard input ends. It says on standard output, one line each, what it knows
//! for sure: `accepted <kind> <id>`, `killing <id>`, `killed <id>`,
//! `gone <id>` (it was so before), `ended <id>`, and `listed` with the ids of what runs and of what waits.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use drover_api::JobId;
use drover_process::{
    JobEvent, JobInfo, ManagerConfig, ManagerError, Observer, Phase, Places, ProcessManager,
    ProcessSpec, SpecContext, open,
};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Jobs that live on; more would make the machine slow rather than the test hard.
const SERVICES: usize = 12;

fn main() -> Outcome<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(live())
}

async fn live() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let (Some(dir), Some(keeper), Some(mode)) = (args.next(), args.next(), args.next()) else {
        return Err("name the directory, the keeper's program and the mode".into());
    };
    let dir = PathBuf::from(dir);
    let config = ManagerConfig {
        keeper_command: vec![keeper, dir.join("run").display().to_string()],
        keeper_dir: dir.join("run"),
        remembered_file: dir.join("jobs.json"),
        script_dir: dir.join("scripts"),
        max_jobs: 32,
        max_accepted: 1000,
        environment: BTreeMap::new(),
        agent_environment: BTreeMap::new(),
        leak_timeout: Duration::from_millis(500),
    };
    let (observed, jobs) = mpsc::channel(1000);
    let observer: Observer = Arc::new(move |info: &JobInfo| {
        let (events, receiver) = mpsc::channel(4);
        // A job that is not listened to has its output thrown away.
        drop(observed.try_send((info.id.clone(), receiver)));
        events
    });
    let (manager, task) = open(config, observer)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(task.run());
    tasks.spawn(listen(jobs));
    say("open");
    match mode.as_str() {
        "load" => load(&manager).await?,
        _ => watch(&manager).await?,
    }
    manager.shutdown().await?;
    drop(manager);
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(())
}

async fn listen(mut jobs: mpsc::Receiver<(JobId, mpsc::Receiver<JobEvent>)>) {
    let mut listeners = JoinSet::new();
    while let Some((id, mut events)) = jobs.recv().await {
        listeners.spawn(async move {
            while let Some(event) = events.recv().await {
                if matches!(event, JobEvent::Ended { .. }) {
                    say(&format!("ended {id}"));
                }
            }
        });
        while listeners.try_join_next().is_some() {}
    }
    listeners.join_all().await;
}

/// Works until it is killed.
async fn load(manager: &ProcessManager) -> Outcome<()> {
    let mut services = Vec::new();
    for job in manager.list().await? {
        if job.spec.is_remembered() {
            services.push(job.id);
        }
    }
    loop {
        let (kind, args) = match dice(10) {
            0..=2 if services.len() < SERVICES => ("service", service()),
            3 if services.len() < SERVICES => ("recurring", recurring()),
            4 if !services.is_empty() => {
                let id = services.swap_remove(dice(services.len()));
                say(&format!("killing {id}"));
                match manager.kill(&id).await {
                    Ok(_) => say(&format!("killed {id}")),
                    // An earlier agent was about to kill it, and this one ended it.
                    Err(ManagerError::Unknown(_)) => say(&format!("gone {id}")),
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            5 => (
                "adopted",
                json!({"cmd": "/bin/sleep", "args": ["0.3"], "on_agent_restart": "adopt"}),
            ),
            6 => ("ended", json!({"cmd": "/bin/sleep", "args": ["0.3"]})),
            _ => ("short", json!({"cmd": "/bin/true"})),
        };
        let id = JobId::generate();
        manager.submit(id.clone(), spec(&args)?).await?;
        say(&format!("accepted {kind} {id}"));
        if matches!(kind, "service" | "recurring") {
            services.push(id);
        }
    }
}

/// A number below `sides`. A hasher of the standard library is random enough, and
/// a program of this package has no test dependencies.
fn dice(sides: usize) -> usize {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(()) as usize % sides
}

fn service() -> Value {
    // Some are adopted, some are ended and started anew.
    let policy = if dice(2) == 0 { "adopt" } else { "end" };
    json!({"cmd": "/bin/sleep", "args": ["3600"], "max_time": -1, "restart_delay": 0.01,
           "on_agent_restart": policy, "grace": 5})
}

fn recurring() -> Value {
    json!({"cmd": "/bin/sleep", "args": ["0.05"], "recurring_period": 0.1})
}

/// Tells what there is, until standard input ends; then ends everything.
async fn watch(manager: &ProcessManager) -> Outcome<()> {
    let mut nothing = [0];
    let mut stdin = tokio::io::stdin();
    let mut moments = tokio::time::interval(Duration::from_millis(50));
    loop {
        tokio::select! {
            _ = stdin.read(&mut nothing) => break,
            _ = moments.tick() => {}
        }
        let mut line = "listed".to_owned();
        for job in manager.list().await? {
            let state = if matches!(job.phase, Phase::Running { .. }) { "runs" } else { "waits" };
            line += &format!(" {state}={}", job.id);
        }
        say(&line);
    }
    for job in manager.list().await? {
        // It may just have ended.
        drop(manager.kill(&job.id).await);
    }
    Ok(())
}

fn spec(args: &Value) -> Outcome<ProcessSpec> {
    let context = SpecContext {
        places: Places { agent_root: "/".into(), root: "/".into(), tmp: "/tmp".into() },
        interpreters: BTreeMap::new(),
        grace: Duration::from_secs(5),
        stats_interval: Duration::from_secs(30),
    };
    Ok(ProcessSpec::execute(&context, args.as_object().ok_or("no object")?, "")?)
}

/// One write for one line, so that a kill leaves no half of it.
fn say(line: &str) {
    // Whoever listened may be gone.
    drop(std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()));
}
