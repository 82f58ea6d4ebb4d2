//! What the controller is told of the host when it asks whether we are there.

use drover_sdk::job;
use serde_json::{Map, Value, json};

use super::event::Event;
use super::host_info;
use crate::engine::Engine;
use crate::models::{ContainerSummary, Info};

/// The answer to a ping. Should the engine not answer, the host does all the
/// same, with nothing to tell.
pub(super) fn pong(event: &Event) -> Value {
    let asked = |option: &str| event.at("/options").get(option) == Some(&json!(true));
    if !asked("resources") && !asked("instances") {
        return json!({});
    }
    let Ok((info, containers)) = ask() else { return json!({}) };
    let mut all = resources(&info, asked("stats"));
    let mut options = json!({});
    if asked("instances") {
        all.extend(containers.iter().map(instance));
        options["instances"] = json!(true);
    }
    json!({ "resources": all, "options": options })
}

fn ask() -> Result<(Info, Vec<ContainerSummary>), drover_sdk::Failure> {
    let engine = Engine::connect()?;
    let info = engine.get("/info", "ask the engine about itself").send()?.read()?;
    let call = engine.get("/containers/json", "list containers").query("all", true);
    Ok((info, call.send()?.read()?))
}

fn resources(info: &Info, has_stats: bool) -> Vec<Value> {
    let physical = format!("{}-physical", info.id);
    let mut resources = vec![
        json!({ "type": "physicalHost", "kind": "physicalHost", "uuid": physical, "name": info.name }),
        json!({
            "type": "host", "kind": "docker", "uuid": info.id, "physicalHostUuid": physical,
            "hostname": info.name, "createLabels": labels(&job::node().labels), "labels": {
                "io.rancher.host.docker_version": info.server_version,
                "io.rancher.host.linux_kernel_version": info.kernel_version,
            },
            "info": has_stats.then(|| host_info::collect(info)),
            "memory": info.mem_total, "milliCpu": info.cpus * 1000,
            "localStorageMb": host_info::storage_mb(info),
        }),
        json!({
            "type": "storagePool", "kind": "docker", "name": format!("{} storage pool", info.name),
            "hostUuid": info.id, "uuid": format!("{}-pool", info.id),
        }),
    ];
    if let Some(address) = host_info::address() {
        let uuid = address.clone();
        resources.push(json!({
            "type": "ipAddress", "uuid": uuid, "address": address, "hostUuid": info.id,
        }));
    }
    resources
}

/// The node's labels, of which Rancher has keys and values.
fn labels(labels: &[String]) -> Map<String, Value> {
    let pair = |label: &String| {
        let (key, value) = label.split_once('=').unwrap_or((label, "true"));
        (key.to_owned(), json!(value))
    };
    labels.iter().map(pair).collect()
}

fn instance(container: &ContainerSummary) -> Value {
    let label = |name: &str| container.labels.as_ref().and_then(|labels| labels.get(name)).cloned();
    let name = container.names.iter().flatten().next().map(|name| name.trim_start_matches('/'));
    let uuid = label("io.rancher.container.uuid").or_else(|| name.map(str::to_owned));
    let state = if container.state == "running" { "running" } else { "stopped" };
    json!({
        "type": "instance",
        "uuid": uuid,
        "state": state,
        "systemContainer": label("io.rancher.container.system"),
        "dockerId": container.id,
        "image": container.image,
        "labels": container.labels,
        "created": container.created,
    })
}
