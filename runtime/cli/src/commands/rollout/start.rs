//! `drover rollout start`.

use std::time::Duration;

use clap::Args;
use drover_api::{RolloutDetail, RolloutPlan, RolloutStart, Selector, Share, procedures};

use super::super::catalog::name_and_version;
use super::watch;
use crate::address::Address;
use crate::controller::request;
use crate::exit::{Exit, Failure};
use crate::{output, render};

/// Starts a rollout. The version has to be in the catalog, and in the signed
/// statement of what is current.
#[derive(Debug, Args)]
pub(super) struct Start {
    /// The plugin, NAME@VERSION or NAME@CHANNEL; the newest version without one
    #[arg(value_name = "NAME[@VERSION]")]
    plugin: String,
    /// The nodes: `*`, labels, `name=web-*`, `grid=1`, ids such as `1.7`, put
    /// together with `and`, `or`, `not` and parentheses
    #[arg(long, value_name = "SELECTOR")]
    to: Selector,
    /// So many nodes have the version before all others
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    canary: u32,
    /// How many have it after each further wave, in numbers or percent; what is
    /// left has it in a last one
    #[arg(long, value_name = "SHARES", value_delimiter = ',', default_value = "10%,50%")]
    then: Vec<Share>,
    /// The time between two waves
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration)]
    pause: Duration,
    /// So many nodes may fail; with one more all go back
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    max_failures: u32,
    /// How long each node watches the version before it counts as good
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = humantime::parse_duration)]
    watch: Duration,
    /// How long a node may take, its watch not counted
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    node_timeout: Duration,
    /// How long nodes that are away are waited for
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    wait: Duration,
    /// How many nodes fetch and prepare the version at the same time
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    at_once: u32,
    /// Try the version again on nodes where it did badly before
    #[arg(long)]
    again: bool,
    /// Do not keep the version as what these nodes are to have: nodes that are away,
    /// or join later, do not get it
    #[arg(long)]
    once: bool,
    /// Only show which nodes would have their turn when
    #[arg(long)]
    dry_run: bool,
    /// Follow the rollout until it is over
    #[arg(long, conflicts_with = "dry_run")]
    follow: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn run(start: &Start) -> Result<Exit, Failure> {
    let session = start.address.connect().await?;
    let started: RolloutDetail =
        request(&session, procedures::ROLLOUT_START, &start.wish()).await?;
    if start.json {
        output::json(&started)?;
    } else if start.dry_run {
        output::answer(&plan(&started))?;
    } else {
        output::note(&in_words(&started));
    }
    if start.follow {
        return watch::follow(&start.address, session, started.rollout.id.0, start.json).await;
    }
    session.close().await;
    Ok(Exit::Done)
}

impl Start {
    fn wish(&self) -> RolloutStart {
        let (plugin, version) = name_and_version(&self.plugin);
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let plan = RolloutPlan {
            to: self.to.clone(),
            canary: self.canary,
            then: self.then.clone(),
            pause_ms: ms(self.pause),
            max_failures: self.max_failures,
            watch_ms: ms(self.watch),
            node_ms: ms(self.node_timeout),
            away_ms: ms(self.wait),
            at_once: self.at_once,
            again: self.again,
            keep: !self.once,
        };
        RolloutStart {
            plugin: plugin.to_owned(),
            version: version.map(str::to_owned),
            plan,
            dry_run: self.dry_run,
        }
    }
}

fn in_words(RolloutDetail { rollout, nodes, .. }: &RolloutDetail) -> String {
    let (target, id, waves) = (&rollout.target, rollout.id, rollout.waves.len());
    format!(
        "rollout {id}: {}@{} for {} in {}; `drover rollout watch {id}` follows it",
        target.plugin,
        target.version,
        counted(nodes.len(), "node"),
        counted(waves, "wave")
    )
}

/// A number with its noun.
pub(super) fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Which nodes would have their turn when.
fn plan(RolloutDetail { rollout, nodes, .. }: &RolloutDetail) -> String {
    let rows = nodes.iter().map(|node| {
        let state = match &node.before {
            _ if !node.is_here => "away",
            Some(hash) if *hash == rollout.target.hash => "has it already",
            Some(_) => "has another version",
            None => "does not have the plugin",
        };
        [(node.wave + 1).to_string(), node.node.to_string(), node.name.clone(), state.to_owned()]
    });
    render::table(&["wave", "node", "name", "state"], rows)
}
