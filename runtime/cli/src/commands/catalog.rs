//! `drover catalog`: the plugins that a controller gives to nodes.

mod change;
mod diff;
mod list;
mod push;
mod restate;
mod state;
mod vouch;

use clap::{Args, Subcommand};
use drover_api::{CatalogDetail, CatalogName, CatalogPlugin, procedures};
use drover_wamp::Client;

use crate::controller::request;
use crate::exit::{Exit, Failure};

const EXAMPLES: &str = "\
Examples:
    drover catalog push hello.wasm --key release.key --channel edge
    drover catalog list
    drover catalog diff hello 1.2.0 1.3.0
    drover catalog channel hello stable 1.3.0 --key release.key
    drover catalog yank hello 1.2.0 --reason 'loses files' --key release.key
    drover catalog sign --key release.key";

/// Stores plugins on the controller and says which of them are current. The
/// controller has no key: what nodes go by is signed here.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Catalog {
    #[command(subcommand)]
    command: CatalogCommand,
}

#[derive(Debug, Subcommand)]
enum CatalogCommand {
    /// Store a plugin on the controller
    Push(Box<push::Push>),
    /// List the plugins, their versions and channels
    List(list::List),
    /// Show all that is known of a version
    Show(list::Show),
    /// Show what differs between two versions: operations, schemas, asks
    Diff(diff::Diff),
    /// Have a channel stand for a version
    Channel(change::Channel),
    /// List the channels of a plugin
    Channels(list::Channels),
    /// Withdraw a version, or take that back
    Yank(change::Yank),
    /// Sign what is in the catalog and what is current, after a look at it
    Sign(state::Sign),
}

pub(crate) fn run(catalog: Catalog) -> Result<Exit, Failure> {
    // A plugin that is pushed is run to describe itself, beside the session.
    let runtime = super::daemon::runtime()?;
    match catalog.command {
        CatalogCommand::Push(command) => runtime.block_on(push::run(&command)),
        CatalogCommand::List(command) => runtime.block_on(list::list(&command)),
        CatalogCommand::Show(command) => runtime.block_on(list::show(&command)),
        CatalogCommand::Diff(command) => runtime.block_on(diff::run(&command)),
        CatalogCommand::Channel(command) => runtime.block_on(change::channel(&command)),
        CatalogCommand::Channels(command) => runtime.block_on(list::channels(&command)),
        CatalogCommand::Yank(command) => runtime.block_on(change::yank(&command)),
        CatalogCommand::Sign(command) => runtime.block_on(state::sign(&command)),
    }
}

async fn list(session: &Client) -> Result<Vec<CatalogPlugin>, Failure> {
    request(session, procedures::CATALOG_LIST, &()).await
}

/// All that is known of a version, by number or channel; the newest if there
/// is none.
async fn detail(
    session: &Client,
    name: &str,
    version: Option<&str>,
) -> Result<CatalogDetail, Failure> {
    let name = CatalogName { name: name.to_owned(), version: version.map(str::to_owned) };
    request(session, procedures::CATALOG_SHOW, &name).await
}

/// What is meant by `NAME` or `NAME@VERSION`.
pub(super) fn name_and_version(text: &str) -> (&str, Option<&str>) {
    match text.split_once('@') {
        Some((name, version)) => (name, Some(version)),
        None => (text, None),
    }
}
