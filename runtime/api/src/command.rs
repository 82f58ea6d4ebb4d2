//! The command: what a caller asks a node to do.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Gid, JobId, JobLimits, Nid, NodeId, Streaming};

/// A request to one node.
///
/// On the link: `{id, gid, nid, cmd, args, data, data_base64, timeout_ms, limits,
/// streaming}`, of which
/// only `cmd` must be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Command {
    /// The id of the job that the command becomes. The node makes one up if it
    /// is absent; one that the node is running at the moment is refused.
    #[serde(default = "JobId::generate")]
    pub id: JobId,
    /// The node that is meant. A node refuses what is meant for another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<Gid>,
    /// See `gid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nid: Option<Nid>,
    /// What to do: `<plugin>.<operation>`, or a command of the host's own, such
    /// as `log.query`. Some of those have old names without a dot.
    pub cmd: String,
    /// The arguments, checked against the operation's schema.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub args: Map<String, Value>,
    /// Text beside the arguments; what it means is the operation's business.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub data: String,
    /// The same for what is no text, in base64; comes after `data`. For operations of
    /// plugins.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub data_base64: String,
    /// How long the job may take, in milliseconds; absent: the node's default.
    /// More than the node's maximum is cut to that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// What the job may use up, where that is to be less than what its plugin may.
    #[serde(default, skip_serializing_if = "JobLimits::are_those_of_the_plugin")]
    pub limits: JobLimits,
    /// The streams that an operation of a plugin has while it runs; absent: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub streaming: Option<Streaming>,
}

impl Command {
    /// A command with an id of its own, no arguments and the default deadline.
    #[must_use]
    pub fn new(cmd: impl Into<String>) -> Self {
        Self {
            id: JobId::generate(),
            gid: None,
            nid: None,
            cmd: cmd.into(),
            args: Map::new(),
            data: String::new(),
            data_base64: String::new(),
            timeout_ms: None,
            limits: JobLimits::default(),
            streaming: None,
        }
    }

    /// Whether a node of this id may run the command.
    #[must_use]
    pub fn is_for(&self, node: NodeId) -> bool {
        self.gid.is_none_or(|gid| gid == node.gid) && self.nid.is_none_or(|nid| nid == node.nid)
    }

    /// `cmd` as plugin and operation; none if it has no dot in it.
    #[must_use]
    pub fn target(&self) -> Option<(&str, &str)> {
        self.cmd.split_once('.')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cmd_is_needed() {
        let command: Command = serde_json::from_str(r#"{"cmd":"hello.greet"}"#).unwrap();
        assert_eq!(command.target(), Some(("hello", "greet")));
        assert!(command.args.is_empty() && command.data.is_empty());
    }

    #[test]
    fn a_jumpscale_envelope_is_understood_and_its_extras_are_ignored() {
        let command: Command = serde_json::from_str(
            r#"{"id":"j1","gid":1,"nid":7,"cmd":"sysinfo.cpu","args":{},"data":"","roles":["x"]}"#,
        )
        .unwrap();
        assert_eq!(command.id.as_str(), "j1");
        assert!(command.is_for(NodeId::new(1, 7)));
        assert!(!command.is_for(NodeId::new(1, 8)));
        assert!(!command.is_for(NodeId::new(2, 7)));
    }

    #[test]
    fn a_command_without_a_node_is_for_any() {
        assert!(Command::new("a.b").is_for(NodeId::new(3, 4)));
    }
}
