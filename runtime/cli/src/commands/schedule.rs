//! `drover schedule`: what the controller submits again and again.

use std::time::{Duration, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};
use drover_api::{
    Missed, Overlap, Schedule as Wanted, ScheduleName, ScheduleStatus, Timestamp, procedures,
};
use drover_wamp::Client;

use super::call::milliseconds;
use super::job::{Plan, ask};
use crate::address::Address;
use crate::arguments::Arguments;
use crate::exit::{Exit, Failure};
use crate::{controller, output, render};

const EXAMPLES: &str = "\
Examples:
    drover schedule add nightly 'web,eu' backup.run path=/srv --cron '30 4 * * *' \\
        --timezone Europe/Berlin --spread 20m --attempts 3
    drover schedule add disks '*' sysinfo.disk --every 10m
    drover schedule list
    drover job list --schedule nightly
    drover schedule pause nightly";

/// Has the controller submit durable jobs again and again, by the clock.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Schedule {
    #[command(subcommand)]
    command: ScheduleCommand,
}

#[derive(Debug, Subcommand)]
enum ScheduleCommand {
    /// Add a schedule, or have one of this name be so
    Add(Box<Add>),
    /// List the schedules, with when they come next
    List(List),
    /// Show a schedule
    Show(One),
    /// Have a schedule submit nothing until it is resumed
    Pause(One),
    /// Have a schedule go on; what came meanwhile is left out
    Resume(One),
    /// Remove a schedule; what it has submitted goes on
    Remove(One),
}

/// Adds a schedule, or has one of this name be so from now on. What is submitted is
/// as with `drover job submit`.
#[derive(Debug, Args)]
struct Add {
    /// What the schedule is called
    name: String,
    /// The nodes, as of the time of each submission: a label, a name, an id, or an
    /// expression
    selector: String,
    /// The operation: <plugin>.<operation>, or one of the host's own commands
    #[arg(value_name = "OPERATION")]
    cmd: String,
    #[command(flatten)]
    arguments: Arguments,
    /// When: minute, hour, day, month, weekday; six fields have seconds before them
    #[arg(long, value_name = "PATTERN", required_unless_present = "every")]
    cron: Option<String>,
    /// The time zone of the pattern, such as Europe/Berlin; UTC without it
    #[arg(long, value_name = "ZONE", requires = "cron")]
    timezone: Option<String>,
    /// The time between two submissions, such as 10m, from now on
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    #[arg(conflicts_with = "cron")]
    every: Option<Duration>,
    /// What is done about times at which the controller was not there
    #[arg(long, value_name = "WHAT", default_value = "once")]
    missed: MissedTimes,
    /// What is done while the last submission has not ended
    #[arg(long, value_name = "WHAT", default_value = "skip")]
    overlap: Overlapping,
    #[command(flatten)]
    plan: Plan,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// What is done about times that have passed unnoticed.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum MissedTimes {
    /// Nothing
    Skip,
    /// One submission for all of them
    Once,
    /// One for each, the last 100 of them; those that would overlap are left out, unless
    /// --overlap allow
    All,
}

/// What is done while the last submission has not ended.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Overlapping {
    /// This time is left out
    Skip,
    /// It is submitted beside the other
    Allow,
    /// Nodes are told to end the other before they are given this one
    Replace,
}

