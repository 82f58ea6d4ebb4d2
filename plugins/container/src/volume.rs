//! Volumes.

use std::collections::BTreeMap;

use drover_sdk::{Failure, Json, task};
use serde_json::json;

use crate::container::{Change, Filters};
use crate::engine::{Engine, path};
use crate::models::{Pruned, Volume, Volumes};

/// Lists volumes.
///
/// Changes nothing.
#[task]
pub(crate) fn volume_list(
    /// Which ones, as in `{"dangling": ["true"]}`: filters are `dangling`,
    /// `driver`, `label` and `name`.
    #[serde(default)]
    filters: Filters,
) -> Result<Json<Volumes>, Failure> {
    let engine = Engine::connect()?;
    engine.get("/volumes", "list volumes").query_json("filters", &filters)?.send()?.pass()
}

/// Shows everything of one volume.
///
/// Changes nothing.
#[task]
pub(crate) fn volume_inspect(
    /// Its name.
    volume: String,
) -> Result<Json<Volume>, Failure> {
    let engine = Engine::connect()?;
    engine.get(volume_path(&volume)?, format_args!("inspect volume {volume}")).send()?.pass()
}

pub(crate) fn volume_path(volume: &str) -> Result<String, Failure> {
    Ok(format!("/volumes/{}", path::segment("volume", volume)?))
}

/// Creates a volume.
///
/// Idempotent: one of this name and driver is left alone, with its labels and
/// options. One of another driver is a `conflict`.
#[task]
pub(crate) fn volume_create(
    /// Its name; the engine makes one up if it is left out.
    name: Option<String>,
    /// What makes it.
    #[default("local")]
    driver: String,
    /// The driver's options.
    #[serde(default)]
    options: BTreeMap<String, String>,
    /// Its labels.
    #[serde(default)]
    labels: BTreeMap<String, String>,
) -> Result<Json<Volume>, Failure> {
    let what = format!("create volume {}", name.as_deref().unwrap_or("without a name"));
    let name = name.unwrap_or_default();
    let body = json!({ "Name": name, "Driver": driver, "DriverOpts": options, "Labels": labels });
    Engine::connect()?.post("/volumes/create", what).json(&body)?.send()?.pass()
}

/// Removes a volume, with what is in it.
///
/// One that is not there is `not-found`, and one that containers use is a
/// `conflict`.
#[task]
pub(crate) fn volume_remove(
    /// Its name.
    volume: String,
    /// Whether to remove it although its driver is gone.
    #[default(false)]
    force: bool,
) -> Result<Change, Failure> {
    let engine = Engine::connect()?;
    let call = engine.delete(volume_path(&volume)?, format_args!("remove volume {volume}"));
    call.query_if("force", force.then_some(true)).send()?;
    Ok(Change { changed: true })
}

/// Removes volumes that no container uses.
///
/// Newer engines only take those without a name, unless the filter
/// `{"all": ["true"]}` is there. Doing it again finds nothing more to remove.
#[task]
pub(crate) fn volume_prune(
    /// Which ones, as in `{"label": ["team=web"]}`.
    #[serde(default)]
    filters: Filters,
) -> Result<Json<Pruned>, Failure> {
    let engine = Engine::connect()?;
    let call = engine.post("/volumes/prune", "remove volumes that nothing uses");
    call.query_json("filters", &filters)?.send()?.pass()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::failure;
    use crate::testing::{on, run};

    #[test]
    fn a_volume_is_created_with_what_was_said() {
        let exchanges = vec![on("POST /volumes/create", 201, r#"{"Name":"data","New":1}"#)];
        let outcome = run("volume_create", &json!({ "name": "data" }), exchanges);
        let body = json!({ "Name": "data", "Driver": "local", "DriverOpts": {}, "Labels": {} });
        assert_eq!(outcome.body(0), body);
        // What this plugin does not know is there as well.
        assert_eq!(outcome.answer.unwrap(), json!({ "Name": "data", "New": 1 }));
    }

    #[test]
    fn a_volume_in_use_is_a_conflict() {
        let exchanges = vec![on("DELETE /volumes/data", 409, r#"{"message":"volume is in use"}"#)];
        let outcome = run("volume_remove", &json!({ "volume": "data" }), exchanges);
        assert_eq!(outcome.code(), failure::CONFLICT);
    }
}
