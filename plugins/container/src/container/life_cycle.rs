//! From the creation of a container to its removal.

use drover_sdk::{Failure, Json, data, task};
use serde_json::{Map, Value, json};

use super::{Change, container_path, details};
use crate::description::{self, Attachment, Description, Restart};
use crate::engine::{Engine, failure, path};
use crate::models::Created;

/// Creates a container, without starting it.
///
/// Not idempotent: a second container of the same name is a `conflict`, and one
/// without a name is just another container; `ensure` is the idempotent form.
/// An image that is not there is `not-found`.
#[task]
pub(crate) fn create(
    /// Its name; the engine makes one up if it is left out.
    name: Option<String>,
    /// What it should be like.
    container: Description,
) -> Result<NewContainer, Failure> {
    let engine = Engine::connect()?;
    let body = description::body(&container);
    let created = create_with(&engine, name.as_deref(), &body)?;
    for attachment in description::connections(&container) {
        if let Err(failure) = connect(&engine, &created.id, attachment) {
            // Half a container would be in the way of the next attempt.
            let _ = remove_forcibly(&engine, &created.id);
            return Err(failure);
        }
    }
    Ok(NewContainer { id: created.id, warnings: created.warnings.unwrap_or_default() })
}

/// A container that was created.
#[data]
#[derive(Debug, PartialEq)]
pub(crate) struct NewContainer {
    /// Its id.
    pub(crate) id: String,
    /// What the engine has to say about it.
    pub(crate) warnings: Vec<String>,
}

/// Creates a container of a body in the engine's form.
pub(crate) fn create_with(
    engine: &Engine,
    name: Option<&str>,
    body: &Map<String, Value>,
) -> Result<Created, Failure> {
    let what = format!("create container {}", name.unwrap_or("without a name"));
    engine.post("/containers/create", what).query_if("name", name).json(body)?.send()?.read()
}

/// Puts a container into a network.
pub(crate) fn connect(
    engine: &Engine,
    container: &str,
    attachment: &Attachment,
) -> Result<(), Failure> {
    let network = &attachment.name;
    let path = format!("/networks/{}/connect", path::segment("network", network)?);
    let what = format!("connect container {container} to network {network}");
    let endpoint = description::endpoint(attachment);
    let body = json!({ "Container": container, "EndpointConfig": endpoint });
    engine.post(path, what).json(&body)?.send()?;
    Ok(())
}

/// Removes a container, whether it runs or not.
pub(crate) fn remove_forcibly(engine: &Engine, container: &str) -> Result<(), Failure> {
    let what = format!("remove container {container}");
    engine.delete(container_path(container, "")?, what).query("force", true).send()?;
    Ok(())
}

/// Starts a container.
///
/// Idempotent: one that runs is left alone.
#[task]
pub(crate) fn start(
    /// Its name or id.
    container: String,
) -> Result<Change, Failure> {
    let engine = Engine::connect()?;
    Ok(Change { changed: start_one(&engine, &container)? })
}

/// Starts a container. Whether it did not run.
pub(crate) fn start_one(engine: &Engine, container: &str) -> Result<bool, Failure> {
    let what = format!("start container {container}");
    Ok(engine.post(container_path(container, "/start")?, what).send()?.is_changed())
}

/// Stops a container: asks its program to end, and kills it if it does not.
///
/// Idempotent: one that does not run is left alone.
#[task]
pub(crate) fn stop(
    /// Its name or id.
    container: String,
    /// Seconds until it is killed; as its creator said, or 10, if left out.
    timeout: Option<u32>,
) -> Result<Change, Failure> {
    let engine = Engine::connect()?;
    Ok(Change { changed: stop_one(&engine, &container, timeout)? })
}

/// Stops a container. Whether it ran.
pub(crate) fn stop_one(
    engine: &Engine,
    container: &str,
    timeout: Option<u32>,
) -> Result<bool, Failure> {
    let what = format!("stop container {container}");
    let call = engine.post(container_path(container, "/stop")?, what);
    Ok(call.query_if("t", timeout).send()?.is_changed())
}

/// Stops a container if it runs, and starts it.
///
/// Not idempotent: each call is a new start.
#[task]
pub(crate) fn restart(
    /// Its name or id.
    container: String,
    /// Seconds until it is killed; as its creator said, or 10, if left out.
    timeout: Option<u32>,
) -> Result<Change, Failure> {
    let engine = Engine::connect()?;
    let what = format!("restart container {container}");
    let call = engine.post(container_path(&container, "/restart")?, what);
    Ok(Change { changed: call.query_if("t", timeout).send()?.is_changed() })
}

