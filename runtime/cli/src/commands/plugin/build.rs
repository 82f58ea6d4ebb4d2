//! `drover plugin build`: from a project to the one file that is the plugin.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use drover_api::OperationKind;
use drover_plugin_host::Inspection;

use super::project::{Built, MANIFEST, Project, ProjectFlags};
use super::write_whole;
use crate::exit::{Exit, Failure};
use crate::{output, render};

/// Builds the plugin of a project with cargo, puts the manifest into it if it
/// has none, has a host look at it as an agent would, and says what it asks for.
#[derive(Debug, Args)]
pub(super) struct Build {
    #[command(flatten)]
    project: ProjectFlags,
    /// Where to write the plugin; by default its name, in the project
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) async fn run(command: &Build) -> Result<Exit, Failure> {
    let project = Project::open(&command.project)?;
    let built = project.build().await?;
    let name = format!("{}.wasm", built.name);
    let target = command.output.clone().unwrap_or_else(|| project.dir.join(&name));
    check(&built, &project.dir)?;
    copy(&built, &target)?;
    let shown = near(&target);
    output::answer(&summary(&built.inspection, &shown))?;
    if target.file_name().is_some_and(|file| file != name.as_str()) {
        output::note(&format!("an agent wants this plugin in a file called {name}"));
    }
    Ok(Exit::Done)
}

/// Refuses what an agent would refuse, with the file to change.
pub(super) fn check(built: &Built, dir: &Path) -> Result<(), Failure> {
    let Some(reason) = &built.inspection.refusal else { return Ok(()) };
    let mut message = format!(
        "`{}` builds, and an agent would refuse it: {reason}\n{} is where it says what it asks for",
        built.name,
        near(&dir.join(MANIFEST)).display()
    );
    if !reason.contains(MANIFEST) {
        message.truncate(message.rfind('\n').unwrap_or(message.len()));
    }
    for (import, callers) in &built.inspection.callers {
        let callers = callers.join(", ");
        message.push_str(&format!(
            "\n{import} is there because of {callers}: do without it, or without the feature of \
             its crate that brings it"
        ));
    }
    Err(Failure::text(Exit::Failed, message))
}

/// Puts the plugin where it is wanted.
pub(super) fn copy(built: &Built, target: &Path) -> Result<(), Failure> {
    let bytes =
        fs::read(&built.file).with_context(|| format!("cannot read {}", built.file.display()))?;
    Ok(write_whole(target, &bytes)?)
}

/// A path as people in the present folder would write it.
pub(super) fn near(path: &Path) -> PathBuf {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    here.ok().and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path).to_owned()
}

fn summary(inspection: &Inspection, file: &Path) -> String {
    let Inspection { name, manifest, operations, .. } = inspection;
    let version = manifest.version.as_ref().map(|version| format!(" {version}"));
    let mut text = format!(
        "{name}{} is in {}, {}\n",
        version.unwrap_or_default(),
        file.display(),
        render::bytes(inspection.size_bytes)
    );
    for operation in operations {
        let kind = match operation.kind {
            OperationKind::Task => "task",
            OperationKind::Service => "service",
        };
        let line = operation.doc.lines().next().unwrap_or_default();
        text.push_str(&format!("    {name}.{}  ({kind})  {line}\n", operation.name));
    }
    for format in &inspection.formats {
        let line = format.doc.lines().next().unwrap_or_default();
        text.push_str(&format!("    {name}.{}  (log lines)  {line}\n", format.name));
    }
    let asked = manifest.asks.describe();
    match asked.is_empty() {
        true => text.push_str("asks for nothing\n"),
        false => text.push_str("asks for\n"),
    }
    for (what, reason) in asked {
        text.push_str(&format!("    {what}: {reason}\n"));
    }
    text
}
