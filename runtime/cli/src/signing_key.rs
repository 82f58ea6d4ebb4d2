//! The key that signs, and its password.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use drover_signing::{PublicKey, SecretKey, StoredKey};

use crate::exit::{Exit, Failure};

/// The environment variable with the password of a key.
const PASSWORD: &str = "DROVER_KEY_PASSWORD";

/// Where the password of a key is. It is never an argument, which everybody on
/// the host could read.
#[derive(Debug, Default, Args)]
pub(crate) struct Password {
    /// File whose first line is the key's password; without it the one in
    /// DROVER_KEY_PASSWORD, else you are asked
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

impl Password {
    /// The password of a key that is to be made; asked for twice.
    pub(crate) fn choose(&self) -> Result<String, Failure> {
        if let Some(password) = self.given()? {
            return Ok(password);
        }
        let password = ask("Password for the new key: ")?;
        if ask("The same once more: ")? != password {
            return Err(Failure::text(Exit::Usage, "these are two passwords: try again"));
        }
        Ok(password)
    }

    /// Opens the secret key in a file.
    pub(crate) fn open(&self, file: &Path) -> Result<SecretKey, Failure> {
        let shown = file.display();
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read the key {shown}"))?;
        let stored = text.parse().with_context(|| format!("cannot use the key {shown}"))?;
        let locked = match stored {
            StoredKey::Open(key) => return Ok(key),
            StoredKey::Locked(locked) => locked,
        };
        let password = match self.given()? {
            Some(password) => password,
            None => ask(&format!("Password of {shown}: "))?,
        };
        let opened = locked.unlock(&password);
        Ok(opened.with_context(|| format!("cannot open the key {shown}"))?)
    }

    fn given(&self) -> Result<Option<String>, Failure> {
        let Some(file) = &self.password_file else { return Ok(std::env::var(PASSWORD).ok()) };
        let text = fs::read_to_string(file)
            .with_context(|| format!("cannot read the password in {}", file.display()))?;
        Ok(Some(text.lines().next().unwrap_or_default().to_owned()))
    }
}

fn ask(prompt: &str) -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        let message = format!(
            "the key has a password, and nobody is there to type it: use --password-file or \
             {PASSWORD}"
        );
        return Err(Failure::text(Exit::Usage, message));
    }
    Ok(rpassword::prompt_password(prompt).context("cannot ask for the password")?)
}

/// A public key, from the text of its line or the name of its file.
pub(crate) fn public_key(text: &str) -> Result<PublicKey, Failure> {
    if let Ok(key) = text.parse() {
        return Ok(key);
    }
    let read = fs::read_to_string(text)
        .with_context(|| format!("`{text}` is neither a public key nor a file with one"))?;
    Ok(read.parse().with_context(|| format!("cannot use the key in {text}"))?)
}
