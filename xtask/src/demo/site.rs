//! The demo's processes: a controller, two agents, and their files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::command::{read, target_dir};

/// The plugins that the nodes get.
const PLUGINS: [&str; 2] = ["sysinfo.wasm", "hello.wasm"];

/// How long anything may take to become true.
const PATIENCE: Duration = Duration::from_secs(60);

/// The port that commands use when they are not told another.
const USUAL_PORT: u16 = 7117;

/// A running site. Its processes end with it.
pub(super) struct Site {
    drover: PathBuf,
    dir: PathBuf,
    pub(super) url: String,
    controller: Child,
    agents: BTreeMap<&'static str, Child>,
}

impl Site {
    /// Starts the controller and the nodes `a` and `b`, and waits for them.
    pub(super) async fn start(drover: PathBuf, plugins: &Path) -> anyhow::Result<Self> {
        let dir = target_dir().join("demo");
        write_files(&dir, plugins)?;
        let (controller, url) = start_controller(&drover, &dir).await?;
        let mut site = Self { drover, dir, url, controller, agents: BTreeMap::new() };
        for (nid, name) in [(1, "a"), (2, "b")] {
            site.write_agent_config(nid, name)?;
            let agent = site.start_agent(name)?;
            site.agents.insert(name, agent);
        }
        site.wait_until("both nodes are present with their plugins", |nodes| {
            nodes.iter().filter(|node| is_ready(node)).count() == 2
        })
        .await?;
        Ok(site)
    }

    /// Runs the program to its end, told where the controller is.
    pub(super) async fn drover(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        Command::new(&self.drover)
            .args(arguments)
            .env("DROVER_CONTROLLER", &self.url)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("cannot run {}", self.drover.display()))
    }

    /// Ends an agent as a power failure would.
    pub(super) async fn kill(&mut self, name: &str) -> anyhow::Result<()> {
        if let Some(mut agent) = self.agents.remove(name) {
            agent.kill().await.with_context(|| format!("cannot kill the agent {name}"))?;
        }
        self.wait_until("the killed node is lost", |nodes| is(nodes, name, "lost")).await
    }

    /// Starts a killed agent again.
    pub(super) async fn restart(&mut self, name: &'static str) -> anyhow::Result<()> {
        let agent = self.start_agent(name)?;
        self.agents.insert(name, agent);
        self.wait_until("the restarted node is present", |nodes| is(nodes, name, "present")).await
    }

    /// Stops everything in good order.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        for child in self.agents.values_mut().chain([&mut self.controller]) {
            let Some(pid) = child.id() else { continue };
            read(std::process::Command::new("kill").arg(pid.to_string()))?;
            tokio::time::timeout(PATIENCE, child.wait())
                .await
                .with_context(|| format!("process {pid} does not end"))??;
        }
        Ok(())
    }

    fn start_agent(&self, name: &str) -> anyhow::Result<Child> {
        let log = std::fs::File::create(self.dir.join(name).join("agent.log"))
            .context("cannot make the agent's log")?;
        Command::new(&self.drover)
            .args(["agent", "--config"])
            .arg(self.dir.join(name).join("agent.toml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("cannot start an agent")
    }

    fn write_agent_config(&self, nid: u32, name: &str) -> anyhow::Result<()> {
        let dir = self.dir.join(name);
        std::fs::create_dir_all(&dir)?;
        let (url, plugins) = (&self.url, self.dir.join("plugins"));
        let cache = self.dir.join("cache");
        let config = format!(
            "controller = {url:?}\nnid = {nid}\nname = {name:?}\nlabels = [\"demo\"]\n\
             data_dir = {dir:?}\nplugin_dir = {plugins:?}\ncache_dir = {cache:?}\n\
             heartbeat = \"1s\"\n"
        );
        std::fs::write(dir.join("agent.toml"), config).context("cannot write a configuration")
    }

    async fn wait_until(
        &self,
        what: &str,
        is_true: impl Fn(&[Value]) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let output = self.drover(&["nodes", "--json"]).await?;
            let nodes: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
            if is_true(&nodes) {
                return Ok(());
            }
            if Instant::now() > deadline {
                let errors = String::from_utf8_lossy(&output.stderr);
                let logs = self.dir.display();
                bail!(
                    "waited in vain until {what}; logs are in {logs}; last seen: {nodes:?} {errors}"
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn write_files(dir: &Path, plugins: &Path) -> anyhow::Result<()> {
    let copies = dir.join("plugins");
    std::fs::create_dir_all(&copies)
        .with_context(|| format!("cannot make {}", copies.display()))?;
    for plugin in PLUGINS {
        let from = plugins.join(plugin);
        std::fs::copy(&from, copies.join(plugin))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    std::fs::write(dir.join("grants.toml"), "[sysinfo]\nsysinfo = true\n")
        .context("cannot write the grants")?;
    // With the usual port, the commands to try need no address.
    let is_free = std::net::TcpListener::bind(("127.0.0.1", USUAL_PORT)).is_ok();
    let port = if is_free { USUAL_PORT } else { 0 };
    let data = dir.join("controller");
    let config =
        format!("listen = \"127.0.0.1:{port}\"\nlost_after = \"5s\"\ndata_dir = {data:?}\n");
    std::fs::write(dir.join("controller.toml"), config).context("cannot write a configuration")
}

async fn start_controller(drover: &Path, dir: &Path) -> anyhow::Result<(Child, String)> {
    let log = std::fs::File::create(dir.join("controller.log"))
        .context("cannot make the controller's log")?;
    let mut child = Command::new(drover)
        .args(["controller", "--config"])
        .arg(dir.join("controller.toml"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("cannot start the controller")?;
    let stdout = child.stdout.take().context("the controller has no standard output")?;
    let line = BufReader::new(stdout).lines().next_line().await?.unwrap_or_default();
    let url = line.strip_prefix("listening on ").unwrap_or_default().to_owned();
    ensure!(!url.is_empty(), "the controller did not start; see {}/controller.log", dir.display());
    Ok((child, url))
}

fn is_ready(node: &Value) -> bool {
    let plugins = node["description"]["plugins"].as_array().map_or(0, Vec::len);
    node["presence"] == "present" && plugins == PLUGINS.len()
}

fn is(nodes: &[Value], name: &str, presence: &str) -> bool {
    nodes.iter().any(|node| node["description"]["name"] == name && node["presence"] == presence)
}
