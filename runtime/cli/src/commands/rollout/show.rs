//! `drover rollout list`, `show` and `history`, and rollouts in words.

use clap::Args;
use drover_api::{
    Rollout, RolloutDetail, RolloutNode, RolloutNodeState, RolloutNote, RolloutOutcome,
    RolloutPhase, Timestamp, procedures,
};

use super::Which;
use crate::address::Address;
use crate::controller::request;
use crate::exit::{Exit, Failure};
use crate::{output, render};

/// Lists the rollouts, the latest first: how far each is, and how its nodes do.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// Shows a rollout and each of its nodes, with the reason for those that failed.
#[derive(Debug, Args)]
pub(super) struct Show {
    #[command(flatten)]
    which: Which,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

/// Shows what happened in a rollout, when, and who did it.
#[derive(Debug, Args)]
pub(super) struct History {
    #[command(flatten)]
    which: Which,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn list(list: &List) -> Result<Exit, Failure> {
    let session = list.address.connect().await?;
    let rollouts: Vec<Rollout> = request(&session, procedures::ROLLOUT_LIST, &()).await?;
    session.close().await;
    if list.json {
        output::json(&rollouts)?;
    } else if rollouts.is_empty() {
        output::note("nothing was rolled out yet; `drover rollout start` does");
    } else {
        let head = ["rollout", "what", "state", "confirmed", "failed", "to", "by", "started"];
        output::answer(&render::table(&head, rollouts.iter().map(row)))?;
    }
    Ok(Exit::Done)
}

pub(super) async fn show(show: &Show) -> Result<Exit, Failure> {
    let session = show.which.address.connect().await?;
    let detail = super::detail(&session, show.which.id).await?;
    session.close().await;
    if show.json {
        output::json(&detail)?;
        return Ok(Exit::Done);
    }
    let RolloutDetail { rollout, nodes, .. } = &detail;
    let (target, plan) = (&rollout.target, &rollout.plan);
    output::answer(&format!(
        "{}@{} to `{}`, by {} {}\n{}\n\n{}",
        target.plugin,
        target.version,
        plan.to,
        rollout.by,
        render::ago(rollout.started),
        phase(rollout),
        render::table(&["wave", "node", "name", "state", "since", "why"], nodes.iter().map(line)),
    ))?;
    Ok(Exit::Done)
}

pub(super) async fn history(history: &History) -> Result<Exit, Failure> {
    let session = history.which.address.connect().await?;
    let detail = super::detail(&session, history.which.id).await?;
    session.close().await;
    match history.json {
        true => output::json(&detail.history)?,
        false => output::answer(&render::table(
            &["when", "who", "what"],
            detail.history.iter().map(|note| {
                let by = note.by.clone().unwrap_or_else(|| "-".to_owned());
                [time(note.time), by, note.text.clone()]
            }),
        ))?,
    }
    Ok(Exit::Done)
}

/// Something that happened, on a line of its own.
pub(super) fn note(note: &RolloutNote) -> String {
    let by = note.by.as_ref().map(|by| format!(" ({by})")).unwrap_or_default();
    format!("{} {}{by}", time(note.time), note.text)
}

/// A time of day with its date, as it is here.
fn time(time: Timestamp) -> String {
    let ms = i64::try_from(time.0).unwrap_or(i64::MAX);
    match jiff::Timestamp::from_millisecond(ms) {
        Ok(time) => {
            time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
        Err(_) => ms.to_string(),
    }
}

/// How far a rollout is, in words.
pub(super) fn phase(rollout: &Rollout) -> String {
    let wave = format!("wave {} of {}", rollout.wave + 1, rollout.waves.len());
    match &rollout.phase {
        RolloutPhase::Running => format!("{wave} is on"),
        RolloutPhase::Between { until } => {
            format!("{wave} has passed, the next begins in {}", render::until(*until))
        }
        RolloutPhase::Paused { .. } => format!("paused at {wave}"),
        RolloutPhase::GoingBack { reason } => format!("goes back: {reason}"),
        RolloutPhase::Ended { outcome, reason } => {
            let outcome = match outcome {
                RolloutOutcome::Done => "done",
                RolloutOutcome::RolledBack => "ROLLED BACK",
                RolloutOutcome::Aborted => "ABORTED",
            };
            match reason {
                Some(reason) => format!("{outcome}: {reason}"),
                None => outcome.to_owned(),
            }
        }
    }
}

fn row(rollout: &Rollout) -> [String; 8] {
    let (target, counts) = (&rollout.target, &rollout.counts);
    let all: u32 = rollout.waves.iter().sum();
    [
        rollout.id.to_string(),
        format!("{}@{}", target.plugin, target.version),
        phase(rollout),
        format!("{} of {all}", counts.confirmed),
        counts.failed.to_string(),
        rollout.plan.to.to_string(),
        rollout.by.clone(),
        render::ago(rollout.started),
    ]
}

fn line(node: &RolloutNode) -> [String; 6] {
    let state = match (node.state, node.step) {
        (RolloutNodeState::Waiting | RolloutNodeState::Interrupted, _) if !node.is_here => "away",
        (RolloutNodeState::Updating, Some(step)) => step.as_str(),
        (state, _) => state.as_str(),
    };
    [
        (node.wave + 1).to_string(),
        node.node.to_string(),
        node.name.clone(),
        state.to_owned(),
        render::ago(node.since),
        node.reason.clone().unwrap_or_default(),
    ]
}
