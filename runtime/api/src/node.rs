//! Nodes: what they say of themselves, and what the controller knows of them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Gid, Nid, NodeId, OWN_PROGRAM, Timestamp};

/// What a node says of itself when the controller asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeDescription {
    /// The grid that the node belongs to.
    pub gid: Gid,
    /// Its number there.
    pub nid: Nid,
    /// What people call it; the host's name unless the config says otherwise.
    pub name: String,
    /// Free words of the admin's, by which operators will choose nodes.
    #[serde(default)]
    pub labels: Vec<String>,
    /// The version of the agent.
    pub version: String,
    /// SHA-256 of the agent's program, in hexadecimal, if it was pushed; none if it is
    /// the one that was installed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// When the agent started.
    pub started: Timestamp,
    /// The plugins that can be called, by name.
    #[serde(default)]
    pub plugins: Vec<PluginSummary>,
    /// The files of the plugin directory that could not be loaded.
    #[serde(default)]
    pub refused: Vec<RefusedPlugin>,
    /// What does not work on the node at present, such as a log that cannot be
    /// written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl NodeDescription {
    /// The node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        NodeId { gid: self.gid, nid: self.nid }
    }

    /// SHA-256 of what the node runs under a name that can be pushed: a plugin's, or
    /// [`OWN_PROGRAM`].
    #[must_use]
    pub fn hash_of(&self, name: &str) -> Option<&str> {
        if name == OWN_PROGRAM {
            return self.program.as_deref();
        }
        self.plugins.iter().find(|one| one.name == name).map(|one| one.hash.as_str())
    }
}

/// A loaded plugin, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginSummary {
    /// The first half of its commands' names.
    pub name: String,
    /// SHA-256 of the component file, in hexadecimal.
    pub hash: String,
}

/// What can be called on a node, with its schemas.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeOperations {
    /// The plugins that can be called, by name.
    #[serde(default)]
    pub plugins: Vec<Plugin>,
    /// The host's own commands, by name.
    #[serde(default)]
    pub commands: Vec<HostCommand>,
}

impl NodeOperations {
    /// Everything that can be called, of plugins and of the host itself, with
    /// its command's name.
    pub fn all(&self) -> impl Iterator<Item = (String, &Operation)> {
        let of_plugins = self.plugins.iter().flat_map(|plugin| {
            plugin
                .operations
                .iter()
                .map(|operation| (format!("{}.{}", plugin.name, operation.name), operation))
        });
        let own = self.commands.iter().map(|command| (command.cmd.clone(), &command.operation));
        of_plugins.chain(own)
    }
}

/// A loaded plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plugin {
    /// The first half of its commands' names.
    pub name: String,
    /// SHA-256 of the component file, in hexadecimal.
    pub hash: String,
    /// What it offers, by name.
    pub operations: Vec<Operation>,
    /// The log lines that it parses, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub formats: Vec<LogFormat>,
}

/// A form of log lines that a plugin parses.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogFormat {
    /// Its name, unique in the plugin.
    pub name: String,
    /// Text for people; the first line says which lines it is for.
    pub doc: String,
    /// A JSON Schema of the options.
    pub options: Value,
}

/// One operation of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// The second half of the command's name.
    pub name: String,
    /// How it ends.
    pub kind: OperationKind,
    /// Text for people; the first line says what it does.
    pub doc: String,
    /// A JSON Schema of the arguments.
    pub arguments: Value,
    /// A JSON Schema of the answer.
    pub returns: Value,
}

/// A command that the host answers itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostCommand {
    /// Its name, such as `log.query`.
    pub cmd: String,
    /// Its other names, under which older systems know it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// What it is.
    pub operation: Operation,
}

/// How an operation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OperationKind {
    /// By itself.
    Task,
    /// When it is stopped.
    Service,
}

/// A file of the plugin directory that could not be loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPlugin {
    /// The file's name.
    pub file: String,
    /// Why, and what to do about it.
    pub reason: String,
}

/// The sign of life that a node publishes, as the one positional argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Whose it is.
    pub node: NodeId,
    /// The WAMP session that the node has at the moment.
    pub session: u64,
    /// Counts up whenever the node's description changes, from the agent's
    /// start time; the controller asks for the description when it differs
    /// from the last one it saw.
    pub revision: u64,
}

/// Whether a node can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Presence {
    /// Its session is open and its heartbeats arrive.
    Present,
    /// Its session is closed, or no heartbeat came for the controller's `lost_after`.
    Lost,
}

/// What the controller knows of a node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// Whether it can be called.
    pub presence: Presence,
    /// Since when it is present, or lost.
    pub since: Timestamp,
    /// When it last gave a sign of life.
    pub last_seen: Timestamp,
    /// What it last said of itself.
    pub description: NodeDescription,
}
