//! `drover nodes`: who is there.

use clap::Args;
use drover_api::{NodeStatus, Presence};

use super::desired;
use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{controller, output, render};

/// Lists the nodes that the controller knows: whether they are present or
/// lost, since when, and how many plugins they have.
#[derive(Debug, Args)]
pub(crate) struct Nodes {
    /// Show only where a node does not have what it is to have, and what is done
    /// about that; ends with status 1 if there is such a node
    #[arg(long)]
    drift: bool,
    #[command(flatten)]
    address: Address,
    /// Print a JSON array, with all that is known of each node
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Nodes) -> Result<Exit, Failure> {
    if command.drift {
        return controller::runtime()?.block_on(async {
            let session = command.address.connect().await?;
            let exit = desired::drift(&session, command.json).await;
            session.close().await;
            exit
        });
    }
    let nodes = controller::ask_for_nodes(&command.address)?;
    if command.json {
        output::json(&nodes)?;
    } else if nodes.is_empty() {
        output::note("no node has joined this controller yet; start one with `drover agent`");
    } else {
        output::answer(&render::table(
            &["node", "name", "state", "since", "last seen", "plugins", "labels"],
            nodes.iter().map(row),
        ))?;
        for refused in nodes.iter().flat_map(refusals) {
            output::note(&refused);
        }
        for node in &nodes {
            if let Some(trouble) = &node.description.trouble {
                output::note(&format!("node {}: {trouble}", node.description.name));
            }
        }
    }
    Ok(Exit::Done)
}

fn row(node: &NodeStatus) -> [String; 7] {
    let plugins = node.description.plugins.iter().map(|plugin| plugin.name.as_str());
    let state = match node.presence {
        Presence::Present => "present",
        Presence::Lost => "lost",
    };
    [
        node.description.id().to_string(),
        node.description.name.clone(),
        state.to_owned(),
        render::ago(node.since),
        render::ago(node.last_seen),
        plugins.collect::<Vec<_>>().join(" "),
        node.description.labels.join(" "),
    ]
}

fn refusals(node: &NodeStatus) -> impl Iterator<Item = String> {
    node.description.refused.iter().map(|refused| {
        format!("node {} refused {}: {}", node.description.name, refused.file, refused.reason)
    })
}
