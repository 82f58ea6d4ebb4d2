//! A container, and how the engine describes it.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::defaults::{entries, strings};
use super::files::Files;
use super::health::{Health, Status};
use super::network::Endpoint;
use super::volume::Mount;
use super::{duration, written};
use crate::engine::program::{Process, Stream};

/// How many bytes of output a container keeps for `logs`: what is older is gone,
/// as with a log driver that rotates.
const LOG_BYTES: usize = 16 << 20;

/// How many pieces of output wait for those who are attached.
const LIVE_CHUNKS: usize = 4096;

/// Where a container is in its life.
///
/// ```text
/// Created → Running ⇄ Paused
///              ↓  ↑ ↖
///           Exited   Restarting
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Created,
    Running,
    Paused,
    /// Starts again by itself at that time.
    Restarting {
        at: Timestamp,
    },
    Exited,
}

impl State {
    /// A container between two runs counts as running.
    pub(crate) fn is_running(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting { .. })
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting { .. } => "restarting",
            Self::Exited => "exited",
        }
    }
}

/// A stop on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopping {
    /// When patience ends, if ever.
    pub(crate) kill_at: Option<Timestamp>,
    pub(crate) then: AfterStop,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AfterStop {
    Rest,
    Start,
}

/// A line of output, or what a program left without a line end.
#[derive(Debug, Clone)]
pub(crate) struct LogEntry {
    pub(crate) time: Timestamp,
    pub(crate) stream: Stream,
    pub(crate) text: Bytes,
}

/// Things that come one after the other, of which the first are forgotten.
#[derive(Debug)]
pub(crate) struct Tail<T> {
    items: VecDeque<T>,
    forgotten: usize,
}

impl<T> Default for Tail<T> {
    fn default() -> Self {
        Self { items: VecDeque::new(), forgotten: 0 }
    }
}

impl<T> Tail<T> {
    fn push(&mut self, item: T) {
        self.items.push_back(item);
    }

    fn forget_first(&mut self) -> Option<T> {
        let first = self.items.pop_front();
        self.forgotten += usize::from(first.is_some());
        first
    }

    /// The number that the next item will have.
    pub(crate) fn end(&self) -> usize {
        self.forgotten + self.items.len()
    }

    /// The items from number `position` on.
    pub(crate) fn from(&self, position: usize) -> impl Iterator<Item = &T> {
        self.items.iter().skip(position.saturating_sub(self.forgotten))
    }
}

/// One container.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) id: String,
    /// Larger than that of every container made before.
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    /// The image's id; empty if it was made without one.
    pub(crate) image: String,
    pub(crate) config: Value,
    pub(crate) host: Value,
    pub(crate) state: State,
    pub(crate) process: Option<Process>,
    /// How it is since its last start, if it has a check.
    pub(crate) health: Option<Health>,
    pub(crate) pid: u64,
    /// The id of the network namespace of its last run; empty before the first.
    pub(crate) sandbox: String,
    pub(crate) exit_code: i32,
    /// Why it could not be started.
    pub(crate) error: String,
    pub(crate) out_of_memory: bool,
    pub(crate) started: Option<Timestamp>,
    pub(crate) finished: Option<Timestamp>,
    pub(crate) restarts: u64,
    /// How often its program ended.
    pub(crate) exits: u64,
    pub(crate) stopping: Option<Stopping>,
    /// It was stopped by a request, so it does not start again by itself.
    pub(crate) rests: bool,
    pub(crate) log: Tail<LogEntry>,
    log_bytes: usize,
    /// Output as it came, for those who are attached.
    pub(crate) live: Tail<(Stream, Bytes)>,
    /// What came after the last line end, by stream.
    partial: [Vec<u8>; 2],
    pub(crate) files: Files,
    /// Paths that differ from the image, with the engine's number for how.
    pub(crate) changes: BTreeMap<String, u8>,
    pub(crate) endpoints: BTreeMap<String, Endpoint>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) execs: Vec<String>,
}

