//! The life of a container, from its creation to the end of its program.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::container::{AfterStop, Stopping};
use super::health::{Health, check_health};
use super::limits::check_limits;
use super::network::Endpoint;
use super::{Container, Event, Files, Kind, Model, Outcome, Reference, State, defaults};
use crate::engine::answer::Refusal;
use crate::engine::program::{Effect, Missing, Process, Surroundings, compile};

/// The first pause before a restart; each one after it is twice as long.
const RESTART_PAUSE: Duration = Duration::from_millis(100);

const LONGEST_RESTART_PAUSE: Duration = Duration::from_mins(1);

/// The networks on which containers have no names.
const PREDEFINED: [&str; 3] = ["bridge", "host", "none"];

const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

impl Model {
    /// The id of the container with this id, name or beginning of an id.
    pub(crate) fn container_id(&self, key: &str) -> Outcome<String> {
        if self.containers.contains_key(key) {
            return Ok(key.to_owned());
        }
        let name = key.strip_prefix('/').unwrap_or(key);
        if let Some(named) = self.containers.values().find(|container| container.name == name) {
            return Ok(named.id.clone());
        }
        let mut matching = self.containers.keys().filter(|id| id.starts_with(key));
        match (matching.next(), matching.next()) {
            (Some(id), None) if !key.is_empty() => Ok(id.clone()),
            (Some(_), Some(_)) if !key.is_empty() => {
                let text = format!("Multiple IDs found with provided prefix: {key}");
                Err(Refusal::bad_request(text))
            }
            _ => Err(Refusal::not_found(format!("No such container: {key}"))),
        }
    }

    pub(crate) fn container(&self, key: &str) -> Outcome<&Container> {
        Ok(&self.containers[&self.container_id(key)?])
    }

    pub(crate) fn container_mut(&mut self, key: &str) -> Outcome<&mut Container> {
        let id = self.container_id(key)?;
        let missing = || Refusal::not_found(format!("No such container: {key}"));
        self.containers.get_mut(&id).ok_or_else(missing)
    }

    /// The container if its program runs, paused or not.
    pub(crate) fn running(&self, key: &str) -> Outcome<&Container> {
        let container = self.container(key)?;
        if container.state.is_running() {
            return Ok(container);
        }
        Err(Refusal::conflict(format!("Container {} is not running", container.id)))
    }

    /// Makes a container as `POST /containers/create` asks, and returns its id.
    pub(crate) fn create(
        &mut self,
        name: Option<&str>,
        wanted: &Value,
        now: Timestamp,
    ) -> Outcome<String> {
        let host_wanted = &wanted["HostConfig"];
        check_limits(host_wanted)?;
        check_health(wanted)?;
        let mut config = defaults::config(wanted);
        let image_name = config["Image"].as_str().unwrap_or_default().to_owned();
        let mut image = None;
        if !image_name.is_empty() {
            let id = self.image_id(&image_name).ok_or_else(|| {
                let shown =
                    Reference::read(&image_name).map_or(image_name, |name| name.to_string());
                Refusal::not_found(format!("No such image: {shown}"))
            })?;
            defaults::inherit(&mut config, &self.images[&id].config);
            image = Some(id);
        }
        let has = |name: &str| defaults::strings(&config[name]).next().is_some();
        if !has("Cmd") && !has("Entrypoint") {
            return Err(Refusal::bad_request("No command specified"));
        }
        let id = self.new_id();
        let name = match name.filter(|name| !name.is_empty()) {
            Some(name) => self.free_name(name.strip_prefix('/').unwrap_or(name))?.to_owned(),
            None => format!("simulated_{}", super::short(&id)),
        };
        if config["Hostname"] == "" {
            config["Hostname"] = json!(super::short(&id));
        }
        let mut host = defaults::host(host_wanted);
        if !host_wanted.is_null() {
            host["Runtime"] = json!("runc");
        }
        let mounts = self.mounts_for(&config, &host, now)?;
        let number = self.new_number();
        let mut container = Container::new(id.clone(), number, name, now, (config, host));
        if let Some(image) = image {
            container.files = self.images[&image].files.clone();
            container.image = image;
        }
        container.mounts = mounts;
        self.place_on_networks(&mut container, &wanted["NetworkingConfig"]["EndpointsConfig"]);
        self.containers.insert(id.clone(), container);
        self.container_event(&id, "create", &[], now);
        Ok(id)
    }

