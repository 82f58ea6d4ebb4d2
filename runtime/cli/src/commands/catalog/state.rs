//! Statements: what the catalog has and what is current, signed.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use drover_api::{CatalogChanged, CatalogStatement, procedures};
use drover_signing::{PublicKey, SecretKey, Signature, Statement};
use drover_wamp::Client;
use jiff::Timestamp;

use super::restate::{self, Change, Plugins};
use super::{detail, list, vouch};
use crate::address::Address;
use crate::controller::request;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::signing_key::{Password, public_key};

/// Who signs a statement, and for how long it counts.
#[derive(Debug, Args)]
pub(super) struct Signer {
    #[command(flatten)]
    password: Password,
    /// How long nodes go by the statement; after that they take no updates
    /// until there is another one
    #[arg(long, value_name = "TIME", default_value = "30days", value_parser = humantime::parse_duration)]
    expires: Duration,
}

/// Signs what the catalog has and what is current there: shows what is
/// different from the statement that counts, and what of it no key that you know
/// has signed, asks, and hands the new one to the controller, which tells the nodes.
#[derive(Debug, Args)]
pub(super) struct Sign {
    /// File with the secret key, of `drover key new` or `minisign -G`
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    signer: Signer,
    /// The public key of somebody else whose plugins may be in it, or the file
    /// that it is in; may be given again and again
    #[arg(long, value_name = "KEY")]
    trust: Vec<String>,
    /// Sign without asking, if there is no doubt
    #[arg(short, long)]
    yes: bool,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn sign(command: &Sign) -> Result<Exit, Failure> {
    let key = command.signer.open(&command.key)?;
    let session = command.address.connect().await?;
    let plugins = restate::all(&list(&session).await?)?;
    let previous = current(&session).await?;
    // Of a statement that another key has signed only the serial is taken.
    let stated = match &previous {
        Some(previous) if previous.is_by(&key) => previous.statement.plugins.clone(),
        Some(previous) => {
            let by = &previous.signature;
            output::note(&format!("the statement that counts is by another key, {}", by.key_id()));
            Plugins::new()
        }
        None => Plugins::new(),
    };
    let differences = restate::differences(&stated, &plugins);
    if differences.is_empty() {
        output::note("nothing is different; the new statement counts for longer");
    } else {
        output::answer(&differences.join("\n"))?;
    }
    let mut keys = vec![key.public_key()];
    for text in &command.trust {
        keys.push(public_key(text)?);
    }
    let doubts = doubts(&session, &stated, &plugins, &keys).await?;
    doubts.iter().for_each(|doubt| output::note(doubt));
    if command.yes && !doubts.is_empty() {
        let message = "nothing is signed, as nobody looks at what is in doubt: use --trust, or \
                       look at it and leave --yes out";
        return Err(Failure::text(Exit::Failed, message));
    }
    if !command.yes && !is_agreed()? {
        output::note("nothing is signed");
        return Ok(Exit::Failed);
    }
    command.signer.state(&session, &key, previous.as_ref(), plugins).await?;
    session.close().await;
    Ok(Exit::Done)
}

/// The versions that came or changed, and are not known to be what one of
/// `keys` has signed.
async fn doubts(
    session: &Client,
    stated: &Plugins,
    plugins: &Plugins,
    keys: &[PublicKey],
) -> Result<Vec<String>, Failure> {
    let mut doubts = Vec::new();
    for (name, plugin) in plugins {
        let before = stated.get(name).map(|plugin| &plugin.versions);
        for (version, one) in &plugin.versions {
            let known = before.and_then(|versions| versions.get(version));
            if known.is_some_and(|known| known.hash == one.hash && known.length == one.length) {
                continue;
            }
            let detail = detail(session, name, Some(version)).await?;
            if let Some(doubt) = vouch::doubt(name, version, *one, &detail.signature, keys) {
                doubts.push(format!("DOUBT about {name}@{version}: {doubt}"));
            }
        }
    }
    Ok(doubts)
}

/// The statement that counts, as the controller has it.
pub(super) struct Current {
    pub(super) statement: Statement,
    pub(super) signature: Signature,
    bytes: String,
}

impl Current {
    /// Whether this key signed it; then one may build on what it says.
    pub(super) fn is_by(&self, key: &SecretKey) -> bool {
        key.public_key().verify(self.bytes.as_bytes(), &self.signature).is_ok()
    }
}

/// Asks for the statement that counts.
pub(super) async fn current(session: &Client) -> Result<Option<Current>, Failure> {
    let stated: Option<CatalogStatement> =
        request(session, procedures::CATALOG_STATEMENT, &()).await?;
    let Some(CatalogStatement { statement: bytes, signature }) = stated else { return Ok(None) };
    let statement = Statement::from_bytes(bytes.as_bytes())
        .context("the controller's statement cannot be used")?;
    let signature = signature.parse().context("the statement's signature cannot be used")?;
    Ok(Some(Current { statement, signature, bytes }))
}

impl Signer {
    pub(super) fn open(&self, key: &std::path::Path) -> Result<SecretKey, Failure> {
        self.password.open(key)
    }

    /// Signs what was stated before with changes to one plugin: nothing that
    /// the controller says of others gets a signature that way.
    pub(super) async fn restate(
        &self,
        session: &Client,
        key: &SecretKey,
        name: &str,
        changes: &[Change],
    ) -> Result<(), Failure> {
        let previous = current(session).await?;
        let stated = match &previous {
            Some(previous) if !previous.is_by(key) => {
                let message = format!(
                    "the statement that counts is by another key, {}: look at the whole catalog \
                     with `drover catalog sign`",
                    previous.signature.key_id()
                );
                return Err(Failure::text(Exit::Failed, message));
            }
            Some(previous) => previous.statement.plugins.clone(),
            None => Plugins::new(),
        };
        let plugins = restate::with(stated, name, changes);
        self.state(session, key, previous.as_ref(), plugins).await
    }

    /// Signs a statement and hands it to the controller.
    async fn state(
        &self,
        session: &Client,
        key: &SecretKey,
        previous: Option<&Current>,
        plugins: Plugins,
    ) -> Result<(), Failure> {
        let serial = previous.map(|previous| previous.statement.serial);
        let statement = restate::next(serial, plugins, Timestamp::now(), self.expires)
            .context("--expires is too far away")?;
        let bytes = statement.to_bytes();
        let comment = format!("drover-statement serial={}", statement.serial);
        let signature = key.sign(&bytes[..], &comment).context("cannot sign")?.to_string();
        let text = String::from_utf8(bytes).context("a statement is text")?;
        let signed = CatalogStatement { statement: text, signature };
        let stated: CatalogChanged = request(session, procedures::CATALOG_STATE, &signed).await?;
        output::note(&format!(
            "the statement {} counts until {}",
            stated.serial, statement.expires
        ));
        Ok(())
    }
}

fn is_agreed() -> Result<bool, Failure> {
    if !io::stdin().is_terminal() {
        let message = "nobody is there to agree: look at the lines above and add --yes";
        return Err(Failure::text(Exit::Usage, message));
    }
    let mut terminal = io::stderr().lock();
    write!(terminal, "sign this? [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
