//! `logs`: from the bytes of a child to records, series and answers.

mod capture;
mod metrics;
mod parse;
mod query;
mod store;

use anyhow::Context;
use drover_logs::Source;

use crate::latency::median;
use crate::progress::step;
use crate::report::{Bar, Row};
use crate::{Inputs, Plan};

pub(crate) use capture::chatter;

/// What the columns are.
pub(crate) const COLUMNS: &str = "\
ours: the log store in this process; capture: a node with a child that writes lines of 100 bytes
limit: a loop that only splits lines; bare rusqlite inserts of the same rows, by the thousand, with
one index on time";

const PARSED: Bar = Bar::AtLeastTimesLimit(0.25);
const STORED: Bar = Bar::AtLeastTimesLimit(0.5);
const AGENT_MB: Bar = Bar::AtMost(60.0);
const QUERY_MS: Bar = Bar::AtMost(20.0);
const FOLLOW_MS: Bar = Bar::AtMost(50.0);
const METRIC_LINES: Bar = Bar::AtLeast(8e6);
const PACKETS: Bar = Bar::AtLeast(250e3);
const PACKETS_LOST: Bar = Bar::AtMost(0.0);

/// Records in the store that is asked, unless it is quick.
const MILLIONS: u64 = 10;

/// A rate of ours beside that of the limit, a round after the other.
#[derive(Debug, Default)]
struct Rates {
    ours: Vec<f64>,
    limit: Vec<f64>,
}

/// What the rounds came to.
#[derive(Default)]
struct Findings {
    parsed: Rates,
    stored: Rates,
    captured: Vec<f64>,
    agent_mb: Vec<f64>,
    metric_lines: Vec<f64>,
    packets: Vec<f64>,
    packets_lost: Vec<f64>,
    follow_ms: Vec<f64>,
}

/// Runs the benchmark.
///
/// # Errors
///
/// If a program does not start, or the disk has no room.
pub(crate) async fn run(inputs: &Inputs, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir().context("cannot make a working directory")?;
    let lines = if plan.quick { 400_000 } else { 4_000_000 };
    let mut findings = Findings::default();
    let node = capture::Node::start(inputs, &dir.path().join("site")).await?;
    for round in 1..=plan.rounds() {
        step(&format!("round {round} of {}", plan.rounds()));
        let found = &mut findings;
        found.parsed.limit.push(parse::bare(lines));
        found.parsed.ours.push(parse::ours(lines));
        found.stored.limit.push(apart(move || store::bare(lines)).await?);
        found.stored.ours.push(apart(move || store::ours(lines)).await?);
        let captured = node.capture(lines).await?;
        found.captured.push(captured.lines_per_second);
        found.agent_mb.push(captured.agent_bytes / 1e6);
        found.metric_lines.push(metrics::aggregated());
        let time = plan.slice();
        let received = apart(move || metrics::received(time)).await?;
        found.packets.push(received.per_second);
        found.packets_lost.push(received.lost);
        found.follow_ms.push(query::follow_ms().await?);
    }
    node.stop().await?;
    let millions = if plan.quick { 1 } else { MILLIONS };
    step(&format!("storing {millions} million records"));
    let last = apart(move || query::last_of_one_job_ms(millions)).await?;
    Ok(findings.rows(millions, last))
}

/// Measures what blocks on a thread of its own, as the agent has it.
async fn apart<T: Send + 'static>(
    measure: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(measure).await.context("a measurement panicked")?
}

impl Findings {
    fn rows(self, millions: u64, last_of_one_job_ms: f64) -> Vec<Row> {
        let alone = |name: &str, unit, ours: Vec<f64>, bar| Row {
            name: name.to_owned(),
            unit,
            ours: median(ours),
            peer: None,
            limit: None,
            bar: Some(bar),
        };
        let inserts = median(self.stored.limit.clone());
        vec![
            self.parsed.row("lines parsed", PARSED),
            self.stored.row("lines parsed and stored", STORED),
            Row {
                limit: inserts,
                ..alone("… of a child, by a node", "1/s", self.captured, STORED)
            },
            alone("… most memory of the agent", "MB", self.agent_mb, AGENT_MB),
            alone(
                &format!("last 1000 of one job of {millions} million"),
                "ms",
                vec![last_of_one_job_ms],
                QUERY_MS,
            ),
            alone("a follower sees a line after", "ms", self.follow_ms, FOLLOW_MS),
            alone("statsd lines aggregated", "1/s", self.metric_lines, METRIC_LINES),
            alone("statsd packets over UDP", "1/s", self.packets, PACKETS),
            alone("… lost", "", self.packets_lost, PACKETS_LOST),
        ]
    }
}

impl Rates {
    fn row(&self, name: &str, bar: Bar) -> Row {
        Row {
            name: name.to_owned(),
            unit: "1/s",
            ours: median(self.ours.clone()),
            peer: None,
            limit: median(self.limit.clone()),
            bar: Some(bar),
        }
    }
}

/// Whom records are of.
fn source(job: u64) -> Source {
    let job = format!("0190d5e2-7b1a-7c3e-9f00-{job:012}").parse().expect("it is a job's id");
    Source { job, domain: "web".into(), name: "frontend".into() }
}

/// Lines of 100 bytes.
fn lines(count: u64) -> Vec<u8> {
    (0..count).flat_map(|number| format!("{number:0>99}\n").into_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_of_the_benchmark_is_in_its_rows() {
        let findings = Findings {
            parsed: Rates { ours: vec![30.0], limit: vec![100.0] },
            stored: Rates { ours: vec![40.0], limit: vec![100.0] },
            captured: vec![60.0],
            agent_mb: vec![61.0],
            metric_lines: vec![9e6],
            packets: vec![260e3],
            packets_lost: vec![0.0],
            follow_ms: vec![1.0],
        };
        let rows = findings.rows(10, 12.0);
        let bars = rows
            .iter()
            .filter_map(|row| Some(format!("{}: {} {:?}", row.name, row.bar?, row.verdict(true))));
        let expected = [
            "lines parsed: >= 0.25 x limit Met",
            "lines parsed and stored: >= 0.5 x limit Missed",
            "… of a child, by a node: >= 0.5 x limit Met",
            "… most memory of the agent: <= 60 Missed",
            "last 1000 of one job of 10 million: <= 20 Met",
            "a follower sees a line after: <= 50 Met",
            "statsd lines aggregated: >= 8000000 Met",
            "statsd packets over UDP: >= 250000 Met",
            "… lost: <= 0 Met",
        ];
        assert_eq!(bars.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_line_has_a_hundred_bytes() {
        assert_eq!(lines(3).len(), 300);
    }
}
