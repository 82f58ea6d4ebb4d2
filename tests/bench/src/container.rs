//! `container`: the plugin that drives a Docker Engine beside a native program that
//! does the same.
//!
//! Both speak to the same engine over the same socket, in turn: a simulated one,
//! whose answers take no time worth speaking of, and a real one, which is what the
//! bars are for. What the plugin takes on top is an instance for each job, the
//! border, and the host's policy.

mod engines;
mod native;
mod ours;
mod policy;

use std::path::Path;

use anyhow::Context;
use drover_engine_tests::{RealEngine, simulated};

use crate::latency::{Samples, median};
use crate::progress::step;
use crate::report::{Bar, Row};
use crate::{Inputs, Plan};

use engines::{COUNT, LOUD, Work, prepare};
use native::Native;
use ours::Ours;

/// What the columns are.
pub(crate) const COLUMNS: &str = "\
ours: the plugin container in the plugin host, a fresh instance for each job
limit: the same requests by the crate bollard, compiled natively, to the same engine";

const AT_MOST: Bar = Bar::AtMostTimesLimit(1.3);
const STREAMED: Bar = Bar::AtLeastTimesLimit(0.6);
const CHECKED: Bar = Bar::Below(20.0);
const SIZE_MB: Bar = Bar::AtMost(1.5);

/// Runs the benchmark.
///
/// # Errors
///
/// If an engine or the plugin host does not start, or a request fails.
pub(crate) async fn run(inputs: &Inputs, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir().context("cannot make a working directory")?;
    let mut rows = Vec::new();
    {
        let engine = simulated(dir.path());
        let work = &dir.path().join("simulated");
        let contest = Contest {
            engine: "simulated engine",
            socket: engine.socket(),
            times: 2,
            is_judged: false,
        };
        rows.extend(contest.rows(inputs, plan, work).await?);
    }
    {
        step("starting a Docker Engine");
        let engine = RealEngine::start();
        let work = &dir.path().join("docker");
        let contest = Contest {
            engine: "Docker Engine",
            socket: &engine.socket(),
            times: 10,
            is_judged: true,
        };
        rows.extend(contest.rows(inputs, plan, work).await?);
    }
    rows.extend(policy::rows(plan)?);
    let component = inputs.plugins.join("container.wasm");
    let size = std::fs::metadata(&component)
        .with_context(|| format!("cannot read {}", component.display()))?
        .len();
    rows.push(Row {
        name: "the component".to_owned(),
        unit: "MB",
        ours: Some(size as f64 / 1e6),
        peer: None,
        limit: None,
        bar: Some(SIZE_MB),
    });
    Ok(rows)
}

/// What both came to, a round after the other.
#[derive(Default)]
struct Both {
    ours: Samples,
    limit: Samples,
}

/// Both at one engine.
struct Contest<'a> {
    engine: &'static str,
    socket: &'a Path,
    /// How often the loud container writes 5.2 MB; a simulated engine keeps 16 MB.
    times: usize,
    is_judged: bool,
}

impl Contest<'_> {
    async fn rows(&self, inputs: &Inputs, plan: &Plan, dir: &Path) -> anyhow::Result<[Row; 4]> {
        let Self { engine, socket, times, is_judged } = *self;
        let ours = Ours::start(inputs, socket, dir).await?;
        let native = Native::connect(socket).await?;
        step(&format!("{engine}: {COUNT} containers"));
        let work = prepare(&ours, times).await?;
        let [mut list, mut inspect, mut stats] =
            [Both::default(), Both::default(), Both::default()];
        let (mut logs_ours, mut logs_limit) = (Vec::new(), Vec::new());
        for round in 1..=plan.rounds() {
            step(&format!("{engine}: round {round} of {}", plan.rounds()));
            let time = plan.slice();
            let Work { names, output } = &work;
            list.limit.push(native.list(time).await?);
            list.ours.push(ours.list(time).await?);
            inspect.limit.push(native.inspect(&names[0], time).await?);
            inspect.ours.push(ours.inspect(&names[0], time).await?);
            stats.limit.push(native.stats(names, time).await?);
            stats.ours.push(ours.stats(names, time).await?);
            logs_limit.push(native.logs(LOUD, *output).await?);
            logs_ours.push(ours.logs(LOUD, *output).await?);
        }
        ours.stop().await;
        let took = |name: String, both: Both| Row {
            name,
            unit: "µs",
            ours: both.ours.p50_us(),
            peer: None,
            limit: both.limit.p50_us(),
            bar: is_judged.then_some(AT_MOST),
        };
        Ok([
            took(format!("{engine}: list of {COUNT} containers, median"), list),
            took(format!("{engine}: inspect, median"), inspect),
            took(format!("{engine}: stats of {COUNT} at once, median"), stats),
            Row {
                name: format!("{engine}: logs as they stream"),
                unit: "MB/s",
                ours: median(logs_ours),
                peer: None,
                limit: median(logs_limit),
                bar: is_judged.then_some(STREAMED),
            },
        ])
    }
}
