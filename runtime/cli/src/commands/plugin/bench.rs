//! `drover plugin bench`: how fast an operation is in the host that an agent has.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use drover_api::JobState;
use drover_plugin_host::{Host, Job, Outcome};
use serde::Serialize;
use serde_json::{Map, Value};

use super::surroundings::{Cache, Surroundings, explain, plugin_of};
use crate::arguments::Arguments;
use crate::exit::{Exit, Failure};
use crate::{output, render};

/// Calls that are measured at most: their times are all kept.
const MOST_CALLS: u32 = 1_000_000;
/// Calls before the measured ones.
const WARM_UP: u32 = 3;

/// Calls an operation again and again, each time in a fresh instance as an
/// agent does, one after the other, and says how long it took. Build `drover`
/// with --release: what is measured is the whole way through the host.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// The component
    file: PathBuf,
    /// The name of the operation, without the plugin's
    operation: String,
    #[command(flatten)]
    arguments: Arguments,
    /// Stop after this time, such as 10s
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration, default_value = "3s")]
    time: Duration,
    /// Stop after so many calls
    #[arg(long, value_name = "N", default_value_t = MOST_CALLS)]
    calls: u32,
    /// Print the numbers as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    surroundings: Surroundings,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Numbers {
    /// Loading with nothing in the cache: compiling, and describing itself.
    cold_load_ms: f64,
    /// Loading with the compiled code in the cache.
    cached_load_ms: f64,
    calls: usize,
    calls_per_second: f64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
    /// The most linear memory that an instance had.
    memory_bytes: u64,
    component_bytes: u64,
}

pub(super) async fn run(bench: Bench) -> Result<Exit, Failure> {
    let arguments = bench.arguments.clone().with_input()?;
    let file = &bench.file;
    let component_bytes =
        file.metadata().with_context(|| format!("cannot read {}", file.display()))?.len();
    let scratch = tempfile::tempdir().context("cannot make a temporary folder")?;
    let cold = Cache::at(scratch.path().join("cache"));
    let (cold_load, host) = load(&bench.surroundings, &cold, file).await?;
    host.shutdown().await;
    let (cached_load, host) = load(&bench.surroundings, &cold, file).await?;

    let plugin = plugin_of(file);
    let schema = host.plugins().into_iter().flat_map(|plugin| plugin.operations);
    let schema = schema.into_iter().find(|operation| operation.name == bench.operation);
    let arguments = arguments.read(&schema.map(|schema| schema.arguments).unwrap_or_default())?;
    let mut times = Vec::new();
    let mut memory_bytes = 0;
    let started = Instant::now();
    let mut measured_from = started;
    let most = bench.calls.clamp(1, MOST_CALLS);
    for call in 0..most.saturating_add(WARM_UP) {
        let begin = Instant::now();
        let outcome = once(&host, &plugin, &bench.operation, &arguments).await;
        let took = begin.elapsed();
        if outcome.state != JobState::Ok {
            return Err(failure(&plugin, &bench.operation, outcome));
        }
        if call < WARM_UP {
            measured_from = Instant::now();
            continue;
        }
        memory_bytes = memory_bytes.max(outcome.memory_bytes);
        times.push(took);
        if measured_from.elapsed() >= bench.time {
            break;
        }
    }
    let elapsed = measured_from.elapsed();
    host.shutdown().await;
    times.sort_unstable();
    let numbers = Numbers {
        cold_load_ms: cold_load.as_secs_f64() * 1e3,
        cached_load_ms: cached_load.as_secs_f64() * 1e3,
        calls: times.len(),
        calls_per_second: times.len() as f64 / elapsed.as_secs_f64(),
        p50_us: at(&times, 50),
        p99_us: at(&times, 99),
        max_us: at(&times, 100),
        memory_bytes,
        component_bytes,
    };
    match bench.json {
        true => output::json(&numbers)?,
        false => output::answer(&shown(&numbers))?,
    }
    Ok(Exit::Done)
}

async fn load(
    surroundings: &Surroundings,
    cache: &Cache,
    file: &Path,
) -> Result<(Duration, Host), Failure> {
    let host = surroundings.host_with(file, cache)?;
    let begin = Instant::now();
    host.load_file(file).await.map_err(explain)?;
    Ok((begin.elapsed(), host))
}

async fn once(
    host: &Host,
    plugin: &str,
    operation: &str,
    arguments: &Map<String, Value>,
) -> Outcome {
    host.run(Job::new(plugin, operation, arguments.clone())).await
}

fn failure(plugin: &str, operation: &str, outcome: Outcome) -> Failure {
    let why = outcome.error.map(|error| format!(" ({}): {}", error.code, error.message));
    let message = format!(
        "{plugin}.{operation} has to succeed to be measured, and failed{}",
        why.unwrap_or_default()
    );
    Failure::text(Exit::Failed, message)
}

/// The time, in microseconds, that so many percent of all did not exceed.
fn at(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

fn shown(numbers: &Numbers) -> String {
    let Numbers { calls, p50_us, p99_us, max_us, .. } = numbers;
    let rows = [
        ("component", render::bytes(numbers.component_bytes)),
        ("load, not compiled yet", format!("{:.1} ms", numbers.cold_load_ms)),
        ("load, compiled before", format!("{:.1} ms", numbers.cached_load_ms)),
        ("calls", format!("{calls}, {:.0} a second", numbers.calls_per_second)),
        ("a call, half of them within", format!("{p50_us:.0} µs")),
        ("a call, 99 of 100 within", format!("{p99_us:.0} µs")),
        ("the longest call", format!("{max_us:.0} µs")),
        ("memory of an instance, at most", render::bytes(numbers.memory_bytes)),
    ];
    render::table(&["what", ""], rows.map(|(what, value)| [what.to_owned(), value]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<_> = (1..=200).map(Duration::from_micros).collect();
        assert_eq!(at(&times, 50), 100.0);
        assert_eq!(at(&times, 99), 198.0);
        assert_eq!(at(&times, 100), 200.0);
        assert_eq!(at(&times[..1], 50), 1.0);
        assert_eq!(at(&[], 50), 0.0);
    }
}
