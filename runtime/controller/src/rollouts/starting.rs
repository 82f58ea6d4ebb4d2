//! From a wish to a rollout: what is meant is in the catalog and current, the nodes
//! are there, and none of them is in another rollout of the plugin.

use drover_api::{
    Authority, CatalogDetail, CatalogName, CatalogStatement, ErrorCode, NodeStatus, Presence,
    Rollout, RolloutCounts, RolloutId, RolloutPhase, RolloutStart, RolloutTarget, Timestamp,
    procedures,
};
use drover_rollout::{Candidate, Machine};
use drover_signing::Statement;
use drover_wamp::{ApplicationError, CallError, CallOptions, Client, Payload};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::CATALOG_TIMEOUT;
use crate::refusal::refuse;

/// Looks a version up, and checks that nodes may run it.
pub(super) async fn find(
    session: &Client,
    plugin: &str,
    version: Option<&str>,
) -> Result<RolloutTarget, ApplicationError> {
    let name = CatalogName { name: plugin.to_owned(), version: version.map(str::to_owned) };
    let detail: CatalogDetail = ask(session, procedures::CATALOG_SHOW, &name).await?;
    let CatalogDetail { name: plugin, version, signature, .. } = detail;
    let what = format!("{plugin}@{}", version.version);
    let failed = |problem: String| Err(refuse(ErrorCode::Failed, problem));
    if let Some(reason) = version.yanked {
        return failed(format!("{what} was yanked: {reason}"));
    }
    let stated: Option<CatalogStatement> = ask(session, procedures::CATALOG_STATEMENT, &()).await?;
    // Nodes would all refuse it.
    let cure = "sign what is current with `drover catalog sign --key FILE`";
    let Some(stated) = stated else {
        return failed(format!("nobody has stated yet that {what} is current: {cure}"));
    };
    let statement = Statement::from_bytes(stated.statement.as_bytes());
    if let Err(error) = statement.and_then(|one| one.version(&plugin, &version.version)) {
        return failed(format!("no node would take {what}: {error}; {cure}"));
    }
    let (version, hash, length) = (version.version, version.hash, version.length);
    Ok(RolloutTarget { plugin, version, hash, length, signature })
}

/// A rollout to the nodes that are meant.
pub(super) fn admit<'a>(
    id: RolloutId,
    start: RolloutStart,
    target: RolloutTarget,
    (by, authority): (String, Option<Authority>),
    nodes: impl Iterator<Item = &'a NodeStatus> + Clone,
    others: impl Iterator<Item = &'a Machine>,
) -> Result<Machine, ApplicationError> {
    let plan = start.plan;
    drover_rollout::check(&plan)
        .map_err(|error| refuse(ErrorCode::InvalidArguments, error.to_string()))?;
    let choice = plan.to.choose(nodes.clone().map(|node| &node.description));
    if let Some(why) = choice.why_none(&plan.to) {
        return Err(refuse(ErrorCode::UnknownCommand, why));
    }
    let of_plugin = others.filter(|other| other.rollout().target.plugin == target.plugin);
    for other in of_plugin {
        let both: Vec<_> = choice.nodes.iter().filter(|node| other.has(**node)).collect();
        if let Some(first) = both.first() {
            let other = other.rollout();
            let problem = format!(
                "rollout {} is on its way with {}@{} to {} of these nodes, such as {first}: wait \
                 for it, or end it with `drover rollout abort {}`",
                other.id,
                other.target.plugin,
                other.target.version,
                both.len(),
                other.id
            );
            return Err(refuse(ErrorCode::Busy, problem));
        }
    }
    let meant = nodes.map(|node| (node, &node.description));
    let meant = meant.filter(|(_, description)| plan.to.matches(description));
    let candidates = meant.map(|(node, description)| Candidate {
        node: description.id(),
        name: description.name.clone(),
        is_here: node.presence == Presence::Present,
        before: description.hash_of(&target.plugin).map(str::to_owned),
    });
    let now = Timestamp::now();
    let planned = drover_rollout::plan(&plan, candidates.collect(), now);
    let rollout = Rollout {
        id,
        target,
        plan,
        by,
        authority,
        started: now,
        phase: RolloutPhase::Running,
        since: now,
        wave: 0,
        waves: Vec::new(),
        counts: RolloutCounts::default(),
    };
    Ok(Machine::begin(rollout, planned, now))
}

/// Asks the catalog; what it refuses is passed on.
async fn ask<T: DeserializeOwned>(
    session: &Client,
    procedure: &str,
    argument: &impl Serialize,
) -> Result<T, ApplicationError> {
    let answer = async {
        let options = CallOptions::within(CATALOG_TIMEOUT);
        let answer = session.call(procedure, Payload::one(argument)?, options).await?;
        Ok::<T, CallError>(answer.first_or_null()?)
    };
    answer.await.map_err(|error| match error {
        CallError::Application(refused) => refused,
        error => refuse(ErrorCode::Internal, format!("the catalog did not answer: {error}")),
    })
}
