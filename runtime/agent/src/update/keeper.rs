//! The one owner of all updates: keeps a record for each plugin on disk, and begins
//! what follows from it.
//!
//! A plugin has two strands of work at most. One is its update's, a step after the
//! other; the other has a version serve, which an agent that starts does beside the
//! update that it takes up. Work that is begun on a strand ends what was there.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Context;
use drover_api::{
    ErrorCode, JobError, OWN_PROGRAM, PluginVersions, Timestamp, UpdateEnd, UpdateOutcome,
};
use drover_plugin_host::{Host, Staged};
use drover_signing::{ContentHash, Statement};
use drover_snapshot::{Format, Found};
use drover_update::{
    AskError, Effect, Event, Files, Record, Stage, Step, Version, ask, go_back, revert, step,
};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use super::delivery::{Delivery, HttpSource};
use super::own::{Own, OwnProgram};
use super::trust::Trust;
use super::work::{self, Done, Means, Subject};
use super::{Concern, Follower, Following, REQUESTS, Reply, Request, STEPS, Updates, news};
use crate::Config;
use crate::node::Node;

mod concerns;
mod program;
mod telling;

/// The record of a plugin, or of the agent's own program.
pub(crate) const RECORD: Format = Format { name: "the versions that were pushed", steps: &[] };

/// How long a program is watched that somebody goes back to, in milliseconds.
const WATCH_MS: u64 = 20_000;

/// Plugins that may ever be pushed; more is a mistake of the controller's.
const PLUGINS: usize = 1000;

/// Pieces of content whose arrival waits to be told. One that finds no room is told
/// with the next.
const ARRIVALS: usize = 64;

/// Statements that wait to be looked at: the next one is asked for after the last.
const STATEMENTS: usize = 1;

/// The wait before something is tried again that something else stands in the way of.
const PATIENCE: Duration = Duration::from_secs(1);

/// Keeps all updates; [`Keeper::run`] is the task.
pub(crate) struct Keeper {
    requests: mpsc::Receiver<Request>,
    means: Arc<Means>,
    dir: PathBuf,
    plugins: BTreeMap<String, Plugin>,
    work: JoinSet<Ended>,
    arrivals: (mpsc::Sender<Arrival>, mpsc::Receiver<Arrival>),
    /// What the controller last stated.
    stated: Option<Statement>,
    concerns: watch::Sender<Vec<Concern>>,
    /// Where another version of the agent's own program may take its place.
    own: Option<Own>,
    patience: Duration,
}

struct Plugin {
    files: Files,
    record: Record,
    updating: Strand,
    serving: Strand,
    /// The update's version once it is loaded.
    staged: Option<Staged>,
    /// Bytes of the update's version that are here.
    fetched: u64,
    followers: Vec<Follower>,
    /// Why the active version does not serve.
    trouble: Option<String>,
    /// When somebody asked for an update last, since this agent's start.
    asked: Option<Instant>,
}

