//! The engine's state, and what may happen to it: no I/O and no clock. Every
//! change is given the time, and what is due is done by [`Model::advance`].

mod changes;
mod container;
mod defaults;
mod duration;
mod events;
mod exec;
mod files;
mod filters;
mod health;
mod image;
mod lifecycle;
mod limits;
mod listing;
mod network;
mod reference;
mod registry;
mod removal;
mod volume;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use data_encoding::HEXLOWER;
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

pub(crate) use changes::check_path;
use container::State;
pub(crate) use container::{AfterStop, Container, LogEntry};
pub(crate) use defaults::merge;
pub(crate) use events::EventLog;
use events::{Event, Kind};
use exec::Exec;
pub(crate) use files::{Files, Node, absolute};
pub(crate) use filters::Filters;
pub(crate) use image::{Build, ENGINE_VERSION, Image, Removed};
pub(crate) use lifecycle::signal_number;
pub(crate) use listing::{FILTERS, Listing};
use network::Network;
pub(crate) use reference::Reference;
pub(crate) use registry::{Pulled, Registry};
pub(crate) use removal::Removal;
use volume::Volume;

use crate::engine::answer::Refusal;

/// What an operation that can be refused returns.
pub(crate) type Outcome<T> = Result<T, Refusal>;

/// The whole engine.
pub(crate) struct Model {
    /// By id; [`Container::number`] tells their order.
    pub(crate) containers: BTreeMap<String, Container>,
    pub(crate) images: BTreeMap<String, Image>,
    pub(crate) volumes: BTreeMap<String, Volume>,
    pub(crate) networks: BTreeMap<String, Network>,
    pub(crate) execs: BTreeMap<String, Exec>,
    pub(crate) events: EventLog,
    pub(crate) registry: Registry,
    /// Where the engine says that it keeps its data; nothing is there.
    pub(crate) root: PathBuf,
    /// Makes the ids of two engines differ.
    seed: String,
    /// The last codes of containers that are gone, for those who wait for them.
    pub(crate) gone: VecDeque<(String, i32)>,
    /// Counts what was made, for ids, names, process ids and addresses.
    made: u64,
}

impl Model {
    /// An engine without containers and images, with the three networks that
    /// every engine has.
    pub(crate) fn new(seed: &str, root: PathBuf, now: Timestamp) -> Self {
        let mut model = Self {
            containers: BTreeMap::new(),
            images: BTreeMap::new(),
            volumes: BTreeMap::new(),
            networks: BTreeMap::new(),
            execs: BTreeMap::new(),
            events: EventLog::default(),
            registry: Registry::default(),
            root,
            seed: seed.to_owned(),
            gone: VecDeque::new(),
            made: 0,
        };
        model.make_predefined_networks(now);
        model
    }

    /// Does what is due: programs run, stops become kills, restarts happen.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        self.advance_execs(now);
        self.advance_containers(now);
    }

    /// When [`Model::advance`] has something to do again.
    pub(crate) fn next_wake(&self) -> Option<Timestamp> {
        let execs = self.execs.values().filter_map(Exec::wake);
        self.containers.values().filter_map(Container::wake).chain(execs).min()
    }

    /// A new id of 64 digits.
    fn new_id(&mut self) -> String {
        self.made += 1;
        digest(format!("{} {}", self.seed, self.made).as_bytes())
    }

    /// A number that nothing had before: process ids, addresses.
    fn new_number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    /// The answer to `GET /info`, without what is the same on every engine.
    pub(crate) fn totals(&self) -> Value {
        let count = |state: fn(&State) -> bool| {
            self.containers.values().filter(|container| state(&container.state)).count()
        };
        json!({
            "Containers": self.containers.len(),
            "ContainersRunning": count(|state| matches!(state, State::Running)),
            "ContainersPaused": count(|state| matches!(state, State::Paused)),
            "ContainersStopped": count(|state| !state.is_running()),
            "Images": self.images.len(),
        })
    }
}

/// The SHA-256 in hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    HEXLOWER.encode(&Sha256::digest(bytes))
}

/// A time as the engine writes it; the year one for never.
pub(crate) fn written(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())
}

/// The first twelve digits of an id.
pub(crate) fn short(id: &str) -> &str {
    let id = id.strip_prefix("sha256:").unwrap_or(id);
    id.get(..12).unwrap_or(id)
}
