//! `process`: how fast children start, end and come back.

mod bare;
mod manager;
mod runit;

use std::time::Duration;

use anyhow::Context;

use crate::latency::{Samples, median};
use crate::progress::step;
use crate::report::{Bar, Row};
use crate::{Inputs, Plan};
use manager::Manager;
use runit::Runit;

/// What the columns are.
pub(crate) const COLUMNS: &str = "\
ours: the process manager in this process, with `drover keeper` as the parent of the children;
some jobs in flight
peer: runit
limit: `std::process::Command` spawns and waits in a loop, one child after the other";

const STARTED: Bar = Bar::AtLeastTimesLimit(0.7);
const RESTARTED_MS: Bar = Bar::Below(4.0);
const ALL_UP_S: Bar = Bar::Below(0.5);

/// Jobs that the manager has at a time.
const IN_FLIGHT: usize = 16;

/// What a large agent holds.
const HELD_BYTES: usize = 1_000_000_000;

/// Children that are started together.
const TOGETHER: usize = 200;

/// How often a child is killed in a round: of ours, and of runit, which needs a
/// second before each.
const KILLED: usize = 20;
const PEER_KILLED: usize = 3;

/// What ours and its rivals took, a round after the other.
#[derive(Debug, Default)]
struct Times {
    ours: Vec<f64>,
    peer: Vec<f64>,
}

/// Jobs of a program that does nothing.
#[derive(Debug, Default)]
struct Empty {
    ours: Samples,
    limit: Vec<f64>,
}

/// What the rounds came to.
#[derive(Default)]
struct Findings {
    small: Empty,
    large: Empty,
    restarted_ms: Times,
    all_up_s: Times,
}

/// Runs the benchmark.
///
/// # Errors
///
/// If a program does not start.
pub(crate) async fn run(inputs: &Inputs, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir().context("cannot make a working directory")?;
    let manager = Manager::start(&inputs.drover, dir.path())?;
    step("warming up");
    manager.empty_jobs(IN_FLIGHT, plan.warm_up()).await?;
    let mut findings = Findings::default();
    for round in 1..=plan.rounds() {
        step(&format!("round {round} of {}", plan.rounds()));
        findings.small.round(&manager, plan.slice()).await?;
        let held = vec![1_u8; HELD_BYTES];
        findings.large.round(&manager, plan.slice()).await?;
        drop(std::hint::black_box(held));

        let here = dir.path().join(format!("runit-{round}"));
        findings.restarted_ms.ours.push(manager.restart_ms(KILLED).await?);
        findings.all_up_s.ours.push(manager.all_up_s(TOGETHER).await?);
        let peer = Runit::start(&inputs.runit, &here.join("one"), 1).await?;
        findings.restarted_ms.peer.push(peer.restart_ms(PEER_KILLED).await?);
        peer.stop().await?;
        let peer = Runit::start(&inputs.runit, &here.join("all"), TOGETHER).await?;
        findings.all_up_s.peer.push(peer.all_up_s());
        peer.stop().await?;
    }
    manager.stop().await?;
    Ok(findings.rows())
}

impl Empty {
    async fn round(&mut self, manager: &Manager, time: Duration) -> anyhow::Result<()> {
        self.limit.push(bare::spawned(time)?);
        self.ours.push(manager.empty_jobs(IN_FLIGHT, time).await?);
        Ok(())
    }

    fn row(&self, name: &str) -> Row {
        Row {
            name: name.to_owned(),
            unit: "1/s",
            ours: self.ours.calls_per_second(),
            peer: None,
            limit: median(self.limit.clone()),
            bar: Some(STARTED),
        }
    }
}

impl Times {
    fn row(&self, name: &str, unit: &'static str, bar: Bar) -> Row {
        let (ours, peer) = (median(self.ours.clone()), median(self.peer.clone()));
        Row { name: name.to_owned(), unit, ours, peer, limit: None, bar: Some(bar) }
    }
}

impl Findings {
    fn rows(&self) -> Vec<Row> {
        vec![
            self.small.row("jobs of /bin/true, started to reaped"),
            self.large.row("… while 1 GB is held"),
            self.restarted_ms.row("a killed child is back after", "ms", RESTARTED_MS),
            self.all_up_s.row("200 children are up after", "s", ALL_UP_S),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Sample;

    #[test]
    fn every_bar_of_the_benchmark_is_in_its_rows() {
        let empty = |calls_per_second| {
            let mut ours = Samples::default();
            ours.push(Sample { calls_per_second, p50_us: 20.0, p99_us: 30.0 });
            Empty { ours, limit: vec![5000.0] }
        };
        let findings = Findings {
            small: empty(4000.0),
            large: empty(20.0),
            restarted_ms: Times { ours: vec![3.0], peer: vec![5.0] },
            all_up_s: Times { ours: vec![0.6], peer: vec![0.7] },
        };
        let rows = findings.rows();
        let bars = rows
            .iter()
            .filter_map(|row| Some(format!("{}: {} {:?}", row.name, row.bar?, row.verdict(true))));
        let expected = [
            "jobs of /bin/true, started to reaped: >= 0.7 x limit Met",
            "… while 1 GB is held: >= 0.7 x limit Missed",
            "a killed child is back after: < 4 Met",
            "200 children are up after: < 0.5 Missed",
        ];
        assert_eq!(bars.collect::<Vec<_>>(), expected);
    }
}