    /// The name, if it is well formed and nobody has it.
    pub(super) fn free_name<'a>(&self, name: &'a str) -> Outcome<&'a str> {
        let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        let is_letter = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if !begins_well || name.len() < 2 || !name.chars().all(is_letter) {
            return Err(Refusal::bad_request(format!(
                "Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"
            )));
        }
        match self.containers.values().find(|container| container.name == name) {
            None => Ok(name),
            Some(holder) => Err(Refusal::conflict(format!(
                "Conflict. The container name \"/{name}\" is already in use by container \"{}\". \
                 You have to remove (or rename) that container to be able to reuse that name.",
                holder.id
            ))),
        }
    }

    fn place_on_networks(&self, container: &mut Container, wanted: &Value) {
        let mode = container.host["NetworkMode"].as_str().unwrap_or_default().to_owned();
        if mode.starts_with("container:") {
            return;
        }
        let mode = if mode == "default" { "bridge".to_owned() } else { mode };
        let mut wanted = defaults::entries(wanted);
        wanted.entry(mode).or_insert(Value::Null);
        for (network, wish) in wanted {
            let mut aliases = wish["Aliases"].clone();
            if !PREDEFINED.contains(&network.as_str()) {
                let mut all = aliases.as_array().cloned().unwrap_or_default();
                all.push(json!(super::short(&container.id)));
                aliases = json!(all);
            }
            let endpoint = Endpoint::wished(aliases, &wish);
            container.endpoints.insert(network, endpoint);
        }
    }

    /// Starts a container; false if it runs already.
    pub(crate) fn start(&mut self, key: &str, now: Timestamp) -> Outcome<bool> {
        let id = self.container_id(key)?;
        let container = &self.containers[&id];
        match container.state {
            State::Paused => {
                let text = "cannot start a paused container, try unpause instead";
                return Err(Refusal::conflict(text));
            }
            State::Running => return Ok(false),
            _ => {}
        }
        let networks: Vec<String> = container.endpoints.keys().cloned().collect();
        for network in &networks {
            self.network_id(network)?;
        }
        let command = container.command();
        let steps = compile_in(container, &command, &container.env());
        for network in &networks {
            self.join(&id, network, now);
        }
        let pid = self.new_number() + 1000;
        let sandbox = self.new_id();
        let container = self.container_mut(&id)?;
        container.sandbox = sandbox;
        container.host["Runtime"] = json!("runc");
        let steps = match steps {
            Ok(steps) => steps,
            Err(Missing(program)) => {
                let text = format!(
                    "failed to create shim task: OCI runtime create failed: runc create failed: \
                     unable to start container process: exec: \"{program}\": executable file not \
                     found in $PATH: unknown"
                );
                container.exit_code = 127;
                container.error.clone_from(&text);
                self.leave_networks(&id, now);
                return Err(Refusal::bad_request(text));
            }
        };
        container.process = Some(Process::start(steps, container.config["OpenStdin"] == true));
        container.health = Health::starting(&container.config, now);
        container.state = State::Running;
        container.pid = pid;
        container.exit_code = 0;
        container.error.clear();
        container.out_of_memory = false;
        container.started = Some(now);
        container.rests = false;
        self.volume_events_of(&id, "mount", now);
        self.container_event(&id, "start", &[], now);
        Ok(true)
    }

    /// Asks a container to stop, and gives it until `patience` is over; for ever
    /// without one. False if it does not run. `wait` tells when it has stopped.
    pub(crate) fn stop(
        &mut self,
        key: &str,
        patience: Option<Duration>,
        then: AfterStop,
        now: Timestamp,
    ) -> Outcome<bool> {
        let id = self.container_id(key)?;
        let container = self.container_mut(&id)?;
        let signal = match container.config["StopSignal"].as_str() {
            Some(name) => signal_number(name).unwrap_or(SIGTERM),
            None => SIGTERM,
        };
        match container.state {
            State::Created | State::Exited => return Ok(false),
            State::Restarting { .. } => {
                container.state = State::Exited;
                container.rests = true;
                self.container_event(&id, "stop", &[], now);
                return Ok(true);
            }
            State::Running | State::Paused => {}
        }
        let kill_at = patience.and_then(|patience| now.checked_add(patience).ok());
        container.stopping = Some(Stopping { kill_at, then });
        container.rests = then == AfterStop::Rest;
        container.state = State::Running;
        self.signal(&id, signal, now);
        Ok(true)
    }

    /// Sends a signal as `POST /containers/{id}/kill` does.
    pub(crate) fn kill(&mut self, key: &str, signal: i32, now: Timestamp) -> Outcome<()> {
        let failed = |refusal: Refusal| {
            let text = format!("Cannot kill container: {key}: {}", refusal.message);
            Refusal::new(refusal.status, text)
        };
        let id = self.running(key).map_err(failed)?.id.clone();
        let container = self.container_mut(&id)?;
        container.rests = signal == SIGKILL || signal == SIGTERM;
        if signal == SIGKILL && container.state == State::Paused {
            container.state = State::Running;
        }
        self.signal(&id, signal, now);
        Ok(())
    }

    pub(super) fn signal(&mut self, id: &str, signal: i32, now: Timestamp) {
        self.container_event(id, "kill", &[("signal", signal.to_string())], now);
        let Some(container) = self.containers.get_mut(id) else { return };
        let has_init = container.host.get("Init") == Some(&json!(true));
        if let Some(process) = &mut container.process {
            process.signal(signal, !has_init);
        }
    }

    pub(crate) fn pause(&mut self, key: &str, now: Timestamp) -> Outcome<()> {
        let container = self.running(key)?;
        let (id, state) = (container.id.clone(), container.state);
        match state {
            State::Paused => Err(Refusal::conflict(format!("Container {id} is already paused"))),
            State::Running => {
                let container = self.container_mut(&id)?;
                container.state = State::Paused;
                if let Some(health) = &mut container.health {
                    health.stop();
                }
                self.container_event(&id, "pause", &[], now);
                Ok(())
            }
            _ => Err(Refusal::conflict(format!(
                "Container {id} is restarting, wait until the container is running"
            ))),
        }
    }

    pub(crate) fn unpause(&mut self, key: &str, now: Timestamp) -> Outcome<()> {
        let container = self.container_mut(key)?;
        let id = container.id.clone();
        if container.state != State::Paused {
            return Err(Refusal::internal(format!("Container {id} is not paused")));
        }
        container.state = State::Running;
        if let Some(health) = &mut container.health {
            health.go_on(now);
        }
        self.container_event(&id, "unpause", &[], now);
        Ok(())
    }

    /// Tells that a container that did not run was started by a restart.
    pub(crate) fn restarted(&mut self, id: &str, now: Timestamp) {
        self.container_event(id, "restart", &[], now);
    }

    /// Tells that somebody attached.
    pub(crate) fn attached(&mut self, id: &str, now: Timestamp) {
        self.container_event(id, "attach", &[], now);
    }

    /// Tells that somebody listed the processes.
    pub(crate) fn looked_at(&mut self, key: &str, now: Timestamp) {
        if let Ok(id) = self.container_id(key) {
            self.container_event(&id, "top", &[], now);
        }
    }

    /// Gives the terminal of a running container its height and width, which
    /// nobody sees but in the event.
    pub(crate) fn resize(&mut self, key: &str, size: &[String; 2], now: Timestamp) -> Outcome<()> {
        let id = self.running(key)?.id.clone();
        let more = [("height", size[0].clone()), ("width", size[1].clone())];
        self.container_event(&id, "resize", &more, now);
        Ok(())
    }

    /// Runs the programs of all containers, and does what has become due.
    pub(super) fn advance_containers(&mut self, now: Timestamp) {
        let ids: Vec<String> = self.containers.keys().cloned().collect();
        for id in ids {
            let Some(container) = self.containers.get_mut(&id) else { continue };
            match container.state {
                State::Restarting { at } if at <= now => {
                    container.restarts += 1;
                    // A failure is told by the container's state.
                    let _ = self.start(&id, now);
                }
                State::Running => {}
                _ => continue,
            }
            self.run(&id, now);
            self.advance_health(&id, now);
        }
    }

    fn run(&mut self, id: &str, now: Timestamp) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let due = container.stopping.and_then(|stopping| stopping.kill_at);
        if due.is_some_and(|due| due <= now) {
            if let Some(stopping) = &mut container.stopping {
                stopping.kill_at = None;
            }
            self.signal(id, SIGKILL, now);
        }
        let Some(container) = self.containers.get_mut(id) else { return };
        let Some(mut process) = container.process.take() else { return };
        let effects = process.advance(now);
        let code = process.exit_code();
        container.process = Some(process);
        let out_of_memory = container.take(effects, now);
        container.out_of_memory |= out_of_memory;
        if out_of_memory {
            self.container_event(id, "oom", &[], now);
        }
        if let Some(code) = code {
            self.exited(id, code, now);
        }
    }

    /// The program of a container has ended.
    fn exited(&mut self, id: &str, code: i32, now: Timestamp) {
        let Some(container) = self.containers.get_mut(id) else { return };
        container.finish_lines(now);
        container.process = None;
        if let Some(health) = &mut container.health {
            health.stop();
        }
        container.state = State::Exited;
        container.exit_code = code;
        container.pid = 0;
        container.finished = Some(now);
        container.exits += 1;
        let stopping = container.stopping.take();
        let restart_at = container.restart_at(now);
        let removes_itself = container.host["AutoRemove"] == true;
        for exec in container.execs.clone() {
            self.end_exec(&exec, now);
        }
        self.container_event(id, "die", &[("exitCode", code.to_string())], now);
        self.leave_networks(id, now);
        self.volume_events_of(id, "unmount", now);
        if stopping.is_some() {
            self.container_event(id, "stop", &[], now);
        }
        if stopping.is_some_and(|stopping| stopping.then == AfterStop::Start) {
            if self.start(id, now).is_ok() {
                self.container_event(id, "restart", &[], now);
            }
        } else if let Some(at) = restart_at {
            if let Some(container) = self.containers.get_mut(id) {
                container.state = State::Restarting { at };
            }
        } else if removes_itself {
            self.destroy(id, true, now);
        }
    }

    pub(super) fn leave_networks(&mut self, id: &str, now: Timestamp) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let mut left = Vec::new();
        for endpoint in container.endpoints.values_mut() {
            if endpoint.is_connected() {
                endpoint.disconnect();
                left.push(endpoint.network.clone());
            }
        }
        for network in left {
            self.network_event(&network, "disconnect", Some(id), now);
        }
    }

    /// Tells what happened to a container, with its labels, image and name.
    pub(super) fn container_event(
        &mut self,
        id: &str,
        action: &str,
        more: &[(&str, String)],
        time: Timestamp,
    ) {
        let Some(container) = self.containers.get(id) else { return };
        let mut attributes: Map<String, Value> = defaults::entries(&container.config["Labels"]);
        attributes.insert("image".to_owned(), container.config["Image"].clone());
        attributes.insert("name".to_owned(), json!(container.name));
        for (name, value) in more {
            attributes.insert((*name).to_owned(), json!(value));
        }
        self.events.push(Event {
            kind: Kind::Container,
            action: action.to_owned(),
            subject: id.to_owned(),
            attributes,
            time,
        });
    }
}

