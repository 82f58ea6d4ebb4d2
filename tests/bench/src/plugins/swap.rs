//! Calls at a steady pace while their plugin is replaced.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use drover_api::JobState;
use drover_grants::Grants;
use drover_plugin_host::{Host, Job};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::Map;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::warm::version;
use crate::Inputs;
use crate::instance::start_host;
use crate::latency::{Latencies, Sample};
use crate::progress::step;
use crate::report::{Bar, Row};

const CALLS_PER_SECOND: u32 = 1_000;
const TIMES: u8 = 20;

/// How much longer the slowest calls may take meanwhile.
const SLOWER: Bar = Bar::AtMostTimesLimit(3.0);
const FAILED: Bar = Bar::AtMost(0.0);

/// How long the pace is kept before the first replacement.
const STEADY: Duration = Duration::from_secs(3);
/// How long a replacement may take until it serves.
const PATIENCE: Duration = Duration::from_secs(60);

/// Calls a plugin of a directory a thousand times a second, then goes on while its
/// file is replaced twenty times, each time by code that has to be compiled.
///
/// # Errors
///
/// If a replacement does not serve.
pub(super) async fn rows(inputs: &Inputs, dir: &Path) -> anyhow::Result<[Row; 2]> {
    let guests = inputs.plugins.join("guests.wasm");
    let bytes = fs::read(&guests).with_context(|| format!("cannot read {}", guests.display()))?;
    let path = dir.join("plugins");
    fs::create_dir_all(&path).context("cannot make a directory for the plugin")?;
    put(&path, &version(&bytes, 0))?;
    let host = start_host(&inputs.drover, &dir.join("cache"), Grants::default())?;
    let (loaded, stop) = (CancellationToken::new(), CancellationToken::new());
    let mut keeping = JoinSet::new();
    keeping.spawn({
        let (host, loaded, stop) = (host.clone(), loaded.clone(), stop.clone());
        let directory = path.clone();
        async move { host.keep_directory(directory, &loaded, &stop).await }
    });
    loaded.cancelled().await;

    step(&format!("{CALLS_PER_SECOND} calls a second"));
    let (_, failed_before) = pace(&host, tokio::time::sleep(STEADY / 3)).await;
    let (steady, failed_steady) = pace(&host, tokio::time::sleep(STEADY)).await;
    step(&format!("the same while the plugin is replaced {TIMES} times"));
    let mut replaced = Ok(());
    let replacing = async {
        replaced = replace(&host, &path, &bytes).await;
    };
    let (meanwhile, failed_meanwhile) = pace(&host, replacing).await;
    replaced?;
    stop.cancel();
    keeping.shutdown().await;
    host.shutdown().await;
    let failed = failed_before + failed_steady + failed_meanwhile;
    Ok([
        Row {
            name: format!("{CALLS_PER_SECOND} calls a second, p99 while replaced {TIMES} times"),
            unit: "µs",
            ours: Some(meanwhile.p99_us),
            peer: None,
            limit: Some(steady.p99_us),
            bar: Some(SLOWER),
        },
        Row {
            name: "of those calls, failed".to_owned(),
            unit: "",
            ours: Some(f64::from(failed)),
            peer: None,
            limit: None,
            bar: Some(FAILED),
        },
    ])
}

/// Calls at the pace until `end`: from when each was due, and how many failed.
async fn pace(host: &Host, end: impl Future<Output = ()>) -> (Sample, u32) {
    let started = Instant::now();
    let (mut latencies, mut failed) = (Latencies::new(), 0);
    let mut ticks = interval(Duration::from_secs(1) / CALLS_PER_SECOND);
    // What was late is made up for, as callers elsewhere do not wait.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut calls = FuturesUnordered::new();
    let mut end = std::pin::pin!(end);
    let mut is_over = false;
    while !is_over || !calls.is_empty() {
        tokio::select! {
            due = ticks.tick(), if !is_over => calls.push(async move {
                let outcome = host.run(Job::new("guests", "empty", Map::new())).await;
                (due.elapsed(), outcome.state == JobState::Ok)
            }),
            Some((took, is_ok)) = calls.next() => {
                latencies.record(took, 1);
                failed += u32::from(!is_ok);
            }
            () = &mut end, if !is_over => is_over = true,
        }
    }
    (latencies.sample(started.elapsed()), failed)
}

async fn replace(host: &Host, path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    for number in 1..=TIMES {
        let before = serving(host);
        put(path, &version(bytes, number))?;
        let started = Instant::now();
        let mut revision = host.revision();
        while serving(host) == before {
            ensure!(started.elapsed() < PATIENCE, "version {number} does not serve");
            let _ = tokio::time::timeout(PATIENCE, revision.changed()).await;
        }
    }
    Ok(())
}

/// The hash of what serves.
fn serving(host: &Host) -> Option<String> {
    host.plugins().into_iter().next().map(|plugin| plugin.hash)
}

/// Puts the plugin into its place in one step.
fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let scratch = path.join(".scratch");
    fs::write(&scratch, bytes)
        .and_then(|()| fs::rename(&scratch, path.join("guests.wasm")))
        .context("cannot put the plugin into its place")
}
