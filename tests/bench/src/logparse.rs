//! `logparse`: from the bytes of a log to events, in a plugin and compiled
//! natively.
//!
//! The limit is the same parser as native code, called without a host. Both
//! read every field of every event. Batches are handed over one after the other,
//! so that everybody has one core.

use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use drover_grants::Grants;
use drover_plugin_host::{
    CompilerCommand, FieldValue, Host, HostConfig, Limits, Parser, ParserSpec, Surroundings,
};
use drover_sdk::lines::{LineParser, packed_answer};
use serde_json::json;

use crate::latency::median;
use crate::progress::step;
use crate::report::{Bar, Row};
use crate::{Inputs, Plan};

/// What the columns are.
pub(crate) const COLUMNS: &str = "\
ours: the plugin logparse in the plugin host, batches of 64 KiB, every field of every event read
limit: the same parser compiled natively, called in a loop";

const OF_NATIVE: Bar = Bar::AtLeastTimesLimit(0.45);
const LINES: Bar = Bar::AtLeast(500e3);
const BOUNDARY: Bar = Bar::AtMost(25.0);

/// The longest batch that the host takes.
const BATCH: usize = 64 << 10;

/// Runs the benchmark.
///
/// # Errors
///
/// If the plugin does not load, or does not parse what it is given.
pub(crate) async fn run(inputs: &Inputs, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir().context("cannot make a working directory")?;
    let host = start(inputs, dir.path())?;
    let component = inputs.plugins.join("logparse.wasm");
    host.load_file(&component).await.context("the plugin host refused logparse")?;
    let log = Log::of(20_000);
    let mut native = logparse::Parser::open("nginx", "{}")
        .map_err(|error| anyhow::anyhow!("the native parser does not open: {error:?}"))?;
    let mut parser = open(&host, "nginx").await?;
    // It finds the ends of lines and says that each is an event.
    let mut splitter = open(&host, "lines").await?;
    let (mut ours, mut limit, mut boundary) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=plan.rounds() {
        step(&format!("round {round} of {}", plan.rounds()));
        limit.push(log.parsed_natively(&mut native, plan.slice())?);
        let parsed = log.parsed_by(&mut parser, plan.slice()).await?;
        let split = log.parsed_by(&mut splitter, plan.slice()).await?;
        ours.push(parsed);
        boundary.push(100.0 * parsed / split);
    }
    drop((parser, splitter));
    host.shutdown().await;
    let lines = median(ours);
    let row = |name: &str, unit, ours, bar| Row {
        name: name.to_owned(),
        unit,
        ours,
        peer: None,
        limit: None,
        bar: Some(bar),
    };
    Ok(vec![
        Row { limit: median(limit), ..row("nginx lines parsed", "1/s", lines, OF_NATIVE) },
        row("… on one core", "1/s", lines, LINES),
        row("… of it at the boundary", "%", median(boundary), BOUNDARY),
    ])
}

fn start(inputs: &Inputs, dir: &Path) -> anyhow::Result<Host> {
    Host::start(HostConfig {
        cache_dir: dir.join("cache"),
        compiler: CompilerCommand {
            program: inputs.drover.clone(),
            args: vec!["compile-component".into()],
        },
        limits: Limits::default(),
        reserved: Vec::new(),
        grants: Grants::default(),
        state_dir: dir.join("state"),
        surroundings: Surroundings::default(),
    })
    .context("cannot start the plugin host")
}

async fn open(host: &Host, format: &str) -> anyhow::Result<Parser> {
    let options = json!({});
    let spec = ParserSpec { plugin: "logparse".into(), format: format.into(), options };
    Ok(host.open_parser(&spec).await?)
}

/// An access log, in batches.
struct Log {
    batches: Vec<Bytes>,
    lines: usize,
}

impl Log {
    /// A log of so many lines, which differ as those of a busy site do.
    fn of(lines: usize) -> Self {
        let (mut batches, mut batch) = (Vec::new(), String::new());
        for number in 0..lines {
            let line = line(number);
            if batch.len() + line.len() > BATCH {
                batches.push(Bytes::from(std::mem::take(&mut batch)));
            }
            batch.push_str(&line);
        }
        batches.push(Bytes::from(batch));
        Self { batches, lines }
    }