impl Container {
    pub(crate) fn new(
        id: String,
        number: u64,
        name: String,
        created: Timestamp,
        (config, host): (Value, Value),
    ) -> Self {
        Self {
            id,
            number,
            name,
            created,
            image: String::new(),
            config,
            host,
            state: State::Created,
            process: None,
            health: None,
            pid: 0,
            sandbox: String::new(),
            exit_code: 0,
            error: String::new(),
            out_of_memory: false,
            started: None,
            finished: None,
            restarts: 0,
            exits: 0,
            stopping: None,
            rests: false,
            log: Tail::default(),
            log_bytes: 0,
            live: Tail::default(),
            partial: [Vec::new(), Vec::new()],
            files: Files::default(),
            changes: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            mounts: Vec::new(),
            execs: Vec::new(),
        }
    }

    /// The program and its arguments.
    pub(crate) fn command(&self) -> Vec<String> {
        let program = strings(&self.config["Entrypoint"]).chain(strings(&self.config["Cmd"]));
        program.map(str::to_owned).collect()
    }

    pub(crate) fn env(&self) -> Vec<String> {
        strings(&self.config["Env"]).map(str::to_owned).collect()
    }

    pub(crate) fn has_terminal(&self) -> bool {
        self.config["Tty"] == true
    }

    pub(crate) fn wake(&self) -> Option<Timestamp> {
        let program = match self.state {
            State::Running => {
                let check = self.health.as_ref().and_then(Health::wake);
                self.process.as_ref().and_then(Process::wake).into_iter().chain(check).min()
            }
            State::Restarting { at } => Some(at),
            _ => None,
        };
        let kill = self.stopping.and_then(|stopping| stopping.kill_at);
        program.into_iter().chain(kill).min()
    }

