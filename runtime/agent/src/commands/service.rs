//! `service.*`: operations that run until they are stopped.

use drover_api::{ErrorCode, JobError, OperationKind, ServiceStatus};
use drover_plugin_host::unknown;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Ends, Request, Row, Running, arguments_of, no_arguments};
use crate::services::{ServiceSpec, check_name};

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "service.start",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Starts a service: an operation of a plugin that runs until it is stopped.\nIt is \
              started again when it fails, unless `restart` says otherwise, when its plugin is \
              replaced, and when the agent or the host restarts, until `service.stop`. One that \
              runs already, with the same arguments, goes on. Answers with its status.",
        arguments: arguments_of::<Start>,
        returns: a_status,
        run: start,
    },
    Row {
        name: "service.stop",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Stops a service, which then does not come back with the agent, unless it is in \
              the configuration.\nOne that looks for it has 2 seconds to tidy up. The answer, \
              its status, comes when it has ended.",
        arguments: arguments_of::<Named>,
        returns: a_status,
        run: stop,
    },
    Row {
        name: "service.restart",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Has a service begin anew, whether it runs, was stopped or failed.\nAnswers with \
              its status.",
        arguments: arguments_of::<Named>,
        returns: a_status,
        run: restart,
    },
    Row {
        name: "service.status",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Shows one service as `service.list` does.",
        arguments: arguments_of::<Named>,
        returns: a_status,
        run: status,
    },
    Row {
        name: "service.list",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Lists the services of the node, by name: what each runs, its state and since \
              when, how often it was started again and why, its version, memory in bytes and \
              when it last published.",
        arguments: no_arguments,
        returns: || json!({ "type": "array", "items": { "type": "object" } }),
        run: list,
    },
];

fn a_status() -> Value {
    json!({ "type": "object" })
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Start {
    /// What runs: `<plugin>.<operation>`, such as `ticker.count`.
    operation: String,
    /// Its arguments.
    #[serde(default)]
    args: Map<String, Value>,
    /// What it is called; like its operation if left out.
    name: Option<String>,
    /// Whether it is started again when it ends; if it failed if left out.
    restart: Option<Restart>,
    /// How many failures within five minutes are followed by a restart; 5 if left
    /// out.
    max_restart: Option<u32>,
    /// Whether what it publishes goes into the node's log too, as records of
    /// level 6.
    #[serde(default)]
    log_feed: bool,
}

/// [`drover_api::Restart`], with a schema.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Restart {
    /// It is not.
    Never,
    /// If it failed or crashed.
    OnFailure,
    /// However it ended.
    Always,
}

impl From<Restart> for drover_api::Restart {
    fn from(restart: Restart) -> Self {
        match restart {
            Restart::Never => Self::Never,
            Restart::OnFailure => Self::OnFailure,
            Restart::Always => Self::Always,
        }
    }
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Named {
    /// The service's name.
    name: String,
}

fn start(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let Start { operation, args, name, restart, max_restart, log_feed } =
            request.arguments()?;
        let invalid = |reason| JobError::new(ErrorCode::InvalidArguments, reason);
        let usual = ServiceSpec::new(operation, args);
        let spec = ServiceSpec {
            restart: restart.map_or(usual.restart, Into::into),
            max_restart: max_restart.unwrap_or(usual.max_restart),
            log_feed,
            ..usual
        };
        spec.target().map_err(invalid)?;
        let name = name.unwrap_or_else(|| spec.operation.clone());
        check_name(&name).map_err(invalid)?;
        answer(&request.node.services().start(name, spec).await?)
    })
}

fn stop(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let Named { name } = request.arguments()?;
        answer(&request.node.services().stop(name).await?)
    })
}

fn restart(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let Named { name } = request.arguments()?;
        answer(&request.node.services().restart(name).await?)
    })
}

fn status(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let Named { name } = request.arguments()?;
        let services = request.node.services().list().await?;
        let service = services.iter().find(|service: &&ServiceStatus| service.name == name);
        let Some(service) = service else {
            let names = services.iter().map(|service| service.name.as_str()).collect();
            return Err(unknown(&format!("there is no service `{name}`"), &name, names));
        };
        answer(service)
    })
}

fn list(Request { node, .. }: Request<'_>) -> Running<'_> {
    Box::pin(async move { answer(&node.services().list().await?) })
}

fn answer<T: Serialize>(value: &T) -> Result<super::Answer, JobError> {
    serde_json::to_value(value)
        .map(super::Answer::from)
        .map_err(|error| JobError::new(ErrorCode::Internal, error.to_string()))
}
