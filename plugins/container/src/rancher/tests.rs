//! Golden events: `tests/golden/NAME.json` is what the controller sends,
//! `NAME_engine.json` what the engine is asked for and answers, in order, and
//! `NAME_resp.json` the reply.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::engine::frames::Stream;
use crate::engine::frames::tests::framed;
use crate::testing::{Exchange, on, run};

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.json"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What the engine is asked for: `[request, status, body]`, where a body of text
/// that begins with `stdout:` is framed output.
fn engine(name: &str) -> Vec<Exchange> {
    let exchanges = golden(&format!("{name}_engine"));
    let exchange = |exchange: &Value| {
        let body = match &exchange[2] {
            Value::Null => Vec::new(),
            Value::String(text) => {
                let output = text.strip_prefix("stdout:").unwrap();
                framed(&[(Stream::Stdout, output.as_bytes())])
            }
            json => json.to_string().into_bytes(),
        };
        let status = exchange[1].as_u64().unwrap();
        on(exchange[0].as_str().unwrap(), u16::try_from(status).unwrap(), body)
    };
    exchanges.as_array().unwrap().iter().map(exchange).collect()
}

/// A reply without what is another one each time.
fn settled(mut reply: Value) -> Value {
    if let Value::Object(reply) = &mut reply {
        assert!(reply.remove("id").is_some_and(|id| id.is_string()));
        assert!(reply.remove("time").is_some_and(|time| time.is_u64()));
    }
    reply
}

/// The reply to an event and the reports of progress before it.
fn reply(event: &Value, exchanges: Vec<Exchange>) -> (Value, Vec<Value>) {
    let outcome = run("rancher_event", &json!({ "event": event }), exchanges);
    assert!(!outcome.heard.state.keys().any(|key| key.starts_with("lock/")));
    let progress = outcome.heard.progress.into_iter().map(settled).collect();
    (settled(outcome.answer.unwrap()), progress)
}

#[test]
fn every_event_is_answered_as_its_golden_reply_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut kinds = BTreeSet::new();
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().file_name().into_string().unwrap();
        let Some(name) = file.strip_suffix("_resp.json") else { continue };
        let event = golden(name);
        let (answer, _) = reply(&event, engine(name));
        assert_eq!(answer, golden(&format!("{name}_resp")), "{name}");
        kinds.extend(event["name"].as_str().unwrap().split(';').next().map(str::to_owned));
    }
    let known = [
        "compute.instance.activate",
        "compute.instance.deactivate",
        "compute.instance.force.stop",
        "compute.instance.inspect",
        "compute.instance.pull",
        "compute.instance.remove",
        "delegate.request",
        "ping",
        "storage.image.activate",
        "storage.volume.activate",
        "storage.volume.deactivate",
        "storage.volume.remove",
    ];
    let missing: Vec<_> = known.into_iter().filter(|kind| !kinds.contains(*kind)).collect();
    assert!(missing.is_empty(), "these events have no golden reply: {missing:?}");
}

#[test]
fn a_pull_tells_the_controller_how_far_it_is() {
    let (_, progress) = reply(&golden("instance_activate"), engine("instance_activate"));
    assert_eq!(progress[0]["transitioningMessage"], "pulling app:1");
    assert_eq!(progress[1]["transitioning"], "yes");
    assert_eq!(progress[1]["transitioningProgress"], 25);
}

#[test]
fn credentials_go_to_the_engine_and_into_no_reply() {
    let (answer, progress) = reply(&golden("image_activate"), engine("image_activate"));
    assert!(!format!("{answer}{progress:?}").contains("secret"));
}

#[test]
fn an_event_that_wants_no_reply_gets_none() {
    let silent = json!({ "event": { "id": "e", "name": "storage.volume.deactivate" } });
    assert_eq!(run("rancher_event", &silent, Vec::new()).answer.unwrap(), Value::Null);
}

#[test]
fn a_host_without_an_engine_answers_pings_all_the_same() {
    let exchanges = vec![on("GET /info", 0, "")];
    let (answer, _) = reply(&golden("ping_resources"), exchanges);
    assert_eq!((&answer["data"], &answer["transitioning"]), (&json!({}), &Value::Null));
}

#[test]
fn a_host_is_measured_only_when_that_is_asked_for() {
    let mut event = golden("ping_resources");
    event["data"]["options"] = json!({ "resources": true });
    let (answer, _) = reply(&event, engine("ping_resources"));
    let resources = answer["data"]["resources"].as_array().unwrap();
    let kinds: Vec<_> = resources.iter().map(|it| it["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["physicalHost", "host", "storagePool", "ipAddress"]);
    assert_eq!(resources[1]["info"], Value::Null);
}
