//! `drover catalog list`, `show` and `channels`.

use clap::Args;
use drover_api::{CatalogDetail, CatalogPlugin, CatalogVersion};
use drover_grants::Manifest;

use super::super::ops;
use super::{detail, name_and_version};
use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{output, render};

/// Lists the plugins of the catalog with their versions, newest first: which
/// channels stand for each, who signed it, who pushed it and when.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// Shows all that the catalog has of a version: its operations with their
/// arguments, what it asks for, its signature.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The plugin, NAME or NAME@VERSION, or NAME@CHANNEL; the newest version
    /// without one
    #[arg(value_name = "NAME[@VERSION]")]
    plugin: String,
    /// Print it as JSON, with schemas and signature
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// Lists the channels of a plugin, and the version that each stands for.
#[derive(Debug, Args)]
pub(super) struct Channels {
    /// The plugin
    name: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn list(command: &List) -> Result<Exit, Failure> {
    let session = command.address.connect().await?;
    let plugins = super::list(&session).await?;
    session.close().await;
    if command.json {
        output::json(&plugins)?;
        return Ok(Exit::Done);
    }
    if plugins.is_empty() {
        output::note("the catalog is empty; `drover catalog push` stores a plugin");
        return Ok(Exit::Done);
    }
    output::answer(&render::table(
        &["plugin", "version", "channels", "size", "signed by", "pushed by", "when", "sha256"],
        plugins.iter().flat_map(rows),
    ))?;
    for plugin in &plugins {
        for version in &plugin.versions {
            if let Some(reason) = &version.yanked {
                let what = format!("{}@{}", plugin.name, version.version);
                output::note(&format!("{what} was yanked: {reason}"));
            }
        }
    }
    Ok(Exit::Done)
}

pub(super) async fn show(command: &Show) -> Result<Exit, Failure> {
    let session = command.address.connect().await?;
    let (name, version) = name_and_version(&command.plugin);
    let detail = detail(&session, name, version).await?;
    session.close().await;
    match command.json {
        true => output::json(&detail)?,
        false => output::answer(&describe(&detail))?,
    }
    Ok(Exit::Done)
}

pub(super) async fn channels(command: &Channels) -> Result<Exit, Failure> {
    let session = command.address.connect().await?;
    // Says what there is if it is another name.
    detail(&session, &command.name, None).await?;
    let plugins = super::list(&session).await?;
    session.close().await;
    let plugin = plugins.into_iter().find(|plugin| plugin.name == command.name);
    let channels = plugin.map(|plugin| plugin.channels).unwrap_or_default();
    if command.json {
        output::json(&channels)?;
    } else if channels.is_empty() {
        output::note("no channels; `drover catalog channel` makes one");
    } else {
        let rows = channels.into_iter().map(|channel| [channel.name, channel.version]);
        output::answer(&render::table(&["channel", "version"], rows))?;
    }
    Ok(Exit::Done)
}

fn rows(plugin: &CatalogPlugin) -> Vec<[String; 8]> {
    let row = |version: &CatalogVersion| {
        let channels = plugin.channels.iter().filter(|one| one.version == version.version);
        let mut channels: Vec<_> = channels.map(|channel| channel.name.as_str()).collect();
        if version.yanked.is_some() {
            channels.push("YANKED");
        }
        let channels = if channels.is_empty() { "-".to_owned() } else { channels.join(", ") };
        [
            plugin.name.clone(),
            version.version.clone(),
            channels,
            render::bytes(version.length),
            version.signed_by.clone(),
            version.pushed_by.clone(),
            render::ago(version.pushed_at),
            version.hash.chars().take(12).collect(),
        ]
    };
    plugin.versions.iter().map(row).collect()
}

fn describe(detail: &CatalogDetail) -> String {
    let CatalogDetail { name, version, manifest, operations, formats, .. } = detail;
    let mut text = format!(
        "{name} {}: {} bytes, sha256 {}\n    signed by: {}\n    pushed by: {}, {}\n",
        version.version,
        version.length,
        version.hash,
        version.signed_by,
        version.pushed_by,
        render::ago(version.pushed_at)
    );
    if let Some(reason) = &version.yanked {
        text.push_str(&format!("    YANKED: {reason}\n"));
    }
    // A manifest of a later form is told by its own program.
    let manifest = serde_json::from_value::<Manifest>(manifest.clone()).unwrap_or_default();
    if !manifest.description.is_empty() {
        text.push_str(&format!("    description: {}\n", manifest.description));
    }
    text.push_str("\nasks for\n");
    let asked = manifest.asks.describe();
    if asked.is_empty() {
        text.push_str("    nothing\n");
    }
    for (what, reason) in asked {
        text.push_str(&format!("    {what}: {reason}\n"));
    }
    for operation in operations {
        let cmd = format!("{name}.{}", operation.name);
        text.push_str(&format!("\n{}", ops::describe(&cmd, &[], operation)));
    }
    for format in formats {
        text.push_str(&format!("\n{}", ops::describe_format(name, &[], format)));
    }
    text
}