/// Work of which there is one at a time.
#[derive(Default)]
struct Strand {
    /// Counts up with each work; what an earlier one came to is of no interest.
    turn: u64,
    work: Option<AbortHandle>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StrandName {
    Updating,
    Serving,
}

/// Work that has ended.
struct Ended {
    name: String,
    strand: StrandName,
    turn: u64,
    /// The version that it was about.
    hash: Option<ContentHash>,
    done: Done,
}

/// How many bytes of a plugin's update are here.
struct Arrival {
    name: String,
    fetched: u64,
}

impl Updates {
    /// Reads what is kept. The task is to be run on `host`, which has no pushed
    /// plugins yet.
    pub(crate) fn open(config: &Config, host: Host) -> anyhow::Result<(Self, Keeper)> {
        let dir = config.data_dir.join("pushed");
        std::fs::create_dir_all(&dir)
            .with_context(|| format!("cannot make the directory {}", dir.display()))?;
        let keys = config.trusted_keys().context("the trusted keys cannot be used")?;
        let agent_keys = config.updates.agent_keys.clone();
        let trust = Trust::open(keys, agent_keys, dir.join("seen.json"))
            .with_context(|| format!("cannot read {}", dir.join("seen.json").display()))?;
        let (requests, receiver) = mpsc::channel(REQUESTS);
        let link = watch::Sender::new(None);
        let http = config.content_address().map(|address| HttpSource {
            address,
            is_controllers: config.updates.from == "http",
            tls: crate::link::tls(config),
        });
        let concerns = watch::Sender::new(Vec::new());
        let concerning = concerns.subscribe();
        let means = Means {
            host,
            delivery: Delivery::new(link.subscribe(), config.updates.rate.as_u64(), http),
            trust: Mutex::new(trust),
        };
        let keeper = Keeper {
            requests: receiver,
            means: Arc::new(means),
            plugins: read_all(&dir)
                .with_context(|| format!("cannot read the directory {}", dir.display()))?,
            dir,
            work: JoinSet::new(),
            arrivals: mpsc::channel(ARRIVALS),
            stated: None,
            concerns,
            own: None,
            patience: config.updates.patience,
        };
        Ok((Self { requests, link, concerns: concerning }, keeper))
    }
}

/// Reads the records of all plugins; one that is damaged is put aside, and its
/// plugin is as if nothing had been pushed.
fn read_all(dir: &Path) -> io::Result<BTreeMap<String, Plugin>> {
    let mut plugins = BTreeMap::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let (Ok(name), true) = (entry.file_name().into_string(), entry.path().is_dir()) else {
            continue;
        };
        let files = files_of(dir, &name);
        let record = match RECORD.read::<Record>(&files.record())? {
            Found::Whole(record) => record,
            Found::Nothing => continue,
            Found::PutAside(aside) => {
                tracing::error!(
                    plugin = name,
                    aside = %aside.path.display(),
                    reason = aside.reason,
                    "the record of a pushed plugin cannot be read and is put aside: push it again"
                );
                continue;
            }
        };
        plugins.insert(name, Plugin::new(files, record));
    }
    Ok(plugins)
}

fn files_of(dir: &Path, name: &str) -> Files {
    if name == OWN_PROGRAM { Files::of_program(dir, name) } else { Files::new(dir, name) }
}

impl Plugin {
    fn new(files: Files, record: Record) -> Self {
        Self {
            files,
            record,
            updating: Strand::default(),
            serving: Strand::default(),
            staged: None,
            fetched: 0,
            followers: Vec::new(),
            trouble: None,
            asked: None,
        }
    }

    fn strand(&mut self, strand: StrandName) -> &mut Strand {
        match strand {
            StrandName::Updating => &mut self.updating,
            StrandName::Serving => &mut self.serving,
        }
    }

    /// Whether the version is the one that is about to serve for the first time.
    fn is_swapping(&self, hash: Option<ContentHash>) -> bool {
        let update = self.record.update.as_ref();
        update.is_some_and(|update| {
            update.stage == Stage::Swapping && Some(update.target.hash) == hash
        })
    }

    /// The highest version that did well here.
    fn newest(&self) -> Option<semver::Version> {
        let well = |one: &&Version| one.has_served && one.fault.is_none();
        self.record.versions.iter().filter(well).map(|one| one.version.clone()).max()
    }
}

impl Keeper {
    /// Lets another version of the agent's own program take its place.
    pub(crate) fn replacing(&mut self, program: OwnProgram) {
        self.own = Some(Own { program, patience: self.patience });
    }

    /// Takes up what was under way, and keeps everything until `stop` is cancelled.
    /// `restored` is cancelled when every active version serves, or cannot.
    pub(crate) async fn run(
        mut self,
        node: Node,
        restored: CancellationToken,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let names: Vec<_> = self.plugins.keys().cloned().collect();
        for name in names {
            match name.as_str() {
                OWN_PROGRAM => self.take_up_own(&node).await,
                name => self.happened(&node, name, Event::Started).await,
            }
        }
        let mut revision = node.host().revision();
        let (tell, mut statements) = mpsc::channel(STATEMENTS);
        let mut hearing = JoinSet::new();
        hearing.spawn(news::hear(self.means.clone(), tell));
        loop {
            if self.find_concerns() {
                node.changed();
            }
            if self.plugins.values().all(|plugin| plugin.serving.work.is_none()) {
                restored.cancel();
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                Some(request) = self.requests.recv() => self.answer(&node, request).await,
                Some(ended) = self.work.join_next() => match ended {
                    Ok(ended) => self.take(&node, ended).await,
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => return Err(error).context("an update panicked"),
                },
                Some(arrival) = self.arrivals.1.recv() => self.arrived(&arrival),
                Some(statement) = statements.recv() => self.take_heard(&node, statement).await,
                Ok(()) = revision.changed() => self.look(),
            }
        }
    }