    /// Takes what the program wrote: at once for those who are attached, line by
    /// line for the log.
    pub(crate) fn write(&mut self, stream: Stream, text: &[u8], now: Timestamp) {
        let (stream, text) = if self.has_terminal() {
            (Stream::Stdout, with_terminal_line_ends(text))
        } else {
            (stream, text.to_vec())
        };
        let mut lines = std::mem::take(&mut self.partial[stream as usize]);
        lines.extend(&text);
        self.live.push((stream, text.into()));
        while self.live.items.len() > LIVE_CHUNKS {
            self.live.forget_first();
        }
        let complete = lines.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.partial[stream as usize] = lines.split_off(complete);
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            self.log_line(stream, line, now);
        }
    }

    /// Logs what was left without a line end.
    pub(crate) fn finish_lines(&mut self, now: Timestamp) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let rest = std::mem::take(&mut self.partial[stream as usize]);
            if !rest.is_empty() {
                self.log_line(stream, &rest, now);
            }
        }
    }

    fn log_line(&mut self, stream: Stream, line: &[u8], time: Timestamp) {
        self.log_bytes += line.len();
        self.log.push(LogEntry { time, stream, text: Bytes::copy_from_slice(line) });
        while self.log_bytes > LOG_BYTES {
            let Some(first) = self.log.forget_first() else { return };
            self.log_bytes -= first.text.len();
        }
    }

    /// What `docker ps` shows in its column `STATUS`.
    pub(crate) fn status(&self, now: Timestamp) -> String {
        let since = |time: Option<Timestamp>| {
            duration::in_words(time.map_or(0, |time| now.as_second() - time.as_second()))
        };
        match self.state {
            State::Created => "Created".to_owned(),
            State::Running => match self.health.as_ref().map(Health::status) {
                None => format!("Up {}", since(self.started)),
                Some(Status::Starting) => format!("Up {} (health: starting)", since(self.started)),
                Some(known) => format!("Up {} ({})", since(self.started), known.name()),
            },
            State::Paused => format!("Up {} (Paused)", since(self.started)),
            State::Restarting { .. } => {
                format!("Restarting ({}) {} ago", self.exit_code, since(self.finished))
            }
            State::Exited => format!("Exited ({}) {} ago", self.exit_code, since(self.finished)),
        }
    }

    /// The ports that are open, as `inspect` lists them.
    pub(crate) fn ports(&self) -> Value {
        let mut ports = serde_json::Map::new();
        let has_network = self.host["NetworkMode"] != "none" && self.host["NetworkMode"] != "host";
        if self.state.is_running() && has_network {
            for port in entries(&self.config["ExposedPorts"]).keys() {
                ports.insert(port.clone(), Value::Null);
            }
            for (port, bindings) in entries(&self.host["PortBindings"]) {
                let all = bindings.as_array().into_iter().flatten().flat_map(|binding| {
                    let host_port = binding["HostPort"].as_str().unwrap_or_default().to_owned();
                    let addresses = match binding["HostIp"].as_str() {
                        Some(address) if !address.is_empty() => vec![address.to_owned()],
                        _ => vec!["0.0.0.0".to_owned(), "::".to_owned()],
                    };
                    addresses
                        .into_iter()
                        .map(move |address| json!({"HostIp": address, "HostPort": host_port}))
                });
                ports.insert(port, all.collect());
            }
        }
        Value::Object(ports)
    }

    /// The answer to `GET /containers/{id}/json`.
    pub(crate) fn inspect(&self, root: &Path) -> Value {
        let command = self.command();
        let was_started = !self.sandbox.is_empty();
        let folder = root.join("containers").join(&self.id).display().to_string();
        let file =
            |name: &str| if was_started { format!("{folder}/{name}") } else { String::new() };
        let endpoints = self.endpoints.iter().map(|(name, end)| (name.clone(), end.inspect()));
        let endpoints: serde_json::Map<_, _> = endpoints.collect();
        let execs: Vec<_> = self.execs.iter().collect();
        json!({
            "Id": self.id,
            "Created": self.created.to_string(),
            "Path": command.first().cloned().unwrap_or_default(),
            "Args": command.get(1..).unwrap_or_default(),
            "State": self.described_state(),
            "Image": self.image,
            "ResolvConfPath": file("resolv.conf"),
            "HostnamePath": file("hostname"),
            "HostsPath": file("hosts"),
            "LogPath": file(&format!("{}-json.log", self.id)),
            "Name": format!("/{}", self.name),
            "RestartCount": self.restarts,
            "Driver": "overlay2",
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": "",
            "ExecIDs": if execs.is_empty() { Value::Null } else { json!(execs) },
            "HostConfig": self.host,
            "GraphDriver": {"Name": "overlay2", "Data": {
                "LowerDir": format!("{folder}/lower"),
                "MergedDir": format!("{folder}/merged"),
                "UpperDir": format!("{folder}/diff"),
                "WorkDir": format!("{folder}/work"),
            }},
            "Mounts": self.mounts.iter().map(Mount::describe).collect::<Value>(),
            "Config": self.config,
            "NetworkSettings": self.network_settings(&endpoints),
        })
    }

    fn described_state(&self) -> Value {
        let mut state = json!({
            "Status": self.state.name(),
            "Running": self.state.is_running(),
            "Paused": self.state == State::Paused,
            "Restarting": matches!(self.state, State::Restarting { .. }),
            "OOMKilled": self.out_of_memory,
            "Dead": false,
            "Pid": self.pid,
            "ExitCode": self.exit_code,
            "Error": self.error,
            "StartedAt": written(self.started),
            "FinishedAt": written(self.finished),
        });
        if let Some(health) = &self.health {
            state["Health"] = health.describe();
        }
        state
    }

    /// The old fields repeat what is known of the default network.
    fn network_settings(&self, endpoints: &serde_json::Map<String, Value>) -> Value {
        let default = endpoints.get("bridge").cloned().unwrap_or_default();
        let text = |name: &str| default[name].as_str().unwrap_or_default();
        let key = if self.sandbox.is_empty() { "" } else { "/var/run/docker/netns/" };
        json!({
            "Bridge": "",
            "SandboxID": self.sandbox,
            "HairpinMode": false,
            "LinkLocalIPv6Address": "",
            "LinkLocalIPv6PrefixLen": 0,
            "Ports": self.ports(),
            "SandboxKey": format!("{key}{}", super::short(&self.sandbox)),
            "SecondaryIPAddresses": null,
            "SecondaryIPv6Addresses": null,
            "EndpointID": text("EndpointID"),
            "Gateway": text("Gateway"),
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "IPAddress": text("IPAddress"),
            "IPPrefixLen": default["IPPrefixLen"].as_u64().unwrap_or(0),
            "IPv6Gateway": "",
            "MacAddress": text("MacAddress"),
            "Networks": endpoints,
        })
    }
}

/// A terminal returns the carriage before each line feed.
fn with_terminal_line_ends(text: &[u8]) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len());
    for byte in text {
        if *byte == b'\n' {
            written.push(b'\r');
        }
        written.push(*byte);
    }
    written
}
