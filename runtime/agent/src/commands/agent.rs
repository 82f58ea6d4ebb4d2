//! `agent.*`: the agent itself.

use drover_api::OperationKind;
use serde_json::{Value, json};

use super::{Alias, Ends, Request, Row, Running, no_arguments};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "agent.ping",
        aliases: &[Alias::new("ping")],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Answers `pong`: the agent is there and does its work.",
        arguments: no_arguments,
        returns: || json!({ "const": "pong" }),
        run: |_| Box::pin(async { Ok(Value::from("pong").into()) }),
    },
    Row {
        name: "agent.info",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Shows what the agent is and does: node, version, when it started (in \
              milliseconds since 1970), process id, how many plugins and running jobs it has, \
              where its log is, and what does not work at present.",
        arguments: no_arguments,
        returns: || json!({ "type": "object" }),
        run: info,
    },
    Row {
        name: "agent.restart",
        aliases: &[Alias::new("restart")],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Ends the agent in order, with exit status 75, by which a service manager knows \
              that it is to be started again.\nThe answer comes first. Jobs of plugins that \
              are running are ended.",
        arguments: no_arguments,
        returns: || json!({ "type": "null" }),
        run: restart,
    },
];

fn info(Request { node, .. }: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let description = node.description();
        Ok(json!({
            "node": description.id().to_string(),
            "name": description.name,
            "labels": description.labels,
            "version": description.version,
            "started": description.started,
            "pid": std::process::id(),
            "plugins": description.plugins.len(),
            "refused_plugins": description.refused.len(),
            "running_jobs": node.running().len(),
            "log": node.logs().store().identity(),
            "trouble": description.trouble,
        })
        .into())
    })
}

fn restart(Request { node, .. }: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        tracing::info!("told to restart");
        node.restart();
        Ok(Value::Null.into())
    })
}
