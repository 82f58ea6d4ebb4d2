//! `footprint`: what an idle agent takes, and how fast it is there.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

use crate::latency::median;
use crate::liveness::{self, Delays};
use crate::peer::Crossbar;
use crate::program::Program;
use crate::progress::step;
use crate::report::{Bar, Row};
use crate::site::Site;
use crate::usage::Usage;
use crate::{Inputs, Plan};

/// What the columns are.
pub(crate) const COLUMNS: &str = "\
ours: `drover agent` with the built-in plugins loaded, joined to a controller
peer: the FakeDataAgent of OCS, idle, joined to Crossbar
limit: the same heartbeats from an idle agent";

/// How long the idle agents are watched: the CPU's clock has 10 ms ticks.
const WATCHED: Duration = Duration::from_secs(20);

/// After joining: caches settle, the heartbeat has come once.
const SETTLING: Duration = Duration::from_secs(6);

/// Bytes in the unit of the memory rows.
const MEGABYTE: f64 = 1e6;

/// Where the built-in plugins have their sources, one folder each.
const BUILT_IN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins");

/// How the agents started, one number a round.
#[derive(Default)]
struct Starts {
    warm_ms: Vec<f64>,
    cold_ms: Vec<f64>,
    cold_resident: Vec<f64>,
    ocs_ms: Vec<f64>,
}

/// Runs the benchmark.
///
/// # Errors
///
/// If a program does not start.
pub(crate) async fn run(inputs: &Inputs, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir().context("cannot make a working directory")?;
    step("starting the controller and Crossbar");
    let plugins = built_in_plugins(inputs)?;
    let site = Site::start(&inputs.drover, &plugins, &dir.path().join("site")).await?;
    let crossbar = Crossbar::start(&inputs.venv, &dir.path().join("crossbar")).await?;

    step("warming up");
    round(&site, &crossbar, &mut Starts::default()).await?;
    let mut starts = Starts::default();
    for number in 1..=plan.rounds() {
        step(&format!("starts, round {number} of {}", plan.rounds()));
        round(&site, &crossbar, &mut starts).await?;
    }

    let agent = site.agent().await?.program;
    let (ocs, _) = crossbar.ocs_agent().await?;
    step(&format!("watching both agents idle for {} s", WATCHED.as_secs()));
    tokio::time::sleep(SETTLING).await;
    let (ours, peer) = tokio::try_join!(idle(&agent), idle(&ocs))?;

    agent.stop().await?;
    ocs.kill().await?;
    crossbar.stop().await?;
    site.stop().await?;
    let delays = liveness::measure(inputs, &dir.path().join("spinning")).await?;
    Ok(rows(&starts, ours, peer, &delays))
}

/// Starts each agent once.
async fn round(site: &Site, crossbar: &Crossbar, starts: &mut Starts) -> anyhow::Result<()> {
    site.chill()?;
    let cold = site.agent().await?;
    starts.cold_ms.push(milliseconds(cold.joined_after));
    starts.cold_resident.push(megabytes(Usage::of_group(cold.program.group())?.resident_bytes));
    cold.program.stop().await?;

    let warm = site.agent().await?;
    starts.warm_ms.push(milliseconds(warm.joined_after));
    warm.program.stop().await?;

    let (ocs, joined_after) = crossbar.ocs_agent().await?;
    starts.ocs_ms.push(milliseconds(joined_after));
    ocs.kill().await
}

/// What an idle agent takes.
#[derive(Clone, Copy)]
struct Idle {
    resident_mb: f64,
    /// Of one core.
    cpu_percent: f64,
}

async fn idle(agent: &Program) -> anyhow::Result<Idle> {
    let (before, started) = (Usage::of_group(agent.group())?, agent.age());
    tokio::time::sleep(WATCHED).await;
    let (after, ended) = (Usage::of_group(agent.group())?, agent.age());
    let busy = after.cpu.saturating_sub(before.cpu);
    Ok(Idle {
        resident_mb: megabytes(after.resident_bytes),
        cpu_percent: busy.div_duration_f64(ended - started) * 100.0,
    })
}

