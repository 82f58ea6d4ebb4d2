//! What happens in the engine, for whoever follows it.

use std::io::BufReader;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use drover_sdk::{Failure, feed, job, log, service, state};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::container::Filters;
use crate::engine::{Engine, broken_off, failure};

/// The time between two attempts to reach the engine: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(10)];

const WHAT: &str = "follow the engine's events";

/// Publishes what happens in the engine, as it happens.
///
/// Each value is an event in the engine's words. After every interruption,
/// whether the engine was away, the agent or this service, there is first a
/// value `{"outage": {"from": …, "until": …, "why": …}}`, with times in seconds
/// since 1970, and then come the events of that time as far as the engine still
/// has them: it keeps the last 256, and forgets all when it restarts. The last
/// one before an interruption may come twice.
#[service]
pub(crate) fn events(
    /// Which ones, as in `{"type": ["container"], "event": ["die"]}`.
    #[serde(default)]
    filters: Filters,
) -> Result<(), Failure> {
    let mut mark = Mark::load()?;
    let mut outage = mark
        .was_there
        .then(|| Outage { from: mark.text(), why: "the service did not run".to_owned() });
    let mut pause = PAUSES[0];
    loop {
        let Err(failure) = follow(&filters, &mut mark, &mut outage) else { return Ok(()) };
        if !failure::may_pass(&failure) {
            return Err(failure);
        }
        if outage.is_none() {
            log::warning(&failure.message);
            outage = Some(Outage { from: mark.text(), why: failure.message });
            pause = PAUSES[0];
        }
        if job::wait(pause) {
            return Ok(());
        }
        pause = (pause * 2).min(PAUSES[1]);
    }
}

/// Publishes events until they break off.
fn follow(filters: &Filters, mark: &mut Mark, outage: &mut Option<Outage>) -> Result<(), Failure> {
    let call = Engine::connect()?;
    let call = call.get("/events", WHAT).query("since", mark.text());
    let body = BufReader::new(call.query_json("filters", filters)?.send()?.into_body());
    if let Some(Outage { from, why }) = outage.take() {
        let until = seconds(now());
        log::operator(format_args!("the engine's events are followed again; {why}"));
        feed::publish(&Interruption { outage: Interrupted { from, until, why } })?;
    }
    let since = mark.nanoseconds;
    for event in serde_json::Deserializer::from_reader(body).into_iter::<Box<RawValue>>() {
        let event = event.map_err(|error| broken_off(WHAT, &error))?;
        let told: Told = serde_json::from_str(event.get()).unwrap_or_default();
        // The engine begins with the moment that is asked for.
        if told.time_nano != 0 && told.time_nano <= since {
            continue;
        }
        match feed::publish(&event) {
            Err(error @ feed::PublishError::TooLong { .. }) => {
                log::warning(format_args!("an event was left out: {error}"));
            }
            published => published?,
        }
        mark.advance(told.time_nano)?;
    }
    Err(broken_off(WHAT, &"it ended them"))
}

/// That events were not followed for a while, and are again.
#[derive(Serialize)]
struct Interruption {
    outage: Interrupted,
}

#[derive(Serialize)]
struct Interrupted {
    from: String,
    until: String,
    why: String,
}

/// Since when events are not followed.
struct Outage {
    from: String,
    why: String,
}

/// What is read of an event.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Told {
    #[serde(rename = "timeNano")]
    time_nano: u64,
}

/// The last event that was published, remembered for the next instance.
struct Mark {
    key: String,
    /// Its time, since 1970.
    nanoseconds: u64,
    /// Whether an instance before this one has left it.
    was_there: bool,
}

impl Mark {
    fn load() -> Result<Self, Failure> {
        let key = format!("events/{}", job::id());
        let known = state::get(&key)?.and_then(|text| str::from_utf8(&text).ok()?.parse().ok());
        let mark = Self { key, nanoseconds: known.unwrap_or_else(now), was_there: known.is_some() };
        mark.save()?;
        Ok(mark)
    }

    fn text(&self) -> String {
        seconds(self.nanoseconds)
    }

    fn advance(&mut self, nanoseconds: u64) -> Result<(), Failure> {
        self.nanoseconds = self.nanoseconds.max(nanoseconds);
        self.save()
    }

    fn save(&self) -> Result<(), Failure> {
        Ok(state::set(&self.key, self.nanoseconds.to_string().as_bytes())?)
    }
}

/// Nanoseconds since 1970.
fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}

/// A time as the engine reads it.
fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use drover_sdk::testing::Host;
    use serde_json::json;

    use crate::engine::failure;
    use crate::testing::{host, on, run_in};

    /// A host in which the service was once.
    fn again(waits: u32) -> Host {
        let mut host = Host { waits, ..host(Vec::new()) };
        host.state.insert("events/test".to_owned(), b"7000000005".to_vec());
        host
    }

    const SINCE: &str = "GET /events?since=7.000000005";
    const OLD_AND_NEW: &str = "{\"timeNano\":7000000005}\n{\"timeNano\":7000000006,\"n\":1}\n";

    #[test]
    fn events_go_on_where_they_ended_and_what_was_published_is_not_again() {
        let exchanges = vec![on(SINCE, 200, OLD_AND_NEW)];
        let outcome = run_in(again(0), "events", &json!({}), exchanges);
        outcome.answer.unwrap();
        let published = outcome.heard.published;
        assert_eq!(published[0]["outage"]["from"], "7.000000005");
        assert_eq!(published[1..], [json!({ "timeNano": 7_000_000_006_u64, "n": 1 })]);
        assert_eq!(outcome.heard.state["events/test"], b"7000000006");
    }

    #[test]
    fn an_engine_that_is_away_is_waited_for_and_one_warning_tells_of_it() {
        let mut exchanges = vec![on(SINCE, 200, OLD_AND_NEW)];
        let from_there = "GET /events?since=7.000000006";
        exchanges.extend((0..3).map(|_| on(from_there, 0, "")));
        exchanges.push(on(from_there, 200, "{\"timeNano\":7000000009}\n"));
        let outcome = run_in(again(4), "events", &json!({}), exchanges);
        outcome.answer.unwrap();
        let kinds: Vec<_> =
            outcome.heard.published.iter().map(|value| value.get("outage").is_some()).collect();
        assert_eq!(kinds, [true, false, true, false]);
        let warnings = outcome.heard.records.iter();
        let warnings =
            warnings.filter(|record| record.level == drover_sdk::log::Level::Warning).count();
        assert_eq!(warnings, 2, "{:?}", outcome.heard.records);
    }

    #[test]
    fn what_is_denied_or_wrong_ends_the_service() {
        let refused = on(SINCE, 400, r#"{"message":"invalid filter"}"#);
        let outcome = run_in(again(9), "events", &json!({}), vec![refused]);
        assert_eq!(outcome.code(), failure::INVALID);
    }
}
