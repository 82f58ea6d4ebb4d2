//! What the agent asks for.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use drover_api::JobId;
use rustix::net::SocketFlags;
use rustix::process::Signal;

use super::Server;
use crate::keeper::agent::{Agent, Greeting};
use crate::keeper::launch::{Launch, LaunchError, LaunchErrorKind};
use crate::keeper::message::{Answer, Request, StdinKind, VERSION};
use crate::keeper::socket::Received;
use crate::tree::{ProcessTable, Search};

/// Requests taken in one turn, so that signals and ends get theirs.
const BURST: usize = 32;

/// No grace is longer, so that no sum of times overflows: a year.
const LONGEST_GRACE: Duration = Duration::from_secs(365 * 24 * 3600);

impl Server {
    /// Takes the next agent that wants in.
    pub(super) fn take_agent(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        // Whoever came has gone, or there is no descriptor for it: it tries again.
        let Ok(socket) = rustix::net::accept_with(&self.listener, flags) else { return };
        let Ok(mut new) = Agent::new(socket) else { return };
        let refusal = match &self.agent {
            _ if self.is_stopping => Some("it is ending its processes, and then itself".to_owned()),
            Some(old) if old.greeting != Greeting::Awaited => {
                Some(format!("another agent (process {}) is connected", old.pid))
            }
            _ => None,
        };
        match refusal {
            Some(message) => {
                new.say(&Answer::Refused { message, may_pass: true }, Vec::new());
                drop(new.flush());
            }
            None => self.agent = Some(new),
        }
    }

    /// Goes on without an agent. What was asked for is done all the same.
    pub(super) fn lose_agent(&mut self) {
        self.agent = None;
        self.endings.forget_numbers();
        self.starting.iter_mut().for_each(|starting| starting.number = None);
    }

    pub(super) fn take_requests(&mut self) {
        for _ in 0..BURST {
            if !self.has_room() {
                return;
            }
            let Some(agent) = &mut self.agent else { return };
            match agent.next() {
                Ok(Some(received)) => self.take(received),
                Ok(None) => return,
                Err(_) => return self.lose_agent(),
            }
        }
    }

    /// Puts an answer into the outbox of the agent, if there is one.
    pub(super) fn say(&mut self, answer: &Answer, descriptors: Vec<Arc<OwnedFd>>) {
        if let Some(agent) =
            self.agent.as_mut().filter(|agent| agent.greeting == Greeting::Answered)
        {
            agent.say(answer, descriptors);
        }
    }

    fn take(&mut self, received: Received<Request>) {
        let Some(agent) = &mut self.agent else { return };
        let is_hello = matches!(received.message, Request::Hello { .. });
        if is_hello != (agent.greeting == Greeting::Awaited) {
            // It does not keep to the order.
            return self.lose_agent();
        }
        let now = Instant::now();
        match received.message {
            Request::Hello { version } => self.hello(version),
            Request::Spawn { number, launch, stdin } => {
                self.spawn(number, *launch, stdin, received.descriptors);
            }
            Request::Signal { number, id, signal } => {
                let processes = self.signal(&id, signal);
                self.say(&Answer::Done { number, processes }, Vec::new());
            }
            Request::EndTree { number, id, grace_ms } => match self.runs.get(&id) {
                Some(run) => {
                    let grace = Duration::from_millis(grace_ms).min(LONGEST_GRACE);
                    self.endings.begin(&run.tree, now + grace, Some(number), now);
                }
                None => self.say(&Answer::Ended { number, end: None }, Vec::new()),
            },
            Request::CloseStdin { id } => {
                if let Some(pipes) = self.runs.get_mut(&id).and_then(|run| run.pipes.as_mut()) {
                    pipes.stdin = None;
                }
            }
            Request::Acknowledge { id } => {
                if let Some(run) = self.runs.remove(&id) {
                    self.leave(run);
                }
            }
        }
    }

    fn hello(&mut self, version: u32) {
        let Some(agent) = &mut self.agent else { return };
        if version == VERSION {
            agent.greeting = Greeting::Heard;
            return self.welcome();
        }
        let message = format!(
            "it speaks version {VERSION} of the agent's messages and not {version}: end its \
             processes (SIGTERM to process {} does), and start the agent again",
            self.pid
        );
        agent.say(&Answer::Refused { message, may_pass: false }, Vec::new());
        drop(agent.flush());
        self.lose_agent();
    }

    /// Tells an agent that has said hello what is kept, once that is settled: no
    /// child on its way, and nothing left of a killed keeper's trees.
    pub(super) fn welcome(&mut self) {
        let is_settled = self.starting.is_empty() && self.recovering.is_empty();
        let Some(agent) = self.agent.as_mut().filter(|agent| agent.greeting == Greeting::Heard)
        else {
            return;
        };
        if !is_settled {
            return;
        }
        agent.greeting = Greeting::Answered;
        let welcome = Answer::Welcome {
            version: VERSION,
            pid: self.pid,
            force: self.groups.force(),
            kept: self.runs.len(),
        };
        agent.say(&welcome, Vec::new());
        for run in self.runs.values() {
            let descriptors = run.pipes.as_ref().map(|pipes| pipes.descriptors());
            agent.say(&Answer::Kept { run: run.kept() }, descriptors.unwrap_or_default());
        }
    }

    fn spawn(&mut self, number: u64, launch: Launch, stdin: StdinKind, descriptors: Vec<OwnedFd>) {
        let started = self.start(number, launch, (stdin, descriptors.into_iter().next()));
        if let Err(error) = started {
            self.say(&Answer::SpawnFailed { number, error }, Vec::new());
        }
    }

    fn start(
        &mut self,
        number: u64,
        launch: Launch,
        stdin: (StdinKind, Option<OwnedFd>),
    ) -> Result<(), LaunchError> {
        let is_known = self.runs.contains_key(&launch.id)
            || self.starting.iter().any(|starting| starting.launch.id == launch.id);
        let refusal = if is_known {
            Some((
                LaunchErrorKind::Duplicate,
                "a process of this job is kept already; end it first",
            ))
        } else if self.is_stopping {
            Some((LaunchErrorKind::Exhausted, "its keeper is ending; try again"))
        } else if stdin.0 == StdinKind::Data && stdin.1.is_none() {
            Some((LaunchErrorKind::Exhausted, "its keeper has no file descriptors left; try again"))
        } else {
            None
        };
        if let Some((kind, why)) = refusal {
            let message = format!("cannot start {} of job {}: {why}", launch.program, launch.id);
            return Err(LaunchError { kind, message });
        }
        self.started += 1;
        let mark = self.names.mark(self.started, &launch.id);
        let starting = self.starter.start(number, launch, stdin, mark, &mut self.groups)?;
        self.unreaped.insert(starting.run.tree.pid, starting.run.tree.clone());
        self.starting.push(starting);
        Ok(())
    }

    /// Sends a signal to all of a tree, and says to how many.
    fn signal(&self, id: &JobId, signal: i32) -> Option<usize> {
        let run = self.runs.get(id)?;
        let Some(signal) = Signal::from_named_raw(signal) else { return Some(0) };
        let table = ProcessTable::read().unwrap_or_default();
        let members = table.members(&[&run.tree], Some(self.pid), Search::Everywhere);
        let alive: Vec<_> =
            members.into_iter().flatten().filter(|process| process.is_alive()).collect();
        alive.iter().for_each(|process| process.signal(signal));
        Some(alive.len())
    }
}
