//! `drover containers`: the containers of a node.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use clap::Args;
use drover_api::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::address::Address;
use crate::exit::{Exit, Failure};
use crate::{controller, output, render};

const EXAMPLES: &str = "\
Examples:
    drover containers web-1
    drover containers web-1 --all --label team=web";

/// Digits of an id that tell it from all others of a host.
const DIGITS: usize = 12;

/// Lists the containers of a node, which needs the plugin `container`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Containers {
    /// The node, by name or id
    node: String,
    /// List those that do not run as well
    #[arg(long, short)]
    all: bool,
    /// Only those with this label, and with this value if there is one
    #[arg(long, value_name = "LABEL[=VALUE]")]
    label: Vec<String>,
    /// Print a JSON array, with all that the engine tells
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    address: Address,
}

/// What is shown of a container. The engine leaves out what it has not.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Container {
    id: String,
    names: Vec<String>,
    image: String,
    created: i64,
    status: String,
    ports: Vec<Port>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Port {
    private_port: u16,
    public_port: Option<u16>,
    #[serde(rename = "Type")]
    protocol: String,
}

pub(crate) fn run(containers: &Containers) -> Result<Exit, Failure> {
    let mut filters = BTreeMap::new();
    if !containers.label.is_empty() {
        filters.insert("label", &containers.label);
    }
    let arguments = json!({ "all": containers.all, "filters": filters });
    let listed: Vec<Value> = controller::runtime()?.block_on(async {
        let session = containers.address.connect().await?;
        let nodes = controller::nodes(&session).await?;
        let node = controller::find_present(&nodes, &containers.node)?;
        let listed = controller::ask(&session, node, "container.list", &arguments).await;
        session.close().await;
        listed
    })?;
    if containers.json {
        output::json(&listed)?;
    } else if listed.is_empty() {
        let cure = if containers.all { "" } else { " that run; `--all` lists the others as well" };
        output::note(&format!("no containers{cure}"));
    } else {
        let rows = listed.into_iter().map(|container| {
            // What is no container is shown as one that tells nothing.
            row(&serde_json::from_value(container).unwrap_or_default())
        });
        output::answer(&render::table(
            &["name", "id", "image", "status", "created", "ports"],
            rows,
        ))?;
    }
    Ok(Exit::Done)
}

fn row(container: &Container) -> [String; 6] {
    let names: Vec<_> =
        container.names.iter().map(|name| name.trim_start_matches('/').to_owned()).collect();
    let created = u64::try_from(container.created).unwrap_or_default();
    [
        names.join(","),
        container.id.chars().take(DIGITS).collect(),
        container.image.clone(),
        container.status.clone(),
        render::ago(Timestamp(created.saturating_mul(1000))),
        ports(&container.ports),
    ]
}

/// Those that are reachable from outside first; the same for all addresses of the
/// host is shown once.
fn ports(ports: &[Port]) -> String {
    let mut shown: Vec<_> = ports
        .iter()
        .map(|port| {
            let mut text = String::new();
            if let Some(public) = port.public_port {
                let _ = write!(text, "{public}->");
            }
            let _ = write!(text, "{}/{}", port.private_port, port.protocol);
            (port.public_port.is_none(), text)
        })
        .collect();
    shown.sort();
    shown.dedup();
    shown.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_shows_what_people_look_for() {
        let container = json!({
            "Id": "0123456789abcdef", "Names": ["/web"], "Image": "nginx:1", "Created": 0,
            "Status": "Up 3 hours", "Ports": [
                { "PrivatePort": 443, "Type": "tcp" },
                { "IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp" },
                { "IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp" },
            ],
        });
        let row = row(&serde_json::from_value(container).unwrap());
        assert_eq!(row[..4], ["web", "0123456789ab", "nginx:1", "Up 3 hours"]);
        assert_eq!(row[5], "8080->80/tcp, 443/tcp");
    }
}
