//! A controller and its agents, as real processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use drover_api::{NodeStatus, Presence};
use tempfile::TempDir;

use crate::components::GRANTS;
use crate::process::{Process, Ran};
use crate::{built_in, compiled, run, wait_for};

/// A site in a temporary directory.
pub struct Site {
    program: PathBuf,
    dir: TempDir,
    /// The controller; none while it is down.
    pub controller: Option<Process>,
    /// Where the controller listens.
    pub url: String,
    /// The key of whoever looks at the site; none is nobody in particular.
    pub key_file: Option<String>,
}

/// A running agent.
pub struct Agent {
    /// Its process.
    pub process: Process,
    /// What its node is called.
    pub name: String,
}

impl Site {
    /// Starts a controller on a free port. `program` is `drover`.
    #[must_use]
    pub fn start(program: &str) -> Self {
        Self::start_with(program, "")
    }

    /// Starts a controller with more in its configuration.
    #[must_use]
    pub fn start_with(program: &str, config: &str) -> Self {
        let mut site = Self {
            program: program.into(),
            dir: TempDir::new().unwrap(),
            controller: None,
            url: String::new(),
            key_file: None,
        };
        let data = site.path("controller");
        let config = format!("data_dir = {data:?}\n{config}");
        site.write("controller.toml", &format!("listen = \"127.0.0.1:0\"\n{config}"));
        site.start_controller();
        // From now on on the same port, so that agents find it again.
        let address = site.url.trim_start_matches("ws://").trim_end_matches("/ws");
        site.write("controller.toml", &format!("listen = \"{address}\"\n{config}"));
        site
    }

    /// Starts the controller, after it was killed, where it was before.
    pub fn start_controller(&mut self) {
        let config = self.path("controller.toml");
        let arguments = ["controller", "--config", config.to_str().unwrap()];
        let controller = Process::start(&self.program, &arguments);
        self.url = controller.wait_for_output("the controller's address", |line| {
            Some(line.strip_prefix("listening on ")?.to_owned())
        });
        self.controller = Some(controller);
    }

    /// Starts an agent with the built-in plugins and waits until its node is
    /// present with them.
    #[must_use]
    pub fn agent(&self, nid: u32, name: &str) -> Agent {
        self.agent_with(nid, name, "")
    }

    /// The same with more in its configuration.
    #[must_use]
    pub fn agent_with(&self, nid: u32, name: &str, config: &str) -> Agent {
        let plugins = self.path(&format!("{name}/plugins"));
        fs::create_dir_all(&plugins).unwrap();
        built_in(&plugins);
        let agent = self.start_agent(nid, name, config);
        self.wait_until_ready(name, 2);
        agent
    }

    /// Starts an agent with whatever is in its plugin directory, and waits
    /// for nothing. `config` is added to its configuration. The built-in plugins
    /// are granted what they ask for, unless the agent has grants already.
    #[must_use]
    pub fn start_agent(&self, nid: u32, name: &str, config: &str) -> Agent {
        let data = self.path(name);
        fs::create_dir_all(&data).unwrap();
        let cache = compiled();
        let text = format!(
            "controller = {:?}\nnid = {nid}\nname = {name:?}\ndata_dir = {data:?}\n\
             cache_dir = {cache:?}\n\
             heartbeat = \"200ms\"\nreconnect_first = \"50ms\"\nreconnect_longest = \"500ms\"\n{config}",
            self.url
        );
        self.write(&format!("{name}/agent.toml"), &text);
        let grants = self.path(&format!("{name}/grants.toml"));
        if !grants.exists() {
            fs::write(grants, GRANTS).unwrap();
        }
        let file = self.path(&format!("{name}/agent.toml"));
        let process = Process::start(&self.program, &["agent", "--config", file.to_str().unwrap()]);
        Agent { process, name: name.to_owned() }
    }

    /// Puts a file into the plugin directory of an agent to be started.
    pub fn add_plugin(&self, agent: &str, file: &str, bytes: &[u8]) {
        let dir = self.path(&format!("{agent}/plugins"));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(file), bytes).unwrap();
    }

    /// Runs `drover` against this site's controller.
    #[must_use]
    pub fn drover(&self, arguments: &[&str]) -> Ran {
        run(&self.program, &self.line(arguments))
    }

    /// Starts `drover` against this site's controller and leaves it running.
    #[must_use]
    pub fn start_drover(&self, arguments: &[&str]) -> Process {
        Process::start(&self.program, &self.line(arguments))
    }

    /// `drover` against this site's controller, to be started in another way.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(self.line(arguments));
        command
    }

    /// A command line for this site's controller.
    fn line<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        // What follows `--` is another program's.
        let own = arguments.iter().take_while(|&&argument| argument != "--").count();
        let mut line = arguments[..own].to_vec();
        line.extend(["--controller", &self.url]);
        line.extend(self.key_file.iter().flat_map(|file| ["--key-file", file]));
        line.extend(&arguments[own..]);
        line
    }

    /// What the controller knows of its nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeStatus> {
        serde_json::from_str(&self.drover(&["nodes", "--json"]).ok()).unwrap()
    }

    /// Waits until the controller sees the node so.
    pub fn wait_until(&self, name: &str, presence: Presence) -> NodeStatus {
        self.wait_for_node(name, |node| node.presence == presence)
    }

    /// Waits until the node is present with so many plugins.
    pub fn wait_until_ready(&self, name: &str, plugins: usize) -> NodeStatus {
        self.wait_for_node(name, |node| {
            node.presence == Presence::Present && node.description.plugins.len() == plugins
        })
    }

    /// Waits until the controller knows the node and `is_right`.
    pub fn wait_for_node(&self, name: &str, is_right: impl Fn(&NodeStatus) -> bool) -> NodeStatus {
        wait_for(&format!("node {name}"), || {
            let ran = self.drover(&["nodes", "--json"]);
            let nodes: Vec<NodeStatus> = serde_json::from_str(&ran.stdout).unwrap_or_default();
            let right = nodes.iter().find(|node| node.description.name == name && is_right(node));
            right.cloned().ok_or((nodes, ran.stderr))
        })
    }

    /// A path in the site's directory.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(Path::new(&self.path(name)), text).unwrap();
    }
}
