//! What a container should be like, as people write it, and the body that the
//! engine makes it of.
//!
//! The names are those of the engine's command line where that has one. What
//! has no name here goes into `engine`, in the engine's own form.

mod body;
mod parts;

use std::collections::BTreeMap;

use drover_sdk::data;
use serde_json::{Map, Value};

pub(crate) use body::{body, connections, endpoint, merge};
pub(crate) use parts::{Attachment, Device, Health, Log, Mount, Port, Restart};

/// What a container should be like. Only `image` is needed; what is left out is
/// as the image says, or as the engine does it by itself.
#[data]
#[derive(Debug, Clone, Default, PartialEq)]
#[serde(default)]
pub(crate) struct Description {
    /// The image, by name, digest or id.
    #[schemars(length(min = 1), required)]
    pub(crate) image: String,
    /// The program's arguments, or program and arguments if the image has no
    /// entry point.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) command: Option<Vec<String>>,
    /// The program, with its first arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) entrypoint: Option<Vec<String>>,
    /// Environment variables, beside those of the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) environment: BTreeMap<String, String>,
    /// Labels, beside those of the image.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// Who runs the program: a name or number, with `:GROUP` if need be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// Where the program runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) working_dir: Option<String>,
    /// What the container calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hostname: Option<String>,
    /// The domain that it calls itself in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) domain_name: Option<String>,
    /// Whether it has a terminal; then its output is one stream.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) tty: bool,
    /// Whether its standard input is kept open.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) stdin_open: bool,
    /// Ports that are reachable from outside.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) ports: Vec<Port>,
    /// What is mounted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) mounts: Vec<Mount>,
    /// The networks that it is in, the main one first; the engine's default
    /// network if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) networks: Vec<Attachment>,
    /// Instead of `networks`: `none`, `host` or `container:NAME`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) network_mode: Option<String>,
    /// When the engine starts it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) restart: Option<Restart>,
    /// The most memory that it gets, in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 9_223_372_036_854_775_807_u64))]
    pub(crate) memory: Option<u64>,
    /// The most memory and swap together, in bytes; -1 for any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory_swap: Option<i64>,
    /// How much of the processors it gets: 1.5 is one and a half.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 4096.0))]
    pub(crate) cpus: Option<f64>,
    /// Its weight beside other containers; 1024 is usual.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpu_shares: Option<u32>,
    /// The processors that it may use, such as `0-2,7`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cpuset: Option<String>,
    /// How many processes and threads it may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pids: Option<u32>,
    /// How the engine finds out whether it is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) health: Option<Health>,
    /// The signal that asks it to end, such as `SIGTERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_signal: Option<String>,
    /// Seconds from that signal until it is killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) stop_timeout: Option<u32>,
    /// Where its output goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) log: Option<Log>,
    /// Names that it finds at addresses, beside those of the network.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) extra_hosts: BTreeMap<String, String>,
    /// Name servers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dns: Vec<String>,
    /// Domains in which names are looked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) dns_search: Vec<String>,
    /// Whether its own file system is read-only.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) read_only: bool,
    /// Whether a small init process reaps its orphans.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) init: bool,
    /// Whether the engine removes it as soon as it ends.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) auto_remove: bool,
    /// Whether it may do everything that the host may.
    #[serde(skip_serializing_if = "is_false")]
    pub(crate) privileged: bool,
    /// Capabilities beside the usual ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cap_add: Vec<String>,
    /// Usual capabilities that it does not get.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) cap_drop: Vec<String>,
    /// Devices of the host that it sees.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) devices: Vec<Device>,
    /// Everything else, in the engine's own form; wins over what is above.
    /// Objects are merged, other values take the place of what was there.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(crate) engine: Map<String, Value>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
pub(crate) fn is_false(value: &bool) -> bool {
    !value
}
