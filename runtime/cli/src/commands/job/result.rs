//! `drover job result`.

use clap::Args;
use drover_api::{JobId, JobQuery, JobResult, JobResults, JobState, NodeId, procedures};
use drover_wamp::Client;

use super::super::report;
use super::{State, ask, exit_of};
use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{controller, output};

/// Shows what each job of a submission answered, or why it did not; those that have
/// not ended are left out. The exit status says whether all that ended are OK.
#[derive(Debug, Args)]
pub(super) struct Results {
    /// The submission, or one of its jobs
    id: JobId,
    /// Only those in this state
    #[arg(long, ignore_case = true)]
    state: Option<State>,
    /// Print each result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn run(results: &Results) -> Result<Exit, Failure> {
    let session = results.address.connect().await?;
    let state = results.state.map(JobState::from);
    let exit = show(&session, &results.id, state, results.json).await?;
    session.close().await;
    Ok(exit)
}

/// Prints the results of a submission as they come.
pub(super) async fn show(
    session: &Client,
    id: &JobId,
    state: Option<JobState>,
    as_json: bool,
) -> Result<Exit, Failure> {
    let nodes = controller::nodes(session).await?;
    let name = |result: &JobResult| {
        let id = NodeId { gid: result.gid, nid: result.nid };
        let node = nodes.iter().find(|node| node.description.id() == id);
        node.map_or_else(|| id.to_string(), |node| node.description.name.clone())
    };
    let mut query = JobQuery { state, ..JobQuery::new(id.clone()) };
    let mut worst = Exit::Done;
    let mut count = 0;
    loop {
        let page: JobResults = ask(session, procedures::JOB_RESULT, &query).await?;
        let is_one = count == 0 && page.results.len() == 1 && page.next.is_none();
        for result in &page.results {
            count += 1;
            let name = name(result);
            if !is_one && !as_json {
                output::answer(&format!("{name}:"))?;
            }
            report::result(result, &format!("on node {name}"), as_json)?;
            if result.state != JobState::Ok {
                worst = exit_of(result.state);
            }
        }
        let Some(after) = page.next else { break };
        query.after = Some(after);
    }
    if count == 0 {
        output::note("there is no result yet; `drover job wait` waits for them");
    }
    Ok(worst)
}
