//! The Observatory Control System as it comes from PyPI: its agents and its
//! client programs, at one site.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use crate::{Process, Ran, installed};

/// What the directory's site file says; the address comes in between.
const SITE: &str = "\
hosts:
  localhost:
    agent-instances:
      - agent-class: FakeDataAgent
        instance-id: fake1
        arguments: [[--mode, idle], [--num-channels, 2]]
      - agent-class: FakeDataAgent
        instance-id: fake2
        arguments: [[--mode, acq], [--num-channels, 2]]
      - agent-class: RegistryAgent
        instance-id: registry
        arguments: [[--wait-time, 5]]
";

/// An OCS site with the agents `fake1`, which is idle, `fake2`, which takes
/// data, and `registry`, none of them started yet.
pub struct Ocs {
    dir: TempDir,
}

impl Ocs {
    /// The realm that its programs join.
    pub const REALM: &str = "test_realm";

    /// A site whose hub is the router at `url`.
    #[must_use]
    pub fn new(url: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let call = url.replace("ws://", "http://").replace("/ws", "/call");
        let hub = format!(
            "hub: {{wamp_server: {url:?}, wamp_http: {call:?}, wamp_realm: {}, \
             address_root: observatory}}\n{SITE}",
            Self::REALM
        );
        fs::write(dir.path().join("default.yaml"), hub).unwrap();
        Self { dir }
    }

    /// Starts an agent with more arguments.
    #[must_use]
    pub fn start_agent(&self, instance: &str, arguments: &[&str]) -> Process {
        let mut command = self.command("venv/bin/ocs-agent-cli");
        command.args(["--instance-id", instance, "--site-host", "localhost"]).args(arguments);
        Process::spawn(&mut command)
    }

    /// Starts an agent and waits until it has joined.
    #[must_use]
    pub fn agent(&self, instance: &str) -> Process {
        let agent = self.start_agent(instance, &[]);
        self.wait_until_joined(&agent, 1);
        agent
    }

    /// Waits until an agent has joined so often.
    pub fn wait_until_joined(&self, agent: &Process, times: usize) {
        agent.wait_for_outputs("session joined", times);
    }

    /// Runs `ocs-client-cli` to its end.
    #[must_use]
    pub fn client(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command("venv/bin/ocs-client-cli").args(arguments))
    }

    /// Starts `ocs-client-cli` and leaves it running.
    #[must_use]
    pub fn start_client(&self, arguments: &[&str]) -> Process {
        Process::spawn(self.command("venv/bin/ocs-client-cli").args(arguments))
    }

    /// Runs a Python program to its end, where `ocs` can be imported.
    #[must_use]
    pub fn python(&self, script: &Path, arguments: &[&str]) -> Ran {
        Ran::of(self.command("venv/bin/python").arg(script).args(arguments))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(installed(program));
        command.env("OCS_CONFIG_DIR", self.dir.path()).env("PYTHONUNBUFFERED", "1");
        command.current_dir(self.dir.path());
        command
    }
}
