//! `drover sign` and `drover verify`: detached signatures, in minisign's form.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use drover_api::Timestamp;
use drover_grants::{Manifest, read_manifest};
use drover_signing::{Claim, ContentHash, SecretKey, Signature};

use super::plugin::write_whole;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::signing_key::{Password, public_key};

/// What plugins begin with.
const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

/// Signs a plugin, or any other file. The signature of a plugin says in its
/// trusted comment which plugin and version it is; `minisign -V` checks it too.
#[derive(Debug, Args)]
pub(crate) struct Sign {
    /// The file
    file: PathBuf,
    /// File with the secret key, of `drover key new` or `minisign -G`
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    #[command(flatten)]
    password: Password,
    /// Where to write the signature; by default FILE with .minisig after it
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The plugin's name, where its manifest has none; its file's name by default
    #[arg(long)]
    name: Option<String>,
    /// The plugin's version, where its manifest has none
    #[arg(long)]
    version: Option<String>,
}

/// Checks the signature of a file, by `drover sign` or by `minisign -S`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The file
    file: PathBuf,
    /// The public key, or the file that it is in
    #[arg(long, value_name = "KEY")]
    key: String,
    /// The signature; by default FILE with .minisig after it
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
}

pub(crate) fn sign(command: &Sign) -> Result<Exit, Failure> {
    let content = read(&command.file)?;
    let comment = match claim(command, &content)? {
        Some(claim) => claim.to_string(),
        None => in_minisigns_words(&command.file),
    };
    let key = command.password.open(&command.key)?;
    let signature = signature(&key, &content, &comment)?;
    let output = command.output.clone().unwrap_or_else(|| signature_of(&command.file));
    write_whole(&output, signature.as_bytes())?;
    output::answer(&comment)?;
    Ok(Exit::Done)
}

pub(crate) fn verify(command: &Verify) -> Result<Exit, Failure> {
    let key = public_key(&command.key)?;
    let path = command.signature.clone().unwrap_or_else(|| signature_of(&command.file));
    let shown = path.display();
    let text = fs::read_to_string(&path)
        .with_context(|| format!("cannot read {shown} (--signature names another file)"))?;
    let signature: Signature =
        text.parse().with_context(|| format!("cannot use the signature {shown}"))?;
    let content = File::open(&command.file);
    let content = content.with_context(|| format!("cannot read {}", command.file.display()))?;
    key.verify(content, &signature)
        .with_context(|| format!("{} is not signed as {shown} says", command.file.display()))?;
    output::answer(signature.trusted_comment())?;
    output::note(&format!("the key {} has signed this", key.id()));
    Ok(Exit::Done)
}

/// Where the signature of a file is unless somebody says otherwise.
pub(super) fn signature_of(file: &Path) -> PathBuf {
    let mut path = file.as_os_str().to_owned();
    path.push(".minisig");
    path.into()
}

/// Reads a whole file.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The manifest of a component; an empty one if it has none.
pub(super) fn manifest(file: &Path, content: &[u8]) -> anyhow::Result<Manifest> {
    let manifest = read_manifest(io::Cursor::new(content));
    let manifest =
        manifest.with_context(|| format!("cannot read the manifest of {}", file.display()))?;
    Ok(manifest.unwrap_or_default())
}

/// The text of a signature.
pub(super) fn signature(key: &SecretKey, content: &[u8], comment: &str) -> anyhow::Result<String> {
    let signature = key.sign(content, comment).context("cannot sign")?;
    Ok(signature.to_string())
}

/// What content is: the claim of its signature.
pub(super) fn claim_of(name: &str, version: &str, content: &[u8]) -> Claim {
    Claim {
        name: name.to_owned(),
        version: version.to_owned(),
        hash: ContentHash::of(content),
        length: content.len() as u64,
    }
}

/// What the file is, as its manifest and the command line say.
fn claim(command: &Sign, content: &[u8]) -> Result<Option<Claim>, Failure> {
    let Sign { file, name, version, .. } = command;
    if !content.starts_with(COMPONENT) && name.is_none() && version.is_none() {
        return Ok(None);
    }
    let manifest = match content.starts_with(COMPONENT) {
        true => manifest(file, content)?,
        false => Manifest::default(),
    };
    let own_name = manifest.name.map(|name| name.as_str().to_owned());
    let own_version = manifest.version.map(|version| version.to_string());
    for (of, own, told) in [("name", &own_name, name), ("version", &own_version, version)] {
        if let (Some(own), Some(told)) = (own, told)
            && own != told
        {
            let message = format!(
                "{} says that its {of} is {own}, not {told}: leave --{of} out, or change the \
                 manifest with `drover plugin pack`",
                file.display()
            );
            return Err(Failure::text(Exit::Usage, message));
        }
    }
    let stem = || file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = own_name.or_else(|| name.clone()).unwrap_or_else(stem);
    let Some(version) = own_version.or_else(|| version.clone()) else {
        let message = format!(
            "{} does not say which version it is: give it one with `drover plugin pack`, or use \
             --version",
            file.display()
        );
        return Err(Failure::text(Exit::Usage, message));
    };
    Ok(Some(claim_of(&name, &version, content)))
}

/// What minisign says of a file that it signs.
fn in_minisigns_words(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    format!("timestamp:{}\tfile:{name}\thashed", Timestamp::now().0 / 1000)
}