    async fn answer(&mut self, node: &Node, request: Request) {
        match request {
            Request::Update { name, request, reply } => {
                let hash = request.version.hash;
                let step = self.check(&name).and_then(|plugin| {
                    let step = ask(&plugin.record, *request, Timestamp::now())
                        .map_err(|error| refused(&error))?;
                    if step.record.update != plugin.record.update {
                        plugin.asked = Some(Instant::now());
                    }
                    Ok(step)
                });
                self.accept(node, &name, Some(hash), step, reply).await;
            }
            Request::Revert { name, wanted, reply } => {
                let Some(plugin) = self.plugins.get(&name) else {
                    let known = self.plugins.keys().map(String::as_str).collect();
                    let what = format!("no version of `{name}` was ever pushed here");
                    return drop(reply.send(Err(drover_plugin_host::unknown(&what, &name, known))));
                };
                let (record, wanted, now) = (&plugin.record, wanted.as_deref(), Timestamp::now());
                let step = match name.as_str() {
                    OWN_PROGRAM => go_back(record, wanted, WATCH_MS, now),
                    _ => revert(record, wanted, now),
                };
                match step {
                    Err(error) => drop(reply.send(Err(refused(&error)))),
                    Ok(step) => {
                        let update = step.record.update.as_ref().map(|update| update.target.hash);
                        let hash = update.or(step.record.active);
                        self.accept(node, &name, hash, Ok(step), reply).await;
                    }
                }
            }
            Request::List { reply } => drop(reply.send(Ok(self.list()))),
            Request::Trust { keys } => {
                let trust = &self.means.trust;
                trust.lock().unwrap_or_else(std::sync::PoisonError::into_inner).set_keys(keys);
            }
        }
    }

