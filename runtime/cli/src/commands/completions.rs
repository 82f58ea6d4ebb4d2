//! `drover completions`: completions for a shell.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::exit::{Exit, Failure};
use crate::{Cli, output};

/// Prints completions for SHELL. For bash:
/// drover completions bash > ~/.local/share/bash-completion/completions/drover
#[derive(Debug, Args)]
pub(crate) struct Completions {
    shell: Shell,
}

pub(crate) fn run(command: &Completions) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Cli::command(), "drover", &mut script);
    output::answer(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}
