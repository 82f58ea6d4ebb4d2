//! What containers use.

use std::collections::VecDeque;
use std::io::BufReader;

use drover_sdk::{Failure, data, job, task};
use serde_json::value::RawValue;

use super::container_path;
use crate::engine::{Engine, Sent, broken_off, failure};
use crate::models::{Anything, ContainerSummary};

/// How many containers are measured at the same time: an engine takes a second for
/// each that is to be compared, and the host lets an instance have 128 requests
/// under way.
const AT_ONCE: usize = 64;

/// Shows what containers use now.
///
/// Changes nothing. A container that ends meanwhile is left out, unless it was
/// named.
#[task]
pub(crate) fn stats(
    /// Which ones; all that run if none is named.
    #[serde(default)]
    containers: Vec<String>,
    /// Whether to measure for a second, so that `precpu_stats` is there to
    /// compare with.
    #[default(false)]
    compare: bool,
) -> Result<Vec<Usage>, Failure> {
    let engine = Engine::connect()?;
    let is_named = !containers.is_empty();
    let containers = if is_named { containers } else { running(&engine)? };
    let mut usages = Vec::with_capacity(containers.len());
    let mut under_way = VecDeque::with_capacity(AT_ONCE);
    let mut containers = containers.into_iter();
    loop {
        for container in containers.by_ref().take(AT_ONCE - under_way.len()) {
            under_way.push_back(Measuring::start(&engine, container, compare)?);
        }
        let Some(first) = under_way.pop_front() else { return Ok(usages) };
        match first.finish() {
            Ok(usage) => usages.push(usage),
            Err(failure) if !is_named && failure.code == failure::NOT_FOUND => {}
            Err(failure) => return Err(failure),
        }
    }
}

/// What a container uses.
#[data]
#[derive(Debug)]
pub(crate) struct Usage {
    /// Its name as it was called, or its id.
    container: String,
    /// The engine's measurements: `cpu_stats`, `memory_stats`, `blkio_stats`,
    /// `networks`, `pids_stats`.
    #[schemars(with = "Anything")]
    stats: Box<RawValue>,
}

fn running(engine: &Engine) -> Result<Vec<String>, Failure> {
    let call = engine.get("/containers/json", "list containers");
    let list: Vec<ContainerSummary> = call.send()?.read()?;
    Ok(list.into_iter().map(|container| container.id).collect())
}

/// A container that is being measured.
struct Measuring<'a> {
    container: String,
    sent: Sent<'a>,
}

impl<'a> Measuring<'a> {
    fn start(engine: &'a Engine, container: String, compare: bool) -> Result<Self, Failure> {
        let what = format!("measure container {container}");
        let call = engine.get(container_path(&container, "/stats")?, what).query("stream", false);
        let sent = call.query_if("one-shot", (!compare).then_some(true)).start()?;
        Ok(Self { container, sent })
    }

    fn finish(self) -> Result<Usage, Failure> {
        let Self { container, sent } = self;
        // An engine has nothing to say of a container that ends while it is measured.
        let gone = || format!("cannot measure container {container}: it is gone");
        let stats = sent.reply()?.part()?;
        let stats = stats.ok_or_else(|| Failure::new(failure::NOT_FOUND, gone()))?;
        Ok(Usage { container, stats })
    }
}

/// Shows what a container uses, second by second.
///
/// Changes nothing. Each measurement is reported as progress; the answer has
/// how many there were. It ends with the container, with `count`, or with the
/// job.
#[task]
pub(crate) fn stats_live(
    /// Its name or id.
    container: String,
    /// How many measurements; any number if it is left out.
    #[schemars(range(min = 1))]
    count: Option<u32>,
) -> Result<Measured, Failure> {
    let engine = Engine::connect()?;
    let what = format!("measure container {container}");
    let call = engine.get(container_path(&container, "/stats")?, &what).query("stream", true);
    let body = BufReader::new(call.send()?.into_body());
    let all = serde_json::Deserializer::from_reader(body).into_iter::<Box<RawValue>>();
    let mut measurements = 0;
    for stats in all.take(count.map_or(usize::MAX, |count| count as usize)) {
        let stats = stats.map_err(|error| broken_off(&what, &error))?;
        job::progress(&stats)?;
        measurements += 1;
    }
    Ok(Measured { measurements })
}

/// How much was measured.
#[data]
#[derive(Debug)]
pub(crate) struct Measured {
    /// How many measurements were reported.
    measurements: u64,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{on, run};

    #[test]
    fn a_container_that_ends_meanwhile_is_left_out() {
        let exchanges = |status| {
            vec![
                on("GET /containers/a/stats?stream=false&one-shot=true", status, ""),
                on(
                    "GET /containers/b/stats?stream=false&one-shot=true",
                    200,
                    r#"{"pids_stats":{}}"#,
                ),
            ]
        };
        // Some engines have nothing to say instead.
        for status in [404, 200] {
            let mut all = vec![on("GET /containers/json", 200, r#"[{"Id":"a"},{"Id":"b"}]"#)];
            all.extend(exchanges(status));
            let expected = json!([{ "container": "b", "stats": { "pids_stats": {} } }]);
            assert_eq!(run("stats", &json!({}), all).answer.unwrap(), expected);

            let mut named = exchanges(status);
            named.pop();
            let outcome = run("stats", &json!({ "containers": ["a", "b"] }), named);
            assert_eq!(outcome.code(), failure::NOT_FOUND);
        }
    }

    #[test]
    fn more_containers_than_are_measured_at_once_come_in_order() {
        let names: Vec<String> = (0..2 * AT_ONCE + 1).map(|number| format!("c{number}")).collect();
        let request = |name| format!("GET /containers/{name}/stats?stream=false&one-shot=true");
        let exchanges = names.iter().map(|name| on(request(name), 200, "{}")).collect();
        let answer = run("stats", &json!({ "containers": names }), exchanges).answer.unwrap();
        let measured = answer.as_array().unwrap().iter().map(|usage| usage["container"].clone());
        assert_eq!(measured.collect::<Vec<_>>(), names);
    }

    #[test]
    fn each_measurement_is_reported_until_there_are_enough() {
        let request = "GET /containers/a/stats?stream=true";
        let exchanges = vec![on(request, 200, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n")];
        let outcome = run("stats_live", &json!({ "container": "a", "count": 2 }), exchanges);
        assert_eq!(outcome.heard.progress, [json!({ "n": 1 }), json!({ "n": 2 })]);
        assert_eq!(outcome.answer.unwrap(), json!({ "measurements": 2 }));
    }
}