impl Container {
    /// Takes what the program did, and says whether its memory ran out.
    fn take(&mut self, effects: Vec<Effect>, now: Timestamp) -> bool {
        let mut out_of_memory = false;
        for effect in effects {
            match effect {
                Effect::Output(stream, text) => self.write(stream, &text, now),
                Effect::File { path, content } => self.write_file(&path, content.into()),
                Effect::OutOfMemory => out_of_memory = true,
            }
        }
        out_of_memory
    }

    /// When the restart policy starts it again after it has ended.
    fn restart_at(&self, now: Timestamp) -> Option<Timestamp> {
        let policy = &self.host["RestartPolicy"];
        let most = policy["MaximumRetryCount"].as_u64().unwrap_or(0);
        let wants = match policy["Name"].as_str().unwrap_or_default() {
            "always" | "unless-stopped" => true,
            "on-failure" => self.exit_code != 0 && (most == 0 || self.restarts < most),
            _ => false,
        };
        if !wants || self.rests {
            return None;
        }
        let doublings = u32::try_from(self.restarts.min(16)).unwrap_or(16);
        let pause = RESTART_PAUSE.saturating_mul(1 << doublings).min(LONGEST_RESTART_PAUSE);
        now.checked_add(pause).ok()
    }
}

/// Compiles a command in a container's surroundings.
pub(super) fn compile_in(
    container: &Container,
    command: &[String],
    env: &[String],
) -> Result<Vec<crate::engine::program::Step>, Missing> {
    let files: &Files = &container.files;
    let surroundings = Surroundings {
        hostname: container.config["Hostname"].as_str().unwrap_or_default(),
        env,
        file: &|path| files.content(path).map(|content| content.to_vec()),
    };
    compile(command, &surroundings)
}

/// The number of a signal given as a number or a name, with or without `SIG`.
pub(crate) fn signal_number(name: &str) -> Option<i32> {
    if let Ok(number) = name.parse() {
        return (1..65).contains(&number).then_some(number);
    }
    let name = name.to_ascii_uppercase();
    let signals = [
        ("HUP", 1),
        ("INT", 2),
        ("QUIT", 3),
        ("ABRT", 6),
        ("KILL", 9),
        ("USR1", 10),
        ("USR2", 12),
        ("PIPE", 13),
        ("ALRM", 14),
        ("TERM", 15),
        ("CONT", 18),
        ("STOP", 19),
        ("WINCH", 28),
    ];
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    signals.into_iter().find(|(known, _)| *known == name).map(|(_, number)| number)
}
