//! Events of a Rancher 1.x controller, answered as its agent did.
//!
//! Whoever has the connection to such a controller calls `rancher_event` with
//! each event and publishes what comes back: the reply, and before it the
//! reports of progress, which are replies as well. Nothing is dropped: a second
//! event for an object waits for the first, and one that cannot be handled is
//! answered with an error.

mod container;
mod event;
mod instance;
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
mod tests {
    use super::*;
    use crate::testing::{Exchange, on, run};

    const BY_LABEL: &str = "GET /containers/json?all=true&filters=%7B%22label%22:%5B%22io.rancher.container.uuid%3Du%22%5D%7D";
    const BY_NAME: &str =
        "GET /containers/json?all=true&filters=%7B%22name%22:%5B%22%5E/r-web%24%22%5D%7D";
    const ACTIVATE: &str = include_str!("../tests/golden/instance_activate.json");
    const ACTIVATED: &str = include_str!("../tests/golden/instance_activate_resp.json");

    /// The reply without what is another one each time.
    fn reply(event: &str, exchanges: Vec<Exchange>) -> (Value, Vec<Value>) {
        let event: Value = serde_json::from_str(event).unwrap();
        let outcome = run("rancher_event", &json!({ "event": event }), exchanges);
        assert!(!outcome.heard.state.keys().any(|key| key.starts_with("lock/")));
        let settled = |mut reply: Value| {
            if let Value::Object(reply) = &mut reply {
                reply.remove("id");
                reply.remove("time");
            }
            reply
        };
        let progress = outcome.heard.progress.into_iter().map(settled).collect();
        (settled(outcome.answer.unwrap()), progress)
    }

    fn event(name: &str, data: &Value) -> String {
        let event = json!({ "id": "e1", "name": name, "replyTo": "reply.1", "resourceId": "1",
                            "resourceType": "instance", "data": data });
        event.to_string()
    }

