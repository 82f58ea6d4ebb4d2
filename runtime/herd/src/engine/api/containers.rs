//! Containers: what changes them, and what is known of them at once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use serde_json::json;

use super::json;
use crate::engine::answer::{Answer, Refusal};
use crate::engine::call::Call;
use crate::engine::model::{AfterStop, FILTERS, Listing, Model, Outcome, Removal, signal_number};
use crate::engine::shared::Shared;

/// How long a stop is patient if nobody says.
const PATIENCE: i64 = 10;

pub(super) fn list(call: &Call, shared: &Shared) -> Outcome<Answer> {
    let listing = Listing {
        all: call.query.flag("all"),
        limit: call.query.number("limit")?.and_then(|limit| usize::try_from(limit).ok()),
        size: call.query.flag("size"),
        filters: call.filters(&FILTERS)?,
    };
    let listing = Listing { limit: listing.limit.filter(|limit| *limit > 0), ..listing };
    shared.look(|model, now| model.list(&listing, now)).map(|rows| json(&rows))
}

pub(super) fn create(call: &Call, shared: &Shared) -> Outcome<Answer> {
    let wanted = call.json()?;
    if wanted.is_null() {
        let text = "Config cannot be empty in order to create a container";
        return Err(Refusal::bad_request(text));
    }
    let name = call.query.text("name");
    let id = shared.with(|model, now| model.create(name, &wanted, now))?;
    Ok(Answer::json(201, &json!({"Id": id, "Warnings": []})))
}

pub(super) fn inspect(id: &str, shared: &Shared) -> Outcome<Answer> {
    shared.look(|model, _| Ok(json(&model.container(id)?.inspect(&model.root))))
}

pub(super) fn start(id: &str, shared: &Shared) -> Outcome<Answer> {
    let started = shared.with(|model, now| model.start(id, now))?;
    Ok(Answer::empty(if started { 204 } else { 304 }))
}

pub(super) async fn stop(id: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let patience = call.query.number("t")?;
    let id = shared.look(|model, _| model.container_id(id))?;
    let stops = shared.with(|model, now| {
        let patience = patience_of(model, &id, patience);
        model.stop(&id, patience, AfterStop::Rest, now)
    })?;
    if !stops {
        return Ok(Answer::empty(304));
    }
    stopped(&id, shared).await;
    Ok(Answer::empty(204))
}

pub(super) async fn restart(id: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let patience = call.query.number("t")?;
    let id = shared.look(|model, _| model.container_id(id))?;
    let stops = shared.with(|model, now| {
        let patience = patience_of(model, &id, patience);
        let stops = model.stop(&id, patience, AfterStop::Start, now)?;
        if !stops {
            model.start(&id, now)?;
            model.restarted(&id, now);
        }
        Ok(stops)
    })?;
    if stops {
        stopped(&id, shared).await;
    }
    Ok(Answer::empty(204))
}

/// What the request says, else what the container says, else ten seconds; none
/// if it is to wait for ever.
fn patience_of(model: &Model, id: &str, wanted: Option<i64>) -> Option<Duration> {
    let own = model.containers.get(id).and_then(|one| one.config["StopTimeout"].as_i64());
    let seconds = wanted.or(own).unwrap_or(PATIENCE);
    u64::try_from(seconds).ok().map(Duration::from_secs)
}

/// Waits until a stop that was asked for has come to its end.
async fn stopped(id: &str, shared: &Shared) {
    shared
        .until(|model, _| {
            let container = model.containers.get(id);
            container.is_none_or(|container| container.stopping.is_none()).then_some(())
        })
        .await;
}

pub(super) fn kill(id: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let name = call.query.text("signal").filter(|name| !name.is_empty()).unwrap_or("KILL");
    let signal = signal_number(name)
        .ok_or_else(|| Refusal::bad_request(format!("Invalid signal: {name}")))?;
    shared.with(|model, now| model.kill(id, signal, now))?;
    Ok(Answer::empty(204))
}

pub(super) fn rename(id: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let name = call.query.text("name").unwrap_or_default();
    shared.with(|model, now| model.rename(id, name, now))?;
    Ok(Answer::empty(204))
}

