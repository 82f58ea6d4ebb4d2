//! Images that are here.

use serde_json::{Value, json};

use super::json;
use crate::engine::answer::{Answer, Refusal};
use crate::engine::call::Call;
use crate::engine::model::{Outcome, Reference, Removed};
use crate::engine::shared::Shared;

pub(super) fn list(call: &Call, shared: &Shared) -> Outcome<Answer> {
    let filters = call.filters(&["before", "dangling", "label", "reference", "since"])?;
    let all = call.query.flag("all");
    let rows = shared.look(|model, _| model.list_images(all, &filters))?;
    Ok(json(&json!(rows)))
}

pub(super) fn tag(name: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let repository = call.query.text("repo").unwrap_or_default();
    let tag = call.query.text("tag").filter(|tag| !tag.is_empty()).unwrap_or("latest");
    shared.with(|model, now| {
        let id = model.image(name)?.id.clone();
        // Elsewhere a malformed name is the client's mistake, and here the engine's.
        let name = Reference::new(repository, tag)
            .map_err(|refusal| Refusal::internal(refusal.message))?;
        model.tag(&id, name, now);
        Ok(Answer::empty(201))
    })
}

pub(super) fn remove(name: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let (force, prune) = (call.query.flag("force"), !call.query.flag("noprune"));
    let removed = shared.with(|model, now| model.remove_image(name, force, prune, now))?;
    Ok(json(&removed.iter().map(Removed::to_json).collect()))
}

pub(super) fn prune(call: &Call, shared: &Shared) -> Outcome<Answer> {
    let filters = call.filters(&["dangling", "label", "label!", "until"])?;
    let (removed, size) = shared.with(|model, now| model.prune_images(&filters, now))?;
    let removed: Value = match removed.as_slice() {
        [] => Value::Null,
        removed => removed.iter().map(Removed::to_json).collect(),
    };
    Ok(json(&json!({"ImagesDeleted": removed, "SpaceReclaimed": size})))
}

pub(super) fn save<'a>(names: impl Iterator<Item = &'a str>, shared: &Shared) -> Outcome<Answer> {
    let names: Vec<String> = names.map(str::to_owned).collect();
    let archive = shared.with(|model, now| model.save(&names, now))?;
    Ok(Answer::whole(200, Some("application/x-tar"), archive))
}

pub(super) fn load(call: &Call, shared: &Shared) -> Outcome<Answer> {
    let said = shared.with(|model, now| model.load(&call.body, now))?;
    Ok(Answer::whole(200, Some("application/json"), lines(said.iter().map(|text| said_line(text)))))
}

/// Text for the client, as a line of progress.
pub(super) fn said_line(text: &str) -> Value {
    json!({"stream": text})
}

/// Progress as the engine writes it.
pub(super) fn lines(values: impl Iterator<Item = Value>) -> String {
    values.map(|value| format!("{value}\r\n")).collect()
}
