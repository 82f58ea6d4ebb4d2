//! `agent.*`: the agent itself.

use drover_api::{ErrorCode, JobError, OperationKind};
use serde_json::{Value, json};

use crate::identity::{self, Identity};
use crate::vitals;

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
        name: "agent.metrics",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Tells what the agent counts of itself, as Prometheus reads it: jobs, operations, \
              link, plugins, services, processes, log.",
        arguments: no_arguments,
        returns: || json!({ "type": "string" }),
        run: |Request { node, .. }| {
            Box::pin(async move { Ok(Value::from(vitals::page(node).await?).into()) })
        },
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
    Row {
        name: "agent.rotate_key",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::ByItself,
        doc: "Makes another key for the node, tells the controller of it, and answers with its \
              public half.\nOnly of a node that was let in by a token or a code. Its session goes \
              on; the former key counts no more.",
        arguments: no_arguments,
        returns: || json!({ "type": "string" }),
        run: rotate_key,
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

fn rotate_key(Request { node, .. }: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let failed = |text: String| JobError::new(ErrorCode::Failed, text);
        let has_identity = matches!(Identity::read(node.data_dir()), Ok(Some(_)));
        let Some((link, key)) = node.joined_with().filter(|_| has_identity) else {
            let text = "the node was not let in by a token or a code, so its key is its admin's";
            return Err(failed(text.to_owned()));
        };
        let session = link.session().ok_or_else(|| failed("there is no session".to_owned()))?;
        let rotated = identity::rotate(node.data_dir(), key, &session).await;
        let public = rotated.map_err(|error| failed(format!("{error:#}")))?;
        tracing::info!(key = public, "the node has another key");
        Ok(Value::from(public).into())
    })
}

fn restart(Request { node, .. }: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        tracing::info!("told to restart");
        node.restart();
        Ok(Value::Null.into())
    })
}
