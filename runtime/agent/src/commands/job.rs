//! `job.*`: what runs on the node, and its streams.

use drover_api::OperationKind;
use serde_json::{Value, json};

use super::streams::{InputArguments, TakenArguments, input, taken};
use super::{Ends, Request, Row, Running, arguments_of, no_arguments};

pub(super) const ROWS: &[Row] = &[
    LIST,
    Row {
        name: "job.input",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::ByItself,
        doc: "Sends input to an operation that was called with `streaming.input`, or to a program \
              that was run with `stdin=open`.\nAnswers when the job, or the little room before \
              it, has taken all of it: wait for that before sending more. `eof=true` ends the \
              input after it. That the job reads no more is an error with the code `failed`.",
        arguments: arguments_of::<InputArguments>,
        returns: || json!({ "type": "null" }),
        run: |request| Box::pin(input(request)),
    },
    Row {
        name: "job.taken",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Says that the caller of a job with a window has taken so many bytes of its output, \
              and so makes room for more.\nWith `enough=true` it wants no more.",
        arguments: arguments_of::<TakenArguments>,
        returns: || json!({ "type": "null" }),
        run: |request| Box::pin(async move { taken(request) }),
    },
];

const LIST: Row = Row {
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
};

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
