//! The engine itself.

use drover_sdk::{Failure, Json, job, task};
use serde_json::value::RawValue;

use crate::container::Filters;
use crate::engine::{Engine, broken_off};
use crate::models::{Anything, Info};

/// The most events in an answer; more are reported as progress alone.
const EVENTS: usize = 10_000;

/// Shows what the engine says of itself and its host.
///
/// Changes nothing.
#[task]
pub(crate) fn info() -> Result<Json<Info>, Failure> {
    Engine::connect()?.get("/info", "ask the engine about itself").send()?.pass()
}

/// Shows the versions of the engine and its parts.
///
/// Changes nothing. `ApiVersion` is the newest that the engine knows.
#[task]
pub(crate) fn version() -> Result<Json<Anything>, Failure> {
    Engine::connect()?.get("/version", "ask the engine for its version").send()?.pass()
}

/// Shows how much disk containers, images, volumes and caches take.
///
/// Changes nothing, and may take long.
#[task]
pub(crate) fn disk_use() -> Result<Json<Anything>, Failure> {
    Engine::connect()?.get("/system/df", "measure the engine's disk use").send()?.pass()
}

/// Shows what has happened in the engine.
///
/// Changes nothing. Each event is also reported as progress. The engine keeps
/// the last 256 events and forgets them when it restarts; at most 10,000 are in
/// the answer.
#[task]
pub(crate) fn events_between(
    /// From when on, in seconds since 1970, such as `1700000000.25`.
    #[schemars(regex(pattern = r"^\d{1,12}(\.\d{1,9})?$"))]
    since: String,
    /// Until when, in seconds since 1970; a time to come is waited for.
    #[schemars(regex(pattern = r"^\d{1,12}(\.\d{1,9})?$"))]
    until: String,
    /// Which ones, as in `{"type": ["container"], "event": ["die"]}`.
    #[serde(default)]
    filters: Filters,
) -> Result<Json<Vec<Anything>>, Failure> {
    let engine = Engine::connect()?;
    let what = "read the engine's events";
    let call = engine.get("/events", what).query("since", since).query("until", until);
    let body = std::io::BufReader::new(call.query_json("filters", &filters)?.send()?.into_body());
    let mut events = Vec::new();
    for event in serde_json::Deserializer::from_reader(body).into_iter::<Box<RawValue>>() {
        let event = event.map_err(|error| broken_off(what, &error))?;
        job::progress(&event)?;
        if events.len() < EVENTS {
            events.push(event);
        }
    }
    Ok(Json::new(serde_json::to_string(&events)?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::engine::failure;
    use crate::testing::{on, run, run_in};

    #[test]
    fn what_the_engine_says_of_itself_is_passed_on() {
        for (operation, request) in
            [("info", "GET /info"), ("version", "GET /version"), ("disk_use", "GET /system/df")]
        {
            let outcome = run(operation, &json!({}), vec![on(request, 200, "{\"New\": 1.50}\n")]);
            assert_eq!(outcome.answer.unwrap(), json!({ "New": 1.5 }), "{operation}");
        }
    }

    #[test]
    fn events_come_in_order() {
        let exchanges = vec![on("GET /events?since=1&until=2", 200, "{\"a\":1}\n{\"a\":2}\n")];
        let outcome = run("events_between", &json!({ "since": "1", "until": "2" }), exchanges);
        assert_eq!(outcome.answer.unwrap(), json!([{ "a": 1 }, { "a": 2 }]));
    }

    #[test]
    fn an_engine_that_is_gone_is_said_to_be() {
        let outcome = run("info", &json!({}), vec![on("GET /info", 0, "")]);
        assert_eq!(outcome.code(), failure::ENGINE_UNREACHABLE);
    }

    #[test]
    fn the_version_is_settled_once_and_again_when_it_is_refused() {
        let exchanges = vec![on("GET /_ping", 200, "OK"), on("GET /info", 200, "{}")];
        let host = drover_sdk::testing::Host::default();
        let outcome = run_in(host, "info", &json!({}), exchanges);
        assert_eq!(outcome.heard.state["api-version"], b"1.41");

        let state = [("api-version".to_owned(), b"1.44".to_vec())].into();
        let host = drover_sdk::testing::Host { state, ..Default::default() };
        let refusal = r#"{"message":"client version 1.44 is too new. Maximum supported API version is 1.41"}"#;
        let exchanges = vec![
            on("GET /info", 400, refusal),
            on("GET /_ping", 200, "OK"),
            on("GET /info", 200, "{}"),
        ];
        let outcome = run_in(host, "info", &json!({}), exchanges);
        outcome.answer.unwrap();
        assert_eq!(outcome.heard.state["api-version"], b"1.41");
    }
}
