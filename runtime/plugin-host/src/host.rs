//! The host: plugins that are loaded, and the parts that they run with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::{Duration, SystemTime};
use std::{fs, io};

use drover_api::{ErrorCode, JobError, Operation, Plugin, RefusedPlugin};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime::Engine;

use crate::cache::{Cache, CacheError};
use crate::compiler::{Compiler, CompilerCommand};
use crate::component::is_offered;
use crate::engine::DESCRIBING_INSTANCES;
use crate::epoch::Ticker;
use crate::job::{Job, Outcome};
use crate::names::unknown;
use crate::pace::Pace;
use crate::plugin::{Code, Interfaces, Loaded, Refusal, name_of};
use crate::queue::Queue;
use crate::records::cut;
use crate::run::{Run, check_kind};
use crate::system::System;
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

/// What can be told of a component file, whether it can be loaded or not.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Inspection {
    /// The name that the plugin has, or would have.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal.
    pub hash: String,
    /// The length of the file.
    pub size_bytes: u64,
    /// The interfaces that it imports.
    pub imports: Vec<String>,
    /// Those of them that this host does not offer.
    pub not_offered: Vec<String>,
    /// The interfaces that it exports.
    pub exports: Vec<String>,
    /// What it offers to operators; empty if it cannot be loaded.
    pub operations: Vec<Operation>,
    /// Why it cannot be loaded; none if it can.
    pub refusal: Option<String>,
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
    pub(crate) engine: Engine,
    pub(crate) limits: Limits,
    pub(crate) reserved: Vec<String>,
    pub(crate) cache: Cache,
    pub(crate) compiler: Compiler,
    pub(crate) ticker: Ticker,
    /// Turns of plugins that describe themselves: their share of the pool.
    pub(crate) describing: Semaphore,
    pub(crate) stopping: CancellationToken,
    pub(crate) system: Arc<System>,
}

#[derive(Default)]
struct Registry {
    plugins: BTreeMap<Arc<str>, Arc<Loaded>>,
    /// By the name of the file.
    refused: BTreeMap<String, RefusedPlugin>,
}

