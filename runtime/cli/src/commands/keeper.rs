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
}

pub(crate) fn run(command: &Keeper) -> Result<Exit, Failure> {
    drover_agent::run_keeper(&command.dir)?;
    Ok(Exit::Done)
}

/// This program, as the keeper of the process manager.
pub(crate) fn keeper() -> KeeperCommand {
    let program: &Path = &compile::compiler().program;
    KeeperCommand { program: program.to_path_buf(), args: vec!["keeper".to_owned()] }
}
