//! What containers write, in the node's log.

mod levels;
mod source;
mod time;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use drover_sdk::http::{self, Incoming};
use drover_sdk::{Failure, job, log, service};
use serde::Deserialize;
use serde_json::json;

use self::source::{Progress, Source};
use crate::engine::{Engine, broken_off, failure};
use crate::models::ContainerSummary;

/// How many containers are followed at once: an instance may have 128 requests
/// under way.
const MOST: usize = 100;
/// How often it is looked whether the service is to stop, and what was written is
/// remembered as written.
const PACE: Duration = Duration::from_secs(1);
/// The longest time between two attempts to reach the engine.
const PAUSE: Duration = Duration::from_secs(10);

const WHAT: &str = "capture the output of containers";

/// Takes what containers write into the node's log, for containers with a label.
///
/// Each line is a record with the container's name in front, and as the field
/// `container`; the field `stream` is `stdout` or `stderr`. The level protocol
/// counts: `7::text` is a warning, and `7:::` begins a text of many lines that
/// `:::` ends; lines without a level are text. A container is captured from its
/// beginning on, as far as the engine still has that. Over restarts of the
/// service, the agent and the engine it goes on where it was; a line of the last
/// second may come twice. At most 100 containers that run are captured.
#[service]
pub(crate) fn capture(
    /// The label, with its value.
    #[default("io.drover.logs=true")]
    #[schemars(length(min = 1))]
    label: String,
) -> Result<(), Failure> {
    let mut is_known = false;
    let mut pause = PACE / 4;
    loop {
        let Err(failure) = follow(&label, &mut is_known) else { return Ok(()) };
        if !failure::may_pass(&failure) {
            return Err(failure);
        }
        if !is_known {
            log::warning(&failure.message);
            is_known = true;
            pause = PACE / 4;
        }
        if job::wait(pause) {
            return Ok(());
        }
        pause = (pause * 2).min(PAUSE);
    }
}

/// Captures until the job is over, or the engine is away.
fn follow(label: &str, is_known: &mut bool) -> Result<(), Failure> {
    let mut capture = Capture::begin(label)?;
    if std::mem::take(is_known) {
        log::operator("the output of containers is captured again");
    }
    let mut saved = Instant::now();
    loop {
        let is_over = job::is_cancelled();
        if is_over || saved.elapsed() >= PACE {
            capture.save()?;
            saved = Instant::now();
        }
        if is_over {
            return Ok(());
        }
        if let Err(failure) = capture.go_on() {
            capture.save()?;
            return Err(failure);
        }
    }
}

/// A start of a container, as it is read of an event.
#[derive(Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[derive(Default)]
struct Started {
    actor: Actor,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Actor {
    #[serde(rename = "ID")]
    id: String,
    attributes: BTreeMap<String, String>,
}

/// The containers that are followed.
struct Capture {
    engine: Engine,
    events: Incoming,
    /// The beginning of an event.
    rest: Vec<u8>,
    sources: Vec<Source>,
    /// Names by id of those that have to wait for a place.
    waiting: VecDeque<(String, String)>,
}

impl Capture {
    fn begin(label: &str) -> Result<Self, Failure> {
        let engine = Engine::connect()?;
        // First of all, so that no start is missed.
        let filters = json!({ "type": ["container"], "event": ["start"], "label": [label] });
        let events = engine.get("/events", WHAT).query("filters", filters).send()?.into_incoming();
        let filters = json!({ "label": [label] });
        let call = engine.get("/containers/json", WHAT).query("all", true);
        let list: Vec<ContainerSummary> = call.query("filters", filters).send()?.read()?;
        let (running, ended): (Vec<_>, Vec<_>) =
            list.into_iter().partition(|container| container.state == "running");
        if running.len() > MOST {
            log::warning(format_args!(
                "{} containers have the label {label}; the output of {MOST} is captured at once",
                running.len()
            ));
        }
        let mut capture = Self {
            engine,
            events,
            rest: Vec::new(),
            sources: Vec::new(),
            waiting: VecDeque::new(),
        };
        // Those that have ended take a place for a moment only.
        for container in ended.into_iter().chain(running) {
            let name = container.names.iter().flatten().next();
            let name = name.map_or(container.id.as_str(), |name| name.trim_start_matches('/'));
            capture.waiting.push_back((container.id.clone(), name.to_owned()));
        }
        Ok(capture)
    }