impl Host {
    /// Starts a host without plugins.
    ///
    /// # Errors
    ///
    /// If the cache directory cannot be written to, or the system has no
    /// threads or no address space left.
    pub fn start(config: HostConfig) -> Result<Self, HostError> {
        let HostConfig { cache_dir, compiler, limits, reserved } = config;
        let processors = available_parallelism().map_or(1, usize::from);
        let engine = engine::for_running(&limits)
            .map_err(|error| HostError::Engine(format!("{error:#}")))?;
        let cache = Cache::open(cache_dir, engine::fingerprint(&engine))?;
        cache.prune(SystemTime::now());
        let ticker = Ticker::start(engine.clone()).map_err(HostError::Threads)?;
        let threads = Threads::start(processors).map_err(HostError::Threads)?;
        let queue = Queue::new(limits.running_jobs, limits.waiting_jobs);
        let shared = Shared {
            engine,
            cache,
            compiler: Compiler::new(compiler, limits.compile_timeout, processors),
            ticker,
            describing: Semaphore::new(DESCRIBING_INSTANCES as usize),
            stopping: threads.stopping().clone(),
            system: Arc::default(),
            limits,
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
        let paths = list(directory)
            .map_err(|source| LoadError::Directory { path: directory.to_owned(), source })?;
        let shared = self.0.shared.clone();
        let loads = async move {
            let mut loads = JoinSet::new();
            for path in paths {
                loads.spawn(load(shared.clone(), path));
            }
            loads.join_all().await
        };
        for (path, result) in self.on_threads(directory, loads).await? {
            match result {
                Ok(loaded) => self.add(&path, loaded),
                Err(refusal) => self.refuse(&path, &refusal),
            }
        }
        Ok(())
    }

    /// Loads one plugin, named like its file without `.wasm`. It takes the
    /// place of a loaded one of that name; jobs under way keep the old one.
    ///
    /// # Errors
    ///
    /// If the file is no plugin that this host can run, or it is shutting down.
    pub async fn load_file(&self, path: &Path) -> Result<Plugin, LoadError> {
        let work = load(self.0.shared.clone(), path.to_owned());
        let (path, result) = self.on_threads(path, work).await?;
        let loaded = result.map_err(|source| LoadError::Refused { path: path.clone(), source })?;
        let description = loaded.description.clone();
        self.add(&path, loaded);
        Ok(description)
    }

    /// Looks at a component file without loading it. It is compiled for that,
    /// and describes itself if it can be loaded.
    ///
    /// # Errors
    ///
    /// If the file is no component, or the host is shutting down.
    pub async fn inspect(&self, path: &Path) -> Result<Inspection, LoadError> {
        let work = inspect(self.0.shared.clone(), path.to_owned());
        let result = self.on_threads(path, work).await?;
        result.map_err(|source| LoadError::Refused { path: path.to_owned(), source })
    }

    /// The loaded plugins, by name.
    #[must_use]
    pub fn plugins(&self) -> Vec<Plugin> {
        self.registry().plugins.values().map(|loaded| loaded.description.clone()).collect()
    }

    /// The files of loaded directories that were refused, by name.
    #[must_use]
    pub fn refused(&self) -> Vec<RefusedPlugin> {
        self.registry().refused.values().cloned().collect()
    }

    /// Runs one operation and waits for its end. Whatever goes wrong is in the
    /// outcome. Dropping the returned future ends the job at once.
    pub async fn run(&self, job: Job) -> Outcome {
        let timeout = self.0.shared.limits.deadline_of(job.timeout);
        let deadline = Instant::now() + timeout;
        let plugin = match self.find(&job) {
            Ok(plugin) => plugin,
            Err(error) => return Outcome::refused(error),
        };
        let Some(place) = self.0.queue.enter() else { return Outcome::refused(self.busy()) };
        let shared = self.0.shared.clone();
        let start = plugin.pace(&job.operation).map_or(Start::Here, Pace::start);
        let run = Run { shared, plugin, job, place, deadline, timeout };
        match self.0.threads.run(run.perform(), start).await {
            Some(outcome) => outcome,
            None => Outcome::refused(self.gone()),
        }
    }

    /// Refuses further work and ends what runs, within a few seconds. The jobs
    /// end as [`ErrorCode::ShuttingDown`].
    pub async fn shutdown(&self) {
        self.0.threads.stop(SHUTDOWN_GRACE).await;
    }

    fn find(&self, job: &Job) -> Result<Arc<Loaded>, JobError> {
        let registry = self.registry();
        let Some(plugin) = registry.plugins.get(job.plugin.as_str()) else {
            let what = format!("there is no plugin `{}`", cut(&job.plugin, 128));
            let own = self.0.shared.reserved.iter().map(String::as_str);
            let names = registry.plugins.keys().map(|name| &**name).chain(own).collect();
            return Err(unknown(&what, &job.plugin, names));
        };
        check_kind(plugin, &job.operation)?;
        Ok(plugin.clone())
    }

    fn busy(&self) -> JobError {
        let Limits { running_jobs, waiting_jobs, .. } = self.0.shared.limits;
        let message = format!(
            "{running_jobs} jobs are running and {waiting_jobs} are waiting, which is all the node takes; try again later"
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

    fn add(&self, path: &Path, loaded: Loaded) {
        let Plugin { hash, operations, .. } = &loaded.description;
        tracing::info!(
            plugin = &*loaded.name,
            operations = operations.len(),
            hash = cut(hash, 12),
            "plugin loaded"
        );
        let mut registry = self.registry();
        registry.refused.remove(&file_name(path));
        registry.plugins.insert(loaded.name.clone(), Arc::new(loaded));
    }

    fn refuse(&self, path: &Path, refusal: &Refusal) {
        let (file, reason) = (file_name(path), chain(refusal));
        tracing::warn!(file, reason, "plugin refused");
        self.registry().refused.insert(file.clone(), RefusedPlugin { file, reason });
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn load(shared: Arc<Shared>, path: PathBuf) -> (PathBuf, Result<Loaded, Refusal>) {
    let result = async {
        let name = name_of(&path, &shared.reserved)?;
        Code::get(&shared, &path).await?.load(&shared, name).await
    }
    .await;
    (path, result)
}

async fn inspect(shared: Arc<Shared>, path: PathBuf) -> Result<Inspection, Refusal> {
    let code = Code::get(&shared, &path).await?;
    let Interfaces { imports, exports } = code.interfaces();
    let (hash, size_bytes) = (code.hash.to_string(), code.size);
    let loaded = async { code.load(&shared, name_of(&path, &shared.reserved)?).await }.await;
    let (operations, refusal) = match loaded {
        Ok(loaded) => (loaded.description.operations, None),
        Err(refusal) => (Vec::new(), Some(chain(&refusal))),
    };
    Ok(Inspection {
        name: path.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        hash,
        size_bytes,
        not_offered: imports.iter().filter(|import| !is_offered(import)).cloned().collect(),
        imports,
        exports,
        operations,
        refusal,
    })
}

/// The `*.wasm` of a directory.
fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?.map(|entry| Ok(entry?.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "wasm"));
    Ok(paths)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let sources = std::iter::successors(error.source(), |error| error.source());
    sources.fold(error.to_string(), |text, source| format!("{text}: {source}"))
}
