//! `drover plugin inspect`: what can be told of a plugin file.

use std::path::{Path, PathBuf};

use clap::Args;
use drover_grants::Manifest;
use drover_plugin_host::Inspection;

use super::super::ops;
use super::surroundings::Surroundings;
use crate::exit::{Exit, Failure};
use crate::{output, render};

/// Shows a plugin file: operations with their arguments, imports, size.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The component
    file: PathBuf,
    /// Print it as JSON, with the schemas
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    surroundings: Surroundings,
}

pub(super) async fn inspect(command: &Inspect) -> Result<Exit, Failure> {
    let host = command.surroundings.host(&command.file, None)?;
    let inspection = host.inspect(&command.file).await?;
    host.shutdown().await;
    if command.json {
        output::json(&inspection)?;
    } else {
        output::answer(&describe(&command.file, &inspection))?;
    }
    match inspection.refusal {
        None => Ok(Exit::Done),
        Some(reason) => {
            output::note(&format!("an agent refuses this plugin: {reason}"));
            Ok(Exit::Failed)
        }
    }
}

fn describe(file: &Path, inspection: &Inspection) -> String {
    let mut text = format!(
        "{} from {}: {} bytes, sha256 {}\n",
        inspection.name,
        file.display(),
        inspection.size_bytes,
        inspection.hash
    );
    let parts =
        inspection.parts.iter().map(|part| format!("{} {}", render::bytes(part.bytes), part.name));
    let parts = parts.collect::<Vec<_>>().join(", ");
    text.push_str(&format!("    {parts}\n"));
    text.push_str(&manifest(&inspection.manifest));
    text.push_str("\nimports\n");
    for name in &inspection.imports {
        let is_offered = !inspection.not_offered.contains(name);
        text.push_str(&format!("    {name}{}\n", if is_offered { "" } else { "  NOT OFFERED" }));
        for caller in inspection.callers.get(name).into_iter().flatten() {
            text.push_str(&format!("        {caller} leads to it\n"));
        }
    }
    text.push_str("\nexports\n");
    for name in &inspection.exports {
        text.push_str(&format!("    {name}\n"));
    }
    for operation in &inspection.operations {
        let cmd = format!("{}.{}", inspection.name, operation.name);
        text.push_str(&format!("\n{}", ops::describe(&cmd, &[], operation)));
    }
    for format in &inspection.formats {
        text.push_str(&format!("\n{}", ops::describe_format(&inspection.name, &[], format)));
    }
    text
}

/// What the plugin says of itself, a line each.
fn manifest(manifest: &Manifest) -> String {
    let Manifest { version, description, authors, license, min_host, asks, .. } = manifest;
    let mut text = String::new();
    let mut line = |what: &str, value: &str| {
        if !value.is_empty() {
            text.push_str(&format!("    {what}: {value}\n"));
        }
    };
    line("version", &version.as_ref().map(ToString::to_string).unwrap_or_default());
    line("description", description);
    line("authors", &authors.join(", "));
    line("license", license);
    line("needs", &min_host.as_ref().map(|host| format!("Drover {host}")).unwrap_or_default());
    text.push_str("\nasks for\n");
    let asked = asks.describe();
    if asked.is_empty() {
        text.push_str("    nothing\n");
    }
    for (what, reason) in asked {
        text.push_str(&format!("    {what}: {reason}\n"));
    }
    text
}
