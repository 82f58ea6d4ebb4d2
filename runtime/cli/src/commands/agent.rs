//! `drover agent`: the agent of this host, and the launcher of another version of it.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::Write as _;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use drover_agent::{After, Config, Ended, Ending, Join, Launcher, OwnProgram};
use drover_api::{JoinText, version};
use drover_wamp::Secret;
use rustix::process::{Signal, set_parent_process_death_signal};
use tokio_util::sync::CancellationToken;

use super::{compile, daemon, keeper};
use crate::exit::{Exit, Failure};
use crate::{config_file, open_files, output, secrets};

/// How often the launcher hears of the agent that it has started.
const BEAT: Duration = Duration::from_secs(1);

/// Runs the agent: dials the controller, loads the plugins of its directory,
/// and runs what operators call, until SIGINT or SIGTERM; SIGTERM lets jobs end
/// before. Told to restart, it ends with status 75: a service manager is to start it
/// again then.
#[derive(Debug, Args)]
pub(crate) struct Agent {
    #[command(flatten)]
    daemon: daemon::Daemon,
    /// Join the controller with this token of `drover node token`, or with the one in
    /// the file after an @; everybody on this host can read arguments, so better use a
    /// file or DROVER_JOIN. Of no effect once the agent has joined
    #[arg(long, value_name = "@FILE", env = "DROVER_JOIN", hide_env_values = true)]
    join: Option<Hidden>,
    /// Join the controller of the configuration by showing a code, which an admin
    /// approves. Of no effect once the agent has joined
    #[arg(long, conflicts_with = "join")]
    claim: bool,
    /// Find out whether this program could be the agent, and end
    #[arg(long, hide = true)]
    trial: bool,
    /// The launcher that has started this agent
    #[arg(long, hide = true, value_name = "PID", requires = "pushed")]
    launcher: Option<u32>,
    /// Which of the pushed versions this is
    #[arg(long, hide = true, value_name = "SHA256", requires = "launcher")]
    pushed: Option<String>,
}

/// A text on the command line that no message may show.
#[derive(Debug, Clone)]
struct Hidden(Secret);

impl From<String> for Hidden {
    fn from(text: String) -> Self {
        Self(Secret::new(text))
    }
}

pub(crate) fn run(command: &Agent) -> Result<Exit, Failure> {
    let config = config_file::load(command.daemon.config.as_deref(), "agent", Config::parse)?;
    if command.daemon.print_config {
        output::answer(&config.to_toml())?;
        return Ok(Exit::Done);
    }
    if command.trial {
        daemon::runtime()?.block_on(drover_agent::try_out(&config))?;
        return Ok(Exit::Done);
    }
    command.daemon.settle_core_dumps();
    let format = command.daemon.start_log(config.log_format)?;
    daemon::told(run_or_launch(command, config), format)
}

fn run_or_launch(command: &Agent, config: Config) -> Result<Exit, Failure> {
    if let Some(launcher) = command.launcher {
        end_with(launcher)?;
        return match serve(command, config, open_files::raise())? {
            Ended::ToHandOver => Ok(Exit::Program(drover_agent::HAND_OVER)),
            ended => Ok(exit(ended)),
        };
    }
    if !drover_agent::has_joined(&config)?
        && let Some(join) = command.join()?
        && !enrol(&config, &join)?
    {
        return Ok(Exit::Done);
    }
    if let Some(status) = launch(&config)? {
        return Ok(exit_of(status));
    }
    let open_files = open_files::raise();
    match serve(command, config, open_files)? {
        Ended::ToHandOver => {
            open_files::lower(open_files);
            Err(begin_anew().into())
        }
        ended => Ok(exit(ended)),
    }
}

/// Has the agent let in as a node; whether it was, and not stopped before.
fn enrol(config: &Config, join: &Join) -> Result<bool, Failure> {
    daemon::runtime()?.block_on(async {
        let stop = CancellationToken::new();
        let joining = async {
            tokio::select! {
                () = stop.cancelled() => Ok(false),
                joined = drover_agent::join(config, join, show) => joined.map(|()| true),
            }
        };
        // There is nothing to drain.
        daemon::until_signalled(stop.clone(), stop.clone(), joining).await
    })
}

