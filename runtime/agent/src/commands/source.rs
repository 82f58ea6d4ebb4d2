//! `source.*`: the log files that the node follows.

use drover_api::{ErrorCode, JobError, OperationKind};
use serde_json::json;

use super::{Ends, Request, Row, Running, no_arguments};

pub(super) const ROWS: &[Row] = &[Row {
    name: "source.list",
    aliases: &[],
    kind: OperationKind::Task,
    ends: Ends::WhenDropped,
    doc: "Lists the sources of the configuration, by name: whether they are read or what they \
          wait for, their files with how far those are read, the lines that were read since the \
          agent started, and how many of those did not parse or were cut.\nBeside them, how many \
          bytes are still to be read, how often something was lost before it could be read, what \
          cannot be read, and what the parser failed with last.",
    arguments: no_arguments,
    returns: || json!({ "type": "array", "items": { "type": "object" } }),
    run: list,
}];

fn list(Request { node, .. }: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let statuses = serde_json::to_value(node.sources().statuses());
        let statuses =
            statuses.map_err(|error| JobError::new(ErrorCode::Internal, error.to_string()))?;
        Ok(statuses.into())
    })
}
