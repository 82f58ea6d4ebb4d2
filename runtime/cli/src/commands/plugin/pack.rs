//! `drover plugin pack`: puts a manifest into a component, whatever language
//! it was written in.

use std::fs;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use drover_grants::{Manifest, embed};

use super::write_whole;
use crate::exit::{Exit, Failure};
use crate::output;

/// Puts a manifest into a component, in place of one that is there. What the
/// Rust SDK builds has one already.
#[derive(Debug, Args)]
pub(crate) struct Pack {
    /// The component
    file: PathBuf,
    /// The manifest
    #[arg(long, value_name = "FILE", default_value = "plugin.toml")]
    manifest: PathBuf,
    /// Where to write the plugin; may be the component itself
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn run(command: &Pack) -> Result<Exit, Failure> {
    let Pack { file, manifest: source, output: target } = command;
    let text = fs::read_to_string(source)
        .with_context(|| format!("cannot read the manifest {}", source.display()))?;
    let manifest = Manifest::from_toml(&text)
        .with_context(|| format!("the manifest {} is wrong", source.display()))?;
    let component =
        fs::read(file).with_context(|| format!("cannot read the component {}", file.display()))?;
    let packed =
        embed(&component, &manifest).with_context(|| format!("cannot pack {}", file.display()))?;
    write_whole(target, &packed)?;
    if let Some(name) = &manifest.name
        && target.file_stem().is_none_or(|stem| stem != name.as_str())
    {
        output::note(&format!("an agent wants this plugin in a file called {name}.wasm"));
    }
    Ok(Exit::Done)
}
