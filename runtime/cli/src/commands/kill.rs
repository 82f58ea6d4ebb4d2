//! `drover kill`: ends programs on a node.

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{controller, output};

const EXAMPLES: &str = "\
Examples:
    drover kill web-1 019aa5b5-7d1c-7b52-9d4c-6a0f3c1d2e4f
    drover kill web-1 startup.shop
    drover kill web-1 --all

Ends with status 1 if a process is left, which only the kernel can bring about.";

/// Ends a job of a node for good, with all processes that it has started, and
/// says which there were: TERM first, KILL for those that are still there after
/// the grace of the job. `drover ps` lists the jobs.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Kill {
    /// The node, by name or id
    node: String,
    /// The job, by its id
    #[arg(required_unless_present = "all")]
    job: Option<String>,
    /// End all jobs; those that are remembered start again
    #[arg(long, conflicts_with = "job")]
    all: bool,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// What a node tells of a job that was ended.
#[derive(Debug, Deserialize)]
struct Killed {
    id: String,
    found: Vec<Found>,
    killed: bool,
    left: Vec<Found>,
}

#[derive(Debug, Deserialize)]
struct Found {
    pid: u32,
    name: String,
}

pub(crate) fn run(kill: &Kill) -> Result<Exit, Failure> {
    let answer: Value = controller::runtime()?.block_on(async {
        let session = kill.address.connect().await?;
        let nodes = controller::nodes(&session).await?;
        let node = controller::find_present(&nodes, &kill.node)?;
        let (cmd, arguments) = match &kill.job {
            Some(job) => ("process.kill", json!({ "id": job })),
            None => ("process.killall", json!({})),
        };
        let answer = controller::ask(&session, node, cmd, &arguments).await?;
        session.close().await;
        Ok::<_, Failure>(answer)
    })?;
    let reports = if kill.all { answer.clone() } else { Value::Array(vec![answer.clone()]) };
    let reports: Vec<Killed> = serde_json::from_value(reports)?;
    if kill.json {
        output::json(&answer)?;
    } else if reports.is_empty() {
        output::answer("there was nothing to end")?;
    }
    for report in reports.iter().filter(|_| !kill.json) {
        output::answer(&report.in_words())?;
    }
    let is_clean = reports.iter().all(|report| report.left.is_empty());
    Ok(if is_clean { Exit::Done } else { Exit::Failed })
}

impl Killed {
    fn in_words(&self) -> String {
        let list = |found: &[Found]| {
            let names = found.iter().map(|found| format!("{} ({})", found.name, found.pid));
            names.collect::<Vec<_>>().join(", ")
        };
        let Self { id, found, killed, left } = self;
        let how = if *killed { "; TERM was not enough" } else { "" };
        if !left.is_empty() {
            return format!("job {id}: STILL THERE: {}{how}", list(left));
        }
        match found.is_empty() {
            true => format!("job {id} ended: no process of it was running"),
            false => format!("job {id} ended: {}{how}; nothing is left", list(found)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_there_was_and_what_is_left() {
        let found = |pid| Found { pid, name: "sh".to_owned() };
        let report = |found, killed, left| Killed { id: "j".to_owned(), found, killed, left };
        for (report, text) in [
            (report(vec![], false, vec![]), "job j ended: no process of it was running"),
            (
                report(vec![found(7), found(8)], true, vec![]),
                "job j ended: sh (7), sh (8); TERM was not enough; nothing is left",
            ),
            (
                report(vec![found(7)], true, vec![found(7)]),
                "job j: STILL THERE: sh (7); TERM was not enough",
            ),
        ] {
            assert_eq!(report.in_words(), text);
        }
    }
}
