//! Benchmarks: ours, the peer and the limit side by side.
//!
//! `cargo xtask bench call|container|footprint|jobs|logparse|logs|plugins|process|rollout|wamp [--json]` builds what this program needs
//! and runs it. Everybody is measured in one run and in turn, for several
//! rounds, and the medians are compared; so what disturbs the machine disturbs
//! all alike, and ratios can be trusted more than absolute numbers.
//!
//! | what | file |
//! |---|---|
//! | the benchmarks: who is measured, and the bars | `call.rs`, `container.rs`, `footprint.rs`, `jobs.rs`, `liveness.rs`, `logparse.rs`, `logs.rs`, `plugins.rs`, `process.rs`, `rollout.rs`, `wamp.rs` |
//! | ours, in processes of their own | `site.rs` |
//! | the peer, with its Python programs in `../python/` | `peer.rs` |
//! | the compiled peer of routers, a process of its own | `load.rs` |
//! | the limits, and the plugin host in this process | `echo.rs`, `instance.rs` |
//! | how it is measured | `latency.rs`, `usage.rs`, `machine.rs` |
//! | what comes out | `report.rs`, `table.rs`, `progress.rs` |
//! | programs that are started and ended | `program.rs` |
//!
//! The exit status is 0 if every bar is met, 1 if one is missed, and 2 if the
//! benchmark could not be run.

#![forbid(unsafe_code)]

mod call;
mod container;
mod echo;
mod footprint;
mod instance;
mod jobs;
mod latency;
mod liveness;
mod load;
mod logparse;
mod logs;
mod machine;
mod peer;
mod plugins;
mod process;
mod program;
mod progress;
mod report;
mod rollout;
mod site;
mod table;
mod usage;
mod wamp;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use machine::Machine;
use progress::step;
use report::Report;

/// The program's, also for those that it is compared with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures Drover beside what it is compared with.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    benchmark: Benchmark,
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    plan: Plan,
    /// Print an array of rows for programs
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Clone, Subcommand)]
enum Benchmark {
    /// A round trip from a caller to an empty task and back
    Call,
    /// The plugin that drives a container engine, beside a native program
    Container,
    /// What an idle agent takes, and how fast it is there
    Footprint,
    /// From a durable submission to its result
    Jobs,
    /// From the lines of a log to events, in a plugin
    Logparse,
    /// From what a child says to records, series and answers
    Logs,
    /// What plugins take of the agent that runs them
    Plugins,
    /// How fast children start, end and come back
    Process,
    /// A plugin version on its way over nodes, under load, and back
    Rollout,
    /// The controller as a router: calls, events, joins, memory
    Wamp,
    /// Writes lines; a node runs it as a child
    #[command(hide = true)]
    Chatter { lines: u64 },
    /// Puts load on a router; the benchmarks start it
    #[command(hide = true)]
    Load(load::Target),
}

/// What is measured.
#[derive(Debug, Args)]
struct Inputs {
    /// The program `drover`
    #[arg(long, value_name = "FILE", global = true, default_value = "target/release/drover")]
    drover: PathBuf,
    /// Directory of the built plugins and guests
    #[arg(long, value_name = "DIR", global = true, default_value = "target/wasm32-wasip2/plugin")]
    plugins: PathBuf,
    /// Python environment of the peers
    #[arg(long, value_name = "DIR", global = true, default_value = "target/venv")]
    venv: PathBuf,
    /// The program `nats-server`
    #[arg(long, value_name = "FILE", global = true, default_value = "nats-server")]
    nats: PathBuf,
    /// The program `runsvdir`
    #[arg(long, value_name = "FILE", global = true, default_value = "runsvdir")]
    runit: PathBuf,
}

/// How long everybody is measured in a round of `--quick`.
const QUICK_SLICE: Duration = Duration::from_millis(300);

