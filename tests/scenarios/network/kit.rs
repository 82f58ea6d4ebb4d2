//! A site on an address that other hosts see, with TLS and an admin.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::Command;

use drover_api::{AuditEntry, NodeStatus, Presence};
use drover_tests::{Process, Ran, wait_for};
use tempfile::TempDir;

use crate::DROVER;

/// A site as `drover controller init` makes it, on an address of this host that
/// others see.
pub(crate) struct Network {
    dir: TempDir,
    pub(crate) controller: Option<Process>,
    pub(crate) url: String,
    pub(crate) fingerprint: String,
}

impl Network {
    pub(crate) fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let address = outward_address();
        let port = TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().port();
        let mut site = Self {
            dir,
            controller: None,
            url: format!("wss://{address}:{port}/ws"),
            fingerprint: String::new(),
        };
        let (config, data) = (site.file("controller.toml"), site.file("controller"));
        let listen = format!("{address}:{port}");
        let made = site
            .drover(&[
                "controller",
                "init",
                "--config",
                &config,
                "--data-dir",
                &data,
                "--listen",
                &listen,
            ])
            .ok();
        site.fingerprint = made.trim().strip_prefix("fingerprint ").unwrap().to_owned();
        site.start_controller();
        site
    }

    pub(crate) fn start_controller(&mut self) {
        let config = self.file("controller.toml");
        let controller = Process::spawn(&mut self.command(&["controller", "--config", &config]));
        let url = controller.wait_for_output("the controller's address", |line| {
            Some(line.strip_prefix("listening on ")?.to_owned())
        });
        assert_eq!(url, self.url);
        self.controller = Some(controller);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn file(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// A file with a secret.
    pub(crate) fn secret(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), format!("{text}\n")).unwrap();
        self.file(name)
    }

    /// `drover` as the admin, unless another file of credentials is set.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(DROVER);
        command.args(arguments).env("DROVER_CREDENTIALS", self.path("credentials.toml"));
        command
    }

    pub(crate) fn drover(&self, arguments: &[&str]) -> Ran {
        Ran::of(&mut self.command(arguments))
    }

    /// `drover` as somebody else, who has logged in.
    pub(crate) fn drover_as(&self, user: &str, arguments: &[&str]) -> Ran {
        let credentials = self.path(&format!("{user}.toml"));
        Ran::of(self.command(arguments).env("DROVER_CREDENTIALS", credentials))
    }

    /// Adds somebody, who logs in.
    pub(crate) fn add(&self, user: &str, role: &str) {
        let password = self.secret(&format!("{user}.password"), PASSWORD);
        let add = ["user", "add", user, "--role", role, "--password-file", &password];
        let _ = self.drover(&add).ok();
        let login = [
            "login",
            "--controller",
            &self.url,
            "--fingerprint",
            &self.fingerprint,
            "--user",
            user,
            "--password-file",
            &password,
        ];
        let _ = self.drover_as(user, &login).ok();
    }

    /// Starts an agent without plugins.
    pub(crate) fn agent(&self, name: &str, config: &str, arguments: &[&str]) -> Process {
        let data = self.file(name);
        let text = format!(
            "name = {name:?}\ndata_dir = {data:?}\nheartbeat = \"200ms\"\n\
             reconnect_first = \"50ms\"\nreconnect_longest = \"500ms\"\n{config}"
        );
        let file = self.secret(&format!("{name}.toml"), &text);
        Process::spawn(self.command(&["agent", "--config", &file]).args(arguments))
    }

    /// Starts an agent that joins with a token, and waits for its node.
    pub(crate) fn join(&self, name: &str, arguments: &[&str]) -> Process {
        let token = self.drover(&[&["node", "token"], arguments].concat()).ok();
        let file = self.secret(&format!("{name}.token"), token.trim());
        let agent = self.agent(name, "", &["--join", &format!("@{file}")]);
        self.wait_until(name, Presence::Present);
        agent
    }

    pub(crate) fn wait_until(&self, name: &str, presence: Presence) -> NodeStatus {
        wait_for(&format!("node {name}"), || {
            let ran = self.drover(&["nodes", "--json"]);
            let nodes: Vec<NodeStatus> = serde_json::from_str(&ran.stdout).unwrap_or_default();
            let right = nodes
                .iter()
                .find(|node| node.description.name == name && node.presence == presence);
            right.cloned().ok_or((nodes, ran.stderr))
        })
    }

    pub(crate) fn audit(&self) -> Vec<AuditEntry> {
        serde_json::from_str(&self.drover(&["audit", "list", "--json"]).ok()).unwrap()
    }
}

const PASSWORD: &str = "correct horse battery";

/// The address of this host that others see, or loopback if there is none.
fn outward_address() -> IpAddr {
    let find = || {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
        socket.connect((Ipv4Addr::new(203, 0, 113, 1), 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    find().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))
}