    /// Lines per second of a parser behind the host.
    async fn parsed_by(&self, parser: &mut Parser, time: Duration) -> anyhow::Result<f64> {
        let (begin, mut rounds) = (Instant::now(), 0);
        loop {
            let mut events = 0;
            for batch in &self.batches {
                let parsed = parser.parse(batch.clone()).await?;
                ensure!(parsed.unparsed() == 0, "the plugin does not parse the log");
                for event in parsed.events() {
                    events += 1;
                    std::hint::black_box((event.time, event.level, event.text));
                    for (name, value) in event.fields() {
                        std::hint::black_box((name, value));
                    }
                }
            }
            ensure!(events == self.lines, "the plugin found {events} events");
            rounds += 1;
            let took = begin.elapsed();
            if took >= time {
                return Ok((self.lines * rounds) as f64 / took.as_secs_f64());
            }
        }
    }

    /// Lines per second of a parser in this process.
    fn parsed_natively(
        &self,
        parser: &mut logparse::Parser,
        time: Duration,
    ) -> anyhow::Result<f64> {
        let (begin, mut rounds) = (Instant::now(), 0);
        loop {
            let mut events = 0;
            for batch in &self.batches {
                let parsed = packed_answer(Some(&mut *parser), batch, false);
                let (mut text, mut fields) = (&batch[..], parsed.fields.as_chunks::<2>().0);
                for [event, time] in parsed.events.as_chunks::<2>().0 {
                    events += 1;
                    let (own_text, other_text) = text.split_at(*event as u32 as usize);
                    let (own, others) = fields.split_at(usize::from((event >> 32) as u16));
                    (text, fields) = (other_text, others);
                    std::hint::black_box((time, (event >> 48) as u8, own_text));
                    for [field, value] in own {
                        let name = &parsed.names[usize::from(*field as u16)];
                        let (start, length) = (*value as usize, (field >> 32) as usize);
                        let value = match (field >> 16) as u16 {
                            0 => FieldValue::Text(&own_text[start..start + length]),
                            1 => FieldValue::Text(&parsed.rewritten[start..start + length]),
                            _ => FieldValue::Integer(value.cast_signed()),
                        };
                        std::hint::black_box((name.as_str(), value));
                    }
                }
            }
            ensure!(events == self.lines, "the native parser found {events} events");
            rounds += 1;
            let took = begin.elapsed();
            if took >= time {
                return Ok((self.lines * rounds) as f64 / took.as_secs_f64());
            }
        }
    }
}

/// One line of nginx's combined format, of some 180 bytes.
fn line(number: usize) -> String {
    let paths = ["/", "/index.html", "/api/v1/orders/", "/static/js/app.min.js?v=", "/search?q="];
    let referers = ["-", "https://example.org/", "https://example.org/catalogue/shoes?page="];
    let agents = [
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 Mobile/15E148",
        "curl/8.5.0",
    ];
    let statuses = [200, 200, 200, 304, 404, 200, 302, 500];
    // Primes, so that all combinations come.
    let (path, referer) = (paths[number % 5], referers[number / 7 % 3]);
    let (agent, status) = (agents[number / 3 % 3], statuses[number / 11 % 8]);
    let (bytes, user) =
        (number * 7919 % 100_000, if number.is_multiple_of(13) { "ada" } else { "-" });
    let (first, last) = (number * 31 % 223 + 1, number * 17 % 255);
    let (minute, second) = (number / 600 % 60, number / 10 % 60);
    let mut line = String::with_capacity(256);
    let _ = writeln!(
        line,
        r#"{first}.0.113.{last} - {user} [10/Oct/2025:13:{minute:02}:{second:02} +0000] "GET {path}{number} HTTP/1.1" {status} {bytes} "{referer}" "{agent}""#
    );
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_parsed_and_batches_are_as_the_host_takes_them() {
        let log = Log::of(2_000);
        assert!(log.batches.iter().all(|batch| batch.len() <= BATCH && batch.ends_with(b"\n")));
        let mut parser = logparse::Parser::open("nginx", "{}").unwrap();
        assert!(log.parsed_natively(&mut parser, Duration::from_nanos(1)).unwrap() > 0.0);
        let parsed = drover_sdk::lines::answer(Some(&mut parser), &log.batches[0], true);
        assert!(parsed.events.iter().all(|event| event.status == 1));
        assert!(parsed.fields.len() > parsed.events.len() * 7);
    }
}
