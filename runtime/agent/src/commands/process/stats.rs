//! `process.stats` and `process.stats_all`: what jobs use of the machine.

use drover_api::{JobError, JobId};
use drover_process::{GroupUsage, JobUsage, TreeUsage};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Answer, Request};
use super::in_words;

/// Arguments of `process.stats`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct StatsArguments {
    /// The job.
    #[schemars(with = "String")]
    id: JobId,
}

/// Arguments of `process.stats_all`.
#[derive(Debug, Deserialize, JsonSchema)]
pub(super) struct StatsAllArguments {
    /// Only jobs with this domain.
    domain: Option<String>,
    /// Only jobs with this name.
    name: Option<String>,
}

pub(super) async fn stats(request: Request<'_>) -> Result<Answer, JobError> {
    let StatsArguments { id } = request.arguments()?;
    let measured = request.node.processes().manager().stats(&id).await;
    let JobUsage { id, spec, usage, time } = measured.map_err(|error| in_words(&error))?;
    let mut stats = in_json(&usage);
    stats["id"] = json!(id);
    stats["cmd"] = json!(spec.cmd);
    stats["domain"] = json!(spec.domain);
    stats["name"] = json!(spec.name);
    stats["time"] = json!(time);
    Ok(stats.into())
}

pub(super) async fn stats_all(request: Request<'_>) -> Result<Answer, JobError> {
    let StatsAllArguments { domain, name } = request.arguments()?;
    let measured = request.node.processes().manager().stats_all(domain, name).await;
    let groups = measured.map_err(|error| in_words(&error))?;
    let described = groups.into_iter().map(|GroupUsage { domain, name, jobs, usage }| {
        let mut stats = in_json(&usage);
        stats["domain"] = json!(domain);
        stats["name"] = json!(name);
        stats["jobs"] = json!(jobs);
        stats
    });
    Ok(described.collect::<Value>().into())
}

/// The numbers, `cpu` in percent of a core and under the names that the series of
/// metrics have as well.
pub(super) fn in_json(usage: &TreeUsage) -> Value {
    json!({
        "cpu": usage.cpu_percent,
        "cpu_ms": usage.cpu_ms,
        "rss": usage.rss,
        "vms": usage.vms,
        "swap": usage.swap,
        "processes": usage.processes,
        "threads": usage.threads,
        "open_files": usage.open_files,
        "read_bytes": usage.read_bytes,
        "written_bytes": usage.written_bytes,
    })
}