pub(super) fn update(id: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let wanted = call.json()?;
    shared.with(|model, now| model.update(id, &wanted, now))?;
    Ok(json(&json!({"Warnings": []})))
}

/// The head comes at once, and the code when there is one.
pub(super) fn wait(id: &str, call: &Call, shared: &Arc<Shared>) -> Outcome<Answer> {
    let condition = call.query.text("condition").unwrap_or_default().to_owned();
    let (id, exits) = shared.look(|model, _| {
        let container = model.container(id)?;
        Ok((container.id.clone(), container.exits))
    })?;
    let shared = shared.clone();
    let code = stream::once(async move {
        let code = shared
            .until(|model, _| match model.containers.get(&id) {
                None => {
                    let gone = model.gone.iter().rev().find(|(gone, _)| *gone == id);
                    Some(gone.map_or(0, |(_, code)| *code))
                }
                Some(container) => {
                    let is_over = match condition.as_str() {
                        "removed" => false,
                        "next-exit" => container.exits > exits,
                        _ => !container.state.is_running(),
                    };
                    is_over.then_some(container.exit_code)
                }
            })
            .await;
        Bytes::from(format!("{}\n", json!({"Error": null, "StatusCode": code})))
    });
    Ok(Answer::chunks(Some("application/json"), code))
}

pub(super) fn remove(id: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let how = Removal { force: call.query.flag("force"), volumes: call.query.flag("v") };
    shared.with(|model, now| model.remove(id, how, now))?;
    Ok(Answer::empty(204))
}

pub(super) fn prune(call: &Call, shared: &Shared) -> Outcome<Answer> {
    let filters = call.filters(&["label", "label!", "until"])?;
    let removed = shared.with(|model, now| model.prune_containers(&filters, now));
    let ids = if removed.is_empty() { json!(null) } else { json!(removed) };
    Ok(json(&json!({"ContainersDeleted": ids, "SpaceReclaimed": 0})))
}

pub(super) fn resize(id: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let size = sizes(call)?;
    shared.with(|model, now| model.resize(id, &size, now))?;
    Ok(Answer::empty(200))
}

/// Height and width of a terminal.
pub(super) fn sizes(call: &Call) -> Outcome<[String; 2]> {
    let mut sizes = [String::new(), String::new()];
    for (name, size) in ["h", "w"].into_iter().zip(&mut sizes) {
        let text = call.query.text(name).unwrap_or_default();
        if text.parse::<u32>().is_err() {
            let text = format!("strconv.Atoi: parsing \"{text}\": invalid syntax");
            return Err(Refusal::bad_request(text));
        }
        text.clone_into(size);
    }
    Ok(sizes)
}

/// One line for the program; a format of the caller's own choice gives the
/// columns that it names, with the same values.
pub(super) fn top(id: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let arguments = call.query.text("ps_args").unwrap_or_default();
    let (pid, command) = shared.with(|model, now| {
        let container = model.running(id)?;
        let shown = (container.pid, container.command());
        model.looked_at(id, now);
        Ok((shown.0, shown.1))
    })?;
    let name = command.first().cloned().unwrap_or_default();
    let columns = [
        ("UID", "root".to_owned()),
        ("PID", pid.to_string()),
        ("PPID", "1".to_owned()),
        ("C", "0".to_owned()),
        ("STIME", "00:00".to_owned()),
        ("TTY", "?".to_owned()),
        ("TIME", "00:00:00".to_owned()),
        ("CMD", command.join(" ")),
    ];
    let wanted = arguments.trim().strip_prefix("-o").or(arguments.strip_prefix("o"));
    let (titles, values): (Vec<_>, Vec<_>) = match wanted {
        None => columns.into_iter().unzip(),
        Some(wanted) => wanted
            .trim()
            .split(',')
            .map(|column| match column {
                "pid" => ("PID", pid.to_string()),
                "user" => ("USER", "root".to_owned()),
                "comm" => ("COMMAND", name.clone()),
                _ => ("COMMAND", command.join(" ")),
            })
            .unzip(),
    };
    Ok(json(&json!({"Processes": [values], "Titles": titles})))
}
