//! `plugin.update`, `.revert` and `.versions`, and the same of `agent`: what the
//! controller has a node run.

use std::time::Duration;

use drover_api::{
    ErrorCode, JobError, OWN_PROGRAM, OperationKind, PluginVersions, Progress, Timestamp,
    UpdateEnd, UpdateOutcome, UpdateStatus,
};
use drover_plugin_host::unknown;
use drover_update::Version;
use drover_wamp::Payload;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Answer, Ends, Request, Row, Running, arguments_of};
use crate::update::Following;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "plugin.update",
        aliases: &[],
        // It takes as long as the watch, for which no task's deadline would do.
        kind: OperationKind::Service,
        ends: Ends::WhenDropped,
        doc: "Has the node run a version of a plugin from the controller's catalog, and answers \
              when it has been watched for long enough, or with the step at which it was refused \
              and why.\nIt is fetched, its signature and the controller's statement are checked, \
              it is compiled and held against the grants, its operation `self_test` runs if it \
              has one, it takes the place of the version that serves between two calls, and is \
              watched: if it crashes, or fails more often than the one before, that one serves \
              again. Progress tells each step.\nOnce accepted it goes on without its caller and \
              over restarts of the agent; asking for the same again listens to it. Asking for \
              something else takes its place.",
        arguments: arguments_of::<Update>,
        returns: || json!({ "type": "object" }),
        run: update,
    },
    Row {
        name: "plugin.revert",
        aliases: &[],
        kind: OperationKind::Service,
        ends: Ends::WhenDropped,
        doc: "Has a plugin that was pushed go back to a version that is kept on the node: the \
              last other one that did well, or the one that is named; or to none.\nIt is neither fetched nor \
              watched, and ends an update under way.",
        arguments: arguments_of::<Revert>,
        returns: || json!({ "type": "object" }),
        run: revert,
    },
    Row {
        name: "plugin.versions",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Lists the pushed plugins, by name: the versions that are kept and which is active, \
              the update under way with its step and what it waits for, how the last one ended \
              and why, and why the active version does not serve if it does not.",
        arguments: arguments_of::<Versions>,
        returns: || json!({ "type": "array", "items": { "type": "object" } }),
        run: versions,
    },
    Row {
        name: "agent.update",
        aliases: &[],
        kind: OperationKind::Service,
        ends: Ends::WhenDropped,
        doc: "Has the node run another version of the agent's own program, from the controller's \
              catalog, as `plugin.update` does with a plugin, which takes the name `agent` too.\n\
              It is fetched and checked, must be a program for this machine of that version, and \
              joins the controller beside this agent; then this one ends, and the other takes \
              over its jobs that last. If that one dies, falls silent or loses the controller \
              while it is watched, the program of before runs again.\nThe change ends the call: \
              asking for the same again listens on, and `agent.versions` tells the end.",
        arguments: arguments_of::<UpdateAgent>,
        returns: || json!({ "type": "object" }),
        run: update_agent,
    },
    Row {
        name: "agent.revert",
        aliases: &[],
        kind: OperationKind::Service,
        ends: Ends::WhenDropped,
        doc: "Has the agent's own program go back to what ran before, to a version that is kept, \
              or to the `installed` one.",
        arguments: arguments_of::<RevertAgent>,
        returns: || json!({ "type": "object" }),
        run: revert_agent,
    },
    Row {
        name: "agent.versions",
        aliases: &[],
        kind: OperationKind::Task,
        ends: Ends::WhenDropped,
        doc: "Shows the versions of the agent's own program that were pushed, as `plugin.versions` \
              does; null if none ever was. Without an active one the installed program runs.",
        arguments: super::no_arguments,
        returns: || json!({ "type": ["object", "null"] }),
        run: agent_versions,
    },
];

