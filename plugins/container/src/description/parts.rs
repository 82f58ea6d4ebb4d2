//! The parts of a description.

use std::collections::BTreeMap;

use drover_sdk::data;

use super::is_false;

/// A port that is reachable from outside.
#[data]
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Port {
    /// The port in the container.
    #[schemars(range(min = 1))]
    pub(crate) container: u16,
    /// The port of the host; any free one if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub(crate) host: Option<u16>,
    /// The host's address; all of them if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
    /// What is spoken there.
    #[serde(default)]
    pub(crate) protocol: Protocol,
}

/// The protocol of a port.
#[data]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

impl Protocol {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// Something that is mounted.
#[data]
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mount {
    /// What it is.
    #[serde(default)]
    pub(crate) kind: MountKind,
    /// The volume's name, or the host's directory; a new volume if it is left
    /// out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// Where it is in the container.
    pub(crate) target: String,
    /// Whether nothing can be written there.
    #[serde(default, skip_serializing_if = "is_false")]
    pub(crate) read_only: bool,
}

/// What can be mounted.
#[data]
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MountKind {
    /// A volume of the engine.
    #[default]
    Volume,
    /// A file or directory of the host.
    Bind,
    /// Memory.
    Tmpfs,
}

impl MountKind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Volume => "volume",
            Self::Bind => "bind",
            Self::Tmpfs => "tmpfs",
        }
    }
}

/// A place in a network.
#[data]
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Attachment {
    /// The network's name.
    #[schemars(length(min = 1))]
    pub(crate) name: String,
    /// Names under which others in the network find it, beside its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) aliases: Vec<String>,
    /// Its address in the network; any if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<String>,
}

/// When the engine starts a container again.
#[data]
#[derive(Debug, Clone, PartialEq)]
#[serde(tag = "policy", rename_all = "kebab-case")]
pub(crate) enum Restart {
    /// Never.
    No,
    /// Always, also when the engine starts.
    Always,
    /// Like always, unless somebody stopped it.
    UnlessStopped,
    /// When it ends with a status that is not 0.
    OnFailure {
        /// How often; 0 for any number.
        #[serde(default)]
        max_retries: u32,
    },
}

/// How the engine finds out whether a container is well.
#[data]
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Health {
    /// A program of the container with its arguments; empty switches off what
    /// the image says.
    pub(crate) command: Vec<String>,
    /// Milliseconds from one check to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interval_ms: Option<u32>,
    /// Milliseconds after which a check has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) timeout_ms: Option<u32>,
    /// Milliseconds from the start in which a failed check does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) start_period_ms: Option<u32>,
    /// How many checks in a row must fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) retries: Option<u32>,
}

/// Where output goes.
#[data]
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Log {
    /// A driver of the engine, such as `json-file`.
    pub(crate) driver: String,
    /// The driver's options.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) options: BTreeMap<String, String>,
}

/// A device of the host.
#[data]
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Device {
    /// Its path on the host.
    pub(crate) source: String,
    /// Its path in the container; the same if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
    /// What may be done: of `r`, `w` and `m`; all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) permissions: Option<String>,
}
