//! Networks.

use std::collections::BTreeMap;

use drover_sdk::{Failure, Json, task};
use serde_json::{Map, Value, json};

use crate::container::life_cycle::connect;
use crate::container::{Change, Filters, details};
use crate::description::{self, Attachment};
use crate::engine::{Engine, path};
use crate::models::{Created, Network, Pruned};

/// Lists networks.
///
/// Changes nothing.
#[task]
pub(crate) fn network_list(
    /// Which ones, as in `{"driver": ["bridge"]}`: filters are `dangling`,
    /// `driver`, `id`, `label`, `name`, `scope` and `type`.
    #[serde(default)]
    filters: Filters,
) -> Result<Json<Vec<Network>>, Failure> {
    let engine = Engine::connect()?;
    engine.get("/networks", "list networks").query_json("filters", &filters)?.send()?.pass()
}

/// Shows everything of one network, with the containers in it.
///
/// Changes nothing.
#[task]
pub(crate) fn network_inspect(
    /// Its name or id.
    network: String,
) -> Result<Json<Network>, Failure> {
    let engine = Engine::connect()?;
    engine
        .get(network_path(&network, "")?, format_args!("inspect network {network}"))
        .send()?
        .pass()
}

fn network_path(network: &str, below: &str) -> Result<String, Failure> {
    Ok(format!("/networks/{}{below}", path::segment("network", network)?))
}

/// Creates a network.
///
/// A second one of the same name is a `conflict`.
#[task]
pub(crate) fn network_create(
    /// Its name.
    #[schemars(length(min = 1))]
    name: String,
    /// What makes it.
    #[default("bridge")]
    driver: String,
    /// Whether nothing in it reaches the outside.
    #[default(false)]
    internal: bool,
    /// Its addresses, such as `10.1.0.0/24`; any if it is left out.
    subnet: Option<String>,
    /// Its labels.
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// The driver's options.
    #[serde(default)]
    options: BTreeMap<String, String>,
    /// Everything else, in the engine's own form; wins over what is above.
    #[serde(default)]
    engine: Map<String, Value>,
) -> Result<Json<Created>, Failure> {
    let mut body = Map::new();
    body.insert("Name".to_owned(), json!(name));
    // Only so do engines of all versions refuse a second one of this name.
    body.insert("CheckDuplicate".to_owned(), json!(true));
    body.insert("Driver".to_owned(), json!(driver));
    body.insert("Internal".to_owned(), json!(internal));
    body.insert("Labels".to_owned(), json!(labels));
    body.insert("Options".to_owned(), json!(options));
    if let Some(subnet) = subnet {
        body.insert("IPAM".to_owned(), json!({ "Config": [{ "Subnet": subnet }] }));
    }
    description::merge(&mut body, &engine);
    let what = format!("create network {name}");
    Engine::connect()?.post("/networks/create", what).json(&body)?.send()?.pass()
}

/// Puts a container into a network.
///
/// Idempotent: one that is in it is left alone, whatever its aliases are.
#[task]
pub(crate) fn network_connect(
    /// The network's name.
    network: String,
    /// The container's name or id.
    container: String,
    /// Names under which others in the network find it, beside its own.
    #[serde(default)]
    aliases: Vec<String>,
    /// Its address in the network; any if it is left out.
    address: Option<String>,
) -> Result<Change, Failure> {
    let engine = Engine::connect()?;
    if is_connected(&engine, &network, &container)? {
        return Ok(Change { changed: false });
    }
    connect(&engine, &container, &Attachment { name: network, aliases, address })?;
    Ok(Change { changed: true })
}

/// Takes a container out of a network.
///
/// Idempotent: one that is not in it is left alone.
#[task]
pub(crate) fn network_disconnect(
    /// The network's name.
    network: String,
    /// The container's name or id.
    container: String,
    /// Whether to do it although it fails.
    #[default(false)]
    force: bool,
) -> Result<Change, Failure> {
    let engine = Engine::connect()?;
    if !is_connected(&engine, &network, &container)? {
        return Ok(Change { changed: false });
    }
    disconnect(&engine, &container, &network, force)?;
    Ok(Change { changed: true })
}

fn is_connected(engine: &Engine, network: &str, container: &str) -> Result<bool, Failure> {
    let networks = details(engine, container)?.network_settings.networks;
    Ok(networks.is_some_and(|networks| networks.contains_key(network)))
}

/// Takes a container out of a network.
pub(crate) fn disconnect(
    engine: &Engine,
    container: &str,
    network: &str,
    force: bool,
) -> Result<(), Failure> {
    let what = format!("disconnect container {container} from network {network}");
    let body = json!({ "Container": container, "Force": force });
    engine.post(network_path(network, "/disconnect")?, what).json(&body)?.send()?;
    Ok(())
}

/// Removes a network.
///
/// One that is not there is `not-found`, and one with containers in it is a
/// `forbidden`, as the engine says.
#[task]
pub(crate) fn network_remove(
    /// Its name or id.
    network: String,
) -> Result<Change, Failure> {
    let engine = Engine::connect()?;
    engine.delete(network_path(&network, "")?, format_args!("remove network {network}")).send()?;
    Ok(Change { changed: true })
}

/// Removes networks that no container is in.
///
/// Doing it again finds nothing more to remove.
#[task]
pub(crate) fn network_prune(
    /// Which ones, as in `{"until": ["24h"], "label": ["team=web"]}`.
    #[serde(default)]
    filters: Filters,
) -> Result<Json<Pruned>, Failure> {
    let engine = Engine::connect()?;
    let call = engine.post("/networks/prune", "remove networks that nothing uses");
    call.query_json("filters", &filters)?.send()?.pass()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{on, run};

    #[test]
    fn a_container_is_connected_and_disconnected_once() {
        let inside = r#"{"NetworkSettings":{"Networks":{"front":{}}}}"#;
        let inspect = |body: &'static str| on("GET /containers/web/json", 200, body);
        let arguments = json!({ "network": "front", "container": "web" });
        let changed = json!({ "changed": true });
        let unchanged = json!({ "changed": false });

        let exchanges = vec![inspect("{}"), on("POST /networks/front/connect", 200, "")];
        assert_eq!(run("network_connect", &arguments, exchanges).answer.unwrap(), changed);
        let outcome = run("network_connect", &arguments, vec![inspect(inside)]);
        assert_eq!(outcome.answer.unwrap(), unchanged);

        let exchanges = vec![inspect(inside), on("POST /networks/front/disconnect", 200, "")];
        assert_eq!(run("network_disconnect", &arguments, exchanges).answer.unwrap(), changed);
        let outcome = run("network_disconnect", &arguments, vec![inspect("{}")]);
        assert_eq!(outcome.answer.unwrap(), unchanged);
    }

    #[test]
    fn a_network_is_created_with_its_addresses_and_what_the_engine_knows_beside() {
        let exchanges = vec![on("POST /networks/create", 201, r#"{"Id":"0a","Warning":""}"#)];
        let arguments =
            json!({ "name": "front", "subnet": "10.1.0.0/24", "engine": { "EnableIPv6": true } });
        let outcome = run("network_create", &arguments, exchanges);
        let body = outcome.body(0);
        assert_eq!(body["IPAM"], json!({ "Config": [{ "Subnet": "10.1.0.0/24" }] }));
        assert_eq!(body["EnableIPv6"], true);
        outcome.answer.unwrap();
    }
}