    #[test]
    fn an_instance_is_pulled_created_and_started() {
        let running = r#"[{"Id":"0a","State":"running","Ports":[{"IP":"0.0.0.0","PrivatePort":80,"PublicPort":8080,"Type":"tcp"}]}]"#;
        let exchanges = vec![
            on(BY_LABEL, 200, "[]"),
            on(BY_NAME, 200, "[]"),
            on("GET /images/app:1/json", 404, "{}"),
            on("GET /images/app:1/json", 404, "{}"),
            on(
                "POST /images/create?fromImage=app&tag=1",
                200,
                r#"{"status":"Downloading","id":"l","progressDetail":{"current":1,"total":4}}"#,
            ),
            on("GET /images/app:1/json", 200, r#"{"Id":"sha256:a"}"#),
            on("POST /containers/create?name=r-web", 201, r#"{"Id":"0a"}"#),
            on("POST /containers/0a/start", 204, ""),
            on(BY_LABEL, 200, running),
            on(
                "GET /containers/0a/json",
                200,
                r#"{"Id":"0a","Mounts":[],"NetworkSettings":{"IPAddress":"172.17.0.2"}}"#,
            ),
        ];
        let (answer, progress) = reply(ACTIVATE, exchanges);
        assert_eq!(answer, serde_json::from_str::<Value>(ACTIVATED).unwrap());
        assert_eq!(progress[0]["transitioningMessage"], "pulling app:1");
        assert_eq!(progress[1]["transitioning"], "yes");
        assert_eq!(progress[1]["transitioningProgress"], 25);
    }

    #[test]
    fn what_fails_is_a_reply_and_so_is_an_event_that_nobody_knows() {
        let asked = event(
            "compute.instance.inspect;agent=7",
            &json!({ "instanceInspect": { "name": "x" } }),
        );
        let gone = on("GET /containers/x/json", 404, r#"{"message":"No such container: x"}"#);
        let (answer, _) = reply(&asked, vec![gone]);
        assert_eq!(answer["transitioning"], "error");
        let message = answer["transitioningInternalMessage"].as_str().unwrap();
        assert!(message.contains("No such container"), "{message}");
        assert_eq!(answer["previousNames"], json!(["compute.instance.inspect;agent=7"]));

        let (answer, _) = reply(&event("compute.instance.dance", &json!({})), Vec::new());
        assert_eq!(answer["transitioning"], "error");
    }

    #[test]
    fn what_is_gone_is_not_missed() {
        let instance = json!({ "instanceHostMap": { "instance": { "uuid": "u", "name": "web" } } });
        let nobody = || vec![on(BY_LABEL, 200, "[]"), on(BY_NAME, 200, "[]")];
        let (answer, _) = reply(&event("compute.instance.remove", &instance), nobody());
        assert_eq!(answer["data"], json!({}));
        let stop = json!({ "instanceForceStop": { "id": "0a" } });
        let gone = vec![on("POST /containers/0a/stop?t=10", 404, "{}")];
        assert_eq!(reply(&event("compute.instance.force.stop", &stop), gone).0["data"], json!({}));
    }

    #[test]
    fn a_no_op_and_an_event_without_reply_do_nothing_that_is_not_asked() {
        let mut data = json!({ "instanceHostMap": { "instance": { "uuid": "u", "name": "web" } } });
        data["processData"] = json!({ "containerNoOpEvent": true });
        let nobody = vec![on(BY_LABEL, 200, "[]"), on(BY_NAME, 200, "[]")];
        let (answer, _) = reply(&event("compute.instance.activate", &data), nobody);
        assert_eq!(
            answer["data"]["instanceHostMap"]["instance"]["+data"]["dockerInspect"],
            Value::Null
        );

        let silent = json!({ "id": "e", "name": "storage.volume.deactivate" });
        assert_eq!(reply(&silent.to_string(), Vec::new()).0, Value::Null);
    }

    #[test]
    fn a_volume_that_is_in_use_is_left_over() {
        let data = json!({ "volumeStoragePoolMap": { "volume": { "name": "v" } } });
        let busy = on("DELETE /volumes/v", 409, r#"{"message":"volume is in use"}"#);
        let (answer, _) = reply(&event("storage.volume.remove", &data), vec![busy]);
        assert_eq!((&answer["data"], &answer["transitioning"]), (&json!({}), &Value::Null));
    }

    #[test]
    fn a_ping_tells_of_the_host_even_without_an_engine() {
        let data = json!({ "options": { "resources": true, "instances": true } });
        let exchanges = vec![
            on("GET /info", 200, r#"{"ID":"h","Name":"node","NCPU":2,"MemTotal":2097152}"#),
            on(
                "GET /containers/json?all=true",
                200,
                r#"[{"Id":"0a","Names":["/web"],"State":"exited"}]"#,
            ),
        ];
        let (answer, _) = reply(&event("ping", &data), exchanges);
        let kinds: Vec<_> = answer["data"]["resources"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["type"].clone())
            .collect();
        assert_eq!(kinds, ["physicalHost", "host", "storagePool", "instance"]);
        assert_eq!(answer["data"]["options"]["instances"], true);
        let (answer, _) = reply(&event("ping", &data), vec![on("GET /info", 0, "")]);
        assert_eq!((&answer["data"], &answer["transitioning"]), (&json!({}), &Value::Null));
    }

    #[test]
    fn a_delegate_is_asked_in_its_container() {
        let framed = crate::engine::frames::tests::framed;
        let output =
            framed(&[(crate::engine::frames::Stream::Stdout, b"log\n{\"data\":{\"a\":1}}\n")]);
        let exchanges = vec![
            on(BY_LABEL, 200, r#"[{"Id":"0a"}]"#),
            on("POST /containers/0a/exec", 201, r#"{"Id":"0e"}"#),
            on("POST /exec/0e/start", 200, output),
            on("GET /exec/0e/json", 200, r#"{"Running":false,"ExitCode":0}"#),
        ];
        let data = json!({ "instanceData": { "uuid": "u" }, "event": { "name": "config.update" } });
        let (answer, _) = reply(&event("delegate.request", &data), exchanges);
        assert_eq!(answer["data"], json!({ "data": { "a": 1 } }));
    }
}
