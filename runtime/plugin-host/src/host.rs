//! The host: plugins that are loaded, and the parts that they run with.

mod settings;
mod view;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, SystemTime};

use drover_api::{ErrorCode, JobError, Level, OperationKind, Plugin};
use drover_grants::Grants;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use crate::account::Account;
use crate::cache::{Cache, CacheError};
use crate::compiler::{Compiler, CompilerCommand, Haste};
use crate::directory::{self, Pins};
use crate::engine::{DESCRIBING_INSTANCES, Engines, PARSING_INSTANCES};
use crate::epoch::Ticker;
use crate::inspect::{self, Inspection};
use crate::job::{Job, Outcome};
use crate::keep::Keeps;
use crate::names::unknown;
use crate::network::Network;
use crate::notice::{News, Notice};
use crate::pace::Pace;
use crate::plugin::{Code, Loaded, Refusal, name_as};
use crate::queue::{Entrance, Full, Places, Queue};
use crate::records::cut;
use crate::registry::{DirectoryView, Label, Origin, Registry};
use crate::run::{Run, TimeLimit, check_kind};
use crate::surroundings::Surroundings;
use crate::system::System;
use crate::terms::Bounds;
use crate::threads::{Start, Threads};
use crate::{Limits, engine};

/// Time that running jobs have to end at a shutdown. They need none of it
/// unless the machine is overloaded.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// What a host is made with.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Where compiled code is kept. It is made if it is missing; a key is put
    /// beside it, in `<cache_dir>.key`.
    pub cache_dir: PathBuf,
    /// The program that compiles.
    pub compiler: CompilerCommand,
    /// What plugins may use up.
    pub limits: Limits,
    /// Names that no plugin may have: whoever runs the host answers to them.
    pub reserved: Vec<String>,
    /// What plugins may touch, at first; see [`Host::set_grants`].
    pub grants: Grants,
    /// Where plugins keep what they keep. It is made when the first does.
    pub state_dir: PathBuf,
    /// The node, and who does what the host does not.
    pub surroundings: Surroundings,
}

/// Why a host cannot start.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Compiled code cannot be kept.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// WebAssembly cannot be run on this machine.
    #[error("cannot run WebAssembly on this machine: {0}")]
    Engine(String),
    /// There are no threads to be had.
    #[error("cannot start the threads that plugins run on")]
    Threads(#[source] io::Error),
}

/// Why a plugin, or a directory of them, was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The directory cannot be listed.
    #[error("cannot read the plugin directory {path}")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no plugin of this host's.
    #[error("cannot load plugin {path}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        source: Refusal,
    },
    /// The host is shutting down.
    #[error("cannot load {path}: the host is shutting down")]
    ShuttingDown {
        /// What was to be loaded.
        path: PathBuf,
    },
    /// The host has a mistake in it.
    #[error(
        "cannot load {path}: the plugin host failed; its log says more, and its makers want to know"
    )]
    Internal {
        /// What was to be loaded.
        path: PathBuf,
    },
}

/// Loads plugins and runs their operations. Clones are the same host; when the
/// last one is dropped, everything ends.
#[derive(Clone)]
pub struct Host(Arc<Inner>);

struct Inner {
    threads: Threads,
    shared: Arc<Shared>,
    queue: Queue,
    registry: Mutex<Registry>,
}

/// What tasks on the host's threads work with.
pub(crate) struct Shared {
    pub(crate) engines: Arc<Engines>,
    limits: watch::Sender<Arc<Limits>>,
    /// The versions that are wanted, once somebody has said so while the directory
    /// was kept.
    pins: watch::Sender<Pins>,
    pub(crate) reserved: Vec<String>,
    pub(crate) cache: Cache,
    pub(crate) compiler: Compiler,
    pub(crate) ticker: Ticker,
    /// Turns of plugins that describe themselves: their share of the pool.
    pub(crate) describing: Semaphore,
    /// The room for services.
    pub(crate) services: Arc<Semaphore>,
    /// Places of parsers of log lines, likewise.
    pub(crate) parsing: Arc<Semaphore>,
    pub(crate) stopping: CancellationToken,
    pub(crate) system: Arc<System>,
    pub(crate) grants: watch::Sender<Arc<Grants>>,
    pub(crate) keeps: Arc<Keeps>,
    pub(crate) surroundings: Arc<Surroundings>,
    pub(crate) network: Arc<Network>,
    pub(crate) news: News,
    /// By plugin; one for every name that was ever loaded.
    accounts: Mutex<HashMap<Arc<str>, Arc<Account>>>,
}

