//! `drover plugin status` and `release`: the plugins of a running node.

use clap::Args;
use drover_api::{PluginList, PluginState, PluginStatus};
use serde_json::json;

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{controller, output, render};

/// Shows the plugins of a node: what serves and since when, what is being
/// loaded, what is refused and why, which old versions still have jobs.
#[derive(Debug, Args)]
pub(super) struct Status {
    /// The node, by name or id
    node: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// Lets a plugin of a node out of its quarantine.
#[derive(Debug, Args)]
pub(super) struct Release {
    /// The node, by name or id
    node: String,
    /// The plugin
    name: String,
    #[command(flatten)]
    address: Address,
}

pub(super) async fn status(status: &Status) -> Result<Exit, Failure> {
    let session = status.address.connect().await?;
    let nodes = controller::nodes(&session).await?;
    let node = controller::find_present(&nodes, &status.node)?;
    let list: PluginList = controller::ask(&session, node, "plugin.list", &json!({})).await?;
    session.close().await;
    if status.json {
        output::json(&list)?;
        return Ok(Exit::Done);
    }
    if list.plugins.is_empty() {
        output::note("no plugins; put a `.wasm` file into the node's plugin directory");
    } else {
        output::answer(&render::table(
            &["plugin", "state", "version", "file", "since", "jobs", "sha256"],
            list.plugins.iter().map(row),
        ))?;
    }
    for plugin in &list.plugins {
        notes(plugin, &status.node).iter().for_each(|note| output::note(note));
    }
    for refused in &list.passed_over {
        output::note(&format!("{} is refused: {}", refused.file, refused.reason));
    }
    if let Some(trouble) = &list.trouble {
        output::note(&format!("{trouble}; what is loaded goes on serving"));
    }
    Ok(Exit::Done)
}

pub(super) async fn release(release: &Release) -> Result<Exit, Failure> {
    let session = release.address.connect().await?;
    let nodes = controller::nodes(&session).await?;
    let node = controller::find_present(&nodes, &release.node)?;
    let arguments = json!({ "name": release.name });
    let was_in: bool = controller::ask(&session, node, "plugin.release", &arguments).await?;
    session.close().await;
    output::answer(&match was_in {
        true => format!("plugin {} is out of quarantine and gets jobs again", release.name),
        false => format!("plugin {} was in no quarantine", release.name),
    })?;
    Ok(Exit::Done)
}

fn row(plugin: &PluginStatus) -> [String; 7] {
    let state = match plugin.state {
        PluginState::Loading => "loading",
        PluginState::Serving => "serving",
        PluginState::Quarantined => "QUARANTINED",
        PluginState::Refused => "REFUSED",
        PluginState::Removed => "removed",
        PluginState::Unknown => "unknown",
    };
    let none = || "-".to_owned();
    let (version, file) = match (&plugin.serving, &plugin.next) {
        (Some(serving), _) => (serving.version.clone(), serving.file.clone()),
        (None, Some(next)) => (next.version.clone(), next.file.clone()),
        (None, None) => (None, none()),
    };
    let serving = plugin.serving.as_ref();
    [
        plugin.name.clone(),
        state.to_owned(),
        version.unwrap_or_else(none),
        file,
        serving.map_or_else(none, |serving| render::ago(serving.since)),
        serving.map_or_else(none, |serving| serving.jobs.to_string()),
        serving.map_or_else(none, |serving| serving.hash.chars().take(12).collect()),
    ]
}

/// What the row of a plugin has no room for.
fn notes(plugin: &PluginStatus, node: &str) -> Vec<String> {
    let mut notes = Vec::new();
    let name = &plugin.name;
    let formats = plugin.serving.iter().flat_map(|serving| &serving.formats);
    let formats: Vec<_> = formats.map(String::as_str).collect();
    if !formats.is_empty() {
        notes.push(format!("{name} parses log lines: {}", formats.join(", ")));
    }
    if let Some(quarantine) = &plugin.quarantine {
        notes.push(format!(
            "{name} is in quarantine for another {}, number {} in a row: {}; `drover plugin \
             release {node} {name}` lets it out",
            render::until(quarantine.until),
            quarantine.times,
            quarantine.reason,
        ));
    }
    if let Some(next) = &plugin.next {
        notes.push(match (&next.refusal, next.retry_at) {
            (None, _) => format!("{} is being loaded", next.file),
            (Some(refusal), None) => format!("{} is refused: {refusal}", next.file),
            (Some(refusal), Some(at)) => {
                format!("{} is refused: {refusal}; tried again in {}", next.file, render::until(at))
            }
        });
    }
    for old in &plugin.draining {
        let hash: String = old.hash.chars().take(12).collect();
        notes.push(format!("{} (sha256 {hash}) still has {} jobs", old.file, old.jobs));
    }
    notes
}

#[cfg(test)]
mod tests {
    use drover_api::{DrainingVersion, NextVersion, QuarantineStatus, Timestamp};

    use super::*;

    #[test]
    fn what_is_wrong_is_told_with_what_to_do() {
        let mut plugin = PluginStatus::new("hello");
        assert!(notes(&plugin, "a").is_empty());
        plugin.quarantine = Some(QuarantineStatus {
            until: Timestamp(Timestamp::now().0 + 90_500),
            reason: "it crashed".to_owned(),
            times: 2,
        });
        plugin.next = Some(NextVersion {
            file: "hello.wasm".to_owned(),
            version: None,
            refusal: Some("it is truncated".to_owned()),
            retry_at: None,
        });
        plugin.draining.push(DrainingVersion {
            file: "hello.wasm".to_owned(),
            version: None,
            hash: "0123456789abcdef".to_owned(),
            jobs: 3,
        });
        assert_eq!(
            notes(&plugin, "a"),
            [
                "hello is in quarantine for another 1m, number 2 in a row: it crashed; `drover \
                 plugin release a hello` lets it out",
                "hello.wasm is refused: it is truncated",
                "hello.wasm (sha256 0123456789ab) still has 3 jobs",
            ]
        );
    }
}
