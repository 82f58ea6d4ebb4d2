//! Asynchronous operations beside plain ones: what a job takes, and how much goes
//! through one that gives its input back.
//!
//! The limit is the same component in bare wasmtime, where the input comes from
//! memory and the output is looked at by nobody.

use std::path::Path;
use std::time::Instant;

use anyhow::{anyhow, ensure};
use bytes::Bytes;
use drover_api::JobState;
use drover_grants::Grants;
use drover_plugin_host::{Host, Job, JobStreams, pipe};
use serde_json::Map;

use crate::instance::{Hosted, start_host};
use crate::latency::{Samples, median};
use crate::progress::step;
use crate::report::Row;
use crate::{Inputs, Plan};

mod bare;

/// What is sent at once, as the link sends it.
const PIECE: usize = 64 << 10;

/// An operation that gives its input back.
#[derive(Clone, Copy)]
struct Passing {
    plugin: &'static str,
    operation: &'static str,
}

/// Measures both kinds of operation in the plugin host, and the asynchronous one bare.
///
/// # Errors
///
/// If a run fails.
pub(super) async fn rows(inputs: &Inputs, plan: &Plan, dir: &Path) -> anyhow::Result<[Row; 2]> {
    let [plain, concurrent] =
        ["guests.wasm", "examples/concurrent.wasm"].map(|file| inputs.plugins.join(file));
    let host = start_host(&inputs.drover, &dir.join("cache"), Grants::default())?;
    let empty = [
        Hosted::in_host(&host, &plain, "empty").await?,
        Hosted::in_host(&host, &concurrent, "empty").await?,
    ];
    let passing = [
        Passing { plugin: "guests", operation: "pass" },
        Passing { plugin: "concurrent", operation: "copy" },
    ];
    let bare = bare::Bare::load(&concurrent).map_err(|error| anyhow!("{error:#}"))?;

    let amount = if plan.quick { 64 << 20 } else { 512 << 20 };
    let mut jobs = <[Samples; 2]>::default();
    let (mut rates, mut bare_rates) = (<[Vec<f64>; 2]>::default(), Vec::new());
    for round in 0..=plan.rounds() {
        step(&format!("asynchronous operations, round {round}"));
        // Nobody's first calls count.
        let time = if round == 0 { plan.warm_up() } else { plan.slice() };
        for (at, empty) in empty.iter().enumerate() {
            let sample = empty.measure(1, time).await?;
            let rate = rate(amount, pass(&host, passing[at], amount)).await?;
            if round > 0 {
                jobs[at].push(sample);
                rates[at].push(rate);
            }
        }
        let passed = async { bare.pass(amount).await.map_err(|error| anyhow!("{error:#}")) };
        bare_rates.push(rate(amount, passed).await?);
    }
    host.shutdown().await;
    let [plain_jobs, jobs] = jobs;
    let [plain_rates, rates] = rates;
    Ok([
        Row {
            name: "a job of an asynchronous operation: p50".to_owned(),
            unit: "µs",
            ours: jobs.p50_us(),
            peer: plain_jobs.p50_us(),
            limit: None,
            bar: None,
        },
        Row {
            name: "through an asynchronous operation, in and out".to_owned(),
            unit: "MB/s",
            ours: median(rates),
            peer: median(plain_rates),
            limit: median(bare_rates),
            bar: None,
        },
    ])
}

/// Megabytes per second.
async fn rate(
    amount: usize,
    passing: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<f64> {
    let start = Instant::now();
    passing.await?;
    Ok(amount as f64 / 1e6 / start.elapsed().as_secs_f64())
}

/// Sends so many bytes through a job.
async fn pass(host: &Host, passing: Passing, amount: usize) -> anyhow::Result<()> {
    let (mut writer, reader) = pipe();
    let (into, mut output) = pipe();
    let streams = JobStreams { input: Some(reader), output: Some(into) };
    let job = Job { streams, ..Job::new(passing.plugin, passing.operation, Map::new()) };
    let writing = async move {
        let piece = Bytes::from(vec![7; PIECE]);
        for _ in 0..amount / PIECE {
            writer.write(piece.clone()).await?;
        }
        anyhow::Ok(())
    };
    let reading = async move {
        let mut length = 0;
        while let Some(bytes) = output.read(PIECE).await {
            length += bytes.len();
        }
        length
    };
    let (outcome, length, written) = tokio::join!(host.run(job), reading, writing);
    written?;
    ensure!(outcome.state == JobState::Ok, "the plugin host failed: {:?}", outcome.error);
    ensure!(length == amount, "{length} of {amount} bytes came through");
    Ok(())
}
