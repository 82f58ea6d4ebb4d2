//! Health checks.

use drover_engine_tests::Story;
use serde_json::{Value, json};

use crate::listing::filters;
use crate::tell;

/// An hour, in nanoseconds.
const HOUR: u64 = 3_600_000_000_000;

/// A twentieth of a second, in nanoseconds.
const OFTEN: u64 = 50_000_000;

fn check(test: &str, more: &Value) -> Value {
    let mut check = json!({ "Test": ["CMD-SHELL", test], "Interval": OFTEN, "Retries": 2 });
    if let (Some(check), Some(more)) = (check.as_object_mut(), more.as_object()) {
        check.extend(more.clone());
    }
    json!({ "Healthcheck": check })
}

fn wait_for(it: &mut Story, name: &str, status: &str) -> Value {
    let found = it.wait_until(&format!("/containers/{name}/json"), |found| {
        found["State"]["Health"]["Status"] == status
    });
    it.note(&format!("{name} is {status}"));
    found["State"]["Health"].clone()
}

/// How often it was which, in order, however often it was checked.
fn note_events(it: &mut Story, name: &str) {
    let wanted = filters(&json!({ "container": [name], "event": ["health_status"] }));
    let path = format!("/events?since=1&until={}&{wanted}", now());
    let events = it.quietly("GET", &path, "", b"");
    let events = serde_json::Deserializer::from_slice(&events.body).into_iter::<Value>().flatten();
    let actions: Vec<_> = events.map(|event| event["Action"].clone()).collect();
    it.note(&format!("{actions:?}"));
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs() + 1)
}

#[test]
fn a_container_is_starting_until_it_was_checked() {
    tell(|it| {
        let often = check("true", &json!({ "Interval": HOUR }));
        it.container_with("unchecked", "sleep 1000", &often);
        it.get("/containers/unchecked/json");
        it.start("unchecked");
        it.get("/containers/unchecked/json");
        for health in ["starting", "none", "healthy"] {
            let wanted = json!({ "health": [health], "label": ["story=unchecked"] });
            it.get(&format!("/containers/json?{}", filters(&wanted)));
        }
        it.post("/containers/unchecked/stop?t=0");
        it.get("/containers/unchecked/json");
        it.remove("unchecked");
    });
}

#[test]
fn failures_in_a_row_make_it_unhealthy_and_a_success_healthy() {
    tell(|it| {
        let looks = check("echo looked; test -f /tmp/well", &json!({}));
        it.container_with("ill", "sleep 1000", &looks);
        it.start("ill");
        let health = wait_for(it, "ill", "unhealthy");
        it.note(&format!(
            "at least twice: {}, {}, {}",
            health["FailingStreak"].as_u64() >= Some(2),
            health["Log"][0]["ExitCode"],
            health["Log"][0]["Output"]
        ));
        let touch = json!({ "Cmd": ["touch", "/tmp/well"], "AttachStdout": true });
        let exec = it.quietly(
            "POST",
            "/containers/ill/exec",
            "Content-Type: application/json\r\n",
            touch.to_string().as_bytes(),
        );
        let exec = exec.json()["Id"].as_str().unwrap_or_default().to_owned();
        it.quietly(
            "POST",
            &format!("/exec/{exec}/start"),
            "Content-Type: application/json\r\n",
            b"{}",
        );
        let health = wait_for(it, "ill", "healthy");
        it.note(&format!("{}", health["FailingStreak"]));
        let wanted = json!({ "health": ["healthy"], "label": ["story=ill"] });
        it.get(&format!("/containers/json?{}", filters(&wanted)));
        note_events(it, "ill");
        it.post("/containers/ill/pause");
        wait_for(it, "ill", "unhealthy");
        it.post("/containers/ill/unpause");
        wait_for(it, "ill", "healthy");
        it.post("/containers/ill/stop?t=0");
        wait_for(it, "ill", "unhealthy");
        it.remove("ill");
    });
}

#[test]
fn a_check_that_takes_too_long_or_is_not_there_has_failed() {
    tell(|it| {
        it.container_with("slow", "sleep 1000", &check("sleep 1000", &json!({ "Timeout": OFTEN })));
        let absent =
            json!({ "Healthcheck": { "Test": ["CMD", "nope"], "Interval": OFTEN, "Retries": 1 } });
        it.container_with("absent-check", "sleep 1000", &absent);
        let none = json!({ "Healthcheck": { "Test": ["NONE"] } });
        it.container_with("no-check", "sleep 1000", &none);
        for name in ["slow", "absent-check", "no-check"] {
            it.start(name);
        }
        for name in ["slow", "absent-check"] {
            let health = wait_for(it, name, "unhealthy");
            it.note(&format!("{} {}", health["Log"][0]["ExitCode"], health["Log"][0]["Output"]));
        }
        it.get("/containers/no-check/json");
        for name in ["slow", "absent-check", "no-check"] {
            it.remove(name);
        }
    });
}

#[test]
fn a_check_that_makes_no_sense_is_refused() {
    tell(|it| {
        for more in [
            json!({ "Interval": 1 }),
            json!({ "Timeout": 999_999 }),
            json!({ "StartPeriod": -1 }),
            json!({ "Retries": -1 }),
        ] {
            let mut wanted = check("true", &more);
            wanted["Image"] = json!("busybox:1");
            it.post_json("/containers/create?name=senseless", &wanted);
        }
    });
}