/// Halts all processes of a container where they are.
///
/// Idempotent: one that is paused is left alone. One that does not run is a
/// `conflict`.
#[task]
pub(crate) fn pause(
    /// Its name or id.
    container: String,
) -> Result<Change, Failure> {
    set_paused(&container, "pause", true)
}

/// Lets a container that is paused go on.
///
/// Idempotent: one that runs is left alone. One that does not run is a
/// `conflict`.
#[task]
pub(crate) fn unpause(
    /// Its name or id.
    container: String,
) -> Result<Change, Failure> {
    set_paused(&container, "unpause", false)
}

fn set_paused(container: &str, verb: &str, is_paused: bool) -> Result<Change, Failure> {
    let engine = Engine::connect()?;
    let path = container_path(container, &format!("/{verb}"))?;
    match engine.post(path, format_args!("{verb} container {container}")).send() {
        Ok(_) => Ok(Change { changed: true }),
        // Engines disagree on the status of this refusal, so the container itself has the word.
        Err(failure) if failure.code != failure::NOT_FOUND => {
            let state = details(&engine, container)?.state;
            let is_so = state.running && state.paused == is_paused;
            if is_so { Ok(Change { changed: false }) } else { Err(failure) }
        }
        Err(failure) => Err(failure),
    }
}

/// Sends a signal to the program of a container.
///
/// Not idempotent: each call is a signal. A container that does not run is a
/// `conflict`.
#[task]
pub(crate) fn kill(
    /// Its name or id.
    container: String,
    /// The signal's name or number.
    #[default("SIGKILL")]
    #[schemars(length(min = 1, max = 16))]
    signal: String,
) -> Result<Change, Failure> {
    let engine = Engine::connect()?;
    let what = format!("send {signal} to container {container}");
    let call = engine.post(container_path(&container, "/kill")?, what);
    call.query("signal", signal).send()?;
    Ok(Change { changed: true })
}

/// Gives a container another name.
///
/// Idempotent when it is called by its id: one that has the name is left alone.
/// A name that another one has is a `conflict`.
#[task]
pub(crate) fn rename(
    /// Its name or id.
    container: String,
    /// The new name.
    #[schemars(length(min = 1))]
    name: String,
) -> Result<Change, Failure> {
    let engine = Engine::connect()?;
    if details(&engine, &container)?.name.trim_start_matches('/') == name {
        return Ok(Change { changed: false });
    }
    rename_one(&engine, &container, &name)?;
    Ok(Change { changed: true })
}

/// Gives a container another name, which must be another one.
pub(crate) fn rename_one(engine: &Engine, container: &str, name: &str) -> Result<(), Failure> {
    let what = format!("rename container {container} to {name}");
    engine.post(container_path(container, "/rename")?, what).query("name", name).send()?;
    Ok(())
}

/// Changes what a container may use, while it runs.
///
/// Idempotent. What is left out stays as it is.
#[task]
#[expect(clippy::too_many_arguments, reason = "each is an argument of the operation")]
pub(crate) fn update(
    /// Its name or id.
    container: String,
    /// The most memory that it gets, in bytes.
    memory: Option<u64>,
    /// The most memory and swap together, in bytes; -1 for any.
    memory_swap: Option<i64>,
    /// How much of the processors it gets: 1.5 is one and a half.
    #[schemars(range(min = 0.0, max = 4096.0))]
    cpus: Option<f64>,
    /// Its weight beside other containers.
    cpu_shares: Option<u32>,
    /// The processors that it may use, such as `0-2,7`.
    cpuset: Option<String>,
    /// How many processes and threads it may have.
    pids: Option<u32>,
    /// When the engine starts it again.
    restart: Option<Restart>,
    /// Everything else, in the engine's own form.
    #[serde(default)]
    engine: Map<String, Value>,
) -> Result<Json<Updated>, Failure> {
    let described = Description {
        memory,
        memory_swap,
        cpus,
        cpu_shares,
        cpuset,
        pids,
        restart,
        ..Description::default()
    };
    let mut body = match description::body(&described).remove("HostConfig") {
        Some(Value::Object(body)) => body,
        _ => Map::new(),
    };
    description::merge(&mut body, &engine);
    update_with(&Engine::connect()?, &container, &body)
}

/// What the engine says of an update.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "PascalCase")]
#[expect(dead_code, reason = "callers see it as a schema")]
pub(crate) struct Updated {
    /// What it has to say about it.
    warnings: Option<Vec<String>>,
}