impl Shared {
    /// The account of the plugin `name`.
    pub(crate) fn account(&self, name: &Arc<str>) -> Arc<Account> {
        let mut accounts = self.accounts();
        let new = || Arc::new(Account::new(name.clone(), self.limits().of(name)));
        accounts.entry(name.clone()).or_insert_with(new).clone()
    }

    /// What plugins may use up at present.
    pub(crate) fn limits(&self) -> Arc<Limits> {
        Arc::clone(&self.limits.borrow())
    }

    fn accounts(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Account>>> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Host {
    /// Starts a host without plugins.
    ///
    /// # Errors
    ///
    /// If the cache directory cannot be written to, or the system has no
    /// threads or no address space left.
    pub fn start(config: HostConfig) -> Result<Self, HostError> {
        let HostConfig { cache_dir, compiler, limits, reserved, grants, state_dir, surroundings } =
            config;
        let processors = available_parallelism().map_or(1, usize::from);
        let no_engine = |error| HostError::Engine(format!("{error:#}"));
        let engines = Arc::new(Engines::start(&limits).map_err(no_engine)?);
        let cache = Cache::open(cache_dir, engine::fingerprint().map_err(no_engine)?)?;
        cache.prune(SystemTime::now());
        let ticker = Ticker::start(engines.clone()).map_err(HostError::Threads)?;
        let threads = Threads::start(processors).map_err(HostError::Threads)?;
        let queue = Queue::new(limits.running_jobs, limits.waiting_jobs);
        let shared = Shared {
            engines,
            cache,
            compiler: Compiler::new(compiler, limits.compile_timeout, processors),
            ticker,
            describing: Semaphore::new(DESCRIBING_INSTANCES as usize),
            services: Arc::new(Semaphore::new(limits.services as usize)),
            parsing: Arc::new(Semaphore::new(PARSING_INSTANCES as usize)),
            stopping: threads.stopping().clone(),
            system: Arc::default(),
            grants: watch::Sender::new(Arc::new(grants)),
            keeps: Arc::new(Keeps::new(state_dir)),
            surroundings: Arc::new(surroundings),
            network: Arc::default(),
            news: News::default(),
            accounts: Mutex::default(),
            limits: watch::Sender::new(Arc::new(limits)),
            pins: watch::Sender::default(),
            reserved,
        };
        let registry = Mutex::default();
        Ok(Self(Arc::new(Inner { threads, shared: Arc::new(shared), queue, registry })))
    }

    /// Loads every `*.wasm` of a directory, some at a time.
    ///
    /// A file that is refused does not stop the others; see [`Host::refused`].
    ///
    /// # Errors
    ///
    /// If the directory cannot be listed, or the host is shutting down.
    pub async fn load_directory(&self, directory: &Path) -> Result<(), LoadError> {
        directory::load(self, directory.to_owned()).await
    }

    /// Loads what is in a directory, and what will be: a file that is dropped,
    /// replaced or removed is noticed within a second, loaded in the background
    /// and swapped between two calls. A file that is refused leaves the one
    /// that serves; [`Host::statuses`] says why. Ends when `stop` is cancelled
    /// or the host shuts down.
    ///
    /// `loaded` is cancelled when all that was there at first either serves or
    /// is refused.
    pub async fn keep_directory(
        &self,
        directory: PathBuf,
        loaded: &CancellationToken,
        stop: &CancellationToken,
    ) {
        directory::keep(self, directory, loaded, stop).await;
    }

    /// Loads one plugin, named like its file without `.wasm`. It takes the
    /// place of a loaded one of that name; jobs under way keep the old one.
    ///
    /// # Errors
    ///
    /// If the file is no plugin that this host can run, or it is shutting down.
    pub async fn load_file(&self, path: &Path) -> Result<Plugin, LoadError> {
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let loaded = self.load_as(path, &name, Haste::High).await?;
        let loaded =
            loaded.map_err(|source| LoadError::Refused { path: path.to_owned(), source })?;
        let description = loaded.description.clone();
        let label = Label { file: file_name(path), version: None, origin: Origin::Directory };
        self.serve(Arc::new(loaded), label);
        Ok(description)
    }

    /// Looks at a component file without loading it. It is compiled for that,
    /// and describes itself if it can be loaded.
    ///
    /// # Errors
    ///
    /// If the file is no component, or the host is shutting down.
    pub async fn inspect(&self, path: &Path) -> Result<Inspection, LoadError> {
        let work = inspect::inspect(self.0.shared.clone(), path.to_owned());
        let result = self.on_threads(path, work).await?;
        result.map_err(|source| LoadError::Refused { path: path.to_owned(), source })
    }

    /// Runs one operation and waits for its end. Whatever goes wrong is in the
    /// outcome. Dropping the returned future ends the job at once.
    pub async fn run(&self, job: Job) -> Outcome {
        let plugin = match self.find(&job.plugin, &job.operation, OperationKind::Task) {
            Ok(plugin) => plugin,
            Err(error) => return Outcome::refused(error),
        };
        if let Err(error) = plugin.account.admit() {
            return Outcome::refused(error);
        }
        self.run_on(plugin, job).await
    }

    /// Runs a job on this version of its plugin, which has such a task.
    pub(crate) async fn run_on(&self, plugin: Arc<Loaded>, job: Job) -> Outcome {
        let account = &*plugin.account;
        let allowance = match self.allowance(&plugin) {
            Ok(allowance) => allowance,
            Err(error) => return Outcome::refused(error),
        };
        let bounds = match Bounds::lowered(account.terms(), &job.limits) {
            Ok(bounds) => bounds,
            Err(reason) => {
                let message = format!("`{}` {reason}", job.subject());
                return Outcome::refused(JobError::new(ErrorCode::InvalidCommand, message));
            }
        };
        let limit = Some(TimeLimit::new(bounds.limits().deadline_of(job.timeout)));
        let places = match Places::enter(bounds.queue(), &self.0.queue) {
            Ok(places) => places,
            Err(full) => return Outcome::refused(self.busy(&plugin.name, bounds.limits(), full)),
        };
        let shared = self.0.shared.clone();
        let start = plugin.pace(&job.operation).map_or(Start::Here, Pace::start);
        let (entrance, feed, memory) = (Entrance::Line(places), None, Arc::default());
        let run = Run { shared, plugin, job, allowance, bounds, entrance, limit, feed, memory };
        self.perform(run, start).await
    }

    /// Refuses further work and ends what runs, within a few seconds. The jobs
    /// end as [`ErrorCode::ShuttingDown`].
    pub async fn shutdown(&self) {
        self.0.threads.stop(SHUTDOWN_GRACE).await;
    }

    /// The plugin that serves, if it has the operation and that is of this kind.
    pub(crate) fn find(
        &self,
        plugin: &str,
        operation: &str,
        kind: OperationKind,
    ) -> Result<Arc<Loaded>, JobError> {
        let registry = self.registry();
        let Some(loaded) = registry.find(plugin) else {
            let what = format!("there is no plugin `{}`", cut(plugin, 128));
            let own = self.0.shared.reserved.iter().map(String::as_str);
            let names = registry.names().chain(own).collect();
            return Err(unknown(&what, plugin, names));
        };
        check_kind(loaded, operation, kind)?;
        Ok(loaded.clone())
    }

    /// The version of the plugin's file, if it is in a folder of versions.
    pub(crate) fn version(&self, plugin: &str) -> Option<String> {
        self.registry().version(plugin).map(str::to_owned)
    }

    /// Does what is asked for on the host's threads.
    pub(crate) async fn perform(&self, run: Run, start: Start) -> Outcome {
        match self.0.threads.run(run.perform(), start).await {
            Some(outcome) => outcome,
            None => Outcome::refused(self.gone()),
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// The plugin of that name.
    pub(crate) fn plugin(&self, name: &str) -> Result<Arc<Loaded>, JobError> {
        let registry = self.registry();
        registry.find(name).cloned().ok_or_else(|| {
            let what = format!("there is no plugin `{}`", cut(name, 128));
            unknown(&what, name, registry.names().collect())
        })
    }

    /// Whether this very version of a plugin serves.
    pub(crate) fn serves(&self, plugin: &Arc<Loaded>) -> bool {
        self.registry().find(&plugin.name).is_some_and(|serving| Arc::ptr_eq(serving, plugin))
    }

    /// Runs work on the host's threads; it may begin on the caller's if the
    /// pace says that it is short.
    pub(crate) async fn on_own_threads<T: Send + 'static>(
        &self,
        work: impl Future<Output = (T, ())> + Send + 'static,
        pace: Option<&Pace>,
    ) -> Result<T, JobError> {
        let start = pace.map_or(Start::Here, Pace::start);
        self.0.threads.run(work, start).await.ok_or_else(|| self.gone())
    }

    fn busy(&self, plugin: &str, own: &Limits, full: Full) -> JobError {
        let common = &self.0.shared.limits();
        let of = |limits: &Limits| (limits.running_jobs, limits.waiting_jobs);
        let ((running_jobs, waiting_jobs), of_plugin) = match full {
            // Where the plugin's own line is as long as the common one, it is no
            // other.
            Full::Own if of(own) != of(common) => (of(own), format!(" of `{plugin}`")),
            Full::Own | Full::Common => (of(common), String::new()),
        };
        let message = format!(
            "{running_jobs} jobs{of_plugin} are running and {waiting_jobs} are waiting, which is all the node takes; try again later"
        );
        JobError::new(ErrorCode::Busy, message)
    }

    /// Why work that was handed over is not done.
    fn gone(&self) -> JobError {
        match self.0.shared.stopping.is_cancelled() {
            true => JobError::new(ErrorCode::ShuttingDown, "the node is shutting down"),
            false => JobError::new(
                ErrorCode::Internal,
                "the plugin host failed; the node's log says more, and its makers want to know",
            ),
        }
    }

    async fn on_threads<T: Send + 'static>(
        &self,
        path: &Path,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, LoadError> {
        let stopping = self.0.shared.stopping.clone();
        let work = async move { (stopping.run_until_cancelled(work).await, ()) };
        match self.0.threads.run(work, Start::Here).await.flatten() {
            Some(output) => Ok(output),
            None if self.0.shared.stopping.is_cancelled() => {
                Err(LoadError::ShuttingDown { path: path.to_owned() })
            }
            None => Err(LoadError::Internal { path: path.to_owned() }),
        }
    }

    /// Loads a file as the plugin `name`, and does not have it serve yet.
    pub(crate) async fn load_as(
        &self,
        path: &Path,
        name: &str,
        haste: Haste,
    ) -> Result<Result<Loaded, Refusal>, LoadError> {
        let name = name_as(name, &self.0.shared.reserved);
        let work = load(self.0.shared.clone(), path.to_owned(), name, haste);
        self.on_threads(path, work).await
    }

    /// Has a loaded plugin serve from now on: between two calls, as each job
    /// keeps what it found when it began.
    pub(crate) fn serve(&self, loaded: Arc<Loaded>, label: Label) {
        self.serve_in(self.registry(), loaded, label);
    }

    /// The same, by whoever has looked into the registry before.
    pub(crate) fn serve_in(
        &self,
        mut registry: MutexGuard<'_, Registry>,
        loaded: Arc<Loaded>,
        label: Label,
    ) {
        let Plugin { name, hash, operations, formats } = &loaded.description;
        tracing::info!(
            plugin = name,
            operations = operations.len(),
            formats = formats.len(),
            hash = cut(hash, 12),
            "plugin loaded"
        );
        let new = format!("{} (sha256 {})", label.file, cut(hash, 12));
        let name = name.clone();
        loaded.account.serves(&loaded.description.hash);
        let old = registry.serve(loaded, label);
        drop(registry);
        if let Some(old) = old {
            let text = format!("plugin `{name}` now serves from {new}, before from {}", old.file);
            self.notify(Notice::new(Level::OPERATOR, &name, text));
        }
        self.changed();
    }

    /// Has a plugin serve no longer that comes from there; false if it did not.
    pub(crate) fn unload(&self, name: &str, origin: Origin) -> bool {
        let was_there = self.registry().unload(name, origin);
        if was_there {
            self.changed();
        }
        was_there
    }

    /// Notes that the version that serves now comes from another file.
    pub(crate) fn relabel(&self, name: &str, label: Label) {
        self.registry().relabel(name, label);
    }

    /// Shows what is known of the files that do not serve.
    pub(crate) fn show_directory(&self, view: DirectoryView) {
        if self.registry().show_directory(view) {
            self.changed();
        }
    }

    /// Tells whoever listens.
    pub(crate) fn notify(&self, notice: Notice) {
        self.0.shared.news.tell(notice);
    }

    fn changed(&self) {
        self.0.shared.news.changed();
    }

    pub(crate) fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn load(
    shared: Arc<Shared>,
    path: PathBuf,
    name: Result<Arc<str>, Refusal>,
    haste: Haste,
) -> Result<Loaded, Refusal> {
    let name = name?;
    Code::get(&shared, &path, haste).await?.load(&shared, name).await
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
