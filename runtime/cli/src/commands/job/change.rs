//! `drover job kill` and `retry`.

use clap::Args;
use drover_api::{JobId, JobKill, JobKilled, JobQuery, JobState, JobSubmitted, procedures};

use super::{State, ask, submit};
use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::output;

/// Ends the jobs of a submission, or one job. Those that have not started never will;
/// those that run are ended by their nodes, now or when they are back.
#[derive(Debug, Args)]
pub(super) struct Kill {
    /// The submission, or one of its jobs
    id: JobId,
    /// Do not wait for nodes that are away to say that it has ended there
    #[arg(long)]
    force: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// Submits again, under a new id, what ended in ERROR, TIMEOUT or KILLED, for the
/// nodes where it did.
#[derive(Debug, Args)]
pub(super) struct Retry {
    /// The submission, or one of its jobs
    id: JobId,
    /// Only what ended in this state
    #[arg(long, ignore_case = true)]
    state: Option<State>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn kill(kill: &Kill) -> Result<Exit, Failure> {
    let session = kill.address.connect().await?;
    let wanted = JobKill { id: kill.id.clone(), force: kill.force };
    let killed: JobKilled = ask(&session, procedures::JOB_KILL, &wanted).await?;
    session.close().await;
    if kill.json {
        output::json(&killed)?;
        return Ok(Exit::Done);
    }
    let JobKilled { ended, told } = killed;
    output::answer(&match (ended, told) {
        (0, 0) => "there was nothing to end".to_owned(),
        (ended, 0) => format!("{ended} ended"),
        (ended, told) => format!("{ended} ended, and {told} to be ended by their nodes"),
    })?;
    Ok(Exit::Done)
}

pub(super) async fn retry(retry: &Retry) -> Result<Exit, Failure> {
    let session = retry.address.connect().await?;
    let state = retry.state.map(JobState::from);
    let wanted = JobQuery { state, ..JobQuery::new(retry.id.clone()) };
    let submitted: JobSubmitted = ask(&session, procedures::JOB_RETRY, &wanted).await?;
    session.close().await;
    submit::told(&submitted, retry.json)
}
