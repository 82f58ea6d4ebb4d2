//! `drover job list`, `show` and `wait`.

use clap::Args;
use drover_api::{
    JobCounts, JobId, JobList, JobQuery, JobState, NodeJob, NodeStatus, Submission,
    SubmissionDetail, Timestamp, procedures,
};
use drover_wamp::Client;

use super::{State, ask, exit_of, interrupts, wait_for};
use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{controller, output, render};

/// Lists what was submitted, the newest first, with how many jobs are in which state.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those in this state
    #[arg(long, ignore_case = true)]
    state: Option<State>,
    /// Only those of this operation
    #[arg(long, value_name = "OPERATION")]
    cmd: Option<String>,
    /// Only those that have a job on this node
    #[arg(long)]
    node: Option<String>,
    /// Only those of this submitter
    #[arg(long, value_name = "WHO")]
    by: Option<String>,
    /// Only those of this schedule
    #[arg(long, value_name = "NAME")]
    schedule: Option<String>,
    /// Only those submitted so long ago or later, such as 1d
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    since: Option<std::time::Duration>,
    /// How many
    #[arg(long, value_name = "NUMBER", default_value_t = 50)]
    limit: u32,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// Shows a submission: on each node the state of its job, since when and why.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The submission, or one of its jobs
    id: JobId,
    /// Only jobs in this state
    #[arg(long, ignore_case = true)]
    state: Option<State>,
    /// Show all that became of each job, not only the last of it
    #[arg(long)]
    history: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// Waits until all jobs of a submission have ended. The exit status says whether all
