//! The plugin in a host.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use drover_api::{Data, JobState};
use drover_grants::{Grants, GrantsFile};
use drover_plugin_host::{Host, Job};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::engines::text;
use crate::Inputs;
use crate::instance::start_host;
use crate::latency::{self, Sample};

/// Reports of output that wait to be read.
const REPORTS: usize = 64;

/// A host with the plugin.
pub(super) struct Ours {
    host: Host,
}

impl Ours {
    /// Loads the plugin for the engine at a socket, with the grants that are shipped
    /// for everything that is safe.
    ///
    /// # Errors
    ///
    /// If the host does not start or refuses the plugin.
    pub(super) async fn start(inputs: &Inputs, socket: &Path, dir: &Path) -> anyhow::Result<Self> {
        let place = socket.to_str().context("the engine's socket has no name in UTF-8")?;
        let grants = super::policy::GRANTS.replace("/var/run/docker.sock", place);
        let grants = GrantsFile::parse(&grants).context("the shipped grants are wrong")?;
        let host = start_host(&inputs.drover, dir, Grants::of_file(grants))?;
        let component = inputs.plugins.join("container.wasm");
        host.load_file(&component).await.context("the plugin host refused container")?;
        Ok(Self { host })
    }

    /// Stops the host.
    pub(super) async fn stop(self) {
        self.host.shutdown().await;
    }

    /// Runs an operation.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub(super) async fn call(&self, operation: &str, arguments: Value) -> anyhow::Result<Data> {
        self.call_with(operation, arguments, Vec::new()).await
    }

    /// The same with data beside the arguments.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub(super) async fn call_with(
        &self,
        operation: &str,
        arguments: Value,
        data: Vec<u8>,
    ) -> anyhow::Result<Data> {
        let Value::Object(arguments) = arguments else { unreachable!("arguments are an object") };
        self.run(Job { data, ..container(operation, arguments) }).await
    }

    /// Lists all containers, again and again.
    ///
    /// # Errors
    ///
    /// If it fails once.
    pub(super) async fn list(&self, time: Duration) -> anyhow::Result<Sample> {
        self.measure("list", json!({ "all": true }), time).await
    }

    /// Inspects one container, again and again.
    ///
    /// # Errors
    ///
    /// If it fails once.
    pub(super) async fn inspect(&self, name: &str, time: Duration) -> anyhow::Result<Sample> {
        self.measure("inspect", json!({ "container": name }), time).await
    }

    /// Measures all of these containers, again and again.
    ///
    /// # Errors
    ///
    /// If it fails once.
    pub(super) async fn stats(&self, names: &[String], time: Duration) -> anyhow::Result<Sample> {
        self.measure("stats", json!({ "containers": names }), time).await
    }

    /// Has the output of a container streamed; MB a second.
    ///
    /// # Errors
    ///
    /// If it fails, or is not as long as it should be.
    pub(super) async fn logs(&self, name: &str, length: usize) -> anyhow::Result<f64> {
        let arguments = [("container", json!(name)), ("follow", json!(true)), ("keep", json!(0))];
        let arguments = arguments.map(|(name, value)| (name.to_owned(), value));
        let (reports, mut progress) = mpsc::channel(REPORTS);
        let started = Instant::now();
        let job = Job { progress: Some(reports), ..container("logs", Map::from_iter(arguments)) };
        let read = async {
            let mut read = 0;
            while let Some(report) = progress.recv().await {
                read += text(&report, "text")?.len();
            }
            anyhow::Ok(read)
        };
        let (_, read) = tokio::try_join!(self.run(job), read)?;
        ensure!(read == length, "{read} bytes of output came instead of {length}");
        Ok(read as f64 / 1e6 / started.elapsed().as_secs_f64())
    }

    async fn measure(
        &self,
        operation: &str,
        arguments: Value,
        time: Duration,
    ) -> anyhow::Result<Sample> {
        let call = || async { self.call(operation, arguments.clone()).await.map(drop) };
        latency::measure(1, time, call).await
    }

    async fn run(&self, job: Job) -> anyhow::Result<Data> {
        let operation = job.operation.clone();
        let outcome = self.host.run(job).await;
        ensure!(outcome.state == JobState::Ok, "{operation} failed: {:?}", outcome.error);
        Ok(outcome.data)
    }
}

fn container(operation: &str, arguments: Map<String, Value>) -> Job {
    Job::new("container", operation, arguments)
}
