//! `drover agent`: the agent of this host.

use clap::Args;
use drover_agent::{Config, Ended};
use tokio_util::sync::CancellationToken;

use super::{compile, daemon, keeper};
use crate::exit::{Exit, Failure};
use crate::{config_file, open_files, output};

/// Runs the agent: dials the controller, loads the plugins of its directory,
/// and runs what operators call, until SIGINT or SIGTERM. Told to restart, it
/// ends with status 75: a service manager is to start it again then.
#[derive(Debug, Args)]
pub(crate) struct Agent {
    #[command(flatten)]
    daemon: daemon::Daemon,
}

pub(crate) fn run(command: &Agent) -> Result<Exit, Failure> {
    let config = config_file::load(command.daemon.config.as_deref(), "agent", Config::parse)?;
    if command.daemon.print_config {
        output::answer(&config.to_toml())?;
        return Ok(Exit::Done);
    }
    command.daemon.start_log()?;
    let keeper = keeper::keeper(open_files::raise());
    daemon::runtime()?.block_on(async {
        let stop = CancellationToken::new();
        let agent = drover_agent::Agent::start(config, compile::compiler(), &keeper)?;
        let agent = agent.following(config_file::find(command.daemon.config.as_deref(), "agent"));
        let ended = daemon::until_signalled(stop.clone(), agent.run(stop)).await?;
        Ok(match ended {
            Ended::Stopped => Exit::Done,
            Ended::ToRestart => Exit::Restart,
        })
    })
}
