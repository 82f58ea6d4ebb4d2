//! `drover audit`: who did what.

use clap::{Args, Subcommand};
use drover_api::{AuditEntry, AuditQuery, AuditVerdict, procedures};
use jiff::Timestamp;

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{access, output, render};

/// Shows and checks the controller's audit log: who did what, from where, to what,
/// and what came of it.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: AuditCommand,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Show what was done, the newest last
    List(List),
    /// Check that no line was changed, moved or taken out
    Verify(Verify),
}

#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    address: Address,
    /// Show at most so many
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    limit: u32,
    /// Only what this one did
    #[arg(long, value_name = "NAME")]
    who: Option<String>,
    /// Only what has this text in what was done, or on what
    #[arg(long, value_name = "TEXT")]
    what: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Checks every line. The hash that it prints stands for all of them: kept
/// elsewhere, it proves later that none of these lines is another one.
#[derive(Debug, Args)]
struct Verify {
    #[command(flatten)]
    address: Address,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: &Audit) -> Result<Exit, Failure> {
    match &command.command {
        AuditCommand::List(command) => list(command),
        AuditCommand::Verify(command) => verify(command),
    }
}

fn list(command: &List) -> Result<Exit, Failure> {
    let query = AuditQuery {
        limit: Some(command.limit),
        who: command.who.clone(),
        what: command.what.clone(),
    };
    let entries: Vec<AuditEntry> = access::ask(&command.address, procedures::AUDIT_LIST, &query)?;
    if command.json {
        output::json(&entries)?;
        return Ok(Exit::Done);
    }
    let header = ["line", "time", "who", "role", "from", "what", "on", "result"];
    output::answer(&render::table(&header, entries.iter().map(row)))?;
    Ok(Exit::Done)
}

fn row(entry: &AuditEntry) -> [String; 8] {
    let time = i64::try_from(entry.time.0).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    [
        entry.number.to_string(),
        time.map_or_else(String::new, |time| time.to_string()),
        entry.who.clone(),
        entry.role.clone(),
        entry.from.clone(),
        entry.what.clone(),
        entry.on.clone(),
        entry.result.clone().unwrap_or_else(|| "not known yet".to_owned()),
    ]
}

fn verify(command: &Verify) -> Result<Exit, Failure> {
    let verdict: AuditVerdict = access::ask(&command.address, procedures::AUDIT_VERIFY, &())?;
    if command.json {
        output::json(&verdict)?;
    } else {
        let files =
            if verdict.files > 1 { format!(" in {} files", verdict.files) } else { String::new() };
        output::answer(&format!("{} lines{files}, hash {}", verdict.lines, verdict.head))?;
    }
    match verdict.fault {
        None => Ok(Exit::Done),
        Some(fault) => {
            let text =
                format!("the audit log is not as it was written: {fault}; the lines before it are");
            Err(Failure::text(Exit::Failed, text))
        }
    }
}
