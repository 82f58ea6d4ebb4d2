//! `drover rollout`: a plugin version on its way over the nodes.

mod show;
mod start;
mod watch;

use clap::{Args, Subcommand};
use drover_api::{
    Rollout as Status, RolloutControl, RolloutDetail, RolloutId, RolloutOrder, procedures,
};
use drover_wamp::Client;

use crate::address::Address;
use crate::controller::{self, request};
use crate::exit::{Exit, Failure};
use crate::output;

const EXAMPLES: &str = "\
Examples:
    drover rollout start hello@1.3.0 --to 'web and not name=web-7' --canary 1 \\
        --then 10%,50% --pause 2m --max-failures 2 --follow
    drover rollout start hello@stable --to '*' --dry-run
    drover rollout list
    drover rollout watch 7
    drover rollout abort 7 --back";

/// Brings a plugin version to nodes, wave by wave. Each node watches the version and
/// falls back by itself if it does badly; a wave begins when the one before has
/// passed; past the limit of failures all nodes go back to what they had.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Rollout {
    #[command(subcommand)]
    command: RolloutCommand,
}

#[derive(Debug, Subcommand)]
enum RolloutCommand {
    /// Start a rollout, or show what it would do
    Start(Box<start::Start>),
    /// List the rollouts, the latest first
    List(show::List),
    /// Show a rollout and its nodes
    Show(show::Show),
    /// Show who did what in a rollout, and what happened
    History(show::History),
    /// Follow a rollout until it is over
    Watch(watch::Watch),
    /// Let no further node begin
    Pause(Which),
    /// Go on with a paused rollout
    Resume(Which),
    /// Give a rollout up; nodes keep what they have, or go back
    Abort(Abort),
}

/// Which rollout.
#[derive(Debug, Args)]
struct Which {
    /// Its number
    id: u64,
    #[command(flatten)]
    address: Address,
}

#[derive(Debug, Args)]
struct Abort {
    /// Have the nodes go back to what they had
    #[arg(long)]
    back: bool,
    #[command(flatten)]
    which: Which,
}

pub(crate) fn run(rollout: Rollout) -> Result<Exit, Failure> {
    controller::runtime()?.block_on(async {
        match rollout.command {
            RolloutCommand::Start(command) => start::run(&command).await,
            RolloutCommand::List(command) => show::list(&command).await,
            RolloutCommand::Show(command) => show::show(&command).await,
            RolloutCommand::History(command) => show::history(&command).await,
            RolloutCommand::Watch(command) => watch::run(&command).await,
            RolloutCommand::Pause(which) => control(&which, RolloutOrder::Pause).await,
            RolloutCommand::Resume(which) => control(&which, RolloutOrder::Resume).await,
            RolloutCommand::Abort(Abort { back: false, which }) => {
                control(&which, RolloutOrder::Abort).await
            }
            RolloutCommand::Abort(Abort { back: true, which }) => {
                control(&which, RolloutOrder::GoBack).await
            }
        }
    })
}

async fn control(which: &Which, order: RolloutOrder) -> Result<Exit, Failure> {
    let session = which.address.connect().await?;
    let control = RolloutControl { id: RolloutId(which.id), order };
    let rollout: Status = request(&session, procedures::ROLLOUT_CONTROL, &control).await?;
    session.close().await;
    output::note(&format!("rollout {}: {}", rollout.id, show::phase(&rollout)));
    Ok(Exit::Done)
}

/// All that is known of a rollout.
async fn detail(session: &Client, id: u64) -> Result<RolloutDetail, Failure> {
    let found: Option<RolloutDetail> =
        request(session, procedures::ROLLOUT_SHOW, &RolloutId(id)).await?;
    found.ok_or_else(|| {
        let message = format!("there is no rollout {id}; `drover rollout list` shows them");
        Failure::text(Exit::NotFound, message)
    })
}
