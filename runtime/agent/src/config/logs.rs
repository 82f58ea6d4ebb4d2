//! The part of the configuration that says where records and metrics go.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use drover_logs::LevelSet;
use drover_logs::store::{Durability, StoreConfig};
use serde::{Deserialize, Serialize};

use super::is_unset;

/// The record store: `[logs]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSettings {
    /// Directory of the records; made if missing. `logs` in `data_dir` by
    /// default.
    #[serde(skip_serializing_if = "is_unset")]
    pub dir: PathBuf,
    /// The size at which a file is ended and the next one begun.
    pub max_file: ByteSize,
    /// The size of all files together, at which the oldest are dropped.
    pub max_total: ByteSize,
    /// What is safe once a record is written.
    pub durability: Durability,
    /// What happens to a job that says more than the disk takes.
    pub when_full: WhenFull,
    /// The levels that go to the controller, unless a command says otherwise.
    pub forward: LevelSet,
    /// The most records that go to the controller in one message.
    pub forward_records: u32,
    /// How long a record may wait for others to go with it.
    #[serde(with = "humantime_serde")]
    pub forward_interval: Duration,
}

/// What happens to a job that says more than the disk takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// It waits.
    Wait,
    /// What finds no room is not kept; a record says how much that was.
    Count,
}

/// Metrics in the format of statsd: `[statsd]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatsdSettings {
    /// How often what the metrics come to is written down.
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Whether it goes to the controller as well.
    pub forward: bool,
    /// A loopback address and UDP port to receive metrics on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub udp: Option<SocketAddr>,
    /// A unix datagram socket to receive metrics on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unix: Option<PathBuf>,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            dir: PathBuf::new(),
            // As many MB as JumpScale's, in the unit that is printed.
            max_file: ByteSize::mib(100),
            max_total: ByteSize::gib(2),
            durability: Durability::Window,
            when_full: WhenFull::Wait,
            forward: LevelSet::range(drover_api::Level::WARNING, drover_api::Level::CRITICAL),
            forward_records: 1000,
            forward_interval: Duration::from_secs(1),
        }
    }
}

impl Default for StatsdSettings {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), forward: true, udp: None, unix: None }
    }
}

impl LogSettings {
    /// The store as it is to be opened.
    pub(crate) fn store(&self) -> StoreConfig {
        StoreConfig {
            max_file_bytes: self.max_file.as_u64(),
            max_total_bytes: self.max_total.as_u64(),
            durability: self.durability,
            ..StoreConfig::new(&self.dir)
        }
    }
}
