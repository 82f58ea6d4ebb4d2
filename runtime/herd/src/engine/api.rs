//! What each request does.

mod archive;
mod build;
mod containers;
mod exec;
mod images;
mod networks;
mod output;
mod stats;
mod system;
mod transfer;
mod volumes;

use std::sync::Arc;

use serde_json::Value;

use super::answer::{Answer, Refusal};
use super::call::Call;
use super::model::Outcome;
use super::server::SessionSlot;
use super::shared::Shared;

/// Answers a request.
pub(crate) async fn answer(
    call: &mut Call,
    shared: &Arc<Shared>,
    slot: &SessionSlot,
) -> Outcome<Answer> {
    let method = call.method.clone();
    let path = call.path.clone();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match (method.as_str(), parts.as_slice()) {
        ("GET" | "HEAD", ["_ping"]) => Ok(system::ping()),
        ("GET", ["version"]) => Ok(system::version()),
        ("GET", ["info"]) => Ok(system::info(shared)),
        ("GET", ["system", "df"]) => Ok(system::disk_use(shared)),
        ("GET", ["events"]) => system::events(call, shared),
        ("POST", ["auth"]) => system::login(call, shared),
        (_, ["containers", rest @ ..]) => container(&method, rest, call, shared, slot).await,
        ("POST", ["exec", id, "start"]) => exec::start(id, call, shared, slot),
        ("POST", ["exec", id, "resize"]) => exec::resize(id, call, shared),
        ("GET", ["exec", id, "json"]) => {
            shared.look(|model, _| model.inspect_exec(id)).map(|found| json(&found))
        }
        (_, ["images", rest @ ..]) => image(&method, rest, call, shared),
        ("POST", ["build"]) => build::build(call, shared),
        (_, ["volumes", rest @ ..]) => volumes::answer(&method, rest, call, shared),
        (_, ["networks", rest @ ..]) => networks::answer(&method, rest, call, shared),
        _ => Err(no_page()),
    }
}

async fn container(
    method: &str,
    path: &[&str],
    call: &mut Call,
    shared: &Arc<Shared>,
    slot: &SessionSlot,
) -> Outcome<Answer> {
    match (method, path) {
        ("GET", ["json"]) => containers::list(call, shared),
        ("POST", ["create"]) => containers::create(call, shared),
        ("POST", ["prune"]) => containers::prune(call, shared),
        ("DELETE", [id]) => containers::remove(id, call, shared),
        ("GET", [id, "json"]) => containers::inspect(id, shared),
        ("POST", [id, "start"]) => containers::start(id, shared),
        ("POST", [id, "stop"]) => containers::stop(id, call, shared).await,
        ("POST", [id, "restart"]) => containers::restart(id, call, shared).await,
        ("POST", [id, "kill"]) => containers::kill(id, call, shared),
        ("POST", [id, "pause"]) => {
            shared.with(|model, now| model.pause(id, now)).map(|()| Answer::empty(204))
        }
        ("POST", [id, "unpause"]) => {
            shared.with(|model, now| model.unpause(id, now)).map(|()| Answer::empty(204))
        }
        ("POST", [id, "rename"]) => containers::rename(id, call, shared),
        ("POST", [id, "update"]) => containers::update(id, call, shared),
        ("POST", [id, "wait"]) => containers::wait(id, call, shared),
        ("POST", [id, "resize"]) => containers::resize(id, call, shared),
        ("GET", [id, "top"]) => containers::top(id, call, shared),
        ("GET", [id, "changes"]) => {
            shared.look(|model, _| model.changes(id)).map(|changes| json(&changes))
        }
        ("GET", [id, "stats"]) => stats::stats(id, call, shared),
        ("GET", [id, "logs"]) => output::logs(id, call, shared),
        ("POST", [id, "attach"]) => output::attach(id, call, shared, slot),
        ("POST", [id, "exec"]) => exec::create(id, call, shared),
        ("HEAD" | "GET", [id, "archive"]) => archive::get(method, id, call, shared),
        ("PUT", [id, "archive"]) => archive::put(id, call, shared),
        ("GET", [id, "export"]) => archive::export(id, shared),
        _ => Err(no_page()),
    }
}

/// Names of images have slashes, so the last part says what is wanted.
fn image(method: &str, path: &[&str], call: &Call, shared: &Arc<Shared>) -> Outcome<Answer> {
    match (method, path) {
        ("GET", ["json"]) => images::list(call, shared),
        ("POST", ["create"]) => transfer::create(call, shared),
        ("POST", ["load"]) => images::load(call, shared),
        ("GET", ["get"]) => images::save(call.query.all("names"), shared),
        ("POST", ["prune"]) => images::prune(call, shared),
        ("GET", [name @ .., "json"]) => {
            let name = name.join("/");
            shared.look(|model, _| model.inspect_image(&name)).map(|found| json(&found))
        }
        ("GET", [name @ .., "history"]) => {
            let name = name.join("/");
            shared.look(|model, _| model.image_history(&name)).map(|found| json(&found))
        }
        ("GET", [name @ .., "get"]) => {
            images::save(std::iter::once(name.join("/").as_str()), shared)
        }
        ("POST", [name @ .., "tag"]) => images::tag(&name.join("/"), call, shared),
        ("POST", [name @ .., "push"]) => transfer::push(&name.join("/"), call, shared),
        ("DELETE", name) => images::remove(&name.join("/"), call, shared),
        _ => Err(no_page()),
    }
}

/// The usual answer: 200 and JSON.
fn json(value: &Value) -> Answer {
    Answer::json(200, value)
}

fn no_page() -> Refusal {
    Refusal::not_found("page not found")
}
