//! Nodes with the plugin and an engine.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use drover_api::JobState;
use drover_engine_tests::{Client, RealEngine, simulated};
use drover_grants::{Grants, GrantsFile};
use drover_herd::Engine;
use drover_plugin_host::{
    CompilerCommand, Host, HostConfig, Job, Limits, Outcome, Said, Surroundings,
};
use drover_tests::{compiled, component};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a job may take. Generous: only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reports of progress that wait to be read.
const REPORTS: usize = 10_000;

/// Everything, for stories that are not about the policy.
pub(crate) const EVERYTHING: &str = "[container]\nstate = \"1 MiB\"\nsysinfo = true\n[container.http.docker]\n\
     socket = \"/var/run/docker.sock\"\n\
     allow = [{ request = \"POST /*/exec/*/start\", upgrade = true }, \
     { request = \"POST /*/containers/*/attach\", upgrade = true }, \"* /**\"]\n";

/// A node: a host with the plugin, and an engine.
pub(crate) struct Node {
    host: Host,
    runtime: Runtime,
    /// The engine, to be asked directly.
    pub(crate) engine: Client,
    _folder: TempDir,
}

/// A job on its way.
pub(crate) struct Running {
    tasks: JoinSet<Outcome>,
    progress: mpsc::Receiver<Value>,
    cancel: CancellationToken,
}

/// Why the plugin did not do it: its own code, and what it says.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// Tells a story to a new simulated engine and to the real one.
pub(crate) fn on_both(story: impl Fn(&Node)) {
    on_simulated(|node, _| story(node));
    on_real(story);
}

/// Tells a story to a new simulated engine.
pub(crate) fn on_simulated(story: impl Fn(&Node, &Engine)) {
    let folder = TempDir::new().unwrap();
    let engine = simulated(folder.path());
    story(&Node::at(engine.socket(), EVERYTHING), &engine);
}

/// Tells a story to the real engine, which all stories share.
pub(crate) fn on_real(story: impl Fn(&Node)) {
    static REAL: OnceLock<RealEngine> = OnceLock::new();
    story(&Node::at(&REAL.get_or_init(RealEngine::start).socket(), EVERYTHING));
}

impl Node {
    /// A node with an engine of the story's own.
    pub(crate) fn of(engine: &RealEngine) -> Self {
        Self::at(&engine.socket(), EVERYTHING)
    }

    /// A node with grants in the words of a file, in which the engine's socket is
    /// that of a usual host.
    pub(crate) fn at(socket: &Path, grants: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let grants = grants.replace("/var/run/docker.sock", socket.to_str().unwrap());
        let compile = vec!["compile-component".into()];
        let compiler = CompilerCommand { program: crate::DROVER.into(), args: compile };
        let host = Host::start(HostConfig {
            cache_dir: compiled(),
            compiler,
            limits: Limits::default(),
            reserved: Vec::new(),
            grants: Grants::of_file(GrantsFile::parse(&grants).unwrap()),
            state_dir: folder.path().join("state"),
            surroundings: Surroundings::default(),
        });
        let host = host.unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(host.load_file(&component("container"))).unwrap();
        Self { host, runtime, engine: Client::new(socket), _folder: folder }
    }

    /// The names of all operations.
    pub(crate) fn operations(&self) -> Vec<String> {
        let plugins = self.host.plugins();
        plugins[0].operations.iter().map(|operation| operation.name.clone()).collect()
    }

    /// Runs an operation and expects it to answer.
    pub(crate) fn call(&self, operation: &str, arguments: Value) -> Value {
        self.call_with(operation, arguments, &[])
    }

    /// The same with data beside the arguments.
    pub(crate) fn call_with(&self, operation: &str, arguments: Value, data: &[u8]) -> Value {
        self.start_with(operation, arguments, data).answer(self)
    }

    /// Runs an operation and expects it to fail by its own decision.
    pub(crate) fn fails(&self, operation: &str, arguments: Value) -> Refusal {
        self.start(operation, arguments).refusal(self)
    }

    /// Starts an operation.
    pub(crate) fn start(&self, operation: &str, arguments: Value) -> Running {
        self.start_with(operation, arguments, &[])
    }

