//! `drover desired`: what nodes are to have; and where it is not so.

use std::collections::HashMap;
use std::time::Duration;

use clap::{Args, Subcommand};
use drover_api::{
    CatalogPlugin, DesiredMode, DesiredRemove, DesiredRule, DesiredSet, Drift, Selector, procedures,
};
use drover_wamp::Client;

use super::catalog::name_and_version;
use crate::address::Address;
use crate::controller::{self, request};
use crate::exit::{Exit, Failure};
use crate::{output, render};

const EXAMPLES: &str = "\
Examples:
    drover desired set hello@stable --to web
    drover desired set hello@1.2.0 --to 'name=lab-*' --only-show
    drover desired list
    drover desired remove hello --to web
    drover nodes --drift";

/// Says which nodes are to have which version of a plugin. Nodes that join later, or
/// that were away, are brought to it, a few at a time; nodes that have something else
/// are shown by `drover nodes --drift` and brought back. A rollout that is done ends
/// with such a rule. To change what many nodes run, use `drover rollout`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Desired {
    #[command(subcommand)]
    command: DesiredCommand,
}

#[derive(Debug, Subcommand)]
enum DesiredCommand {
    /// Set what nodes are to have
    Set(Set),
    /// List the rules, the latest first: of those of a plugin that mean a node, it counts
    List(List),
    /// Remove a rule; nodes keep what they have
    Remove(Remove),
}

#[derive(Debug, Args)]
struct Set {
    /// The plugin, and a version, or a channel that is followed
    #[arg(value_name = "NAME@VERSION")]
    plugin: String,
    /// The nodes: `*`, labels, `name=web-*`, `grid=1`, ids such as `1.7`, put
    /// together with `and`, `or`, `not` and parentheses
    #[arg(long, value_name = "SELECTOR")]
    to: Selector,
    /// Show where it is not so, and do nothing about it
    #[arg(long)]
    only_show: bool,
    /// How long a node that is brought to it watches the version
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration)]
    watch: Duration,
    #[command(flatten)]
    address: Address,
}

#[derive(Debug, Args)]
struct List {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

#[derive(Debug, Args)]
struct Remove {
    /// The plugin
    plugin: String,
    /// The nodes, as the rule has them
    #[arg(long, value_name = "SELECTOR")]
    to: Selector,
    #[command(flatten)]
    address: Address,
}

pub(crate) fn run(desired: Desired) -> Result<Exit, Failure> {
    controller::runtime()?.block_on(async {
        match desired.command {
            DesiredCommand::Set(command) => set(command).await,
            DesiredCommand::List(command) => list(&command).await,
            DesiredCommand::Remove(command) => remove(command).await,
        }
    })
}

async fn set(command: Set) -> Result<Exit, Failure> {
    let (plugin, Some(version)) = name_and_version(&command.plugin) else {
        let message =
            format!("`{0}` has no version: write {0}@1.2.0 or {0}@stable", command.plugin);
        return Err(Failure::text(Exit::Usage, message));
    };
    let set = DesiredSet {
        plugin: plugin.to_owned(),
        version: version.to_owned(),
        to: command.to,
        mode: if command.only_show { DesiredMode::Show } else { DesiredMode::Mend },
        watch_ms: u64::try_from(command.watch.as_millis()).unwrap_or(u64::MAX),
    };
    let session = command.address.connect().await?;
    let rule: DesiredRule = request(&session, procedures::DESIRED_SET, &set).await?;
    session.close().await;
    let DesiredSet { plugin, version, to, .. } = &rule.set;
    output::note(&format!("{plugin}@{version} is what `{to}` is to have"));
    Ok(Exit::Done)
}

async fn list(command: &List) -> Result<Exit, Failure> {
    let session = command.address.connect().await?;
    let rules: Vec<DesiredRule> = request(&session, procedures::DESIRED_LIST, &()).await?;
    session.close().await;
    if command.json {
        output::json(&rules)?;
    } else if rules.is_empty() {
        output::note("no node is to have anything; `drover desired set`, or a rollout, says what");
    } else {
        let head = ["what", "to", "mode", "by", "since", "rollout"];
        output::answer(&render::table(&head, rules.iter().map(row)))?;
        for rule in &rules {
            if let Some(trouble) = &rule.trouble {
                let DesiredSet { plugin, version, .. } = &rule.set;
                output::note(&format!("nothing follows from {plugin}@{version}: {trouble}"));
            }
        }
    }
    Ok(Exit::Done)
}

async fn remove(command: Remove) -> Result<Exit, Failure> {
    let session = command.address.connect().await?;
    let rule = DesiredRemove { plugin: command.plugin, to: command.to };
    let () = request(&session, procedures::DESIRED_REMOVE, &rule).await?;
    session.close().await;
    output::note(&format!("`{}` is to have no version of {}", rule.to, rule.plugin));
    Ok(Exit::Done)
}

fn row(rule: &DesiredRule) -> [String; 6] {
    let set = &rule.set;
    let mode = match set.mode {
        DesiredMode::Mend => "mend",
        DesiredMode::Show => "only show",
    };
    [
        format!("{}@{}", set.plugin, set.version),
        set.to.to_string(),
        mode.to_owned(),
        rule.by.clone(),
        render::ago(rule.since),
        rule.rollout.map_or_else(|| "-".to_owned(), |id| id.to_string()),
    ]
}

/// Shows the nodes that do not have what they are to have; ends with status 1 if
/// there are any.
pub(super) async fn drift(session: &Client, as_json: bool) -> Result<Exit, Failure> {
    let drift: Vec<Drift> = request(session, procedures::DESIRED_DRIFT, &()).await?;
    if as_json {
        output::json(&drift)?;
    } else if drift.is_empty() {
        output::note("every node has what it is to have");
    } else {
        let catalog: Vec<CatalogPlugin> = request(session, procedures::CATALOG_LIST, &()).await?;
        let versions = catalog.iter().flat_map(|plugin| &plugin.versions);
        let versions: HashMap<_, _> =
            versions.map(|version| (&*version.hash, &*version.version)).collect();
        let head = ["node", "name", "plugin", "has", "is to have", "state", "why"];
        let rows = drift.iter().map(|one| {
            let has = match one.has.as_deref() {
                // What is not in the catalog is known by its hash.
                Some(hash) => versions.get(hash).copied().unwrap_or(hash.get(..12).unwrap_or(hash)),
                None => "-",
            };
            [
                one.node.to_string(),
                one.name.clone(),
                one.plugin.clone(),
                has.to_owned(),
                one.version.clone(),
                one.state.as_str().to_owned(),
                one.reason.clone().unwrap_or_default(),
            ]
        });
        output::answer(&render::table(&head, rows))?;
    }
    Ok(if drift.is_empty() { Exit::Done } else { Exit::Failed })
}
