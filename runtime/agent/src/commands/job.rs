//! `job.*`: what runs on the node.

use drover_api::OperationKind;
use serde_json::{Value, json};

use super::{Ends, Request, Row, Running, no_arguments};

pub(super) const ROWS: &[Row] = &[Row {
    name: "job.list",
    aliases: &[],
    kind: OperationKind::Task,
    ends: Ends::WhenDropped,
    doc: "Lists the jobs that run on the node, the oldest first: id, command, and since when (in \
          milliseconds since 1970).\nThe job that asks is left out.",
    arguments: no_arguments,
    returns: || {
        json!({ "type": "array", "items": { "type": "object", "properties": {
            "id": { "type": "string" },
            "cmd": { "type": "string" },
            "starttime": { "type": "integer" },
        } } })
    },
    run: list,
}];

fn list(Request { node, command, .. }: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let mut jobs = node.running();
        jobs.retain(|job| job.id != command.id);
        jobs.sort_by(|a, b| (a.started, &a.id).cmp(&(b.started, &b.id)));
        let jobs = jobs
            .into_iter()
            .map(|job| json!({ "id": job.id, "cmd": job.cmd, "starttime": job.started }));
        Ok(jobs.collect::<Value>().into())
    })
}
