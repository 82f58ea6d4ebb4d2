//! `drover doctor`: looks whether a program can work here, and says what to do.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::daemon;
use crate::doctor::{self, Finding, State};
use crate::exit::{Exit, Failure};
use crate::{config_file, output};

/// What `--help` says in the end.
const EXIT: &str = "\
Exit status of this command:
    0  all is well
    1  something is to be seen to (warn)
    2  something does not work (FAIL)";

/// Checks configuration, rights, disk, clock, link, TLS, plugins and limits of an agent
/// or a controller of this host, whether it runs or not, and says the cure of what it
/// finds. Changes nothing; best run as the user of the program.
#[derive(Debug, Args)]
#[command(after_help = EXIT)]
pub(crate) struct Doctor {
    /// Whose; by default of those that have a configuration in /etc/drover, or else of
    /// the agent
    program: Option<Program>,
    /// Configuration file; without it the one in /etc/drover, or the defaults
    #[arg(long, value_name = "FILE", requires = "program")]
    config: Option<PathBuf>,
    /// Print the findings as JSON, with stable names of the checks
    #[arg(long)]
    json: bool,
}

/// A program that runs on hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Program {
    /// The agent of this host
    Agent,
    /// A controller
    Controller,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Controller => "controller",
        }
    }
}

pub(crate) fn run(command: &Doctor) -> Result<Exit, Failure> {
    let mut programs: Vec<_> = command.program.into_iter().collect();
    if programs.is_empty() {
        programs = vec![Program::Controller, Program::Agent];
        programs.retain(|program| config_file::find(None, program.name()).is_some());
    }
    if programs.is_empty() {
        programs.push(Program::Agent);
    }
    let mut told = Vec::new();
    for program in programs {
        let file = config_file::find(command.config.as_deref(), program.name());
        let found = daemon::runtime()?.block_on(async {
            match program {
                Program::Agent => doctor::agent(file.as_deref()).await,
                Program::Controller => doctor::controller(file.as_deref()).await,
            }
        });
        told.extend(found.into_iter().map(|finding| Told { program: program.name(), finding }));
    }
    match command.json {
        true => output::json(&told)?,
        false => show(&told)?,
    }
    Ok(match told.iter().map(|one| one.finding.state).max().unwrap_or(State::Ok) {
        State::Ok => Exit::Done,
        State::Warn => Exit::Failed,
        State::Fail => Exit::Program(2),
    })
}

/// A finding, about whom.
#[derive(Debug, Serialize)]
struct Told {
    program: &'static str,
    #[serde(flatten)]
    finding: Finding,
}

/// Below the program's name, if there are several.
fn show(told: &[Told]) -> std::io::Result<()> {
    let parts: Vec<_> = told.chunk_by(|one, next| one.program == next.program).collect();
    for part in &parts {
        if parts.len() > 1 {
            output::answer(&format!("{}:", part[0].program))?;
        }
        let findings: Vec<_> = part.iter().map(|one| &one.finding).collect();
        output::answer(&doctor::in_lines(&findings))?;
    }
    Ok(())
}
