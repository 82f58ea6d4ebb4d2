//! `drover controller backup` and `restore`: what a controller keeps, as one file.

use std::path::{Path, PathBuf};

use bytesize::ByteSize;
use clap::Args;
use drover_controller::{Config, Existing, Manifest, TlsKeys};

use crate::exit::{Exit, Failure};
use crate::{config_file, output};

/// Makes one file of all that the controller of this host keeps, while it runs or not:
/// jobs, schedules, rollouts, catalog, who may join, audit log. Only its owner may read
/// it. The log of the nodes and the configuration are not in it.
#[derive(Debug, Args)]
pub(crate) struct Backup {
    /// The file to make, or to check
    file: PathBuf,
    /// Configuration file of the controller; without it the one in /etc/drover, or the
    /// defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Have the certificate and the private key of [tls] in it as well
    #[arg(long)]
    tls_keys: bool,
    /// Make nothing: check that a backup is whole and as it was
    #[arg(long, conflicts_with_all = ["config", "tls_keys"])]
    verify: bool,
}

/// Makes a data directory of a backup. The controller that starts on it goes on where
/// the backup was made, and runs nothing that may have been run since.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The backup
    file: PathBuf,
    /// The directory to make: `data_dir` of the controller
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Move the directory aside if there is something in it
    #[arg(long)]
    force: bool,
}

pub(crate) fn back_up(command: &Backup) -> Result<Exit, Failure> {
    let Backup { file, config, tls_keys, verify } = command;
    if *verify {
        let manifest = drover_controller::verify(file)?;
        output::answer(&format!("{} is whole: {}", file.display(), in_words(&manifest)))?;
        return Ok(Exit::Done);
    }
    let config = config_file::load(config.as_deref(), "controller", Config::parse)?;
    let tls = if *tls_keys { TlsKeys::Included } else { TlsKeys::LeftOut };
    let manifest = drover_controller::back_up(&config, tls, file)?;
    output::answer(&format!("{}: {}", file.display(), in_words(&manifest)))?;
    Ok(Exit::Done)
}

pub(crate) fn restore(command: &Restore) -> Result<Exit, Failure> {
    let Restore { file, data_dir, force } = command;
    let existing = if *force { Existing::MoveAside } else { Existing::Refuse };
    let (manifest, aside) = drover_controller::restore(file, data_dir, existing)?;
    output::answer(&format!("{}: {}", data_dir.display(), in_words(&manifest)))?;
    output::note(&what_next(data_dir, aside.as_deref(), &manifest));
    Ok(Exit::Done)
}

fn in_words(manifest: &Manifest) -> String {
    let taken = jiff::Timestamp::from_millisecond(manifest.taken.0.cast_signed());
    let keys = if manifest.has_tls_keys { ", with the private key for TLS" } else { "" };
    format!(
        "{} files, {}, of {:.0} by drover {}{keys}",
        manifest.parts.len(),
        ByteSize::b(manifest.length()),
        taken.unwrap_or_default(),
        manifest.made_by,
    )
}

fn what_next(data_dir: &Path, aside: Option<&Path>, manifest: &Manifest) -> String {
    let aside = aside
        .map_or(String::new(), |aside| format!("what was there is in {} now\n", aside.display()));
    let keys = match manifest.has_tls_keys {
        true => format!("; `certificate` and `key` of [tls] are in {}/tls", data_dir.display()),
        false => String::new(),
    };
    format!(
        "{aside}start the controller with `data_dir = {data_dir:?}`, and without `jobs.dir` and \
         `catalog.dir`{keys}. Jobs that may have run since the backup are ERROR then: `drover job \
         list --state ERROR` shows them. Revoke again whom you have revoked since"
    )
}
