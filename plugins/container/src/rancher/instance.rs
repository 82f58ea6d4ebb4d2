//! What happens to instances, which are containers here.

use std::collections::BTreeMap;

use drover_sdk::Failure;
use serde_json::{Value, json};

use super::container::{body, name, text};
use super::event::Event;
use super::storage::{image_of, pull_with_progress};
use crate::container::container_path;
use crate::container::exec::{Program, execute};
use crate::container::life_cycle::{create_with, remove_forcibly, start_one, stop_one};
use crate::engine::{Engine, failure};
use crate::ensure::gone_is_fine;
use crate::image::image_id;

const INSTANCE: &str = "/instanceHostMap/instance";
/// How often a delegate is asked before its failure counts.
const ATTEMPTS: usize = 3;

/// Creates the container of an instance if it is not there, and starts it.
pub(super) fn activate(engine: &Engine, event: &Event) -> Result<Value, Failure> {
    let instance = event.at(INSTANCE);
    if is_no_op(event) {
        return state(engine, instance);
    }
    let id = match find(engine, instance)? {
        Some(found) if found["State"] == "running" => return state(engine, instance),
        Some(found) => text(&found["Id"]).unwrap_or_default().to_owned(),
        None => create(engine, event, instance)?,
    };
    start_one(engine, &id)?;
    state(engine, instance)
}

fn create(engine: &Engine, event: &Event, instance: &Value) -> Result<String, Failure> {
    let image = image_of(&instance["image"]).or_else(|| {
        let uuid = instance.pointer("/data/fields/imageUuid").and_then(text)?;
        Some(uuid.strip_prefix("docker:").unwrap_or(uuid).to_owned())
    });
    let image = image.ok_or_else(|| {
        let message = format!("instance {} has no image", name(instance));
        Failure::new(failure::INVALID, message)
    })?;
    let always = "/data/fields/labels/io.rancher.container.pull_image";
    let is_always = instance.pointer(always).and_then(text) == Some("always");
    if is_always || image_id(engine, &image)?.is_none() {
        pull_with_progress(engine, event, &image, None)?;
    }
    Ok(create_with(engine, Some(&name(instance)), &body(instance, &image))?.id)
}

/// Stops the container of an instance.
pub(super) fn deactivate(engine: &Engine, event: &Event) -> Result<Value, Failure> {
    let instance = event.at(INSTANCE);
    if let (false, Some(id)) = (is_no_op(event), id(engine, instance)?) {
        let timeout = event.process_data("timeout").as_u64().and_then(|t| u32::try_from(t).ok());
        gone_is_fine(stop_one(engine, &id, Some(timeout.unwrap_or(10))).map(drop))?;
        if find(engine, instance)?.is_some_and(|found| found["State"] == "running") {
            let what = format!("kill container {id}");
            gone_is_fine(engine.post(container_path(&id, "/kill")?, what).send().map(drop))?;
        }
    }
    state(engine, instance)
}

/// Removes the container of an instance.
pub(super) fn remove(engine: &Engine, event: &Event) -> Result<Value, Failure> {
    if let (false, Some(id)) = (is_no_op(event), id(engine, event.at(INSTANCE))?) {
        gone_is_fine(remove_forcibly(engine, &id))?;
    }
    Ok(json!({}))
}

/// Stops a container by its id; one that is gone is stopped.
pub(super) fn force_stop(engine: &Engine, event: &Event) -> Result<Value, Failure> {
    let id = event.at("/instanceForceStop/id");
    gone_is_fine(stop_one(engine, text(id).unwrap_or_default(), Some(10)).map(drop))?;
    Ok(json!({}))
}

/// Shows what the engine says of a container, by its id or its name.
pub(super) fn inspect(engine: &Engine, event: &Event) -> Result<Value, Failure> {
    let asked = event.at("/instanceInspect");
    let name = text(&asked["id"]).or_else(|| text(&asked["name"])).unwrap_or_default();
    Ok(json!({ "instanceInspect": inspected(engine, name)? }))
}

