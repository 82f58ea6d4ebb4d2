//! Commands beside a container's program.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, stream};
use serde_json::json;

use super::containers::sizes;
use super::output::{RAW, frame, keep_session, upgraded};
use crate::engine::answer::{Answer, Refusal};
use crate::engine::call::Call;
use crate::engine::model::Outcome;
use crate::engine::server::SessionSlot;
use crate::engine::shared::Shared;

pub(super) fn create(container: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    let wanted = call.json()?;
    let id = shared.with(|model, now| model.create_exec(container, &wanted, now))?;
    Ok(Answer::json(201, &json!({"Id": id})))
}

pub(super) fn start(
    id: &str,
    call: &mut Call,
    shared: &Arc<Shared>,
    slot: &SessionSlot,
) -> Outcome<Answer> {
    let wanted = call.optional_json()?;
    let (framed, takes_input) = shared.look(|model, _| {
        let exec = model.exec(id)?;
        Ok((!exec.has_terminal(), exec.takes_input()))
    })?;
    shared.with(|model, now| model.start_exec(id, now))?;
    if wanted["Detach"] == true {
        return Ok(Answer::empty(200));
    }
    let output = output(shared.clone(), id.to_owned(), framed);
    let (id, shared) = (id.to_owned(), shared.clone());
    let feed = move |input: Option<&[u8]>| {
        shared.with(|model, _| {
            let process = model.execs.get_mut(&id).and_then(|exec| exec.process.as_mut());
            match (process, input) {
                (Some(process), Some(input)) => process.feed(input),
                (Some(process), None) => process.close_input(),
                (None, _) => {}
            }
        });
    };
    match call.upgrade.take() {
        Some(upgrade) => {
            keep_session(slot, upgrade, takes_input.then_some(feed), output);
            Ok(upgraded())
        }
        None => {
            // Nothing can follow the request.
            feed(None);
            Ok(Answer::chunks(RAW, output))
        }
    }
}

/// What the command writes, until it ends.
fn output(
    shared: Arc<Shared>,
    id: String,
    framed: bool,
) -> impl Stream<Item = Bytes> + Send + 'static {
    stream::unfold(shared, move |shared| {
        let id = id.clone();
        async move {
            let text = shared
                .until(|model, _| {
                    let Some(exec) = model.execs.get_mut(&id) else { return Some(None) };
                    let mut text = BytesMut::new();
                    for (stream, output) in exec.output.drain(..) {
                        frame(framed, stream, &output, &mut text);
                    }
                    match (text.is_empty(), exec.has_ended()) {
                        (false, _) => Some(Some(text.freeze())),
                        (true, true) => Some(None),
                        (true, false) => None,
                    }
                })
                .await?;
            Some((text, shared))
        }
    })
}

pub(super) fn resize(id: &str, call: &Call, shared: &Shared) -> Outcome<Answer> {
    sizes(call)?;
    let runs = shared.look(|model, _| Ok(model.exec(id)?.process.is_some()))?;
    if runs { Ok(Answer::empty(200)) } else { Err(Refusal::not_found("no such exec")) }
}
