//! Events of a Rancher 1.x controller, answered as its agent did.
//!
//! Whoever has the connection to such a controller calls `rancher_event` with
//! each event and publishes what comes back: the reply, and before it the
//! reports of progress, which are replies as well. Nothing is dropped: a second
//! event for an object waits for the first, and one that cannot be handled is
//! answered with an error.

mod container;
mod event;
mod host_info;
mod instance;
mod links;
mod lock;
mod ping;
mod storage;

use drover_sdk::{Failure, task};
use serde_json::{Map, Value, json};

use self::event::{Event, Reply};
use self::lock::Lock;
use crate::engine::Engine;

/// Handles an event of a Rancher 1.x controller, and answers with the reply to
/// publish; null if the controller wants none.
///
/// Events are `compute.instance.activate`, `.deactivate`, `.remove`,
/// `.force.stop`, `.inspect` and `.pull`, `storage.image.activate`,
/// `storage.volume.activate`, `.deactivate` and `.remove`, `delegate.request`
/// and `ping`. Idempotent as the events are: a container that runs is not
/// started again, and one that is gone is not missed. What fails is a reply
/// with `transitioning` `error`. Progress of a pull is reported as replies with
/// `transitioning` `yes`.
#[task]
pub(crate) fn rancher_event(
    /// The event, as the controller sent it.
    event: Map<String, Value>,
) -> Result<Option<Reply>, Failure> {
    let event: Event = serde_json::from_value(Value::Object(event))?;
    let outcome = handle(&event);
    if event.reply_to.is_none() {
        return outcome.map(|_| None);
    }
    Ok(Some(match outcome {
        Ok(data) => event.reply(data),
        Err(failure) => event.error(&failure),
    }))
}

/// Does what the event asks for; the data of the reply.
fn handle(event: &Event) -> Result<Value, Failure> {
    // Liveness never waits.
    if event.kind() == "ping" {
        return Ok(ping::pong(event));
    }
    let engine = Engine::connect()?;
    let _lock = Lock::acquire(&event.object())?;
    match event.kind() {
        "compute.instance.activate" => instance::activate(&engine, event),
        "compute.instance.deactivate" => instance::deactivate(&engine, event),
        "compute.instance.remove" => instance::remove(&engine, event),
        "compute.instance.force.stop" => instance::force_stop(&engine, event),
        "compute.instance.inspect" => instance::inspect(&engine, event),
        "compute.instance.pull" => storage::pull(&engine, event),
        "storage.image.activate" => storage::activate_image(&engine, event),
        "storage.volume.activate" => storage::activate_volume(&engine, event),
        "storage.volume.deactivate" => Ok(json!({})),
        "storage.volume.remove" => storage::remove_volume(&engine, event),
        "delegate.request" => instance::delegate(&engine, event),
        other => {
            let message = format!("`{other}` is no event that this agent handles");
            Err(Failure::new("unknown-event", message))
        }
    }
}

#[cfg(test)]
mod tests;
