//! `plugin.*`: what became of the plugins of the node.

use drover_api::{
    ErrorCode, JobError, NextVersion, OperationKind, PluginList, PluginState, PluginStatus,
};
use drover_plugin_host::unknown;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Ends, Request, Row, Running, arguments_of, no_arguments};
use crate::node::Node;
use crate::update::{Concern, ConcernKind};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "plugin.list",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Lists the plugins of the node, by name: the version that serves with its file, \
              hash and jobs, the one that is being loaded or was refused and why, those that \
              end with their last jobs, and whether it is in quarantine.\nBeside them, the files \
              that lost their name to others, and why the plugin directory cannot be read if it \
              cannot.",
        arguments: no_arguments,
        returns: || {
            json!({ "type": "object", "properties": {
                "plugins": { "type": "array", "items": { "type": "object" } },
                "passed_over": { "type": "array", "items": { "type": "object" } },
                "trouble": { "type": "string" },
            } })
        },
        run: list,
    },
    Row {
        name: "plugin.status",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Shows one plugin as `plugin.list` does.",
        arguments: arguments_of::<Named>,
        returns: || json!({ "type": "object" }),
        run: status,
    },
    Row {
        name: "plugin.release",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Lets a plugin out of its quarantine, into which it came because its jobs failed \
              again and again.\nAnswers whether it was in one.",
        arguments: arguments_of::<Named>,
        returns: || json!({ "type": "boolean" }),
        run: release,
    },
];

#[derive(Debug, Deserialize, JsonSchema)]
struct Named {
    /// The plugin's name.
    name: String,
}

fn list(Request { node, .. }: Request<'_>) -> Running<'_> {
    Box::pin(async move { Ok(answer(&statuses(node))?.into()) })
}

/// All plugins, with the pushed versions that wait for somebody.
fn statuses(node: &Node) -> PluginList {
    let mut list = node.host().statuses();
    for Concern { name, version, what } in node.updates().concerns() {
        let ConcernKind::Held(reason) = what else { continue };
        let next = NextVersion {
            file: format!("pushed/{name}"),
            version: Some(version),
            refusal: Some(reason),
            retry_at: None,
        };
        match list.plugins.iter_mut().find(|plugin| plugin.name == name) {
            Some(plugin) => plugin.next = plugin.next.take().or(Some(next)),
            None => list.plugins.push(PluginStatus {
                state: PluginState::Refused,
                next: Some(next),
                ..PluginStatus::new(name)
            }),
        }
    }
    list.plugins.sort_by(|one, other| one.name.cmp(&other.name));
    list
}

fn status(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let Named { name } = request.arguments()?;
        let PluginList { plugins, .. } = statuses(request.node);
        let status = plugins.iter().find(|plugin: &&PluginStatus| plugin.name == name);
        let Some(status) = status else {
            let names = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
            return Err(unknown(&format!("there is no plugin `{name}`"), &name, names));
        };
        Ok(answer(status)?.into())
    })
}

fn release(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let Named { name } = request.arguments()?;
        Ok(Value::Bool(request.node.host().release(&name)?).into())
    })
}

fn answer<T: Serialize>(value: &T) -> Result<Value, JobError> {
    serde_json::to_value(value)
        .map_err(|error| JobError::new(ErrorCode::Internal, error.to_string()))
}
