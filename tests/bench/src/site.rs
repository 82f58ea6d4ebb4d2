//! Ours: a controller and an agent as processes of their own, and a client as
//! the command line has it.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, ensure};
use drover_api::{Command, JobId, JobResult, JobState, NodeId, procedures};
use drover_wamp::{CallOptions, Client, ClientConfig, Payload};
use serde::Serialize;
use serde_json::Value;

use crate::latency::{self, Sample};
use crate::program::Program;

const GID: u32 = 1;
const NID: u32 = 1;

/// What `drover controller` prints before the address it listens on.
const LISTENING: &str = "listening on ";

/// What the agent's log says once for each plugin.
const PLUGIN_LOADED: &str = "plugin loaded";

/// What it says once for each plugin that is not.
const PLUGIN_REFUSED: &str = "plugin refused";

/// What the built-in plugins need to be loaded.
const GRANTS: &str = concat!(
    "[sysinfo]\nsysinfo = true\n\n",
    include_str!("../../../plugins/container/grants/read-only.toml")
);

/// What the agent's log says when it has joined.
const JOINED: &str = "joined";

/// A controller, and where its agents keep their files.
pub(crate) struct Site {
    controller: Program,
    url: String,
    drover: PathBuf,
    dir: PathBuf,
}

/// An agent that has joined with all its plugins.
pub(crate) struct Agent {
    pub(crate) program: Program,
    /// From the start of the process.
    pub(crate) joined_after: Duration,
}

/// A client in this process, and what it calls.
pub(crate) struct Caller {
    session: Client,
    procedure: String,
    cmd: String,
}

#[derive(Serialize)]
struct ControllerConfig<'a> {
    listen: &'static str,
    data_dir: &'a Path,
}

#[derive(Serialize)]
struct AgentConfig<'a> {
    controller: &'a str,
    gid: u32,
    nid: u32,
    name: &'static str,
    data_dir: &'a Path,
    plugin_dir: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat: Option<String>,
    limits: LimitsConfig,
}

/// What is different for one agent.
#[derive(Default, Serialize)]
struct LimitsConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    services: Option<u32>,
}

impl Site {
    /// Starts a controller on a free port, with copies of `plugins` for its
    /// agents.
    ///
    /// # Errors
    ///
    /// If a plugin cannot be read, or the controller does not listen.
    pub(crate) async fn start(
        drover: &Path,
        plugins: &[PathBuf],
        dir: &Path,
    ) -> anyhow::Result<Self> {
        copy_plugins(plugins, &dir.join("plugins"))?;
        let config = write_config(
            dir,
            "controller",
            &ControllerConfig { listen: "127.0.0.1:0", data_dir: &dir.join("controller") },
        )?;
        let mut command = tokio::process::Command::new(drover);
        command.args(["controller", "--config"]).arg(config);
        let mut controller = Program::start("drover controller", &mut command)?;
        let line = controller.line("its address", |line| line.starts_with(LISTENING)).await?;
        let url = line.text[LISTENING.len()..].to_owned();
        Ok(Self { controller, url, drover: drover.to_owned(), dir: dir.to_owned() })
    }

    /// Starts an agent and waits until it has joined with all its plugins.
    ///
    /// # Errors
    ///
    /// If it does not join, or a plugin is refused.
    pub(crate) async fn agent(&self) -> anyhow::Result<Agent> {
        self.start_agent(None, LimitsConfig::default()).await
    }

    /// Like [`Site::agent`], with another time between two heartbeats.
    ///
    /// # Errors
    ///
    /// If it does not join, or a plugin is refused.
    pub(crate) async fn agent_with_heartbeat(&self, every: Duration) -> anyhow::Result<Agent> {
        let heartbeat = format!("{}ms", every.as_millis());
        self.start_agent(Some(heartbeat), LimitsConfig::default()).await
    }

    /// Like [`Site::agent`], with room for so many services.
    ///
    /// # Errors
    ///
    /// If it does not join, or a plugin is refused.
    pub(crate) async fn agent_with_services(&self, services: u32) -> anyhow::Result<Agent> {
        self.start_agent(None, LimitsConfig { services: Some(services) }).await
    }

