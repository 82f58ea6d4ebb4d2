//! `drover catalog channel` and `drover catalog yank`.

use std::path::PathBuf;

use clap::Args;
use drover_api::{CatalogSetChannel, CatalogYank, procedures};

use super::ask;
use super::restate::Change;
use super::state::Signer;
use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::output;

/// What is said when nodes do not hear of a change yet.
const UNSIGNED: &str = "nodes go by it when it is signed: `drover catalog sign`, or --key here";

/// Has a channel of a plugin stand for a version.
#[derive(Debug, Args)]
pub(super) struct Channel {
    /// The plugin
    name: String,
    /// The channel: `stable`, `edge`, or a name of your own
    channel: String,
    /// The version, or another channel whose version is meant
    #[arg(required_unless_present = "remove")]
    version: Option<String>,
    /// Remove the channel
    #[arg(long, conflicts_with = "version")]
    remove: bool,
    /// File with the secret key: sign the change too
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    signer: Signer,
    #[command(flatten)]
    address: Address,
}

/// Withdraws a version: no node begins to run it from then on, and no channel
/// can stand for it. Its content stays.
#[derive(Debug, Args)]
pub(super) struct Yank {
    /// The plugin
    name: String,
    /// The version
    version: String,
    /// Why, for those who look
    #[arg(long, default_value = "withdrawn")]
    reason: String,
    /// Take it back
    #[arg(long, conflicts_with = "reason")]
    undo: bool,
    /// File with the secret key: sign the change too
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    signer: Signer,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn channel(command: &Channel) -> Result<Exit, Failure> {
    let key = command.key.as_deref().map(|key| command.signer.open(key)).transpose()?;
    let session = command.address.connect().await?;
    let change = CatalogSetChannel {
        name: command.name.clone(),
        channel: command.channel.clone(),
        version: command.version.clone(),
    };
    let changed: CatalogSetChannel = ask(&session, procedures::CATALOG_CHANNEL, &change).await?;
    output::note(&match &changed.version {
        Some(version) => format!("{} is {}@{version}", changed.channel, changed.name),
        None => format!("{} has no channel {}", changed.name, changed.channel),
    });
    match &key {
        Some(key) => {
            let CatalogSetChannel { name, channel, version } = changed;
            let change = Change::Channel { channel, version };
            command.signer.restate(&session, key, &name, &[change]).await?;
        }
        None => output::note(UNSIGNED),
    }
    session.close().await;
    Ok(Exit::Done)
}

pub(super) async fn yank(command: &Yank) -> Result<Exit, Failure> {
    let key = command.key.as_deref().map(|key| command.signer.open(key)).transpose()?;
    let session = command.address.connect().await?;
    let yank = CatalogYank {
        name: command.name.clone(),
        version: command.version.clone(),
        reason: (!command.undo).then(|| command.reason.clone()),
    };
    let () = ask(&session, procedures::CATALOG_YANK, &yank).await?;
    let word = if command.undo { "no longer yanked" } else { "yanked" };
    output::note(&format!("{}@{} is {word}", yank.name, yank.version));
    match &key {
        Some(key) => {
            let change = Change::Yank { version: yank.version, is_yanked: !command.undo };
            command.signer.restate(&session, key, &yank.name, &[change]).await?;
        }
        None => output::note(UNSIGNED),
    }
    session.close().await;
    Ok(Exit::Done)
}
