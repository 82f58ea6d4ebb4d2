//! The one task that keeps the services as they are wanted.
//!
//! It turns what happens (requests, changes of plugins and grants, ends of runs,
//! time) into events of the services' lives, and performs what those decide.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use drover_api::{ErrorCode, JobError, Level, Record, ServiceState, ServiceStatus, Timestamp};
use drover_plugin_host::{Footing, Memory, Outcome, unknown};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::life::{Action, Event, Ground, Life, Stage};
use super::remembered::{Remembered, Specs};
use super::run::{LastPublished, Run, end_of, end_without_start, log_of};
use super::{Reply, Request, ServiceSpec};
use crate::Config;
use crate::node::Node;
use crate::recording::Unwritten;

/// Where remembered services are, in `data_dir`.
const FILE: &str = "services.json";

/// How many services that were stopped are still shown; the oldest make room.
const STOPPED: usize = 100;

/// Writes into the log that may wait; what happens meanwhile is in the agent's own
/// log alone.
const WRITING: usize = 1_000;

/// How long services have at the end of the agent: what they are given to tidy
/// up, and some more for a log that takes nothing.
const LAST_WORDS: Duration = Duration::from_secs(4);

/// Keeps the services.
pub(crate) struct Supervisor {
    asked: mpsc::Receiver<Request>,
    over: CancellationToken,
    remembered: Remembered,
    configured: Specs,
    services: BTreeMap<String, Service>,
    runs: JoinSet<(String, u64, Outcome, Option<Unwritten>)>,
    /// What services said last, and what happened to them, on its way into the
    /// log: nobody waits for a log that takes nothing.
    writing: JoinSet<()>,
    /// Those who asked for something that is not yet so.
    waiting: Vec<(String, Reply<ServiceStatus>)>,
}

/// One service.
struct Service {
    spec: ServiceSpec,
    life: Life,
    since: Timestamp,
    published: LastPublished,
    /// What its plugin offered when it was last looked at.
    footing: Option<Footing>,
    instance: Option<Instance>,
}

/// A run of a service.
struct Instance {
    cancel: CancellationToken,
    version: Option<String>,
    memory: Memory,
}

impl Service {
    fn new(spec: ServiceSpec) -> Self {
        let life = Life::new(spec.rules());
        let (published, footing, instance) = Default::default();
        Self { spec, life, since: Timestamp::now(), published, footing, instance }
    }

    fn status(&self, name: &str, is_configured: bool) -> ServiceStatus {
        let state = match self.life.stage() {
            Stage::Waiting { .. } => ServiceState::Waiting,
            Stage::Running => ServiceState::Running,
            Stage::Stopping { .. } => ServiceState::Stopping,
            Stage::BackingOff { .. } => ServiceState::BackingOff,
            Stage::Stopped => ServiceState::Stopped,
            Stage::Failed => ServiceState::Failed,
        };
        let instance = self.instance.as_ref();
        ServiceStatus {
            name: name.to_owned(),
            operation: self.spec.operation.clone(),
            state,
            since: self.since,
            restarts: self.life.restarts(),
            restart: self.spec.restart,
            is_configured,
            error: self.life.error().map(str::to_owned),
            version: instance.and_then(|instance| instance.version.clone()),
            hash: instance.and(self.footing.as_ref()).map(|footing| footing.hash.clone()),
            memory_bytes: instance.map(|instance| instance.memory.bytes()),
            published: self.published.time(),
        }
    }
}

impl Supervisor {
    pub(super) fn new(
        config: &Config,
        asked: mpsc::Receiver<Request>,
        over: CancellationToken,
    ) -> anyhow::Result<Self> {
        let path = config.data_dir.join(FILE);
        let remembered = Remembered::open(path.clone()).with_context(|| {
            format!("cannot read the remembered services in {}", path.display())
        })?;
        Ok(Self {
            asked,
            over,
            remembered,
            configured: config.services.clone(),
            services: BTreeMap::new(),
            runs: JoinSet::new(),
            writing: JoinSet::new(),
            waiting: Vec::new(),
        })
    }