/// How long it is measured.
#[derive(Debug, Args)]
struct Plan {
    /// How often everybody is measured
    #[arg(long, value_name = "NUMBER", global = true, default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// How long everybody is measured in a round
    #[arg(long, value_name = "NUMBER", global = true, default_value_t = 2000)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=600_000))]
    slice_ms: u32,
    /// Measure twice and briefly: to see that it works, not to judge
    #[arg(long, global = true, conflicts_with_all = ["rounds", "slice_ms"])]
    quick: bool,
}

impl Plan {
    fn rounds(&self) -> u32 {
        if self.quick { 2 } else { self.rounds }
    }

    fn slice(&self) -> Duration {
        if self.quick { QUICK_SLICE } else { Duration::from_millis(self.slice_ms.into()) }
    }

    /// Nobody's first calls count.
    fn warm_up(&self) -> Duration {
        self.slice() / 4
    }
}

// One thread: the caller is one session, and its peer in Python has one, too.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.benchmark {
        Benchmark::Load(target) => load::run(target).await.map(|()| true),
        Benchmark::Chatter { lines } => logs::chatter(*lines).map(|()| true).map_err(Into::into),
        _ => measure(&cli).await,
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            step(&format!("error: {error:#}"));
            ExitCode::from(2)
        }
    }
}

/// Runs the benchmark and prints what it found; tells whether every bar is met.
async fn measure(cli: &Cli) -> anyhow::Result<bool> {
    let machine = Machine::watch().await?;
    let (columns, rows) = tokio::select! {
        found = run(cli) => found?,
        stopped = stopped() => return stopped,
    };
    let report = Report { rows, is_quiet: machine.is_quiet() };
    let heading = format!("{}\n{columns}", machine.description());
    let text = if cli.json {
        step(&heading);
        report.to_json().context("cannot write the rows as JSON")?
    } else {
        format!("{heading}\n{}", table::draw(&report))
    };
    writeln!(std::io::stdout().lock(), "{text}").context("cannot print the report")?;
    Ok(report.is_ok())
}

async fn run(cli: &Cli) -> anyhow::Result<(&'static str, Vec<report::Row>)> {
    Ok(match &cli.benchmark {
        Benchmark::Call => (call::COLUMNS, call::run(&cli.inputs, &cli.plan).await?),
        Benchmark::Container => (container::COLUMNS, container::run(&cli.inputs, &cli.plan).await?),
        Benchmark::Footprint => (footprint::COLUMNS, footprint::run(&cli.inputs, &cli.plan).await?),
        Benchmark::Wamp => (wamp::COLUMNS, wamp::run(&cli.inputs, &cli.plan).await?),
        Benchmark::Jobs => (jobs::COLUMNS, jobs::run(&cli.inputs, &cli.plan).await?),
        Benchmark::Logparse => (logparse::COLUMNS, logparse::run(&cli.inputs, &cli.plan).await?),
        Benchmark::Logs => (logs::COLUMNS, logs::run(&cli.inputs, &cli.plan).await?),
        Benchmark::Plugins => (plugins::COLUMNS, plugins::run(&cli.inputs, &cli.plan).await?),
        Benchmark::Process => (process::COLUMNS, process::run(&cli.inputs, &cli.plan).await?),
        Benchmark::Rollout => (rollout::COLUMNS, rollout::run(&cli.inputs, &cli.plan).await?),
        Benchmark::Load(_) | Benchmark::Chatter { .. } => {
            bail!("this one only serves a benchmark, and has no findings")
        }
    })
}

/// Ends the benchmark on SIGINT and SIGTERM, and so everything it has started.
async fn stopped<T>() -> anyhow::Result<T> {
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    bail!("stopped by a signal");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn options_follow_the_benchmark() {
        let line = ["drover-bench", "call", "--drover", "/d", "--venv", "/v", "--json"];
        let cli = Cli::try_parse_from(line).unwrap();
        assert!(cli.json && matches!(cli.benchmark, Benchmark::Call));
        assert_eq!(cli.inputs.venv, PathBuf::from("/v"));
    }
}
