//! `drover catalog push`: a plugin, or the agent's own program, on its way to the
//! controller.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use clap::Args;
use drover_api::{
    CatalogAdd, CatalogDetail, CatalogWrite, CatalogWritten, LogFormat, OWN_PROGRAM, Octets,
    Operation, procedures,
};
use drover_signing::SecretKey;
use drover_wamp::Client;

use super::super::plugin::{Cache, inspect_with_everything};
use super::super::sign::{claim_of, manifest, read, signature, signature_of};
use super::restate::{self, Change};
use super::state::Signer;
use crate::address::Address;
use crate::controller::request;
use crate::exit::{Exit, Failure};
use crate::{output, render};

/// What programs begin with.
const PROGRAM: &[u8] = b"\x7fELF";

/// How much goes at a time: well below what any controller takes as a message.
const PIECE: usize = 256 << 10;

/// Stores a plugin on the controller: looks at it as an agent would, signs it
/// if there is a key, and sends what the controller does not have yet. Sent once
/// more, it goes on where it was interrupted. The program `drover` itself becomes a
/// version of `agent`: it is run to ask for its version.
#[derive(Debug, Args)]
pub(super) struct Push {
    /// The component, with a version in its manifest; or the program
    file: PathBuf,
    /// File with the secret key: sign the plugin, and that the catalog has it
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A signature that was made before, by `drover sign` or `minisign -S`; by
    /// default FILE with .minisig after it
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    signature: Option<PathBuf>,
    /// A channel that is to stand for this version
    #[arg(long, value_name = "NAME")]
    channel: Option<String>,
    #[command(flatten)]
    signer: Signer,
    #[command(flatten)]
    cache: Cache,
    /// Print what the catalog has of it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn run(command: &Push) -> Result<Exit, Failure> {
    let content = read(&command.file)?;
    let plugin = match content.starts_with(PROGRAM) {
        true => describe_program(&command.file)?,
        false => describe(command, &content).await?,
    };
    let key = command.key.as_deref().map(|key| command.signer.open(key)).transpose()?;
    let add = add(command, &content, plugin, key.as_ref())?;

    let session = command.address.connect().await?;
    send(&session, &add, &content).await?;
    let detail: CatalogDetail = request(&session, procedures::CATALOG_ADD, &add).await?;
    let CatalogDetail { name, version, .. } = &detail;
    let shown = format!("{name}@{}", version.version);
    output::note(&format!(
        "the catalog has {shown}, {}, signed by `{}`",
        render::bytes(version.length),
        version.signed_by
    ));
    match &key {
        Some(key) => {
            let stated = restate::stated(version)?;
            let mut changes = vec![Change::Version { version: version.version.clone(), stated }];
            changes.extend(add.channel.clone().map(|channel| Change::Channel {
                channel,
                version: Some(version.version.clone()),
            }));
            command.signer.restate(&session, key, name, &changes).await?;
        }
        None => output::note(&format!(
            "nodes take {shown} when `drover catalog sign` has signed that it is there"
        )),
    }
    session.close().await;
    if command.json {
        output::json(&detail)?;
    }
    Ok(Exit::Done)
}

/// What the plugin is, and what it says of itself to a host that grants it all
/// that it asks for.
struct Described {
    name: String,
    version: String,
    operations: Vec<Operation>,
    formats: Vec<LogFormat>,
}

/// What the agent's own program is: it says so itself.
fn describe_program(file: &Path) -> Result<Described, Failure> {
    let path = fs::canonicalize(file);
    let path = path.with_context(|| format!("cannot read {}", file.display()))?;
    let said = Command::new(path).arg("--version").output();
    let said = said.with_context(|| {
        format!("cannot run {}: push it from a machine that it is for", file.display())
    })?;
    let said = String::from_utf8_lossy(&said.stdout);
    let Some(version) = said.trim().strip_prefix("drover ") else {
        let message = format!("{} is a program, and not drover", file.display());
        return Err(Failure::text(Exit::Usage, message));
    };
    Ok(Described {
        name: OWN_PROGRAM.to_owned(),
        version: version.to_owned(),
        operations: Vec::new(),
        formats: Vec::new(),
    })
}

async fn describe(command: &Push, content: &[u8]) -> Result<Described, Failure> {
    let file = &command.file;
    let manifest = manifest(file, content)?;
    let Some(version) = manifest.version.as_ref().map(ToString::to_string) else {
        let message = format!(
            "{} does not say which version it is: put `version` into its plugin.toml, and that \
             into it with `drover plugin pack`",
            file.display()
        );
        return Err(Failure::text(Exit::Usage, message));
    };
    let stem = || file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = manifest.name.as_ref().map_or_else(stem, |name| name.as_str().to_owned());
    // Under the name that it has on nodes, whatever its file is called here.
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let copy = scratch.path().join(format!("{name}.wasm"));
    fs::write(&copy, content).with_context(|| format!("cannot write {}", copy.display()))?;
    let any_file = scratch.path().join("any");
    fs::write(&any_file, "").context("cannot write a temporary file")?;
    let cache = &command.cache;
    let inspection = inspect_with_everything(cache, &name, &manifest, &copy, &any_file).await?;
    if let Some(reason) = &inspection.refusal {
        let message = format!("an agent would refuse {}: {reason}", file.display());
        return Err(Failure::text(Exit::Failed, message));
    }
    let (operations, formats) = (inspection.operations, inspection.formats);
    Ok(Described { name, version, operations, formats })
}

/// What is asked of the catalog.
fn add(
    command: &Push,
    content: &[u8],
    plugin: Described,
    key: Option<&SecretKey>,
) -> Result<CatalogAdd, Failure> {
    let Described { name, version, operations, formats } = plugin;
    let claim = claim_of(&name, &version, content);
    let signature = match key {
        Some(key) => signature(key, content, &claim.to_string())?,
        None => made_before(command)?,
    };
    Ok(CatalogAdd {
        name,
        version,
        hash: claim.hash.to_string(),
        length: claim.length,
        signature,
        operations,
        formats,
        channel: command.channel.clone(),
    })
}

fn made_before(command: &Push) -> Result<String, Failure> {
    let usual = || signature_of(&command.file);
    let path: PathBuf = command.signature.clone().unwrap_or_else(usual);
    if command.signature.is_none() && !Path::new(&path).exists() {
        let message = format!(
            "{} is not signed: use --key, or `drover sign` before (there is no {})",
            command.file.display(),
            path.display()
        );
        return Err(Failure::text(Exit::Usage, message));
    }
    let read = fs::read_to_string(&path);
    Ok(read.with_context(|| format!("cannot read the signature {}", path.display()))?)
}

/// Sends what the controller does not have yet.
async fn send(session: &Client, add: &CatalogAdd, content: &[u8]) -> Result<(), Failure> {
    let write = async |offset: u64, bytes: &[u8]| {
        let piece = CatalogWrite {
            hash: add.hash.clone(),
            length: add.length,
            offset,
            bytes: Octets(bytes.to_vec()),
        };
        let written: CatalogWritten = request(session, procedures::CATALOG_WRITE, &piece).await?;
        Ok::<u64, Failure>(written.offset)
    };
    let mut offset = write(0, &[]).await?;
    if offset > 0 && offset < add.length {
        output::note(&format!("going on after {}", render::bytes(offset)));
    }
    while offset < add.length {
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(content.len());
        let end = begin.saturating_add(PIECE).min(content.len());
        // Somebody else may send the same, and be ahead.
        offset = write(offset, &content[begin..end]).await?;
    }
    Ok(())
}