    /// Starts what the configuration and the file say, and keeps everything as it
    /// is wanted until `stop` is cancelled; then stops all.
    pub(crate) async fn run(mut self, node: Node, stop: CancellationToken) -> anyhow::Result<()> {
        let _over = self.over.clone().drop_guard();
        let mut revision = node.host().revision();
        let mut wanted = self.remembered.services().clone();
        wanted.extend(self.configured.clone());
        for (name, spec) in wanted {
            self.services.insert(name.clone(), Service::new(spec));
            self.step(&node, &name, Event::Start).await;
        }
        self.remember_or_warn().await;
        loop {
            let due = self.services.values().filter_map(|service| service.life.due()).min();
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(ended) = self.runs.join_next() => {
                    let ended = ended.context("a run of a service panicked")?;
                    let (name, run, outcome, unwritten) = ended;
                    self.writing.spawn(unwritten.unwrap_or_else(|| Box::pin(async {})));
                    let event = Event::Ended { run, end: end_of(outcome) };
                    self.ended(&node, &name, event).await;
                }
                Some(written) = self.writing.join_next() => {
                    written.context("writing what a service said panicked")?;
                }
                () = passed(due) => self.step_all(&node, |_| Some(Event::Tick)).await,
                Ok(()) = revision.changed() => self.look(&node).await,
                Some(request) = self.asked.recv() => self.answer(&node, request).await,
            }
        }
        self.shut_down().await;
        Ok(())
    }

    async fn answer(&mut self, node: &Node, request: Request) {
        match request {
            Request::List { reply } => {
                let statuses = self.services.iter().map(|(name, service)| {
                    service.status(name, self.configured.contains_key(name))
                });
                let _ = reply.send(Ok(statuses.collect()));
            }
            Request::Start { name, spec, reply } => {
                if let Err(error) = self.start(node, &name, spec).await {
                    let _ = reply.send(Err(error));
                    return;
                }
                self.answer_later(name, reply);
            }
            Request::Stop { name, reply } => self.ask_of(node, name, Event::Stop, reply).await,
            Request::Restart { name, reply } => {
                self.ask_of(node, name, Event::Restart, reply).await;
            }
        }
        self.answer_waiting();
    }

    async fn start(&mut self, node: &Node, name: &str, spec: ServiceSpec) -> Result<(), JobError> {
        let (plugin, operation) =
            spec.target().map_err(|reason| JobError::new(ErrorCode::InvalidArguments, reason))?;
        node.host().check_service(plugin, operation, &spec.args)?;
        if let Some(service) = self.services.get(name)
            && service.spec != spec
        {
            if self.configured.contains_key(name) {
                return Err(taken(name, "is in the agent's configuration: choose another `name`"));
            }
            if service.life.is_wanted() || service.instance.is_some() {
                return Err(taken(
                    name,
                    "does something else already: stop it before, or choose another `name`",
                ));
            }
            self.services.remove(name);
        }
        self.services.entry(name.to_owned()).or_insert_with(|| Service::new(spec));
        self.step(node, name, Event::Start).await;
        let remembered = self.remember().await;
        if remembered.is_err() {
            // What is not on disk was not started.
            self.step(node, name, Event::Stop).await;
        }
        remembered
    }

    /// Has an event happen to a service, and answers when it has stopped if it is
    /// to stop.
    async fn ask_of(
        &mut self,
        node: &Node,
        name: String,
        event: Event,
        reply: Reply<ServiceStatus>,
    ) {
        if !self.services.contains_key(&name) {
            let names = self.services.keys().map(String::as_str).collect();
            let _ =
                reply.send(Err(unknown(&format!("there is no service `{name}`"), &name, names)));
            return;
        }
        self.step(node, &name, event).await;
        self.remember_or_warn().await;
        self.answer_later(name, reply);
    }

    fn answer_later(&mut self, name: String, reply: Reply<ServiceStatus>) {
        self.waiting.push((name, reply));
    }

    /// Answers those whose service is not about to stop any more.
    fn answer_waiting(&mut self) {
        let (services, configured) = (&self.services, &self.configured);
        for (name, reply) in std::mem::take(&mut self.waiting) {
            match services.get(&name) {
                Some(service) if matches!(service.life.stage(), Stage::Stopping { .. }) => {
                    self.waiting.push((name, reply));
                }
                Some(service) => {
                    let _ = reply.send(Ok(service.status(&name, configured.contains_key(&name))));
                }
                None => drop(reply),
            }
        }
        self.waiting.retain(|(_, reply)| !reply.is_closed());
    }

    /// A run is over.
    async fn ended(&mut self, node: &Node, name: &str, event: Event) {
        if let Some(service) = self.services.get_mut(name) {
            service.instance = None;
        }
        self.step(node, name, event).await;
        self.remember_or_warn().await;
        self.answer_waiting();
    }

    /// Something has changed about plugins or grants.
    async fn look(&mut self, node: &Node) {
        let looked = |service: &mut Service| {
            let (plugin, operation) = service.spec.target().ok()?;
            let ground = match node.host().footing(plugin, operation) {
                Err(error) => Ground::Gone(error.message),
                Ok(footing) if service.footing.as_ref() == Some(&footing) => Ground::Same,
                Ok(footing) => {
                    service.footing = Some(footing);
                    Ground::Changed
                }
            };
            Some(Event::Ground(ground))
        };
        self.step_all(node, looked).await;
        self.answer_waiting();
    }

    /// Has an event happen to every service for which there is one.
    async fn step_all(&mut self, node: &Node, event: impl Fn(&mut Service) -> Option<Event>) {
        let events = self.services.iter_mut();
        let events = events.filter_map(|(name, service)| Some((name.clone(), event(service)?)));
        for (name, event) in events.collect::<Vec<_>>() {
            self.step(node, &name, event).await;
        }
    }

    /// Has an event happen to a service, and does what that decides, and what
    /// follows from it in turn.
    async fn step(&mut self, node: &Node, name: &str, event: Event) {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            let Some(service) = self.services.get_mut(name) else { return };
            let before = service.life.stage().clone();
            let actions = service.life.step(event, Instant::now());
            if *service.life.stage() != before {
                service.since = Timestamp::now();
            }
            for action in actions {
                match action {
                    Action::Launch { run } => next = self.launch(node, name, run),
                    Action::Cancel { .. } => self.cancel(name),
                    Action::Tell { level, text } => self.tell(node, name, level, &text),
                }
            }
        }
        self.make_room(node);
    }

    /// Begins a run; if it cannot begin, that is its end.
    fn launch(&mut self, node: &Node, name: &str, run: u64) -> Option<Event> {
        let service = self.services.get_mut(name)?;
        let cancel = CancellationToken::new();
        match Run::start(node, name, &service.spec, cancel.clone()) {
            Err(error) => Some(Event::Ended { run, end: end_without_start(error) }),
            Ok(started) => {
                tracing::info!(service = name, operation = service.spec.operation, "started");
                service.footing = Some(started.service.footing.clone());
                service.instance = Some(Instance {
                    cancel,
                    version: started.service.version.clone(),
                    memory: started.service.memory(),
                });
                let (node, name) = (node.clone(), name.to_owned());
                let published = service.published.clone();
                self.runs.spawn(async move {
                    let (outcome, unwritten) = started.ended(node, name.clone(), published).await;
                    (name, run, outcome, unwritten)
                });
                None
            }
        }
    }

    fn cancel(&self, name: &str) {
        let instance = self.services.get(name).and_then(|service| service.instance.as_ref());
        if let Some(instance) = instance {
            tracing::info!(service = name, "stopping");
            instance.cancel.cancel();
        }
    }

    /// Writes into the log of a service.
    fn tell(&mut self, node: &Node, name: &str, level: Level, text: &str) {
        let Some(service) = self.services.get(name) else { return };
        match level {
            Level::CRITICAL | Level::ERROR => tracing::error!(service = name, "{text}"),
            Level::WARNING => tracing::warn!(service = name, "{text}"),
            _ => tracing::info!(service = name, "{text}"),
        }
        if self.writing.len() >= WRITING {
            tracing::warn!(service = name, "the log is too slow for what happens to it");
            return;
        }
        let mut log = log_of(node, name, &service.spec);
        let data = format!("service `{name}`: {text}");
        log.record(&Record { time: Timestamp::now(), level, data });
        let name = name.to_owned();
        self.writing.spawn(async move {
            if let Err(error) = log.write().await {
                tracing::warn!(service = name, %error, "what happened to it is not in the log");
            }
        });
    }

    /// Forgets the oldest of those that were stopped and are in no configuration.
    fn make_room(&mut self, node: &Node) {
        let stopped = |(name, service): &(&String, &Service)| {
            *service.life.stage() == Stage::Stopped && !self.configured.contains_key(*name)
        };
        if self.services.len() <= STOPPED || self.services.iter().filter(stopped).count() <= STOPPED
        {
            return;
        }
        let oldest = self.services.iter().filter(stopped).min_by_key(|(_, service)| service.since);
        if let Some(name) = oldest.map(|(name, _)| name.clone()) {
            self.services.remove(&name);
            node.services().feeds().forget(&name);
        }
    }

    /// Puts on disk which services are to come back.
    async fn remember(&mut self) -> Result<(), JobError> {
        let wanted = self.services.iter().filter(|(name, service)| {
            service.life.is_wanted() && !self.configured.contains_key(*name)
        });
        let specs = wanted.map(|(name, service)| (name.clone(), service.spec.clone())).collect();
        self.remembered.set(specs).await.map_err(|error| {
            let message = format!("the services to come back cannot be written to disk: {error}");
            JobError::new(ErrorCode::Internal, message)
        })
    }

    async fn remember_or_warn(&mut self) {
        if let Err(error) = self.remember().await {
            tracing::error!("{error}");
        }
    }

    /// Stops all, and waits until they have.
    async fn shut_down(&mut self) {
        self.asked.close();
        for name in self.services.keys() {
            self.cancel(name);
        }
        let all = async {
            while let Some(ended) = self.runs.join_next().await {
                if let Ok((.., Some(unwritten))) = ended {
                    self.writing.spawn(unwritten);
                }
            }
            while self.writing.join_next().await.is_some() {}
        };
        if timeout(LAST_WORDS, all).await.is_err() {
            tracing::warn!(
                "ending services that did not stop, or whose words the log does not take"
            );
        }
    }
}

fn taken(name: &str, why: &str) -> JobError {
    JobError::new(ErrorCode::InvalidArguments, format!("the service `{name}` {why}"))
}

/// Waits for a moment that may never come.
async fn passed(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