    /// The plugin of that name, which need not be known yet.
    fn check(&mut self, name: &str) -> Result<&mut Plugin, JobError> {
        let invalid = |reason: String| JobError::new(ErrorCode::InvalidArguments, reason);
        match name {
            OWN_PROGRAM => self.check_own()?,
            _ => self.means.host.check_name(name).map_err(|error| invalid(error.to_string()))?,
        }
        let trust = self.means.trust.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if !trust.has_keys() {
            let reason = "no key is trusted here, so nothing can be pushed: add \
                          `[trusted_keys.NAME]` with `public_key = \"RW…\"` to the agent's \
                          configuration";
            return Err(JobError::new(ErrorCode::Denied, reason));
        }
        drop(trust);
        let count = self.plugins.len();
        match self.plugins.entry(name.to_owned()) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(_) if count >= PLUGINS => Err(invalid(format!(
                "{count} plugins were pushed to this node, and it takes no more"
            ))),
            Entry::Vacant(new) => {
                Ok(new.insert(Plugin::new(files_of(&self.dir, name), Record::default())))
            }
        }
    }

    async fn accept(
        &mut self,
        node: &Node,
        name: &str,
        hash: Option<ContentHash>,
        step: Result<Step, JobError>,
        reply: Reply<Following>,
    ) {
        let step = match step {
            Ok(step) => step,
            Err(error) => return drop(reply.send(Err(error))),
        };
        if let Err(error) = self.perform(node, name, step).await {
            let message = format!("an update of `{name}` cannot be written down: {error}");
            return drop(reply.send(Err(JobError::new(ErrorCode::Failed, message))));
        }
        let Some(plugin) = self.plugins.get_mut(name) else { return };
        let (steps, told) = mpsc::channel(STEPS);
        let (end, ended) = oneshot::channel();
        match (&plugin.record.update, hash) {
            (Some(_), Some(hash)) => plugin.followers.push(Follower { hash, steps, end }),
            // It serves already, or is the installed program.
            (_, hash) => drop(end.send(active(&plugin.record, hash))),
        }
        plugin.tell_step();
        let _ = reply.send(Ok(Following { steps: told, end: ended }));
    }

    fn list(&self) -> Vec<PluginVersions> {
        let describe = |(name, plugin): (&String, &Plugin)| {
            plugin.record.describe(name, plugin.fetched, plugin.trouble.clone())
        };
        self.plugins.iter().map(describe).collect()
    }

    /// Takes what work came to, unless it is no longer wanted.
    async fn take(&mut self, node: &Node, ended: Ended) {
        let Ended { name, strand, turn, hash, done: Done { event, staged } } = ended;
        let Some(plugin) = self.plugins.get_mut(&name) else { return };
        let own = plugin.strand(strand);
        // What serves, serves, whoever wanted it.
        if own.turn != turn && !matches!(event, Event::Served(..)) {
            return;
        }
        if own.turn == turn {
            own.work = None;
        }
        if staged.is_some() {
            plugin.staged = staged;
        }
        match &event {
            Event::Served(..) => plugin.trouble = None,
            // The update has nothing to do with what stands in the active version's way.
            Event::Held(reason) if strand == StrandName::Serving && !plugin.is_swapping(hash) => {
                return plugin.set_trouble(&self.means.host, &name, reason);
            }
            Event::Unservable(_, reason) => plugin.set_trouble(&self.means.host, &name, reason),
            _ => {}
        }
        self.happened(node, &name, event).await;
    }

    /// Takes an event. If what follows cannot be written down, the event comes again.
    async fn happened(&mut self, node: &Node, name: &str, event: Event) {
        let Some(plugin) = self.plugins.get(name) else { return };
        let step = step(&plugin.record, event.clone(), Timestamp::now());
        if let Err(error) = self.perform(node, name, step).await {
            tracing::error!(plugin = name, %error, "an update cannot be written down, and waits");
            self.spawn(name, StrandName::Updating, None, async move {
                tokio::time::sleep(PATIENCE).await;
                event.into()
            });
        }
    }

    /// Has the record on disk, and then begins what follows.
    async fn perform(&mut self, node: &Node, name: &str, step: Step) -> io::Result<()> {
        let Some(plugin) = self.plugins.get_mut(name) else { return Ok(()) };
        let Step { record, effects, ended } = step;
        if record != plugin.record {
            write(&plugin.files, &record).await?;
            let before = std::mem::replace(&mut plugin.record, record);
            plugin.tell(&self.means.host, name, &before, ended.as_ref());
        }
        for effect in effects {
            self.begin(node, name, effect).await;
        }
        Ok(())
    }

    async fn begin(&mut self, node: &Node, name: &str, effect: Effect) {
        let Some(plugin) = self.plugins.get_mut(name) else { return };
        let (means, files) = (self.means.clone(), plugin.files.clone());
        let subject = |version| Subject { means, name: name.to_owned(), files, version };
        let newest = if name == OWN_PROGRAM { plugin.newest_own() } else { plugin.newest() };
        match effect {
            Effect::Fetch(version) => {
                plugin.fetched = 0;
                let (arrivals, to) = (self.arrivals.0.clone(), name.to_owned());
                let told = move |fetched| {
                    let _ = arrivals.try_send(Arrival { name: to.clone(), fetched });
                };
                self.update(name, work::fetch(subject(version), newest, told));
            }
            Effect::Verify(version) => {
                self.update(name, work::verify(subject(version), newest));
            }
            Effect::Sweep => sweep(name, plugin).await,
            effect if name == OWN_PROGRAM => self.begin_own(node, effect),
            Effect::Prepare(version) => self.update(name, work::prepare(subject(version))),
            Effect::Test(version) => {
                let staged = plugin.staged.clone();
                self.update(name, work::test(subject(version), staged));
            }
            Effect::Watch(version, before, time) => {
                self.update(name, work::watch(subject(version), before, time));
            }
            Effect::Serve(version) => {
                let (staged, hash) = (plugin.staged.take(), Some(version.hash));
                let work = work::serve(subject(version), staged);
                self.spawn(name, StrandName::Serving, hash, work);
            }
            Effect::Withdraw => {
                if let Some(work) = plugin.serving.work.take() {
                    work.abort();
                }
                self.means.host.withdraw(name);
            }
        }
    }

    /// Begins the next step of an update.
    fn update(&mut self, name: &str, work: impl Future<Output = Done> + Send + 'static) {
        self.spawn(name, StrandName::Updating, None, work);
    }

    fn spawn(
        &mut self,
        name: &str,
        strand: StrandName,
        hash: Option<ContentHash>,
        work: impl Future<Output = Done> + Send + 'static,
    ) {
        let Some(plugin) = self.plugins.get_mut(name) else { return };
        let own = plugin.strand(strand);
        if let Some(work) = own.work.take() {
            work.abort();
        }
        own.turn += 1;
        let (name, turn) = (name.to_owned(), own.turn);
        let work = async move { Ended { name, strand, turn, hash, done: work.await } };
        own.work = Some(self.work.spawn(work));
    }

    fn arrived(&mut self, arrival: &Arrival) {
        if let Some(plugin) = self.plugins.get_mut(&arrival.name) {
            plugin.fetched = arrival.fetched;
            plugin.tell_step();
        }
    }

    /// Looks for what waits, or should serve and does not, since something changed
    /// among the plugins or the grants.
    fn look(&mut self) {
        let host = self.means.host.clone();
        let waits = |(name, plugin): (&String, &Plugin)| {
            if name == OWN_PROGRAM {
                return None;
            }
            let is_held = plugin.updating.work.is_none()
                && matches!(
                    plugin.record.update.as_ref().map(|update| &update.stage),
                    Some(Stage::Held { .. })
                );
            let serves = |hash: ContentHash| {
                host.pushed(name).is_some_and(|(serving, _)| serving == hash.to_string())
            };
            let is_lost = plugin.serving.work.is_none()
                && plugin.record.active.is_some_and(|hash| !serves(hash));
            (is_held || is_lost).then(|| (name.clone(), is_held, plugin.trouble.is_some()))
        };
        let waiting: Vec<_> = self.plugins.iter().filter_map(waits).collect();
        for (name, is_held, has_trouble) in waiting {
            let strand = if is_held { StrandName::Updating } else { StrandName::Serving };
            let patience = if is_held || has_trouble { PATIENCE } else { Duration::ZERO };
            self.spawn(&name, strand, None, async move {
                tokio::time::sleep(patience).await;
                Event::Changed.into()
            });
        }
    }
}

