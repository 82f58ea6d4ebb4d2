//! A manager in a directory of its own, and what is asked of it again and again.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use drover_api::{JobId, JobState};
use drover_process::{
    JobEvent, JobInfo, ManagerConfig, Observer, Outcome, OutputStream, Places, ProcessManager,
    ProcessSpec, SpecContext, open,
};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn config(dir: &Path) -> ManagerConfig {
    ManagerConfig {
        keeper_dir: dir.join("run"),
        keeper_command: vec![
            env!("CARGO_BIN_EXE_test-keeper").to_owned(),
            dir.join("run").display().to_string(),
        ],
        remembered_file: dir.join("jobs.json"),
        script_dir: dir.join("scripts"),
        max_jobs: 64,
        max_accepted: 10_000,
        environment: BTreeMap::new(),
        agent_environment: BTreeMap::from([("FROM_AGENT".to_owned(), "yes".to_owned())]),
        leak_timeout: Duration::from_millis(500),
    }
}

pub(crate) fn context() -> SpecContext {
    SpecContext {
        places: Places { agent_root: "/".into(), root: "/".into(), tmp: "/tmp".into() },
        interpreters: BTreeMap::from([("sh".to_owned(), vec!["/bin/sh".to_owned()])]),
        grace: Duration::from_secs(10),
        stats_interval: Duration::from_secs(30),
    }
}

pub(crate) fn spec(args: &Value) -> ProcessSpec {
    spec_with(args, "")
}

pub(crate) fn spec_with(args: &Value, data: &str) -> ProcessSpec {
    ProcessSpec::execute(&context(), args.as_object().unwrap(), data).unwrap()
}

/// A spec of a line of shell, with more arguments of the command.
pub(crate) fn shell(line: &str, more: &Value) -> ProcessSpec {
    let mut args = json!({"cmd": "/bin/sh", "args": ["-c", line]});
    args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    spec(&args)
}

pub(crate) fn id(text: &str) -> JobId {
    text.parse().unwrap()
}

/// Everything that the observer was told, by job.
pub(crate) type Told = Arc<Mutex<HashMap<JobId, Vec<JobEvent>>>>;

/// A manager, its task and what it told.
pub(crate) struct Node {
    pub(crate) manager: ProcessManager,
    told: Told,
    heard: tokio::sync::watch::Receiver<()>,
    tasks: JoinSet<()>,
}

impl Node {
    pub(crate) fn start(dir: &Path) -> Self {
        Self::start_with(config(dir))
    }

    pub(crate) fn start_with(config: ManagerConfig) -> Self {
        Self::start_after(config, Told::default())
    }

    /// Everything that was told, for the node that comes after this one.
    pub(crate) fn told(&self) -> Told {
        self.told.clone()
    }

    /// A node that goes on where an earlier one ended.
    pub(crate) fn start_after(config: ManagerConfig, told: Told) -> Self {
        let (tell, heard) = tokio::sync::watch::channel(());
        let (observed, mut jobs) = mpsc::channel::<(JobId, mpsc::Receiver<JobEvent>)>(100_000);
        let observer: Observer = Arc::new(move |info: &JobInfo| {
            let (events, receiver) = mpsc::channel(4);
            observed.try_send((info.id.clone(), receiver)).unwrap();
            events
        });
        let (manager, task) = open(config, observer).unwrap();
        let mut tasks = JoinSet::new();
        tasks.spawn(task.run());
        let ears = told.clone();
        tasks.spawn(async move {
            let mut listeners = JoinSet::new();
            while let Some((id, mut events)) = jobs.recv().await {
                let (ears, tell) = (ears.clone(), tell.clone());
                listeners.spawn(async move {
                    while let Some(event) = events.recv().await {
                        ears.lock().unwrap().entry(id.clone()).or_default().push(event);
                        tell.send_replace(());
                    }
                });
            }
            listeners.join_all().await;
        });
        Self { manager, told, heard, tasks }
    }

    /// Submits a job; what an earlier one of this id told is forgotten.
    pub(crate) async fn submit(&self, name: &str, spec: ProcessSpec) {
        self.told.lock().unwrap().remove(&id(name));
        self.manager.submit(id(name), spec).await.unwrap();
    }

    /// Submits a job and waits for its end.
    pub(crate) async fn run(&self, name: &str, spec: ProcessSpec) -> Outcome {
        self.submit(name, spec).await;
        self.end_of(name).await
    }

    pub(crate) async fn end_of(&self, name: &str) -> Outcome {
        let ended = |events: &[JobEvent]| match events.last() {
            Some(JobEvent::Ended { outcome }) => Some(outcome.clone()),
            _ => None,
        };
        self.until(name, ended).await
    }

    /// Waits until `found` finds something in the events of a job.
    pub(crate) async fn until<T>(&self, name: &str, found: impl Fn(&[JobEvent]) -> Option<T>) -> T {
        let mut heard = self.heard.clone();
        let name = id(name);
        let waiting = async {
            loop {
                heard.borrow_and_update();
                if let Some(found) = self.told.lock().unwrap().get(&name).and_then(|all| found(all))
                {
                    return found;
                }
                heard.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, waiting).await {
            Ok(found) => found,
            Err(_) => panic!("job {name} told only {:?}", self.told.lock().unwrap().get(&name)),
        }
    }

    /// The child of the run of this number.
    pub(crate) async fn pid(&self, name: &str, wanted: u64) -> u32 {
        self.until(name, |events| {
            events.iter().find_map(|event| match event {
                JobEvent::Started { run, pid, .. } if *run == wanted => Some(*pid),
                _ => None,
            })
        })
        .await
    }

    pub(crate) fn events(&self, name: &str) -> Vec<JobEvent> {
        self.told.lock().unwrap().get(&id(name)).cloned().unwrap_or_default()
    }

    /// What a job wrote so far.
    pub(crate) fn output(&self, name: &str, stream: OutputStream) -> String {
        written(&self.events(name), stream)
    }

    /// What a job wrote to standard output, once this text is in it.
    pub(crate) async fn output_with(&self, name: &str, text: &str) -> String {
        self.until(name, |events| {
            Some(written(events, OutputStream::Stdout)).filter(|output| output.contains(text))
        })
        .await
    }

    pub(crate) async fn shutdown(mut self) {
        self.manager.shutdown().await.unwrap();
        drop(self.manager);
        tokio::time::timeout(PATIENCE, async { while self.tasks.join_next().await.is_some() {} })
            .await
            .expect("the tasks end with the manager");
    }
}

fn written(events: &[JobEvent], wanted: OutputStream) -> String {
    let mut all = Vec::new();
    for event in events {
        if let JobEvent::Output { stream, bytes } = event
            && *stream == wanted
        {
            all.extend_from_slice(bytes);
        }
    }
    String::from_utf8_lossy(&all).into_owned()
}

/// Whether a process is there and is no zombie.
pub(crate) fn is_alive(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z')
    })
}

pub(crate) fn is_ok(outcome: &Outcome) -> bool {
    outcome.state == JobState::Ok
}