/// are OK.
#[derive(Debug, Args)]
pub(super) struct Wait {
    /// The submission, or one of its jobs
    id: JobId,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn list(list: &List) -> Result<Exit, Failure> {
    let session = list.address.connect().await?;
    let node = match &list.node {
        Some(node) => {
            let nodes = controller::nodes(&session).await?;
            Some(controller::find(&nodes, node)?.description.id())
        }
        None => None,
    };
    let ago = |wait: std::time::Duration| {
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        Timestamp(Timestamp::now().0.saturating_sub(wait))
    };
    let wanted = JobList {
        state: list.state.map(JobState::from),
        cmd: list.cmd.clone(),
        node,
        by: list.by.clone(),
        schedule: list.schedule.clone(),
        since: list.since.map(ago),
        limit: Some(list.limit),
    };
    let found: Vec<Submission> = ask(&session, procedures::JOB_LIST, &wanted).await?;
    session.close().await;
    if list.json {
        output::json(&found)?;
    } else if found.is_empty() {
        output::note("nothing; `drover job submit` submits something");
    } else {
        let header = ["id", "operation", "nodes", "state", "jobs", "by", "submitted"];
        output::answer(&render::table(&header, found.iter().map(row)))?;
    }
    Ok(Exit::Done)
}

fn row(submission: &Submission) -> [String; 7] {
    let Submission { id, cmd, nodes, by, time, state, counts, .. } = submission;
    [
        id.to_string(),
        cmd.clone(),
        shortened(nodes),
        state_text(*state).to_owned(),
        counts_in_words(counts),
        by.clone(),
        render::ago(*time),
    ]
}

/// A selector that names many nodes one by one.
fn shortened(text: &str) -> String {
    const MOST: usize = 40;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

pub(super) fn state_text(state: JobState) -> &'static str {
    match state {
        JobState::Queued => "QUEUED",
        JobState::Running => "RUNNING",
        JobState::Ok => "OK",
        JobState::Error => "ERROR",
        JobState::Timeout => "TIMEOUT",
        JobState::Killed => "KILLED",
    }
}

/// Such as `997 ok, 3 error`.
fn counts_in_words(counts: &JobCounts) -> String {
    let JobCounts { queued, running, ok, error, timeout, killed } = *counts;
    let all = [
        (ok, "ok"),
        (error, "error"),
        (timeout, "timeout"),
        (killed, "killed"),
        (running, "running"),
        (queued, "queued"),
    ];
    let some = all.into_iter().filter(|(count, _)| *count > 0);
    some.map(|(count, word)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

/// A submission in a line.
pub(super) fn in_words(submission: &Submission) -> String {
    let Submission { id, state, counts, .. } = submission;
    format!("{id}: {} ({})", state_text(*state), counts_in_words(counts))
}

pub(super) async fn show(show: &Show) -> Result<Exit, Failure> {
    let session = show.address.connect().await?;
    let detail = detail(&session, &show.id, show.state.map(JobState::from)).await?;
    let nodes = controller::nodes(&session).await?;
    session.close().await;
    if show.json {
        output::json(&detail)?;
        return Ok(Exit::Done);
    }
    let SubmissionDetail { submission, request, jobs, .. } = &detail;
    let mut text = format!("{}\n", in_words(submission));
    text += &format!(
        "{} on `{}`, submitted {} by {}\n",
        submission.cmd,
        submission.nodes,
        render::ago(submission.time),
        submission.by
    );
    if let Some(schedule) = &submission.schedule {
        text += &format!("by the schedule {schedule}\n");
    }
    if !request.command.args.is_empty() {
        text += &format!("with {}\n", serde_json::to_string(&request.command.args)?);
    }
    output::answer(&text)?;
    if show.history {
        let rows = jobs.iter().flat_map(|job| {
            job.transitions.iter().map(|step| {
                let time = humantime::format_rfc3339_millis(
                    std::time::UNIX_EPOCH + std::time::Duration::from_millis(step.time.0),
                );
                let state = state_text(step.state).to_owned();
                [name(&nodes, job), time.to_string(), state, step.reason.clone()]
            })
        });
        output::answer(&render::table(&["node", "time", "state", "why"], rows))?;
    } else {
        let header = ["node", "state", "attempt", "since", "why"];
        output::answer(&render::table(&header, jobs.iter().map(|job| job_row(&nodes, job))))?;
    }
    Ok(Exit::Done)
}

fn job_row(nodes: &[NodeStatus], job: &NodeJob) -> [String; 5] {
    let last = job.last();
    [
        name(nodes, job),
        state_text(job.state).to_owned(),
        job.attempt.to_string(),
        last.map(|last| render::ago(last.time)).unwrap_or_default(),
        last.map(|last| last.reason.clone()).unwrap_or_default(),
    ]
}

/// What the node of a job is called.
pub(super) fn name(nodes: &[NodeStatus], job: &NodeJob) -> String {
    let node = nodes.iter().find(|node| node.description.id() == job.node);
    node.map_or_else(|| job.node.to_string(), |node| node.description.name.clone())
}

/// All of a submission, however many nodes it is for.
pub(super) async fn detail(
    session: &Client,
    id: &JobId,
    state: Option<JobState>,
) -> Result<SubmissionDetail, Failure> {
    let mut query = JobQuery { state, ..JobQuery::new(id.clone()) };
    let mut all: SubmissionDetail = ask(session, procedures::JOB_SHOW, &query).await?;
    while let Some(after) = all.next.take() {
        query.after = Some(after);
        let page: SubmissionDetail = ask(session, procedures::JOB_SHOW, &query).await?;
        all.jobs.extend(page.jobs);
        all.next = page.next;
    }
    Ok(all)
}

pub(super) async fn wait(wait: &Wait) -> Result<Exit, Failure> {
    let session = wait.address.connect().await?;
    let mut interrupts = interrupts()?;
    let Some(ended) = wait_for(&session, &wait.id, &mut interrupts).await? else {
        return Ok(Exit::Cancelled);
    };
    session.close().await;
    match wait.json {
        true => output::json(&ended)?,
        false => output::answer(&in_words(&ended))?,
    }
    Ok(exit_of(ended.state))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_name_only_what_there_is() {
        let counts = JobCounts { ok: 997, error: 3, ..JobCounts::default() };
        assert_eq!(counts_in_words(&counts), "997 ok, 3 error");
    }

    #[test]
    fn a_long_selector_is_shortened_between_letters() {
        assert_eq!(shortened("web"), "web");
        assert_eq!(shortened(&"ä".repeat(50)), format!("{}…", "ä".repeat(40)));
    }
}
