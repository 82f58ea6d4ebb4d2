//! `log.*`: the node's log.

use drover_api::{ErrorCode, JobError, OperationKind, Progress};
use drover_logs::service::{
    DeleteArguments, FollowArguments, Followed, QueryArguments, ServiceError,
};
use drover_wamp::Payload;
use serde_json::json;

use super::{Alias, Ends, Request, Row, Running, arguments_of};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "log.query",
        aliases: &[Alias { renamed: OLD_CONDITIONS, ..Alias::new("get_msgs") }],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Shows records of the log, the newest first unless `order` says otherwise.\nWhere \
              there are more, the answer has `next`, to be given as `cursor` with the same \
              arguments. All conditions must be fulfilled.",
        arguments: arguments_of::<QueryArguments>,
        returns: || {
            json!({ "type": "object", "properties": {
                "records": { "type": "array" },
                "next": { "type": "string" },
                "damaged": { "type": "array", "items": { "type": "string" } },
            } })
        },
        run: query,
    },
    Row {
        name: "log.delete",
        aliases: &[Alias { renamed: OLD_CONDITIONS, ..Alias::new("del_msgs") }],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Deletes records of the log that fulfil all conditions, and says how many.\nAt least \
              one condition must be given; `levels=*` means all records.",
        arguments: arguments_of::<DeleteArguments>,
        returns: || json!({ "type": "object", "properties": { "deleted": { "type": "integer" } } }),
        run: delete,
    },
    Row {
        name: "log.follow",
        aliases: &[],
        kind: OperationKind::Service,
        ends: Ends::WhenDropped,
        doc: "Tells records as they are written, until it is cancelled, as progressive results \
              `{records}`.\nThey begin now, or after the record `after`, or with the newest \
              `backlog` ones; none is lost or doubled between those that were there and those \
              that come. The first result is empty: it says that from now on nothing is \
              missed. `{missed: {first, last}}` stands for records that were dropped with age \
              before they could be read. Whoever cannot keep up is cut off, and goes on with \
              `after`.",
        arguments: arguments_of::<FollowArguments>,
        returns: || json!({ "type": "null" }),
        run: follow,
    },
];

const OLD_CONDITIONS: &[(&str, &str)] = &[
    ("jobid", "job"),
    ("timefrom", "from"),
    ("timeto", "until"),
    ("levels", "levels"),
    ("domain", "domain"),
    ("name", "name"),
];

fn query(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let arguments: QueryArguments = request.arguments()?;
        let page = request.node.logs().service().query(arguments).await.map_err(in_words)?;
        let page = serde_json::to_value(page).map_err(|error| internal(&error))?;
        Ok(page.into())
    })
}

fn delete(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let arguments: DeleteArguments = request.arguments()?;
        let deleted = request.node.logs().service().delete(arguments).await.map_err(in_words)?;
        tracing::info!(job = %request.command.id, deleted, "log records deleted");
        Ok(json!({ "deleted": deleted }).into())
    })
}

fn follow(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let arguments: FollowArguments = request.arguments()?;
        if !request.call.wants_progress {
            return Err(JobError::new(
                ErrorCode::InvalidCommand,
                "`log.follow` tells records as progressive results: call it with \
                 `receive_progress`",
            ));
        }
        let service = request.node.logs().service();
        let mut following = service.follow(arguments).await.map_err(in_words)?;
        loop {
            let report = following.next().await.map_err(in_words)?;
            tell(request, &report).await?;
        }
    })
}

/// Sends a progressive result. Waits while too much waits to be sent.
async fn tell(request: Request<'_>, report: &Followed) -> Result<(), JobError> {
    let Request { call, command, .. } = request;
    let progress = serde_json::to_value(report).map_err(|error| internal(&error))?;
    let report = Progress::report(command.id.clone(), progress);
    let payload = Payload::one(&report).map_err(|error| internal(&error))?;
    // A session that has ended cancels the job by itself.
    let _ = call.progress(payload).await;
    Ok(())
}

fn in_words(error: ServiceError) -> JobError {
    let code = match &error {
        ServiceError::Invalid(_) => ErrorCode::InvalidArguments,
        ServiceError::Closed(_) => ErrorCode::ShuttingDown,
        ServiceError::Delete(_) | ServiceError::Failed => ErrorCode::Internal,
    };
    let error = anyhow::Error::new(error);
    JobError::new(code, format!("{error:#}"))
}

fn internal(error: &dyn std::error::Error) -> JobError {
    JobError::new(ErrorCode::Internal, error.to_string())
}