#[derive(Debug, Deserialize, JsonSchema)]
struct Update {
    /// The plugin's name.
    name: String,
    /// Its version, such as 1.2.0.
    version: String,
    /// SHA-256 of its content, in hexadecimal.
    hash: String,
    /// The length of its content in bytes.
    length: u64,
    /// The text of its signature.
    signature: String,
    /// How long it is watched, such as `2m`; `0s`: not at all. Two minutes if left
    /// out.
    watch: Option<String>,
    /// Whether to try a version again that did badly here before.
    #[serde(default)]
    again: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct UpdateAgent {
    /// Its version, such as 1.2.0.
    version: String,
    /// SHA-256 of the program, in hexadecimal.
    hash: String,
    /// The length of the program in bytes.
    length: u64,
    /// The text of its signature.
    signature: String,
    /// How long it is watched, such as `2m`; at least `1s`. Two minutes if left out.
    watch: Option<String>,
    /// Whether to try a version again that did badly here before.
    #[serde(default)]
    again: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct RevertAgent {
    /// A kept version, the beginning of a hash, of at least 8 digits, or `installed`;
    /// what ran before if left out.
    version: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Revert {
    /// The plugin's name.
    name: String,
    /// A kept version, the beginning of a hash, of at least 8 digits, or `none`, after
    /// which no pushed version serves; the last other one that did well if left out.
    version: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
struct Versions {
    /// The plugin's name; all plugins if left out.
    name: Option<String>,
}

/// How long a version is watched by default.
const WATCH: Duration = Duration::from_secs(120);

/// How long it may be watched: longer is a mistake.
const LONGEST_WATCH: Duration = Duration::from_secs(7 * 24 * 3600);

/// The shortest that an agent is watched: it has to join meanwhile.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

/// The longest program of an agent.
const LONGEST_PROGRAM: u64 = 512 << 20;

/// The longest signature that is kept: many times what one takes.
const SIGNATURE: usize = 8 << 10;

fn update(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let arguments: Update = request.arguments()?;
        let name = arguments.name.clone();
        let wish = wish(request, arguments)?;
        follow(request, &name, request.node.updates().update(name.clone(), wish).await?).await
    })
}

fn revert(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let Revert { name, version } = request.arguments()?;
        follow(request, &name, request.node.updates().revert(name.clone(), version).await?).await
    })
}

fn update_agent(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let UpdateAgent { version, hash, length, signature, watch, again } = request.arguments()?;
        let name = OWN_PROGRAM.to_owned();
        let wish = wish(request, Update { name, version, hash, length, signature, watch, again })?;
        let following = request.node.updates().update(OWN_PROGRAM.to_owned(), wish).await?;
        follow(request, OWN_PROGRAM, following).await
    })
}

fn revert_agent(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let RevertAgent { version } = request.arguments()?;
        let following = request.node.updates().revert(OWN_PROGRAM.to_owned(), version).await?;
        follow(request, OWN_PROGRAM, following).await
    })
}

fn agent_versions(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let all = request.node.updates().list().await?;
        let own = all.into_iter().find(|one| one.name == OWN_PROGRAM);
        Ok(in_json(&own)?.into())
    })
}

