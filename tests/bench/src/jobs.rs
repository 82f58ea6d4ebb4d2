//! `jobs`: from a durable submission to its result, everything synced to disk on the
//! way.

mod client;
mod nodes;

use std::time::Instant;

use anyhow::{Context, ensure};
use drover_api::{JobList, JobState, Timestamp};

use crate::latency::{self, Samples, median};
use crate::progress::step;
use crate::report::{Bar, Row};
use crate::site::Site;
use crate::{Inputs, Plan};
use client::Submitter;
use nodes::Nodes;

/// What the columns are.
pub(crate) const COLUMNS: &str = "\
ours: submit, wait and result by a client -> controller -> disk -> agent -> disk -> plugin, a fresh
      instance each -> disk -> controller -> disk -> back; fan-out and list with simulated nodes";

/// The plugin and its operation that does nothing.
const PLUGIN: &str = "guests";
const OPERATION: &str = "guests.empty";

/// What is submitted to simulated nodes; one in a thousand fails there.
pub(super) const SIMULATED: &str = "bench.simulated";

/// Jobs in flight of the second row.
const MANY: usize = 64;

/// Nodes of the fan-out.
const FAN_OUT: u32 = 1000;

/// Submissions in the store whose list is asked for, and how many are under way while
/// it is filled.
const LISTED: usize = 100_000;
const LISTED_QUICK: usize = 2000;
const FILLING: usize = 512;

/// How often each list is asked for.
const LISTS: usize = 20;

/// Runs the benchmark.
///
/// # Errors
///
/// If a program does not start or a job is lost.
pub(crate) async fn run(inputs: &Inputs, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir().context("cannot make a working directory")?;
    let mut rows = one_node(inputs, plan, &dir.path().join("one")).await?;
    rows.push(fan_out(inputs, plan, &dir.path().join("many")).await?);
    rows.extend(list(inputs, plan, &dir.path().join("list")).await?);
    Ok(rows)
}

/// One agent, one job after the other, and many at a time.
async fn one_node(inputs: &Inputs, plan: &Plan, dir: &std::path::Path) -> anyhow::Result<Vec<Row>> {
    step("starting the controller and an agent");
    let plugins = [inputs.plugins.join(format!("{PLUGIN}.wasm"))];
    let site = Site::start(&inputs.drover, &plugins, dir).await?;
    let agent = site.agent().await?;
    let submitter = Submitter::join(site.url()).await?;
    submitter.until_there_are(1).await?;
    let (mut single, mut many) = (Samples::default(), Samples::default());
    latency::measure(MANY, plan.warm_up(), || submitter.finish(OPERATION)).await?;
    for round in 1..=plan.rounds() {
        step(&format!("round {round} of {}", plan.rounds()));
        single.push(latency::measure(1, plan.slice(), || submitter.finish(OPERATION)).await?);
        many.push(latency::measure(MANY, plan.slice(), || submitter.finish(OPERATION)).await?);
    }
    let lost = submitter.list(&JobList::default()).await?;
    ensure!(lost.iter().all(|one| one.state == JobState::Ok), "not all ended well: {lost:?}");
    agent.program.stop().await?;
    site.stop().await?;
    let ms = |us: Option<f64>| us.map(|us| us / 1000.0);
    Ok(vec![
        row("submit to result, 1 in flight, p50", "ms", ms(single.p50_us()), Some(Bar::Below(5.0))),
        row("submit to result, 1 in flight, p99", "ms", ms(single.p99_us()), None),
        row(
            "jobs finished, 64 in flight",
            "1/s",
            many.calls_per_second(),
            Some(Bar::AtLeast(2000.0)),
        ),
        row("submit to result, 64 in flight, p99", "ms", ms(many.p99_us()), None),
    ])
}

/// One submission for many nodes, until all have answered.
async fn fan_out(inputs: &Inputs, plan: &Plan, dir: &std::path::Path) -> anyhow::Result<Row> {
    step(&format!("starting {FAN_OUT} simulated nodes"));
    let site = Site::start(&inputs.drover, &[], dir).await?;
    let nodes = Nodes::join(site.url(), FAN_OUT).await?;
    let submitter = Submitter::join(site.url()).await?;
    submitter.until_there_are(FAN_OUT as usize).await?;
    let mut seconds = Vec::new();
    for _ in 0..=plan.rounds() {
        let started = Instant::now();
        let ended = submitter.finished("*", SIMULATED).await?;
        let results = submitter.results(&ended.id).await?;
        seconds.push(started.elapsed().as_secs_f64());
        ensure!(results == FAN_OUT as usize, "{results} of {FAN_OUT} results");
    }
    nodes.leave().await;
    site.stop().await?;
    // The first one is to warm up.
    let name = "one command to 1,000 nodes, all results";
    Ok(row(name, "s", median(seconds.split_off(1)), Some(Bar::AtMost(1.5))))
}

/// Lists with filters, of a store full of what has ended.
async fn list(inputs: &Inputs, plan: &Plan, dir: &std::path::Path) -> anyhow::Result<Vec<Row>> {
    let count = if plan.quick { LISTED_QUICK } else { LISTED };
    step(&format!("filling a store with {count} jobs"));
    let site = Site::start(&inputs.drover, &[], dir).await?;
    let nodes = Nodes::join(site.url(), 10).await?;
    let submitter = Submitter::join(site.url()).await?;
    submitter.until_there_are(10).await?;
    let left = std::cell::Cell::new(count);
    let fill = || async {
        while let Some(rest) = left.get().checked_sub(1) {
            left.set(rest);
            let node = format!("1.{}", 1 + rest % 10);
            submitter.finished(&node, SIMULATED).await?;
        }
        anyhow::Ok(())
    };
    futures_util::future::try_join_all((0..FILLING).map(|_| fill())).await?;
    let everything = JobList::default;
    let mut rows = Vec::new();
    for (name, wanted) in [
        ("state", JobList { state: Some(JobState::Error), ..everything() }),
        ("node", JobList { node: Some(drover_api::NodeId::new(1, 7)), ..everything() }),
        ("command", JobList { cmd: Some(SIMULATED.to_owned()), ..everything() }),
        ("submitter", JobList { by: Some("nobody".to_owned()), ..everything() }),
        ("time", JobList { since: Some(Timestamp::now()), ..everything() }),
    ] {
        let mut milliseconds = Vec::new();
        for _ in 0..LISTS {
            let started = Instant::now();
            submitter.list(&wanted).await?;
            milliseconds.push(started.elapsed().as_secs_f64() * 1e3);
        }
        let name = format!("list by {name} of {count} finished jobs");
        rows.push(row(&name, "ms", median(milliseconds), Some(Bar::Below(30.0))));
    }
    nodes.leave().await;
    site.stop().await?;
    Ok(rows)
}

fn row(name: &str, unit: &'static str, ours: Option<f64>, bar: Option<Bar>) -> Row {
    Row { name: name.to_owned(), unit, ours, peer: None, limit: None, bar }
}
