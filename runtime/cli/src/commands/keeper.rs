//! `drover keeper`: the parent of the agent's child processes. It outlives the
//! agent, so that nothing a child does is lost when the agent is killed.

use std::path::{Path, PathBuf};

use clap::Args;
use drover_agent::KeeperCommand;

use super::compile;
use crate::exit::{Exit, Failure};

/// Keeps the children of the agent that has started it.
#[derive(Debug, Args)]
pub(crate) struct Keeper {
    /// Where its socket is
    dir: PathBuf,
    /// How many files the children may open, if that is not what the keeper may
    #[arg(long, value_name = "N")]
    open_files: Option<u64>,
}

pub(crate) fn run(command: &Keeper) -> Result<Exit, Failure> {
    drover_agent::run_keeper(&command.dir, command.open_files)?;
    Ok(Exit::Done)
}

/// This program, as the keeper of the process manager. `open_files` is how many
/// files the children may open, if that is not what this process may.
pub(crate) fn keeper(open_files: Option<u64>) -> KeeperCommand {
    let program: &Path = &compile::compiler().program;
    let mut args = vec!["keeper".to_owned()];
    args.extend(open_files.map(|count| format!("--open-files={count}")));
    KeeperCommand { program: program.to_path_buf(), args }
}
