//! Commands that run in a container beside its program.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::defaults::strings;
use super::lifecycle::compile_in;
use super::{Model, Outcome, State};
use crate::engine::answer::Refusal;
use crate::engine::program::{Effect, Missing, Process, Stream};

/// One command, from its creation on.
#[derive(Debug)]
pub(crate) struct Exec {
    id: String,
    container: String,
    command: Vec<String>,
    wanted: Value,
    pub(crate) process: Option<Process>,
    pid: u64,
    has_run: bool,
    exit_code: Option<i32>,
    /// What it wrote and nobody has read.
    pub(crate) output: Vec<(Stream, Bytes)>,
}

impl Exec {
    pub(crate) fn wake(&self) -> Option<Timestamp> {
        self.process.as_ref().and_then(Process::wake)
    }

    pub(crate) fn has_terminal(&self) -> bool {
        self.wanted["Tty"] == true
    }

    pub(crate) fn takes_input(&self) -> bool {
        self.wanted["AttachStdin"] == true
    }

    /// Whether it ended, or could not be started.
    pub(crate) fn has_ended(&self) -> bool {
        self.has_run && self.process.is_none()
    }

    /// Whether what it writes to a stream is wanted.
    fn shows(&self, stream: Stream) -> bool {
        self.wanted[match stream {
            Stream::Stdout => "AttachStdout",
            Stream::Stderr => "AttachStderr",
        }] == true
            || self.has_terminal()
    }
}

impl Model {
    pub(crate) fn create_exec(
        &mut self,
        key: &str,
        wanted: &Value,
        now: Timestamp,
    ) -> Outcome<String> {
        let container = self.running(key)?;
        if container.state == State::Paused {
            return Err(Refusal::conflict(format!(
                "Container {key} is paused, unpause the container before exec"
            )));
        }
        let command: Vec<String> = strings(&wanted["Cmd"]).map(str::to_owned).collect();
        if command.is_empty() {
            return Err(Refusal::bad_request("No exec command specified"));
        }
        let container = container.id.clone();
        let id = self.new_id();
        let exec = Exec {
            id: id.clone(),
            container: container.clone(),
            command,
            wanted: wanted.clone(),
            process: None,
            pid: 0,
            has_run: false,
            exit_code: None,
            output: Vec::new(),
        };
        self.exec_event(&exec, "exec_create", now);
        self.container_mut(&container)?.execs.push(id.clone());
        self.execs.insert(id.clone(), exec);
        Ok(id)
    }

    pub(crate) fn exec(&self, id: &str) -> Outcome<&Exec> {
        let missing = || Refusal::not_found(format!("No such exec instance: {id}"));
        self.execs.get(id).ok_or_else(missing)
    }

    /// Starts a command. One that cannot be started says so in its output, as the
    /// answer has begun by then.
    pub(crate) fn start_exec(&mut self, id: &str, now: Timestamp) -> Outcome<()> {
        let exec = self.exec(id)?;
        let container = self.container(&exec.container)?;
        if !container.state.is_running() {
            let text = format!("Container {} is not running", container.id);
            return Err(Refusal::conflict(text));
        }
        let mut env = container.env();
        env.extend(strings(&exec.wanted["Env"]).map(str::to_owned));
        let steps = compile_in(container, &exec.command, &env);
        let has_run = exec.has_run;
        let takes_input = exec.takes_input();
        let pid = self.new_number() + 1000;
        let Some(mut exec) = self.execs.remove(id) else { return Ok(()) };
        if has_run {
            let text = format!("Error: Exec command {id} has already run\r\n");
            exec.output.push((Stream::Stdout, text.into()));
        } else {
            exec.has_run = true;
            self.exec_event(&exec, "exec_start", now);
            match steps {
                Ok(steps) => {
                    exec.process = Some(Process::start(steps, takes_input));
                    exec.pid = pid;
                }
                Err(Missing(program)) => {
                    let text = format!(
                        "OCI runtime exec failed: exec failed: unable to start container process: \
                         exec: \"{program}\": executable file not found in $PATH: unknown\r\n"
                    );
                    exec.output.push((Stream::Stdout, text.into()));
                    exec.exit_code = Some(126);
                }
            }
        }
        self.execs.insert(id.to_owned(), exec);
        Ok(())
    }

    pub(super) fn advance_execs(&mut self, now: Timestamp) {
        let running = self.execs.values().filter(|exec| exec.process.is_some());
        let ids: Vec<String> = running.map(|exec| exec.id.clone()).collect();
        for id in ids {
            let Some(mut exec) = self.execs.remove(&id) else { continue };
            let is_paused = self
                .containers
                .get(&exec.container)
                .is_some_and(|container| container.state == State::Paused);
            let Some(process) = exec.process.as_mut().filter(|_| !is_paused) else {
                self.execs.insert(id, exec);
                continue;
            };
            let effects = process.advance(now);
            let code = process.exit_code();
            for effect in effects {
                match effect {
                    Effect::Output(stream, text) if exec.shows(stream) => {
                        exec.output.push((stream, text.into()));
                    }
                    Effect::File { path, content } => {
                        if let Some(container) = self.containers.get_mut(&exec.container) {
                            container.write_file(&path, content.into());
                        }
                    }
                    Effect::Output(..) | Effect::OutOfMemory => {}
                }
            }
            self.execs.insert(id.clone(), exec);
            if let Some(code) = code {
                self.ended(&id, code, now);
            }
        }
    }

    /// Ends a command because its container did.
    pub(super) fn end_exec(&mut self, id: &str, now: Timestamp) {
        if self.execs.get(id).is_some_and(|exec| exec.process.is_some()) {
            self.ended(id, 137, now);
        }
    }

    fn ended(&mut self, id: &str, code: i32, now: Timestamp) {
        let Some(mut exec) = self.execs.remove(id) else { return };
        exec.process = None;
        exec.exit_code = Some(code);
        let more = [("execID", id.to_owned()), ("exitCode", code.to_string())];
        self.container_event(&exec.container, "exec_die", &more, now);
        self.execs.insert(id.to_owned(), exec);
    }

    /// The engine writes the command after the action, with a space at the end
    /// if there are no arguments.
    fn exec_event(&mut self, exec: &Exec, action: &str, now: Timestamp) {
        let program = exec.command.first().map(String::as_str).unwrap_or_default();
        let arguments = exec.command.get(1..).unwrap_or_default().join(" ");
        let action = format!("{action}: {program} {arguments}");
        self.container_event(&exec.container, &action, &[("execID", exec.id.clone())], now);
    }

    /// The answer to `GET /exec/{id}/json`.
    pub(crate) fn inspect_exec(&self, id: &str) -> Outcome<Value> {
        let exec = self.exec(id)?;
        let program = exec.command.first();
        let mut config = json!({
            "tty": exec.has_terminal(),
            "entrypoint": program,
            "arguments": exec.command.get(1..).unwrap_or_default(),
            "privileged": exec.wanted["Privileged"] == true,
        });
        if let Some(user) = exec.wanted["User"].as_str().filter(|user| !user.is_empty()) {
            config["user"] = json!(user);
        }
        Ok(json!({
            "ID": exec.id,
            "Running": exec.process.is_some(),
            "ExitCode": exec.exit_code,
            "ProcessConfig": config,
            "OpenStdin": exec.takes_input(),
            "OpenStderr": exec.wanted["AttachStderr"] == true,
            "OpenStdout": exec.wanted["AttachStdout"] == true,
            "CanRemove": false,
            "ContainerID": exec.container,
            "DetachKeys": "",
            "Pid": exec.pid,
        }))
    }
}