    fn start_with(&self, operation: &str, arguments: Value, data: &[u8]) -> Running {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        let (reports, progress) = mpsc::channel(REPORTS);
        let cancel = CancellationToken::new();
        let job = Job {
            data: data.to_vec(),
            timeout: Some(PATIENCE),
            progress: Some(reports),
            cancel: cancel.clone(),
            ..Job::new("container", operation, arguments)
        };
        let host = self.host.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn_on(async move { host.run(job).await }, self.runtime.handle());
        Running { tasks, progress, cancel }
    }

    /// Starts a service; what it publishes is its progress, and so are its records
    /// as `{"level": …, "record": …}`.
    pub(crate) fn serve(&self, operation: &str, name: &str, arguments: Value) -> Running {
        let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
        let (feed, mut published) = mpsc::channel(REPORTS);
        let (reports, progress) = mpsc::channel(REPORTS);
        let (said, mut heard) = mpsc::channel(REPORTS);
        let cancel = CancellationToken::new();
        let job = Job {
            id: format!("service.{name}").parse().unwrap(),
            said: Some(said),
            cancel: cancel.clone(),
            ..Job::new("container", operation, arguments)
        };
        let service = self.host.start_service(job, feed).unwrap();
        let mut tasks = JoinSet::new();
        let running = async move {
            let pass_on = async {
                while let Some(value) = published.recv().await {
                    let _ = reports.send(serde_json::from_str(&value.json).unwrap()).await;
                }
            };
            let tell = async {
                while let Some(said) = heard.recv().await {
                    if let Said::Record { record, .. } = said {
                        let level = u64::from(record.level.0);
                        let value = json!({ "level": level, "record": record.data });
                        let _ = reports.send(value).await;
                    }
                }
            };
            tokio::join!(service.ended(), pass_on, tell).0
        };
        tasks.spawn_on(running, self.runtime.handle());
        Running { tasks, progress, cancel }
    }

    /// Removes a container, whatever it does.
    pub(crate) fn remove(&self, name: &str) {
        let _ = self.engine.ask("DELETE", &format!("/containers/{name}?force=1&v=1"), "", b"");
    }
}

impl Running {
    /// The next report of progress; none when the job has ended.
    pub(crate) fn report(&mut self, node: &Node) -> Option<Value> {
        let report = async { tokio::time::timeout(PATIENCE, self.progress.recv()).await };
        node.runtime.block_on(report).expect("a report or the end in time")
    }

    /// A report of progress that is there already.
    pub(crate) fn try_report(&mut self) -> Option<Value> {
        self.progress.try_recv().ok()
    }

    /// Cancels it.
    pub(crate) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// How it ends.
    pub(crate) fn outcome(mut self, node: &Node) -> Outcome {
        self.end(node)
    }

    /// The same for one that is asked nothing more.
    pub(crate) fn end(&mut self, node: &Node) -> Outcome {
        node.runtime.block_on(self.tasks.join_next()).unwrap().unwrap()
    }

    /// The answer that it ends with.
    pub(crate) fn answer(self, node: &Node) -> Value {
        let outcome = self.outcome(node);
        assert_eq!(outcome.state, JobState::Ok, "{outcome:?}");
        outcome.data.into_value()
    }

    /// Why it fails.
    pub(crate) fn refusal(self, node: &Node) -> Refusal {
        let outcome = self.outcome(node);
        let Some(error) = &outcome.error else { panic!("it did not fail: {outcome:?}") };
        let Some(code) = error.detail["code"].as_str() else { panic!("it crashed: {outcome:?}") };
        Refusal { code: code.to_owned(), message: error.message.clone() }
    }
}

impl Refusal {
    /// Fails unless the code is this one, and the message has these words.
    pub(crate) fn is(&self, code: &str, words: &str) {
        assert!(self.code == code && self.message.contains(words), "{self:?}: {code}, {words}");
    }
}

/// A container that runs a shell script.
pub(crate) fn shell(script: &str) -> Value {
    json!({ "image": "busybox:1", "command": ["sh", "-c", script] })
}
