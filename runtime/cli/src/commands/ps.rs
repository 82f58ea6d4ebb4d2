//! `drover ps`: what nodes run.

use clap::Args;
use serde_json::json;

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::jobs::{self, Job};
use crate::{controller, output, render};

const EXAMPLES: &str = "\
Examples:
    drover ps
    drover ps web-1 --json";

/// Lists the jobs of nodes that run programs, or wait to: of one node, or of all
/// that are present.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Ps {
    /// The node, by name or id; all that are present without it
    node: Option<String>,
    /// Print a JSON array, with all that is known of each job
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

pub(crate) fn run(ps: &Ps) -> Result<Exit, Failure> {
    let answers = controller::runtime()?.block_on(async {
        let session = ps.address.connect().await?;
        let nodes = controller::nodes(&session).await?;
        let wanted = match &ps.node {
            Some(wanted) => vec![controller::find_present(&nodes, wanted)?],
            None => nodes.iter().collect(),
        };
        let answers = jobs::of_nodes(&session, &wanted).await;
        session.close().await;
        Ok::<_, Failure>(answers)
    })?;
    let mut jobs: Vec<(String, Job)> = Vec::new();
    let mut failure = None;
    for (node, answer) in answers {
        match answer {
            Ok(listed) => {
                let node = node.description.name;
                jobs.extend(listed.into_iter().map(|job| (node.clone(), job)));
            }
            Err(error) if ps.node.is_some() => return Err(error),
            // The others are shown all the same.
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    if ps.json {
        let json = jobs.iter().map(|(node, job)| {
            let mut json = serde_json::to_value(job)?;
            json["node"] = json!(node);
            Ok(json)
        });
        output::json(&json.collect::<serde_json::Result<Vec<_>>>()?)?;
    } else if jobs.is_empty() {
        output::note("no jobs; `drover exec NODE -- PROGRAM` runs one");
    } else {
        output::answer(&render::table(
            &["node", "job", "name", "state", "pid", "since", "runs", "cpu", "rss"],
            jobs.iter().map(|(node, job)| row(node, job)),
        ))?;
    }
    failure.map_or(Ok(Exit::Done), Err)
}

fn row(node: &str, job: &Job) -> [String; 9] {
    let none = || "-".to_owned();
    [
        node.to_owned(),
        job.id.clone(),
        render::job_name(&job.domain, &job.name),
        job.phase.clone(),
        job.pid.map_or_else(none, |pid| pid.to_string()),
        job.since.map_or_else(none, render::ago),
        job.runs.to_string(),
        job.usage.map_or_else(none, |usage| format!("{:.1}%", usage.cpu)),
        job.usage.map_or_else(none, |usage| render::bytes(usage.rss)),
    ]
}