    /// Waits for something to do, and does it.
    fn go_on(&mut self) -> Result<(), Failure> {
        while self.sources.len() < MOST
            && let Some((id, name)) = self.waiting.pop_front()
        {
            match Source::open(&self.engine, &id, &name) {
                Ok(source) => self.sources.push(source),
                // It was removed meanwhile, or its driver keeps nothing to read.
                Err(failure) if !failure::may_pass(&failure) => log::warning(&failure.message),
                Err(failure) if failure.code == failure::ENGINE_FAILED => {
                    log::warning(&failure.message);
                }
                Err(failure) => return Err(failure),
            }
        }
        let mut answers = vec![&self.events];
        answers.extend(self.sources.iter().map(Source::body));
        let ready = http::wait(&answers, PACE);
        // From the last on, so that places stay while sources go.
        for index in ready.into_iter().rev() {
            if index == 0 {
                self.read_events()?;
            } else if self.sources[index - 1].go_on()? == Progress::Ended {
                let source = self.sources.swap_remove(index - 1);
                if let Some(again) = source.end()? {
                    self.waiting.push_back(again);
                }
            }
        }
        Ok(())
    }

    fn read_events(&mut self) -> Result<(), Failure> {
        let Some(bytes) = self.events.read_now().map_err(|error| broken_off(WHAT, &error))? else {
            return Ok(());
        };
        if bytes.is_empty() {
            return Err(broken_off(WHAT, &"it ended its events"));
        }
        self.rest.extend(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let text = String::from_utf8_lossy(&line);
            let Ok(Started { actor }) = serde_json::from_str(text.trim()) else { continue };
            let name = actor.attributes.get("name").unwrap_or(&actor.id).clone();
            match self.sources.iter_mut().find(|source| source.is_of(&actor.id)) {
                // Its output ends when it does, and goes on when it starts again.
                Some(source) => source.open_again(),
                None => self.waiting.push_back((actor.id, name)),
            }
        }
        Ok(())
    }

    /// Remembers what was written.
    fn save(&mut self) -> Result<(), Failure> {
        self.sources.iter_mut().try_for_each(Source::save)
    }
}

#[cfg(test)]
mod tests {
    use drover_sdk::log::Level;
    use drover_sdk::testing::Host;
    use serde_json::json;

    use crate::engine::frames::Stream;
    use crate::engine::frames::tests::framed;
    use crate::testing::{host, on, run_in};

    const EVENTS: &str = "GET /events?filters=%7B%22event%22:%5B%22start%22%5D,%22label%22:%5B%22io.drover.logs%3Dtrue%22%5D,%22type%22:%5B%22container%22%5D%7D";
    const LIST: &str =
        "GET /containers/json?all=true&filters=%7B%22label%22:%5B%22io.drover.logs%3Dtrue%22%5D%7D";

    #[test]
    fn output_becomes_records_from_where_it_was_left() {
        let output = framed(&[
            (Stream::Stdout, b"2023-11-14T22:13:20.000000001Z old\n"),
            (Stream::Stdout, b"2023-11-14T22:13:20.000000002Z 7::nearly "),
            (Stream::Stdout, b"2023-11-14T22:13:20.000000003Z full\n"),
            (Stream::Stderr, b"2023-11-14T22:13:21.000000000Z oops\n"),
        ]);
        let exchanges = vec![
            on(EVENTS, 200, ""),
            on(LIST, 200, r#"[{"Id":"0a","Names":["/web"],"State":"running"}]"#),
            on("GET /containers/0a/json", 200, "{}"),
            on(
                "GET /containers/0a/logs?stdout=true&stderr=true&follow=true&timestamps=true&since=1700000000.000000001",
                200,
                output,
            ),
        ];
        let mut host = Host { waits: 0, ..host(Vec::new()) };
        let mark = b"2023-11-14T22:13:20.000000001Z".to_vec();
        host.state.insert("capture/test/0a".to_owned(), mark);
        let outcome = run_in(host, "capture", &json!({}), exchanges);
        outcome.answer.unwrap();
        let records: Vec<_> = outcome
            .heard
            .records
            .iter()
            .map(|record| (record.level, record.message.as_str()))
            .filter(|(_, message)| message.starts_with("web: "))
            .collect();
        assert_eq!(records, [(Level::Warning, "web: nearly full"), (Level::Text, "web: oops")]);
        let oops = outcome.heard.records.iter().find(|record| record.message == "web: oops");
        let fields = [("container", "web".into()), ("stream", "stderr".into())];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(oops.unwrap().fields, fields);
        assert_eq!(outcome.heard.state["capture/test/0a"], b"2023-11-14T22:13:21.000000000Z");
    }
}
