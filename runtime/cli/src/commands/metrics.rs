//! `drover metrics`: what the programs count of themselves.

use clap::Args;
use drover_api::procedures;
use serde_json::json;

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{controller, output};

/// Shows what the controller counts of itself, or what a node does: jobs and how long
/// they take, queues, link, plugins, log, memory. It is the text that Prometheus reads
/// at /metrics and /metrics/nodes/NODE of the controller's port.
#[derive(Debug, Args)]
pub(crate) struct Metrics {
    /// The node, by name or id; without one the controller
    node: Option<String>,
    #[command(flatten)]
    address: Address,
}

pub(crate) fn run(command: &Metrics) -> Result<Exit, Failure> {
    controller::runtime()?.block_on(async {
        let session = command.address.connect().await?;
        let text = match &command.node {
            Some(name) => {
                let nodes = controller::nodes(&session).await?;
                let node = controller::find_present(&nodes, name)?;
                controller::ask(&session, node, "agent.metrics", &json!({})).await?
            }
            None => controller::request::<String>(&session, procedures::METRICS, &()).await?,
        };
        session.close().await;
        output::answer(&text)?;
        Ok(Exit::Done)
    })
}