/// Deletes what the record does not want.
async fn sweep(name: &str, plugin: &Plugin) {
    let (files, record) = (plugin.files.clone(), plugin.record.clone());
    let swept = spawn_blocking(move || files.sweep(record.wanted())).await;
    if let Ok(Err(error)) = swept {
        // They are deleted after the next update.
        tracing::warn!(plugin = name, %error, "old versions cannot be deleted");
    }
}

async fn write(files: &Files, record: &Record) -> io::Result<()> {
    let (files, record) = (files.clone(), record.clone());
    let written = spawn_blocking(move || {
        files.make().map_err(io::Error::other)?;
        RECORD.replace(&files.record(), &record)
    });
    written.await.map_err(io::Error::other)?
}

/// The end of an update to what serves already; without a hash that is the installed
/// program.
fn active(record: &Record, hash: Option<ContentHash>) -> UpdateEnd {
    let version = match hash {
        Some(hash) => record.kept(&hash).map(|one| &one.version),
        None => record.program.as_ref().map(|program| &program.version),
    };
    UpdateEnd {
        version: version.map(ToString::to_string).unwrap_or_default(),
        hash: hash.map(|hash| hash.to_string()).unwrap_or_default(),
        outcome: UpdateOutcome::Active,
        at: drover_api::UpdateStep::Watching,
        reason: None,
        back_to: None,
        time: Timestamp::now(),
    }
}

fn refused(error: &AskError) -> JobError {
    let code = match error {
        AskError::FellBackBefore { .. } | AskError::NothingBefore => ErrorCode::Failed,
        AskError::NotKept { .. } => ErrorCode::InvalidArguments,
    };
    JobError::new(code, error.to_string())
}
