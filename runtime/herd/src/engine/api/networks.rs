//! Networks.

use serde_json::json;

use super::{json, no_page};
use crate::engine::answer::Answer;
use crate::engine::call::Call;
use crate::engine::model::Outcome;
use crate::engine::shared::Shared;

pub(super) fn answer(method: &str, path: &[&str], call: &Call, shared: &Shared) -> Outcome<Answer> {
    match (method, path) {
        ("GET", []) => {
            let known = ["dangling", "driver", "id", "label", "name", "scope", "type"];
            let filters = call.filters(&known)?;
            Ok(json(&shared.look(|model, _| model.list_networks(&filters))))
        }
        ("POST", ["create"]) => {
            let wanted = call.json()?;
            let id = shared.with(|model, now| model.create_network(&wanted, now))?;
            Ok(Answer::json(201, &json!({"Id": id, "Warning": ""})))
        }
        ("POST", ["prune"]) => {
            let filters = call.filters(&["label", "label!", "until"])?;
            let removed = shared.with(|model, now| model.prune_networks(&filters, now));
            let removed = if removed.is_empty() { json!(null) } else { json!(removed) };
            Ok(json(&json!({"NetworksDeleted": removed})))
        }
        ("GET", [key]) => Ok(json(&shared.look(|model, _| model.inspect_network(key))?)),
        ("DELETE", [key]) => {
            shared.with(|model, now| model.remove_network(key, now))?;
            Ok(Answer::empty(204))
        }
        ("POST", [key, action @ ("connect" | "disconnect")]) => {
            let wanted = call.json()?;
            let container = wanted["Container"].as_str().unwrap_or_default();
            shared.with(|model, now| match *action {
                "connect" => model.connect(key, container, &wanted["EndpointConfig"], now),
                _ => model.disconnect(key, container, now),
            })?;
            Ok(Answer::empty(200))
        }
        _ => Err(no_page()),
    }
}