fn versions(request: Request<'_>) -> Running<'_> {
    Box::pin(async move {
        let Versions { name } = request.arguments()?;
        let mut plugins = request.node.updates().list().await?;
        if let Some(name) = name {
            if !plugins.iter().any(|plugin: &PluginVersions| plugin.name == name) {
                let names = plugins.iter().map(|plugin| plugin.name.as_str()).collect();
                let what = format!("no version of `{name}` was ever pushed here");
                return Err(unknown(&what, &name, names));
            }
            plugins.retain(|plugin| plugin.name == name);
        }
        Ok(in_json(&plugins)?.into())
    })
}

/// What the arguments say, checked.
fn wish(request: Request<'_>, arguments: Update) -> Result<drover_update::Request, JobError> {
    let invalid = |what: &str, why: String| {
        let cmd = &request.command.cmd;
        JobError::new(ErrorCode::InvalidArguments, format!("`{cmd}`: `{what}`: {why}"))
    };
    let Update { name, version, hash, length, signature, watch, again } = arguments;
    let is_agent = name == OWN_PROGRAM;
    let (what, limit) = match is_agent {
        true => ("an agent", LONGEST_PROGRAM),
        false => ("a plugin", request.node.host().limits().component_bytes),
    };
    if length == 0 || length > limit {
        let why = format!("{length} bytes, and {what} has from 1 to {limit}");
        return Err(invalid("length", why));
    }
    if signature.len() > SIGNATURE {
        return Err(invalid("signature", format!("it has more than {SIGNATURE} bytes")));
    }
    let watch = match watch {
        Some(text) => humantime::parse_duration(&text)
            .map_err(|error| invalid("watch", format!("{error}; write 30s or 2m")))?,
        None => WATCH,
    };
    if watch > LONGEST_WATCH {
        return Err(invalid("watch", "a version is watched for a week at most".to_owned()));
    }
    if is_agent && watch < SHORTEST_WATCH {
        return Err(invalid("watch", "an agent is watched for a second at least".to_owned()));
    }
    let version = Version {
        version: version.parse().map_err(|error| {
            invalid("version", format!("{version:?} is no version such as 1.2.0: {error}"))
        })?,
        hash: hash
            .parse()
            .map_err(|error: drover_signing::HashError| invalid("hash", error.to_string()))?,
        length,
        signature,
        by: request.call.caller.as_ref().map(|caller| caller.authid.clone()),
        since: Timestamp::now(),
        has_served: false,
        fault: None,
    };
    Ok(drover_update::Request { version, watch, again })
}

/// Tells the steps to whoever listens, and answers with the end.
async fn follow(
    request: Request<'_>,
    name: &str,
    following: Following,
) -> Result<Answer, JobError> {
    let Following { mut steps, mut end } = following;
    loop {
        tokio::select! {
            biased;
            Some(step) = steps.recv() => tell(request, &step).await?,
            ended = &mut end => {
                let gone = |_| JobError::new(ErrorCode::ShuttingDown, "the node is shutting down");
                return answer(name, &ended.map_err(gone)?);
            }
        }
    }
}

async fn tell(request: Request<'_>, step: &UpdateStatus) -> Result<(), JobError> {
    if request.call.wants_progress {
        let report = Progress::report(request.command.id.clone(), in_json(step)?);
        let payload = Payload::one(&report)
            .map_err(|error| JobError::new(ErrorCode::Internal, error.to_string()))?;
        // The update goes on without listeners.
        let _ = request.call.progress(payload).await;
    }
    Ok(())
}

fn answer(name: &str, end: &UpdateEnd) -> Result<Answer, JobError> {
    let detail = in_json(end)?;
    let UpdateEnd { version, reason, .. } = end;
    let reason = reason.as_deref().unwrap_or("it does not say why");
    let message = match end.outcome {
        UpdateOutcome::Active => return Ok(detail.into()),
        UpdateOutcome::FellBack => {
            let back = match &end.back_to {
                Some(back) => format!("version {back} serves again"),
                None => "nothing serves, as nothing did before".to_owned(),
            };
            format!("version {version} of `{name}` did badly, and {back}: {reason}")
        }
        UpdateOutcome::Superseded => {
            format!("version {version} of `{name}` was given up: {reason}")
        }
        UpdateOutcome::Refused | UpdateOutcome::Unknown => {
            format!("version {version} of `{name}` was refused at {}: {reason}", end.at.as_str())
        }
    };
    Err(JobError::new(ErrorCode::Failed, message).with_detail(detail))
}

fn in_json<T: serde::Serialize>(value: &T) -> Result<Value, JobError> {
    serde_json::to_value(value)
        .map_err(|error| JobError::new(ErrorCode::Internal, error.to_string()))
}