/// Lists the schedules.
#[derive(Debug, Args)]
struct List {
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// One schedule.
#[derive(Debug, Args)]
struct One {
    /// What it is called
    name: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

pub(crate) fn run(schedule: Schedule) -> Result<Exit, Failure> {
    let runtime = controller::runtime()?;
    match schedule.command {
        ScheduleCommand::Add(command) => runtime.block_on(add(*command)),
        ScheduleCommand::List(command) => runtime.block_on(list(&command)),
        ScheduleCommand::Show(one) => runtime.block_on(change(&one, procedures::SCHEDULE_SHOW)),
        ScheduleCommand::Pause(one) => runtime.block_on(change(&one, procedures::SCHEDULE_PAUSE)),
        ScheduleCommand::Resume(one) => runtime.block_on(change(&one, procedures::SCHEDULE_RESUME)),
        ScheduleCommand::Remove(one) => runtime.block_on(change(&one, procedures::SCHEDULE_REMOVE)),
    }
}

async fn add(add: Add) -> Result<Exit, Failure> {
    let arguments = add.arguments.with_input()?;
    let session = add.address.connect().await?;
    let submit = add.plan.request(&session, &add.selector, add.cmd, &arguments).await?;
    let schedule = Wanted {
        name: add.name,
        cron: add.cron,
        timezone: add.timezone,
        every_ms: add.every.map(milliseconds),
        submit,
        missed: match add.missed {
            MissedTimes::Skip => Missed::Skip,
            MissedTimes::Once => Missed::Once,
            MissedTimes::All => Missed::All,
        },
        overlap: match add.overlap {
            Overlapping::Skip => Overlap::Skip,
            Overlapping::Allow => Overlap::Allow,
            Overlapping::Replace => Overlap::Replace,
        },
    };
    let status: ScheduleStatus = ask(&session, procedures::SCHEDULE_ADD, &schedule).await?;
    session.close().await;
    show(&[status], add.json)
}

async fn list(list: &List) -> Result<Exit, Failure> {
    let session = list.address.connect().await?;
    let found: Vec<ScheduleStatus> = ask(&session, procedures::SCHEDULE_LIST, &()).await?;
    session.close().await;
    if list.json {
        output::json(&found)?;
        return Ok(Exit::Done);
    }
    if found.is_empty() {
        output::note("no schedules; `drover schedule add` adds one");
        return Ok(Exit::Done);
    }
    show(&found, false)
}

async fn change(one: &One, procedure: &str) -> Result<Exit, Failure> {
    let session = one.address.connect().await?;
    let status = named(&session, &one.name, procedure).await?;
    session.close().await;
    show(&[status], one.json)
}

async fn named(session: &Client, name: &str, procedure: &str) -> Result<ScheduleStatus, Failure> {
    ask(session, procedure, &ScheduleName { name: name.to_owned() }).await
}

fn show(statuses: &[ScheduleStatus], as_json: bool) -> Result<Exit, Failure> {
    if as_json {
        statuses.iter().try_for_each(output::json)?;
        return Ok(Exit::Done);
    }
    let header = ["name", "when", "operation", "nodes", "next", "last"];
    output::answer(&render::table(&header, statuses.iter().map(row)))?;
    for status in statuses {
        if let Some(reason) = status.last.as_ref().and_then(|last| last.reason.as_ref()) {
            output::note(&format!("{}: {reason}", status.schedule.name));
        }
    }
    Ok(Exit::Done)
}

fn row(status: &ScheduleStatus) -> [String; 6] {
    let ScheduleStatus { schedule, is_paused, next, last, .. } = status;
    let when = match (&schedule.cron, schedule.every_ms) {
        (Some(pattern), _) => {
            format!("{pattern} ({})", schedule.timezone.as_deref().unwrap_or("UTC"))
        }
        (None, Some(every)) => {
            format!("every {}", humantime::format_duration(Duration::from_millis(every)))
        }
        (None, None) => String::new(),
    };
    let next = match (is_paused, next.first()) {
        (true, _) => "PAUSED".to_owned(),
        (false, Some(_)) => next.iter().map(|time| clock(*time)).collect::<Vec<_>>().join(", "),
        (false, None) => "never".to_owned(),
    };
    let last = last.as_ref().map_or_else(
        || "-".to_owned(),
        |last| match &last.reason {
            None => render::ago(last.time),
            Some(_) => format!("{}, left out", render::ago(last.time)),
        },
    );
    let nodes = schedule.submit.nodes.clone();
    [schedule.name.clone(), when, schedule.submit.command.cmd.clone(), nodes, next, last]
}

/// A time, in UTC.
fn clock(time: Timestamp) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(time.0)).to_string()
}
