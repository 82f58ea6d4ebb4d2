//! `drover plugin versions`: what the controller pushed to a node.

use clap::Args;
use drover_api::{KeptVersion, PluginVersions, UpdateOutcome, UpdateStep};
use serde_json::json;

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{controller, output, render};

/// Shows the plugin versions that were pushed to a node: which are kept and which
/// is active, who asked for each, how far an update is, and how the last one ended.
#[derive(Debug, Args)]
pub(super) struct Versions {
    /// The node, by name or id
    node: String,
    /// One plugin only
    name: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn run(versions: &Versions) -> Result<Exit, Failure> {
    let session = versions.address.connect().await?;
    let nodes = controller::nodes(&session).await?;
    let node = controller::find_present(&nodes, &versions.node)?;
    let arguments = versions.name.as_ref().map_or(json!({}), |name| json!({ "name": name }));
    let plugins: Vec<PluginVersions> =
        controller::ask(&session, node, "plugin.versions", &arguments).await?;
    session.close().await;
    if versions.json {
        output::json(&plugins)?;
        return Ok(Exit::Done);
    }
    let kept: Vec<_> = plugins.iter().flat_map(rows).collect();
    if kept.is_empty() {
        output::note("no version is kept: none was pushed to this node, or none was accepted");
    } else {
        let head = ["plugin", "version", "state", "by", "since", "bytes", "sha256"];
        output::answer(&render::table(&head, kept))?;
    }
    for plugin in &plugins {
        notes(plugin).iter().for_each(|note| output::note(note));
    }
    Ok(Exit::Done)
}

fn rows(plugin: &PluginVersions) -> impl Iterator<Item = [String; 7]> {
    plugin.versions.iter().rev().map(|kept: &KeptVersion| {
        let state = match (&kept.fault, kept.is_active) {
            (None, true) => "active",
            (Some(_), true) => "ACTIVE, BAD",
            (None, false) => "kept",
            (Some(_), false) => "BAD",
        };
        [
            plugin.name.clone(),
            kept.version.clone(),
            state.to_owned(),
            kept.by.clone().unwrap_or_else(|| "-".to_owned()),
            render::ago(kept.since),
            kept.length.to_string(),
            kept.hash.chars().take(12).collect(),
        ]
    })
}

/// What the rows of a plugin have no room for.
fn notes(plugin: &PluginVersions) -> Vec<String> {
    let name = &plugin.name;
    let mut notes: Vec<_> = plugin
        .versions
        .iter()
        .filter_map(|kept| {
            let fault = kept.fault.as_ref()?;
            Some(format!("{name} {} was bad: {fault}", kept.version))
        })
        .collect();
    if let Some(update) = &plugin.update {
        let version = &update.version;
        notes.push(match (update.step, &update.reason) {
            (UpdateStep::Held, Some(reason)) => format!("{name} {version} is held: {reason}"),
            (UpdateStep::Fetching, _) => format!(
                "{name} {version} is being fetched: {} of {} bytes",
                update.fetched, update.length
            ),
            (step, _) => format!("{name} {version} is on its way: {}", step.as_str()),
        });
    }
    if let Some(end) = &plugin.last {
        let (version, when) = (&end.version, render::ago(end.time));
        let reason = end.reason.as_deref().unwrap_or_default();
        notes.extend(match end.outcome {
            UpdateOutcome::FellBack => {
                let back = end.back_to.as_deref().unwrap_or("nothing");
                Some(format!("{name} fell back from {version} to {back} {when}: {reason}"))
            }
            UpdateOutcome::Refused => {
                let step = end.at.as_str();
                Some(format!("{name} {version} was refused at {step} {when}: {reason}"))
            }
            UpdateOutcome::Active | UpdateOutcome::Superseded | UpdateOutcome::Unknown => None,
        });
    }
    if let Some(trouble) = &plugin.trouble {
        notes.push(format!("{name}: the active version does not serve: {trouble}"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use drover_api::{Timestamp, UpdateEnd, UpdateStatus};

    use super::*;

    #[test]
    fn an_update_and_the_last_fall_back_are_told_with_their_reasons() {
        let kept = |version: &str, is_active, fault: Option<&str>| KeptVersion {
            version: version.to_owned(),
            hash: "0123456789abcdef".to_owned(),
            length: 7,
            by: Some("ada".to_owned()),
            since: Timestamp::now(),
            is_active,
            fault: fault.map(str::to_owned),
        };
        let plugin = PluginVersions {
            name: "hello".to_owned(),
            versions: vec![kept("1.1.0", false, Some("it crashed")), kept("1.0.0", true, None)],
            update: Some(UpdateStatus {
                version: "1.2.0".to_owned(),
                hash: String::new(),
                step: UpdateStep::Held,
                reason: Some("not granted".to_owned()),
                fetched: 1,
                length: 2,
                by: None,
                since: Timestamp::now(),
            }),
            last: Some(UpdateEnd {
                version: "1.1.0".to_owned(),
                hash: String::new(),
                outcome: UpdateOutcome::FellBack,
                at: UpdateStep::Watching,
                reason: Some("it crashed".to_owned()),
                back_to: Some("1.0.0".to_owned()),
                time: Timestamp::now(),
            }),
            trouble: None,
        };
        let rows: Vec<_> = rows(&plugin).collect();
        assert_eq!(rows[0][..4], ["hello", "1.0.0", "active", "ada"]);
        assert_eq!(rows[1][2], "BAD");
        let notes = notes(&plugin);
        assert_eq!(notes[0], "hello 1.1.0 was bad: it crashed");
        assert_eq!(notes[1], "hello 1.2.0 is held: not granted");
        assert!(notes[2].starts_with("hello fell back from 1.1.0 to 1.0.0 "), "{notes:?}");
    }
}
