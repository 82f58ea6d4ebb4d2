//! Keeps what is loaded as the plugin directory says, while files come, change
//! and go.
//!
//! ```text
//!  inotify, slow rescan ──▶ listing ──▶ choice ──▶ slots ──actions──▶ loads
//!                        (what is there) (which file) (what to do)       │
//!                                                    ▲──────outcomes─────┘
//! ```
//!
//! [`choice`] and [`slots`] are pure and decide everything; the keeper here
//! looks, waits, loads and swaps. A version that is loaded takes the place of
//! the one that serves between two calls: jobs under way keep the one they
//! began with, which is dropped with the last of them.

mod choice;
mod listing;
mod slots;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use drover_api::{Level, NextVersion, RefusedPlugin, Timestamp};
use drover_grants::Grants;
use drover_watch::{Wakes, Watched, Watcher};
use tokio::sync::Semaphore;
use tokio::sync::watch::Receiver;
use tokio::task::{AbortHandle, JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::compiler::Haste;
use crate::engine::DESCRIBING_INSTANCES;
use crate::host::{Host, LoadError};
use crate::notice::Notice;
use crate::plugin::{Loaded, chain};
use crate::registry::{DirectoryView, Label, Origin};
use choice::{Choice, Choices};
use slots::{Action, LoadFailure, Slots, Verdict};

/// Time between two looks though nothing was heard: what heals a lost event,
/// and finds changes behind links and on file systems that tell nothing.
const RESCAN: Duration = Duration::from_secs(5);
/// The same where nothing can be heard.
const RESCAN_DEAF: Duration = Duration::from_millis(500);
/// The shortest time between two looks, which gathers what comes in a burst.
const PACE: Duration = Duration::from_millis(20);

/// Files that are loaded at the same time. Those of them that must be compiled
/// wait for a processor; the others mostly wait for plugins to describe
/// themselves, of which this many are let.
const LOADS: usize = DESCRIBING_INSTANCES as usize;

/// Versions by plugin: the name of the file without `.wasm`.
pub type Pins = BTreeMap<String, String>;

/// Loads what is in the directory now, once.
pub(crate) async fn load(host: &Host, directory: PathBuf) -> Result<(), LoadError> {
    let path = directory.clone();
    let mut keeper = Keeper::new(host.clone(), directory, None);
    loop {
        let found = keeper.look().await;
        found.map_err(|source| LoadError::Directory { path: path.clone(), source })?;
        keeper.publish();
        while !keeper.slots.is_settled() {
            let wake_at = keeper.wake_at();
            tokio::select! {
                Some(ended) = keeper.loads.join_next() => keeper.take(ended)?,
                () = sleep_until(wake_at) => break,
            }
            keeper.publish();
        }
        if keeper.slots.is_settled() {
            return Ok(());
        }
    }
}

/// Loads what is in the directory, and what will be, until `stop` is cancelled
/// or the host shuts down. `loaded` is cancelled when all that was there at
/// first either serves or is refused.
pub(crate) async fn keep(
    host: &Host,
    directory: PathBuf,
    loaded: &CancellationToken,
    stop: &CancellationToken,
) {
    let watcher = watcher();
    let mut keeper = Keeper::new(host.clone(), directory, watcher.clone());
    let mut grants = host.grants();
    let (mut limits, mut pins) = (host.watch_limits(), host.watch_pins());
    while !stop.is_cancelled() {
        pins.mark_unchanged();
        let found = keeper.look().await;
        keeper.tell_trouble(found.err());
        loop {
            keeper.publish();
            if keeper.slots.is_settled() {
                loaded.cancel();
            }
            let wake_at = keeper.wake_at();
            tokio::select! {
                () = stop.cancelled() => return,
                Some(ended) = keeper.loads.join_next() => if keeper.take(ended).is_err() {
                    return;
                },
                () = heard(watcher.as_deref()) => break,
                Ok(()) = grants.changed() => {
                    keeper.slots.try_again(keeper.start.elapsed());
                    break;
                }
                Ok(()) = limits.changed() => {
                    keeper.slots.try_again(keeper.start.elapsed());
                    break;
                }
                Ok(()) = pins.changed() => break,
                () = sleep_until(wake_at) => break,
            }
        }
        sleep(PACE).await;
    }
}

fn watcher() -> Option<Arc<Watcher>> {
    let told = |error| {
        let rescan_ms = RESCAN_DEAF.as_millis();
        tracing::warn!(%error, rescan_ms, "cannot watch the plugin directory, looking at it again and again; raise fs.inotify.max_user_instances");
    };
    Watcher::new(Wakes::OnEntries).map(Arc::new).map_err(told).ok()
}

/// A load that has ended: of what, with which grants, and how.
type Ended = (Choice, Receiver<Arc<Grants>>, Result<Result<Loaded, LoadFailure>, LoadError>);

struct Keeper {
    host: Host,
    directory: PathBuf,
    watcher: Option<Arc<Watcher>>,
    watched: Watched,
    is_deaf: bool,
    slots: Slots,
    passed_over: Vec<RefusedPlugin>,
    trouble: Option<String>,
    /// The beginning of the time that the slots count.
    start: Instant,
    looked_at: Instant,
    loads: JoinSet<Ended>,
    /// The load under way, by name.
    loading: HashMap<String, AbortHandle>,
    turns: Arc<Semaphore>,
}

impl Keeper {
    fn new(host: Host, directory: PathBuf, watcher: Option<Arc<Watcher>>) -> Self {
        let start = Instant::now();
        Self {
            is_deaf: watcher.is_none(),
            host,
            directory,
            watcher,
            watched: Watched::default(),
            slots: Slots::default(),
            passed_over: Vec::new(),
            trouble: None,
            start,
            looked_at: start,
            loads: JoinSet::new(),
            loading: HashMap::new(),
            turns: Arc::new(Semaphore::new(LOADS)),
        }
    }

    /// Looks at the directory and begins what is to be done. A directory that
    /// cannot be read changes nothing.
    async fn look(&mut self) -> std::io::Result<()> {
        self.looked_at = Instant::now();
        let (path, watcher) = (self.directory.clone(), self.watcher.clone());
        let scan = spawn_blocking(move || scan(&path, watcher.as_deref()));
        let (watched, listing) = scan.await.map_err(std::io::Error::other)?;
        let listing = listing?;
        self.watch(watched);
        let Choices { chosen, passed_over } = choice::choose(&listing, &self.host.pins());
        for refused in &passed_over {
            if !self.passed_over.contains(refused) {
                self.tell_refused(&refused.file, &refused.reason);
            }
        }
        self.passed_over = passed_over;
        for action in self.slots.look(self.start.elapsed(), &chosen) {
            self.act(action);
        }
        Ok(())
    }

    fn watch(&mut self, watched: Watched) {
        let Some(watcher) = &self.watcher else { return };
        watcher.watch_only(&watched, &self.watched);
        if let (Some(error), false) = (&watched.error, self.is_deaf) {
            tracing::warn!(%error, "cannot watch a part of the plugin directory, looking at it again and again; raise fs.inotify.max_user_watches");
        }
        self.is_deaf = watched.error.is_some();
        self.watched = watched;
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Load(choice) => {
                self.give_up(&choice.name);
                let name = choice.name.clone();
                let load =
                    load_one(self.host.clone(), self.directory.clone(), choice, self.turns.clone());
                self.loading.insert(name, self.loads.spawn(load));
            }
            Action::Refuse(choice, reason) => {
                self.give_up(&choice.name);
                self.tell_refused(&choice.path, &reason);
            }
            Action::GiveUp(name) => self.give_up(&name),
            Action::Unload(name) => {
                self.give_up(&name);
                if self.host.unload(&name, Origin::Directory) {
                    tracing::info!(plugin = name, "plugin removed");
                    let text = format!("plugin `{name}` serves no longer: its file was removed");
                    self.host.notify(Notice::new(Level::OPERATOR, &name, text));
                }
            }
        }
    }

    fn give_up(&mut self, name: &str) {
        if let Some(load) = self.loading.remove(name) {
            load.abort();
        }
    }

    /// Takes what became of a load.
    ///
    /// # Errors
    ///
    /// If the host is shutting down.
    fn take(&mut self, ended: Result<Ended, tokio::task::JoinError>) -> Result<(), LoadError> {
        // It was given up, or it panicked, which the host's threads have told.
        let Ok((choice, grants, outcome)) = ended else { return Ok(()) };
        let (loaded, outcome) = match outcome {
            Ok(Ok(loaded)) => {
                let hash = loaded.description.hash.clone();
                (Some(loaded), Ok(hash))
            }
            Ok(Err(mut failure)) => {
                // It may have been refused by grants that are no more.
                failure.may_pass |= grants.has_changed().unwrap_or(false);
                (None, Err(failure))
            }
            Err(error @ LoadError::ShuttingDown { .. }) => return Err(error),
            Err(error) => (None, Err(LoadFailure { reason: error.to_string(), may_pass: false })),
        };
        let label = Label {
            file: choice.path.clone(),
            version: choice.version.clone(),
            origin: Origin::Directory,
        };
        let reason = outcome.as_ref().err().map(|failure| failure.reason.clone());
        match (self.slots.ended(self.start.elapsed(), &choice, outcome), loaded, reason) {
            (Verdict::Serve, Some(loaded), _) => self.host.serve(Arc::new(loaded), label),
            (Verdict::Keep, ..) => self.host.relabel(&choice.name, label),
            (Verdict::Refused, _, Some(reason)) => self.tell_refused(&choice.path, &reason),
            _ => {}
        }
        Ok(())
    }

    fn tell_refused(&self, file: &str, reason: &str) {
        tracing::warn!(file, reason, "plugin refused");
        let text = format!("the plugin file {file} is refused: {reason}");
        self.host.notify(Notice::new(Level::WARNING, file, text));
    }

    fn tell_trouble(&mut self, error: Option<std::io::Error>) {
        let path = self.directory.display();
        let trouble =
            error.map(|error| format!("cannot read the plugin directory {path}: {error}"));
        if trouble == self.trouble {
            return;
        }
        match &trouble {
            Some(trouble) => {
                tracing::error!("{trouble}; what is loaded goes on serving");
                self.host.notify(Notice::new(Level::ERROR, "", trouble.clone()));
            }
            None => tracing::info!(directory = %path, "the plugin directory can be read again"),
        }
        self.trouble = trouble;
    }

    /// Shows what is known now to whoever asks.
    fn publish(&self) {
        let pending = self.slots.pending().map(|pending| {
            let wall = |at: Duration| {
                let wait = at.saturating_sub(self.start.elapsed());
                Timestamp::from(std::time::SystemTime::now() + wait)
            };
            let next = NextVersion {
                file: pending.choice.path.clone(),
                version: pending.choice.version.clone(),
                refusal: pending.reason.map(str::to_owned),
                retry_at: pending.retry_at.map(wall),
            };
            (pending.choice.name.clone(), next)
        });
        self.host.show_directory(DirectoryView {
            names: Some(self.slots.names().map(str::to_owned).collect()),
            pending: pending.collect(),
            passed_over: self.passed_over.clone(),
            trouble: self.trouble.clone(),
        });
    }

    /// When to look again though nothing is heard.
    fn wake_at(&self) -> Instant {
        let is_blind = self.is_deaf || self.trouble.is_some();
        let rescan = self.looked_at + if is_blind { RESCAN_DEAF } else { RESCAN };
        self.slots.wake_at().map_or(rescan, |at| rescan.min(self.start + at))
    }
}

/// Waits until something has changed, for ever if nothing can be heard.
async fn heard(watcher: Option<&Watcher>) {
    if let Some(watcher) = watcher
        && watcher.changed().await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}

/// Lists the directory, with each part of it watched before it is looked at.
fn scan(path: &Path, watcher: Option<&Watcher>) -> (Watched, std::io::Result<listing::Listing>) {
    let mut watched = Watched::default();
    let mut watch = |path: &Path| {
        if let Some(watcher) = watcher {
            watcher.watch(path, &mut watched);
        }
    };
    watch(path);
    let listing = listing::list(path, watch);
    (watched, listing)
}

async fn load_one(host: Host, directory: PathBuf, choice: Choice, turns: Arc<Semaphore>) -> Ended {
    // The semaphore is never closed, and loads are limited elsewhere as well.
    let _turn = turns.acquire().await;
    let grants = host.grants();
    let loaded = host.load_as(&directory.join(&choice.path), &choice.name, Haste::High).await;
    let in_words = |refusal: crate::plugin::Refusal| LoadFailure {
        reason: chain(&refusal),
        may_pass: refusal.may_pass(),
    };
    (choice, grants, loaded.map(|loaded| loaded.map_err(in_words)))
}
