//! Volumes.

use serde_json::{Value, json};

use super::{json, no_page};
use crate::engine::answer::Answer;
use crate::engine::call::Call;
use crate::engine::model::Outcome;
use crate::engine::shared::Shared;

pub(super) fn answer(method: &str, path: &[&str], call: &Call, shared: &Shared) -> Outcome<Answer> {
    match (method, path) {
        ("GET", []) => {
            let filters = call.filters(&["dangling", "driver", "label", "name"])?;
            let volumes = shared.look(|model, _| model.list_volumes(&filters));
            Ok(json(&json!({"Volumes": volumes, "Warnings": null})))
        }
        ("POST", ["create"]) => {
            let wanted = call.json()?;
            let made = shared.with(|model, now| model.create_volume(&wanted, now))?;
            Ok(Answer::json(201, &made))
        }
        ("POST", ["prune"]) => {
            let filters = call.filters(&["label", "label!", "all"])?;
            let removed = shared.with(|model, now| model.prune_volumes(&filters, now));
            Ok(json(&json!({"VolumesDeleted": removed, "SpaceReclaimed": 0})))
        }
        ("GET", [name]) => {
            let found: Value = shared.look(|model, _| model.inspect_volume(name))?;
            Ok(json(&found))
        }
        ("DELETE", [name]) => {
            let force = call.query.flag("force");
            shared.with(|model, now| model.remove_volume(name, force, now))?;
            Ok(Answer::empty(204))
        }
        _ => Err(no_page()),
    }
}
