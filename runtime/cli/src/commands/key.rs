//! `drover key`: keys that sign plugins and the catalog.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};
use drover_signing::{PublicKey, generate};

use crate::exit::{Exit, Failure};
use crate::output;
use crate::signing_key::Password;

/// Makes and shows the keys that sign plugins and the catalog. Their files are
/// those of minisign, which can use them as well
#[derive(Debug, Args)]
pub(crate) struct Key {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, Subcommand)]
enum KeyCommand {
    /// Make a key: FILE has its secret half, FILE with the ending .pub the public one
    New(New),
    /// Show the public half of a key
    Show(Show),
}

/// Makes a key. Whoever has the secret half and its password can have every
/// node run what they like that trusts the public half.
#[derive(Debug, Args)]
struct New {
    /// Where the secret half is to be, such as release.key
    file: PathBuf,
    /// Do without a password: whoever reads the file can sign
    #[arg(long, conflicts_with = "password_file")]
    no_password: bool,
    #[command(flatten)]
    password: Password,
}

/// Shows the public half of a key, as configurations have it.
#[derive(Debug, Args)]
struct Show {
    /// The file of either half
    file: PathBuf,
    #[command(flatten)]
    password: Password,
}

pub(crate) fn run(command: &Key) -> Result<Exit, Failure> {
    match &command.command {
        KeyCommand::New(command) => new(command),
        KeyCommand::Show(command) => show(command),
    }
}

fn new(command: &New) -> Result<Exit, Failure> {
    let secret_file = &command.file;
    let public_file = secret_file.with_extension("pub");
    for file in [secret_file, &public_file] {
        if file.exists() || *secret_file == public_file {
            let message = format!(
                "{} is there already, or would be both halves: name another file",
                file.display()
            );
            return Err(Failure::text(Exit::Usage, message));
        }
    }
    let password = match command.no_password {
        true => None,
        false => Some(command.password.choose()?),
    };
    let (public, secret) = generate(password.as_deref())?;
    write_new(secret_file, &secret, 0o600)?;
    write_new(&public_file, &public.to_text(), 0o644)?;
    output::answer(&public.to_string())?;
    let name = secret_file.file_stem().unwrap_or_default().to_string_lossy();
    output::note(&format!(
        "{} is the secret half: keep it, and a copy, where nobody else reads it\n\
         controllers and agents trust its signatures with\n    \
         [trusted_keys.{name}]\n    public_key = \"{public}\"",
        secret_file.display()
    ));
    Ok(Exit::Done)
}

fn show(command: &Show) -> Result<Exit, Failure> {
    let shown = command.file.display();
    let text = fs::read_to_string(&command.file)
        .with_context(|| format!("cannot read the key {shown}"))?;
    let public = match text.parse::<PublicKey>() {
        Ok(public) => public,
        Err(_) => command.password.open(&command.file)?.public_key(),
    };
    output::answer(&public.to_string())?;
    output::note(&format!("its number, which signatures name, is {}", public.id()));
    Ok(Exit::Done)
}

/// Writes a file that was not there.
fn write_new(file: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
    let write = || {
        let mut new = OpenOptions::new().write(true).create_new(true).mode(mode).open(file)?;
        new.write_all(text.as_bytes())?;
        new.sync_all()
    };
    write().with_context(|| format!("cannot write {}", file.display()))
}