fn rows(starts: &Starts, ours: Idle, peer: Idle, delays: &Delays) -> Vec<Row> {
    let row = |name: &str, unit, ours: Option<f64>, peer: Option<f64>, bar| Row {
        name: name.to_owned(),
        unit,
        ours,
        peer,
        limit: None,
        bar,
    };
    let ocs_ms = median(starts.ocs_ms.clone());
    vec![
        row(
            "resident memory, idle",
            "MB",
            Some(ours.resident_mb),
            Some(peer.resident_mb),
            Some(Bar::AtMost(30.0)),
        ),
        row(
            "resident memory, after compiling",
            "MB",
            median(starts.cold_resident.clone()),
            Some(peer.resident_mb),
            Some(Bar::AtMost(30.0)),
        ),
        row(
            "CPU, idle",
            "% of a core",
            Some(ours.cpu_percent),
            Some(peer.cpu_percent),
            Some(Bar::Below(0.5)),
        ),
        row(
            "start to joined, warm cache",
            "ms",
            median(starts.warm_ms.clone()),
            ocs_ms,
            Some(Bar::BelowIfQuiet(100.0)),
        ),
        row("start to joined, cold cache", "ms", median(starts.cold_ms.clone()), ocs_ms, None),
        Row {
            limit: Some(delays.idle_ms),
            ..row(
                "latest of 100 heartbeats, plugins spinning on every core",
                "ms late",
                Some(delays.spinning_ms),
                None,
                Some(Bar::BelowIfQuiet(20.0)),
            )
        },
    ]
}

/// The components of the built-in plugins, which are named like their folders.
fn built_in_plugins(inputs: &Inputs) -> anyhow::Result<Vec<PathBuf>> {
    let mut plugins = Vec::new();
    for folder in std::fs::read_dir(BUILT_IN).with_context(|| format!("cannot read {BUILT_IN}"))? {
        let name = folder.with_context(|| format!("cannot read {BUILT_IN}"))?.file_name();
        plugins.push(inputs.plugins.join(name).with_extension("wasm"));
    }
    Ok(plugins)
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn megabytes(bytes: u64) -> f64 {
    // Exact below 2^53 bytes.
    bytes as f64 / MEGABYTE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bar_of_the_benchmark_is_in_its_rows() {
        let starts = Starts {
            warm_ms: vec![60.0],
            cold_ms: vec![900.0],
            cold_resident: vec![20.0],
            ocs_ms: vec![700.0],
        };
        let ours = Idle { resident_mb: 18.0, cpu_percent: 0.1 };
        let peer = Idle { resident_mb: 78.0, cpu_percent: 0.1 };
        let delays = Delays { spinning_ms: 8.0, idle_ms: 2.0 };
        let rows = rows(&starts, ours, peer, &delays);
        let bars = rows.iter().filter_map(|row| Some(format!("{}: {}", row.name, row.bar?)));
        let expected = [
            "resident memory, idle: <= 30",
            "resident memory, after compiling: <= 30",
            "CPU, idle: < 0.5",
            "start to joined, warm cache: < 100 if quiet",
            "latest of 100 heartbeats, plugins spinning on every core: < 20 if quiet",
        ];
        assert_eq!(bars.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn every_built_in_plugin_is_found_by_its_folder() {
        let inputs = Inputs {
            drover: PathBuf::new(),
            plugins: PathBuf::from("/built"),
            venv: PathBuf::new(),
            nats: PathBuf::from("nats-server"),
            runit: PathBuf::from("runsvdir"),
        };
        let plugins = built_in_plugins(&inputs).unwrap();
        assert!(plugins.contains(&PathBuf::from("/built/sysinfo.wasm")), "{plugins:?}");
    }
}
