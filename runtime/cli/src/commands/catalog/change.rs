//! `drover catalog channel` and `drover catalog yank`.

use std::path::PathBuf;

use clap::Args;
use drover_api::{CatalogSetChannel, CatalogYank, procedures};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::restate::Change;
use super::state::Signer;
use crate::address::Address;
use crate::controller::request;
use crate::exit::{Exit, Failure};
use crate::output;

/// What is said when nodes do not hear of a change yet.
const UNSIGNED: &str = "nodes go by it when it is signed: `drover catalog sign`, or --key here";

/// Who signs a change, and where it is made.
#[derive(Debug, Args)]
struct Signing {
    /// File with the secret key: sign the change too
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    signer: Signer,
    #[command(flatten)]
    address: Address,
}

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
    #[command(flatten)]
    signing: Signing,
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
    #[command(flatten)]
    signing: Signing,
}

pub(super) async fn channel(command: &Channel) -> Result<Exit, Failure> {
    let wanted = CatalogSetChannel {
        name: command.name.clone(),
        channel: command.channel.clone(),
        version: command.version.clone(),
    };
    let made = |changed: CatalogSetChannel| {
        let CatalogSetChannel { name, channel, version } = changed;
        output::note(&match &version {
            Some(version) => format!("{channel} is {name}@{version}"),
            None => format!("{name} has no channel {channel}"),
        });
        Change::Channel { channel, version }
    };
    let (name, procedure) = (&command.name, procedures::CATALOG_CHANNEL);
    command.signing.make(name, procedure, &wanted, made).await
}

pub(super) async fn yank(command: &Yank) -> Result<Exit, Failure> {
    let yank = CatalogYank {
        name: command.name.clone(),
        version: command.version.clone(),
        reason: (!command.undo).then(|| command.reason.clone()),
    };
    let made = |()| {
        let word = if command.undo { "no longer yanked" } else { "yanked" };
        output::note(&format!("{}@{} is {word}", yank.name, yank.version));
        Change::Yank { version: yank.version.clone(), is_yanked: !command.undo }
    };
    command.signing.make(&yank.name, procedures::CATALOG_YANK, &yank, made).await
}

impl Signing {
    /// Makes a change of the plugin `name`, says so by `made`, and signs it if there is
    /// a key, which is opened before anything is changed.
    async fn make<T: DeserializeOwned>(
        &self,
        name: &str,
        procedure: &str,
        wanted: &impl Serialize,
        made: impl FnOnce(T) -> Change,
    ) -> Result<Exit, Failure> {
        let key = self.key.as_deref().map(|key| self.signer.open(key)).transpose()?;
        let session = self.address.connect().await?;
        let change = made(request(&session, procedure, wanted).await?);
        match &key {
            Some(key) => self.signer.restate(&session, key, name, &[change]).await?,
            None => output::note(UNSIGNED),
        }
        session.close().await;
        Ok(Exit::Done)
    }
}
