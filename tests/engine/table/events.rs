//! What the engine tells those who listen.

use serde_json::json;

use crate::listing::filters;
use crate::tell;

#[test]
fn a_life_is_told_in_order() {
    tell(|it| {
        let id = it.container("told", "sleep 1000");
        it.start("told");
        it.post("/containers/told/pause");
        it.post("/containers/told/unpause");
        it.post("/containers/told/rename?name=retold");
        it.post("/containers/retold/restart?t=0");
        it.post("/containers/retold/kill?signal=HUP");
        it.post("/containers/retold/stop?t=0");
        it.remove("retold");
        it.note_events(&json!({"container": [id]}));
        it.note_events(&json!({"container": [id], "event": ["die", "stop"]}));
        it.note_events(&json!({"container": [id], "type": ["network"]}));
        it.note_events(
            &json!({"label": ["story=told"], "type": ["container"], "event": ["start"]}),
        );
    });
}

#[test]
fn a_command_is_told_with_its_words() {
    tell(|it| {
        let id = it.container("worded", "sleep 1000");
        it.start("worded");
        let made = it.post_json("/containers/worded/exec", &json!({"Cmd": ["echo", "hi"]}));
        let exec = made.json()["Id"].as_str().unwrap_or_default().to_owned();
        it.post_json(&format!("/exec/{exec}/start"), &json!({"Detach": true}));
        it.wait_until(&format!("/exec/{exec}/json"), |found| found["ExitCode"] == 0);
        it.note_events(&json!({"container": [id]}));
        it.remove("worded");
    });
}

#[test]
fn events_come_as_they_happen() {
    tell(|it| {
        let query = filters(&json!({"container": ["live"], "type": ["container"]}));
        let mut events = it.open("GET", &format!("/events?{query}"), "", b"");
        it.container("live", "true");
        it.start("live");
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("\"die\"") {
            seen.extend(events.more().unwrap_or_default());
        }
        let actions: Vec<_> = serde_json::Deserializer::from_slice(&seen)
            .into_iter::<serde_json::Value>()
            .map_while(Result::ok)
            .map(|event| event["Action"].to_string())
            .collect();
        it.note(&actions.join(" "));
        it.remove("live");
    });
}

#[test]
fn times_and_filters_of_events_are_checked() {
    tell(|it| {
        it.get("/events?since=2&until=1");
        it.get("/events?since=0&until=1");
        it.get(&format!("/events?since=1&until=2&{}", filters(&json!({"bogus": ["x"]}))));
    });
}
