//! What the agent's tasks share: who the node is, its plugin host, its log, and
//! which jobs run.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use drover_api::{Command, JobId, NodeDescription, NodeId, NodeOperations, Timestamp, procedures};
use drover_plugin_host::Host;
use drover_wamp::{Link, SigningKey};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::inbox::Inbox;
use crate::logs::Logs;
use crate::processes::Processes;
use crate::services::Services;
use crate::sources::Sources;
use crate::streams::{Inputs, Windows};
use crate::update::Updates;
use crate::vitals::Vitals;
use crate::{Config, Ended, commands};

/// A cheap handle on the node.
#[derive(Clone)]
pub(crate) struct Node {
    shared: Arc<Shared>,
}

struct Shared {
    id: NodeId,
    prefix: String,
    name: String,
    labels: Vec<String>,
    started: Timestamp,
    /// SHA-256 of the agent's own program, if it was pushed.
    program: Option<String>,
    host: Host,
    logs: Logs,
    processes: Processes,
    services: Services,
    updates: Updates,
    inbox: Inbox,
    vitals: Vitals,
    data_dir: PathBuf,
    /// The link, and the key with which the node joins, once there is one.
    joined_with: OnceLock<(Link, Arc<SigningKey>)>,
    sources: Sources,
    windows: Windows,
    inputs: Inputs,
    max_message_bytes: usize,
    revision: watch::Sender<u64>,
    running: Mutex<HashMap<JobId, RunningJob>>,
    stop: CancellationToken,
    /// Why the agent ends, once it does.
    ended: Mutex<Ended>,
    is_joined: AtomicBool,
    is_draining: AtomicBool,
    /// Tells that a job has ended.
    freed: Notify,
    /// What the admin wrote that cannot be used, and why.
    unusable: Mutex<BTreeMap<Part, String>>,
}

/// What an admin writes and the agent reads again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    Configuration,
    Grants,
}

/// What a node is made of.
pub(crate) struct Parts {
    pub(crate) host: Host,
    pub(crate) logs: Logs,
    pub(crate) processes: Processes,
    pub(crate) services: Services,
    pub(crate) updates: Updates,
    pub(crate) inbox: Inbox,
    pub(crate) vitals: Vitals,
    /// SHA-256 of the agent's own program, if it was pushed.
    pub(crate) program: Option<String>,
}

/// A job that runs on the node.
#[derive(Debug, Clone)]
pub(crate) struct RunningJob {
    pub(crate) id: JobId,
    pub(crate) cmd: String,
    pub(crate) started: Timestamp,
    /// Whether it lasts as long as somebody wants it to, and nothing is lost by its end.
    pub(crate) looks_on: bool,
}

