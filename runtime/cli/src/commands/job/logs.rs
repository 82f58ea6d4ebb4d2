//! `drover job logs`.

use clap::Args;
use drover_api::{JobId, NodeJob, NodeStatus, Presence, procedures};
use drover_logs::service::QueryArguments;
use drover_logs::store::{Page, StoredRecord};
use drover_wamp::{CallOptions, Client, Payload};

use super::{TIMEOUT, list};
use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::log_lines::LogLines;
use crate::{controller, output};

/// Records of one job that are shown, the newest.
const RECORDS: usize = 1000;

/// Shows what the jobs of a submission said: from the logs of their nodes, and for
/// nodes that are away from what they forwarded to the controller. `drover logs JOB`
/// has more ways to choose, for one of them.
#[derive(Debug, Args)]
pub(super) struct Logs {
    /// The submission, or one of its jobs
    id: JobId,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn run(logs: &Logs) -> Result<Exit, Failure> {
    let session = logs.address.connect().await?;
    let jobs = list::detail(&session, &logs.id, None).await?.jobs;
    let nodes = controller::nodes(&session).await?;
    let of = |job: &NodeJob| nodes.iter().find(|node| node.description.id() == job.node);
    let mut said: Vec<(String, StoredRecord)> = Vec::new();
    for job in &jobs {
        let name = list::name(&nodes, job);
        let node = of(job).filter(|node| node.presence == Presence::Present);
        match records(&session, node, &job.id).await {
            Ok(records) => said.extend(records.into_iter().map(|record| (name.clone(), record))),
            Err(failure) => output::note(&format!("node {name}: {:#}", failure.error)),
        }
    }
    session.close().await;
    said.sort_by_key(|(_, record)| record.time);
    let lines = LogLines::of_node(std::io::IsTerminal::is_terminal(&std::io::stdout()));
    let width = said.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    for (name, record) in &said {
        match jobs.len() {
            1 => output::answer(&lines.line(record))?,
            _ => output::answer(&format!("{name:width$}  {}", lines.line(record)))?,
        }
    }
    if said.is_empty() {
        output::note("the jobs said nothing");
    }
    Ok(Exit::Done)
}

/// What a job said, by the log of its node or by that of the controller.
async fn records(
    session: &Client,
    node: Option<&NodeStatus>,
    job: &JobId,
) -> Result<Vec<StoredRecord>, Failure> {
    let wanted = QueryArguments {
        job: Some(job.clone()),
        limit: Some(RECORDS),
        ..QueryArguments::default()
    };
    let page: Page = match node {
        Some(node) => {
            let wanted = serde_json::to_value(&wanted)?;
            controller::ask(session, node, "log.query", &wanted).await?
        }
        None => {
            let options = CallOptions::within(TIMEOUT);
            let wanted = Payload::keyword(&wanted)?;
            let answer = session.call(procedures::LOG_QUERY, wanted, options).await;
            let answer = answer.map_err(|error| controller::lost(error, "cannot read the log"))?;
            answer.first()?
        }
    };
    // The newest comes first.
    Ok(page.records.into_iter().rev().collect())
}