/// Has an event handled by a program in the container of an agent's instance:
/// the event is on its standard input, and the last line of its output is the
/// answer.
pub(super) fn delegate(engine: &Engine, event: &Event) -> Result<Value, Failure> {
    let inner = event.at("/event");
    let agent = json!({ "uuid": event.at("/instanceData/uuid"), "name": event.at("/instanceData/name"),
                        "externalId": event.at("/instanceData/externalId") });
    let what = text(&inner["name"]).unwrap_or_default();
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if what.is_empty() || what.starts_with('.') || !what.chars().all(is_name) {
        return Err(Failure::new(failure::INVALID, format!("`{what}` is no name of an event")));
    }
    let Some(container) = id(engine, &agent)? else {
        let message = format!("the instance that should handle {what} is not there");
        return Err(Failure::new(failure::NOT_FOUND, message));
    };
    let script = "printf '%s\\n' \"$EVENT\" | \"${CATTLE_HOME:-/var/lib/cattle}/events/$0\"";
    let command = ["/bin/sh", "-c", script, what].map(str::to_owned).to_vec();
    let program = Program {
        command,
        environment: BTreeMap::from([("EVENT".to_owned(), inner.to_string())]),
        user: None,
        working_dir: None,
        tty: false,
        privileged: false,
        input: None,
        detach: false,
        keep: 1 << 20,
        // Whoever publishes the reports expects replies.
        is_live: false,
    };
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        let executed = execute(engine, &container, &program)?;
        let line = executed.output.stdout.lines().rev().find(|line| !line.trim().is_empty());
        let answer = line.and_then(|line| serde_json::from_str::<Value>(line).ok());
        if let (Some(0), Some(answer)) = (executed.status, answer) {
            return Ok(answer);
        }
        last = format!("status {:?}: {}", executed.status, executed.output.stderr.trim());
    }
    let message = format!("{what} failed {ATTEMPTS} times in container {container}: {last}");
    Err(Failure::new("delegate-failed", message))
}

fn is_no_op(event: &Event) -> bool {
    event.process_data("containerNoOpEvent") == &json!(true)
}

/// The container of an instance, as it is in the engine's list: by its label,
/// its name, or its id.
fn find(engine: &Engine, instance: &Value) -> Result<Option<Value>, Failure> {
    let uuid = text(&instance["uuid"]).map(|uuid| format!("io.rancher.container.uuid={uuid}"));
    let by_label = uuid.map(|label| json!({ "label": [label] }));
    let own = name(instance);
    let by_name = (!own.is_empty()).then(|| json!({ "name": [format!("^/{own}$")] }));
    let by_id = text(&instance["externalId"]).map(|id| json!({ "id": [id] }));
    for filters in [by_label, by_name, by_id].into_iter().flatten() {
        let call = engine.get("/containers/json", "find the container of an instance");
        let call = call.query("all", true).query("filters", filters);
        let list: Vec<Value> = call.send()?.read()?;
        if let Some(found) = list.into_iter().next() {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn id(engine: &Engine, instance: &Value) -> Result<Option<String>, Failure> {
    Ok(find(engine, instance)?.and_then(|found| text(&found["Id"]).map(str::to_owned)))
}

fn inspected(engine: &Engine, container: &str) -> Result<Value, Failure> {
    let what = format!("inspect container {container}");
    engine.get(container_path(container, "/json")?, what).send()?.read()
}

/// What the controller wants to know of an instance after something happened.
fn state(engine: &Engine, instance: &Value) -> Result<Value, Failure> {
    let Some(found) = find(engine, instance)? else {
        let nothing = json!({ "dockerContainer": null, "dockerInspect": null,
                              "+fields": { "dockerIp": null, "dockerPorts": [] } });
        return Ok(json!({ "instanceHostMap": { "instance": { "+data": nothing } } }));
    };
    let inspect = inspected(engine, text(&found["Id"]).unwrap_or_default())?;
    let ports = found["Ports"].as_array().into_iter().flatten().map(port);
    let ip = inspect.pointer("/NetworkSettings/IPAddress").cloned().unwrap_or_default();
    let fields = json!({
        "dockerHostIp": null,
        "dockerIp": ip,
        "dockerPorts": ports.collect::<Vec<_>>(),
    });
    let data = json!({
        "dockerContainer": found,
        "dockerMounts": inspect["Mounts"],
        "dockerInspect": inspect,
        "+fields": fields,
    });
    let instance = json!({ "externalId": found["Id"], "+data": data });
    Ok(json!({ "instanceHostMap": { "instance": instance } }))
}

/// A port as the controller writes it: `address:public:private/protocol`.
fn port(port: &Value) -> String {
    let private = format!("{}/{}", port["PrivatePort"], text(&port["Type"]).unwrap_or("tcp"));
    match (text(&port["IP"]), port["PublicPort"].as_u64()) {
        (Some(address), Some(public)) => format!("{address}:{public}:{private}"),
        (None, Some(public)) => format!("{public}:{private}"),
        (Some(address), None) => format!("{address}::{private}"),
        (None, None) => private,
    }
}