impl Node {
    /// `stop` ends the agent.
    pub(crate) fn new(config: &Config, parts: Parts, stop: CancellationToken) -> Self {
        let Parts { host, logs, processes, services, updates, inbox, vitals, program } = parts;
        let started = Timestamp::now();
        let shared = Shared {
            id: config.node(),
            prefix: procedures::node_prefix(config.node()),
            name: config.name.clone(),
            labels: config.labels.clone(),
            started,
            program,
            host,
            logs,
            processes,
            services,
            updates,
            inbox,
            vitals,
            data_dir: config.data_dir.clone(),
            joined_with: OnceLock::new(),
            sources: Sources::new(config.sources.keys()),
            windows: Windows::default(),
            inputs: Inputs::default(),
            max_message_bytes: config.max_message_bytes(),
            // From the start time, so that a restarted agent never repeats one.
            revision: watch::Sender::new(started.0),
            running: Mutex::default(),
            stop,
            ended: Mutex::new(Ended::Stopped),
            is_joined: AtomicBool::new(false),
            is_draining: AtomicBool::new(false),
            freed: Notify::new(),
            unusable: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    pub(crate) fn id(&self) -> NodeId {
        self.shared.id
    }

    /// What people call it.
    pub(crate) fn name(&self) -> &str {
        &self.shared.name
    }

    /// What the names of the node's procedures begin with.
    pub(crate) fn prefix(&self) -> &str {
        &self.shared.prefix
    }

    /// The directory for what the agent keeps.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.shared.data_dir
    }

    /// Has the node join over this link, with this key.
    pub(crate) fn linked(&self, link: Link, key: Arc<SigningKey>) {
        // There is one link in the life of an agent.
        let _ = self.shared.joined_with.set((link, key));
    }

    /// The link, and the key with which the node joins; none if it has no key.
    pub(crate) fn joined_with(&self) -> Option<&(Link, Arc<SigningKey>)> {
        self.shared.joined_with.get()
    }

    pub(crate) fn host(&self) -> &Host {
        &self.shared.host
    }

    pub(crate) fn logs(&self) -> &Logs {
        &self.shared.logs
    }

    pub(crate) fn processes(&self) -> &Processes {
        &self.shared.processes
    }

    pub(crate) fn services(&self) -> &Services {
        &self.shared.services
    }

    /// The plugin versions that the controller pushes.
    pub(crate) fn updates(&self) -> &Updates {
        &self.shared.updates
    }

    /// The jobs that the controller hands over for good.
    pub(crate) fn inbox(&self) -> &Inbox {
        &self.shared.inbox
    }

    /// What the agent counts of itself.
    pub(crate) fn vitals(&self) -> &Vitals {
        &self.shared.vitals
    }

    /// What is known of the log files that are followed.
    pub(crate) fn sources(&self) -> &Sources {
        &self.shared.sources
    }

    /// How much output may be on its way to callers.
    pub(crate) fn windows(&self) -> &Windows {
        &self.shared.windows
    }

    /// What callers send to jobs of plugins.
    pub(crate) fn inputs(&self) -> &Inputs {
        &self.shared.inputs
    }

    pub(crate) fn max_message_bytes(&self) -> usize {
        self.shared.max_message_bytes
    }

    pub(crate) fn description(&self) -> NodeDescription {
        let shared = &*self.shared;
        NodeDescription {
            gid: shared.id.gid,
            nid: shared.id.nid,
            name: shared.name.clone(),
            labels: shared.labels.clone(),
            version: drover_api::version().to_owned(),
            program: shared.program.clone(),
            started: shared.started,
            plugins: shared.host.summaries(),
            refused: shared.host.refused(),
            trouble: self.trouble(),
        }
    }

    /// What can be called: all of it, or what is named `cmd`.
    pub(crate) fn operations(&self, cmd: Option<&str>) -> NodeOperations {
        let plugins = match cmd {
            Some(cmd) => self.host().plugin_with(cmd).into_iter().collect(),
            None => self.host().plugins(),
        };
        NodeOperations { plugins, commands: commands::describe(cmd) }
    }

    /// What does not work at present.
    fn trouble(&self) -> Option<String> {
        let trouble = self.logs().store().trouble();
        let log = trouble.borrow().as_ref().map(|why| format!("the log cannot be written: {why}"));
        let unusable = self.unusable().clone().into_iter().map(|(part, why)| match part {
            Part::Configuration => format!("the configuration cannot be used: {why}"),
            Part::Grants => format!("the grants cannot be used: {why}"),
        });
        let sources = self.sources().troubles();
        let plugins = self.host().statuses().plugins.into_iter();
        let quarantined = plugins.filter_map(|plugin| {
            let (name, reason) = (plugin.name, plugin.quarantine?.reason);
            Some(format!("plugin `{name}` is in quarantine: {reason}"))
        });
        let updates = self.updates().concerns().into_iter().map(|concern| concern.to_string());
        let draining = self.is_draining().then(|| "it drains, and takes no commands".to_owned());
        let jobs = self.inbox().trouble();
        let parts = draining.into_iter().chain(log).chain(jobs).chain(unusable).chain(sources);
        let troubles: Vec<_> = parts.chain(quarantined).chain(updates).collect();
        (!troubles.is_empty()).then(|| troubles.join("; "))
    }

    /// Notes why something cannot be used; none if it can.
    pub(crate) fn set_unusable(&self, part: Part, why: Option<String>) {
        match why {
            Some(why) => self.unusable().insert(part, why),
            None => self.unusable().remove(&part),
        };
    }

    fn unusable(&self) -> MutexGuard<'_, BTreeMap<Part, String>> {
        self.shared.unusable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the agent in order, and has it started again.
    pub(crate) fn restart(&self) {
        self.end(Ended::ToRestart);
    }

    /// Ends the agent in order, for another version of its program to run.
    pub(crate) fn hand_over(&self) {
        self.end(Ended::ToHandOver);
    }

    fn end(&self, why: Ended) {
        *self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner) = why;
        self.shared.stop.cancel();
    }

    /// Why the agent ends.
    pub(crate) fn ended(&self) -> Ended {
        *self.shared.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether the node has its procedures at the controller.
    pub(crate) fn set_joined(&self, is_joined: bool) {
        self.shared.is_joined.store(is_joined, Ordering::Relaxed);
    }

    /// Whether the node has its procedures at the controller.
    pub(crate) fn is_joined(&self) -> bool {
        self.shared.is_joined.load(Ordering::Relaxed)
    }

    /// Takes no further commands that begin something.
    pub(crate) fn drain(&self) {
        self.shared.is_draining.store(true, Ordering::Relaxed);
        self.shared.inbox.drain();
        self.changed();
    }

    /// Whether it takes no further commands that begin something.
    pub(crate) fn is_draining(&self) -> bool {
        self.shared.is_draining.load(Ordering::Relaxed)
    }

    /// Waits until no job runs but those that only look on.
    pub(crate) async fn idle(&self) {
        loop {
            let freed = self.shared.freed.notified();
            if self.lock().values().all(|job| job.looks_on) {
                return;
            }
            freed.await;
        }
    }

    /// Is cancelled when the agent is to end.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.shared.stop
    }

    /// Says that the description has changed.
    pub(crate) fn changed(&self) {
        self.shared.revision.send_modify(|revision| *revision += 1);
    }

    /// Counts up with every change of the description.
    pub(crate) fn revision(&self) -> watch::Receiver<u64> {
        self.shared.revision.subscribe()
    }

    /// Takes the id of a command until the guard is dropped; none if a job has it.
    pub(crate) fn reserve(&self, command: &Command, looks_on: bool) -> Option<Reserved> {
        let Command { id, cmd, .. } = command;
        match self.lock().entry(id.clone()) {
            Entry::Occupied(_) => return None,
            Entry::Vacant(place) => place.insert(RunningJob {
                id: id.clone(),
                cmd: cmd.clone(),
                started: Timestamp::now(),
                looks_on,
            }),
        };
        Some(Reserved { node: self.clone(), id: id.clone() })
    }

    /// The jobs that run, in no order.
    pub(crate) fn running(&self) -> Vec<RunningJob> {
        self.lock().values().cloned().collect()
    }

    /// How many jobs there are, and since when the oldest.
    pub(crate) fn under_way(&self) -> (usize, Option<Timestamp>) {
        let running = self.lock();
        (running.len(), running.values().map(|job| job.started).min())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, RunningJob>> {
        self.shared.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job id that is taken.
pub(crate) struct Reserved {
    node: Node,
    id: JobId,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.node.lock().remove(&self.id);
        self.node.shared.freed.notify_one();
    }
}