/// Changes what a container may use.
pub(crate) fn update_with(
    engine: &Engine,
    container: &str,
    body: &Map<String, Value>,
) -> Result<Json<Updated>, Failure> {
    let what = format!("update container {container}");
    engine.post(container_path(container, "/update")?, what).json(body)?.send()?.pass()
}

/// Removes a container.
///
/// One that is not there is `not-found`, and one that runs is a `conflict`
/// unless `force` is set; `absent` is the idempotent form.
#[task]
pub(crate) fn remove(
    /// Its name or id.
    container: String,
    /// Whether to kill it if it runs.
    #[default(false)]
    force: bool,
    /// Whether to remove its volumes that have no name.
    #[default(false)]
    volumes: bool,
) -> Result<Change, Failure> {
    let engine = Engine::connect()?;
    let what = format!("remove container {container}");
    let call = engine.delete(container_path(&container, "")?, what);
    call.query_if("force", force.then_some(true)).query_if("v", volumes.then_some(true)).send()?;
    Ok(Change { changed: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{json, on, run};

    #[test]
    fn what_is_so_already_is_no_change() {
        for (operation, request) in
            [("start", "POST /containers/web/start"), ("stop", "POST /containers/web/stop")]
        {
            for (status, changed) in [(204, true), (304, false)] {
                let outcome =
                    run(operation, &json!({ "container": "web" }), vec![on(request, status, "")]);
                assert_eq!(outcome.answer.unwrap(), json!({ "changed": changed }), "{operation}");
            }
        }
    }

    #[test]
    fn a_pause_of_a_paused_container_is_no_change_and_of_a_stopped_one_a_conflict() {
        let refusal = json(&json!({ "message": "Container web is already paused" }));
        let stopped = json(&json!({ "message": "Container web is not running" }));
        let state =
            |running, paused| json(&json!({ "State": { "Running": running, "Paused": paused } }));
        for (refusal, state, expected) in [
            (refusal, state(true, true), Ok(json!({ "changed": false }))),
            (stopped, state(false, false), Err(failure::CONFLICT)),
        ] {
            let exchanges = vec![
                on("POST /containers/web/pause", 409, refusal),
                on("GET /containers/web/json", 200, state),
            ];
            let outcome = run("pause", &json!({ "container": "web" }), exchanges);
            match expected {
                Ok(answer) => assert_eq!(outcome.answer.unwrap(), answer),
                Err(code) => assert_eq!(outcome.code(), code),
            }
        }
    }

    #[test]
    fn a_container_with_two_networks_is_connected_to_the_second() {
        let exchanges = vec![
            on("POST /containers/create?name=web", 201, r#"{"Id":"0a","Warnings":[]}"#),
            on("POST /networks/back/connect", 200, ""),
        ];
        let container =
            json!({ "image": "app", "networks": [{ "name": "front" }, { "name": "back" }] });
        let outcome = run("create", &json!({ "name": "web", "container": container }), exchanges);
        assert_eq!(outcome.body(1), json!({ "Container": "0a", "EndpointConfig": {} }));
        assert_eq!(outcome.answer.unwrap(), json!({ "id": "0a", "warnings": [] }));
    }

    #[test]
    fn a_container_that_cannot_be_connected_is_not_left_over() {
        let exchanges = vec![
            on("POST /containers/create", 201, r#"{"Id":"0a"}"#),
            on("POST /networks/back/connect", 404, r#"{"message":"network back not found"}"#),
            on("DELETE /containers/0a?force=true", 204, ""),
        ];
        let container =
            json!({ "image": "app", "networks": [{ "name": "front" }, { "name": "back" }] });
        let outcome = run("create", &json!({ "container": container }), exchanges);
        assert_eq!(outcome.code(), failure::NOT_FOUND);
    }

    #[test]
    fn an_update_says_only_what_changes() {
        let exchanges = vec![on("POST /containers/web/update", 200, r#"{"Warnings":null}"#)];
        let arguments = json!({ "container": "web", "memory": 1, "engine": { "CpuPeriod": 2 } });
        let outcome = run("update", &arguments, exchanges);
        assert_eq!(outcome.body(0), json!({ "Memory": 1, "CpuPeriod": 2 }));
        outcome.answer.unwrap();
    }

    #[test]
    fn a_rename_to_its_own_name_is_no_change() {
        let exchanges = vec![on("GET /containers/0a/json", 200, r#"{"Name":"/web"}"#)];
        let outcome = run("rename", &json!({ "container": "0a", "name": "web" }), exchanges);
        assert_eq!(outcome.answer.unwrap(), json!({ "changed": false }));
    }
}
