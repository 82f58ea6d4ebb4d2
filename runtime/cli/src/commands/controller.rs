//! `drover controller`: the controller that agents dial.

mod backup;
mod init;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use drover_controller::{Config, Ending};

use super::daemon;
use crate::exit::{Exit, Failure};
use crate::{config_file, output};

/// Runs a controller: prints the address it listens on, then serves agents
/// and operators until SIGINT or SIGTERM; SIGTERM lets calls end before.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Controller {
    #[command(flatten)]
    daemon: daemon::Daemon,
    #[command(subcommand)]
    command: Option<ControllerCommand>,
}

#[derive(Debug, Subcommand)]
enum ControllerCommand {
    /// Make all it takes to try one on a network: a certificate, a configuration, an
    /// admin
    Init(init::Init),
    /// Make one file of all that the controller keeps, while it runs
    Backup(backup::Backup),
    /// Make a controller's data directory of a backup
    Restore(backup::Restore),
}

pub(crate) fn run(command: &Controller) -> Result<Exit, Failure> {
    match &command.command {
        Some(ControllerCommand::Init(command)) => return init::run(command),
        Some(ControllerCommand::Backup(command)) => return backup::back_up(command),
        Some(ControllerCommand::Restore(command)) => return backup::restore(command),
        None => {}
    }
    let config = config_file::load(command.daemon.config.as_deref(), "controller", Config::parse)?;
    if command.daemon.print_config {
        output::answer(&config.to_toml())?;
        return Ok(Exit::Done);
    }
    command.daemon.settle_core_dumps();
    let format = command.daemon.start_log(config.log_format)?;
    let file = config_file::find(command.daemon.config.as_deref(), "controller");
    daemon::told(serve(config, file), format)
}

fn serve(config: Config, file: Option<PathBuf>) -> Result<Exit, Failure> {
    daemon::runtime()?.block_on(async {
        let ending = Ending::default();
        let controller = drover_controller::Controller::bind(config).await?.following(file);
        output::answer(&format!("listening on {}", controller.url()))?;
        let Ending { drain, stop } = ending.clone();
        daemon::until_signalled(drain, stop, controller.run(ending)).await?;
        Ok(Exit::Done)
    })
}