    async fn start_agent(
        &self,
        heartbeat: Option<String>,
        limits: LimitsConfig,
    ) -> anyhow::Result<Agent> {
        let plugin_dir = self.dir.join("plugins");
        let plugins = std::fs::read_dir(&plugin_dir).context("cannot read the plugins")?.count();
        let config = write_config(
            &self.dir,
            "agent",
            &AgentConfig {
                controller: &self.url,
                gid: GID,
                nid: NID,
                name: "bench",
                data_dir: &self.dir.join("data"),
                plugin_dir: &plugin_dir,
                heartbeat,
                limits,
            },
        )?;
        let mut command = tokio::process::Command::new(&self.drover);
        command.args(["agent", "--config"]).arg(config);
        let mut program = Program::start("drover agent", &mut command)?;

        // The plugins come first, unless they take long to compile.
        let (mut missing, mut has_joined) = (plugins, false);
        loop {
            let steps = [PLUGIN_LOADED, PLUGIN_REFUSED, JOINED];
            let is_step = |line: &str| steps.iter().any(|step| line.contains(step));
            let line = program.line("that it has joined with its plugins", is_step).await?;
            ensure!(!line.text.contains(PLUGIN_REFUSED), "{}", line.text);
            if line.text.contains(PLUGIN_LOADED) {
                missing = missing.saturating_sub(1);
            } else {
                has_joined = true;
            }
            if missing == 0 && has_joined {
                return Ok(Agent { program, joined_after: line.after });
            }
        }
    }

    /// Forgets what agents have compiled.
    ///
    /// # Errors
    ///
    /// If it cannot be removed.
    pub(crate) fn chill(&self) -> anyhow::Result<()> {
        let data = self.dir.join("data");
        match std::fs::remove_dir_all(&data) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", data.display()))
            }
            _ => Ok(()),
        }
    }

    /// Joins the controller to call one operation of the agent's.
    ///
    /// # Errors
    ///
    /// If the controller cannot be joined.
    pub(crate) async fn caller(&self, cmd: &str) -> anyhow::Result<Caller> {
        let config = ClientConfig::new(&self.url, procedures::REALM);
        let session = Client::connect(&config).await.context("cannot join the controller")?;
        let procedure = procedures::run(NodeId::new(GID, NID));
        Ok(Caller { session, procedure, cmd: cmd.to_owned() })
    }

    /// The id of the controller's process group.
    pub(crate) fn group(&self) -> i32 {
        self.controller.group()
    }

    /// Where the controller listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Stops the controller.
    ///
    /// # Errors
    ///
    /// If it cannot be waited for.
    pub(crate) async fn stop(self) -> anyhow::Result<()> {
        self.controller.stop().await
    }
}

impl Caller {
    /// Keeps so many calls in flight on one session for `time`.
    ///
    /// # Errors
    ///
    /// If a call fails.
    pub(crate) async fn measure(&self, in_flight: usize, time: Duration) -> anyhow::Result<Sample> {
        latency::measure(in_flight, time, || self.call()).await
    }

    /// Calls the operation once.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub(crate) async fn call(&self) -> anyhow::Result<()> {
        self.command(Command::new(&self.cmd)).await?;
        Ok(())
    }

    /// Calls the operation once, with arguments; tells the job's id.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub(crate) async fn run(&self, arguments: Value) -> anyhow::Result<JobId> {
        Ok(self.command(with(&self.cmd, arguments)?).await?.id)
    }

    /// Runs another command on the node; its answer.
    ///
    /// # Errors
    ///
    /// If it fails.
    pub(crate) async fn ask(&self, cmd: &str, arguments: Value) -> anyhow::Result<Value> {
        Ok(self.command(with(cmd, arguments)?).await?.data.into_value())
    }

    async fn command(&self, command: Command) -> anyhow::Result<JobResult> {
        let payload = Payload::one(&command)?;
        let answer = self.session.call(&self.procedure, payload, CallOptions::default()).await?;
        let result: JobResult = answer.first().context("the answer is no result")?;
        ensure!(result.state == JobState::Ok, "{} failed: {:?}", command.cmd, result.error);
        Ok(result)
    }
}

fn with(cmd: &str, arguments: Value) -> anyhow::Result<Command> {
    let args = serde_json::from_value(arguments).context("arguments are an object")?;
    Ok(Command { args, ..Command::new(cmd) })
}

fn copy_plugins(plugins: &[PathBuf], to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    for plugin in plugins {
        let name = plugin.file_name().context("a plugin has no name")?;
        std::fs::copy(plugin, to.join(name)).with_context(|| {
            format!("cannot copy {}: `cargo xtask bench` builds it", plugin.display())
        })?;
    }
    std::fs::write(to.with_file_name("grants.toml"), GRANTS).context("cannot write the grants")
}

fn write_config<C: Serialize>(dir: &Path, program: &str, config: &C) -> anyhow::Result<PathBuf> {
    let path = dir.join(format!("{program}.toml"));
    let text = toml::to_string(config).context("a path is no UTF-8")?;
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}