/// Is the launcher as long as a version that was pushed is to run; gives back how the
/// last one has ended, unless the installed program is to run.
fn launch(config: &Config) -> Result<Option<ExitStatus>, Failure> {
    let launcher = Launcher::new(config, version())?;
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // The agent that is started ends with this thread.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.context("cannot start the runtime")?;
    while let Some(version) = launcher.choose()? {
        match runtime.block_on(launcher.run(&version, &arguments))? {
            After::Another => {}
            After::Ended(status) => return Ok(Some(status)),
        }
    }
    Ok(None)
}

/// Has this process killed when the launcher is.
fn end_with(launcher: u32) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .context("cannot be bound to the launcher")?;
    // It may have been killed before.
    anyhow::ensure!(std::os::unix::process::parent_id() == launcher, "the launcher is gone");
    Ok(())
}

/// Is the agent.
fn serve(command: &Agent, config: Config, open_files: Option<u64>) -> Result<Ended, Failure> {
    let keeper = keeper::keeper(open_files);
    let own = own_program(command)?;
    let is_launched = command.launcher.is_some();
    daemon::runtime()?.block_on(async {
        let ending = Ending::default();
        let agent = drover_agent::Agent::start(config, compile::compiler(), &keeper)?;
        let agent = agent.following(config_file::find(command.daemon.config.as_deref(), "agent"));
        let agent = agent.replaceable(own);
        let Ending { drain, stop } = ending.clone();
        let work = daemon::until_signalled(drain, stop, agent.run(ending));
        if !is_launched {
            return work.await;
        }
        tokio::select! {
            ended = work => ended,
            never = beat() => match never {},
        }
    })
}

fn own_program(command: &Agent) -> anyhow::Result<OwnProgram> {
    let mut trial: Vec<OsString> = vec!["agent".into(), "--trial".into()];
    if let Some(config) = &command.daemon.config {
        trial.extend(["--config".into(), config.into()]);
    }
    let pushed = command.pushed.as_deref().map(str::parse).transpose();
    Ok(OwnProgram { pushed: pushed.context("`--pushed` is no SHA-256")?, trial })
}

/// Tells the launcher that this agent is alive.
async fn beat() -> Infallible {
    let mut interval = tokio::time::interval(BEAT);
    loop {
        interval.tick().await;
        let mut output = std::io::stdout();
        // A launcher that is gone takes this process with it.
        let _ = writeln!(output, "alive").and_then(|()| output.flush());
    }
}

/// Begins this process anew, as it was started, with nothing left of the agent that it
/// was.
fn begin_anew() -> anyhow::Error {
    let installed = std::env::current_exe().ok().filter(|path| path.exists());
    // The link goes to this very program even if its file is gone.
    let program = installed.unwrap_or_else(|| PathBuf::from(Path::new("/proc/self/exe")));
    let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
    anyhow::Error::new(error).context(format!("cannot begin anew with {}", program.display()))
}

fn exit(ended: Ended) -> Exit {
    match ended {
        Ended::Stopped => Exit::Done,
        Ended::ToRestart | Ended::ToHandOver => Exit::Restart,
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or_else(|| Exit::signal(status.signal().unwrap_or_default()), Exit::Program)
}

impl Agent {
    /// How the agent is to join, if it is to.
    fn join(&self) -> Result<Option<Join>, Failure> {
        if self.claim {
            return Ok(Some(Join::Claim));
        }
        let Some(Hidden(given)) = &self.join else { return Ok(None) };
        let token = match given.reveal().strip_prefix('@') {
            Some(file) => secrets::in_file(Path::new(file))?,
            None => given.clone(),
        };
        let token: JoinText = token.reveal().parse().map_err(|error| {
            Failure::new(Exit::Usage, anyhow::Error::new(error).context("--join (or DROVER_JOIN)"))
        })?;
        Ok(Some(Join::Token(token)))
    }
}

fn show(code: &str) {
    // Nobody to tell is nothing to end for.
    let _ = output::answer(&format!("claim code {code}"));
    output::note(&format!("waiting for an admin: drover node approve {code}"));
}
