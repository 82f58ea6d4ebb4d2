//! How fast the keeper starts and reaps, against bare `std::process`, in one run.
//!
//! `cargo run --release -p drover-process --example keeper-rate [runs]`
//!
//! Each row starts `/bin/true` that often, with several in flight, from the
//! request until the exit is acknowledged. The bare row spawns and waits in a
//! loop. Rounds alternate, and the median of five is told. At last so many
//! children sleep, and what all of them use is sampled.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measurement tells what it finds, and fails loudly"
)]

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use drover_api::JobId;
use drover_process::{
    Connection, Keeper, KeeperEvent, Launch, Limits, Tree, UsageSampler, connect_or_start,
    run_keeper,
};
use tokio::task::JoinSet;

const ROUNDS: usize = 5;

/// Runs that are on their way at once.
const IN_FLIGHT: usize = 32;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let first = args.next();
    if first.as_deref() == Some("keeper") {
        return match run_keeper(Path::new(&args.next().unwrap()), None) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        };
    }
    let runs = first.map_or(2000, |runs| runs.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(runs));
    ExitCode::SUCCESS
}

/// One row of the table.
struct Row {
    name: &'static str,
    in_flight: usize,
    change: fn(&mut Launch),
}

async fn measure(runs: usize) {
    let dir = tempfile::tempdir().unwrap();
    let mut tasks = JoinSet::new();
    let program = || {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program.arg("keeper").arg(dir.path());
        program
    };
    let mut connection = connect_or_start(dir.path(), program, &mut tasks).await.unwrap();
    println!("{:?}", connection.keeper.force());
    let rows = [
        Row { name: "one at a time", in_flight: 1, change: |_| {} },
        Row { name: "in flight", in_flight: IN_FLIGHT, change: |_| {} },
        Row {
            name: "with rlimits",
            in_flight: IN_FLIGHT,
            change: |launch| {
                launch.limits =
                    Limits { open_files: Some(100), nice: Some(1), ..Limits::default() };
            },
        },
        Row {
            name: "with a memory limit",
            in_flight: IN_FLIGHT,
            change: |launch| launch.limits.memory = Some(1 << 30),
        },
        Row {
            name: "as a user",
            in_flight: IN_FLIGHT,
            change: |launch| launch.user = Some("nobody".to_owned()),
        },
    ];
    let mut bare = Vec::new();
    let mut kept = vec![Vec::new(); rows.len()];
    for _ in 0..ROUNDS {
        bare.push(rate(runs, spawn_bare(runs)));
        for (row, rates) in rows.iter().zip(&mut kept) {
            let start = Instant::now();
            spawn_kept(&mut connection, runs, row).await;
            rates.push(runs as f64 / start.elapsed().as_secs_f64());
        }
    }
    let bare = median(bare);
    println!("{:24} {bare:8.0}/s", "bare std spawn and wait");
    for (row, rates) in rows.iter().zip(kept) {
        let rate = median(rates);
        println!("{:24} {rate:8.0}/s {:5.0} %", row.name, rate / bare * 100.0);
    }
    sample(&connection, 1000).await;
}

/// How long it takes to look at many trees, with cgroups and without.
async fn sample(connection: &Connection, count: usize) {
    let mut spawned = Vec::new();
    for number in 0..count {
        let mut launch = launch(number);
        launch.program = "/bin/sleep".to_owned();
        launch.args = vec!["1000".to_owned()];
        spawned.push(connection.keeper.spawn(launch).await.unwrap());
    }
    let mut trees: Vec<Tree> = spawned.iter().map(|spawned| spawned.tree.clone()).collect();
    for name in ["by their cgroups", "without cgroups"] {
        let mut sampler = UsageSampler::default();
        let times = (0..ROUNDS).map(|_| {
            let start = Instant::now();
            let usages = sampler.sample(&trees);
            assert!(usages.iter().all(|usage| usage.processes == 1));
            start.elapsed().as_secs_f64() * 1000.0
        });
        println!("{count} trees sampled {name}: {:.1} ms", median(times.collect()));
        trees.iter_mut().for_each(|tree| tree.cgroup = None);
    }
}

fn rate(runs: usize, seconds: f64) -> f64 {
    runs as f64 / seconds
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn spawn_bare(runs: usize) -> f64 {
    let start = Instant::now();
    for _ in 0..runs {
        let mut child = Command::new("/bin/true")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.wait().unwrap();
    }
    start.elapsed().as_secs_f64()
}

async fn spawn_kept(connection: &mut Connection, runs: usize, row: &Row) {
    let mut spawning = JoinSet::new();
    let (mut started, mut ended) = (0, 0);
    while ended < runs {
        while started < runs && started - ended < row.in_flight {
            // A spawn that fails would be waited for in vain.
            while let Some(done) = spawning.try_join_next() {
                done.unwrap();
            }
            spawning.spawn(spawn_one(connection.keeper.clone(), started, row.change));
            started += 1;
        }
        let Some(KeeperEvent::Exited { id, .. }) = connection.events.recv().await else {
            panic!("the keeper is gone");
        };
        connection.keeper.acknowledge(&id).await.unwrap();
        ended += 1;
    }
    while spawning.join_next().await.is_some() {}
}

async fn spawn_one(keeper: Keeper, number: usize, change: fn(&mut Launch)) {
    let mut launch = launch(number);
    change(&mut launch);
    keeper.spawn(launch).await.unwrap();
}

fn launch(number: usize) -> Launch {
    Launch {
        id: JobId::try_from(format!("run-{number}")).unwrap(),
        program: "/bin/true".to_owned(),
        args: Vec::new(),
        env: Vec::new(),
        working_dir: "/".into(),
        stdin: drover_process::Stdin::Null,
        user: None,
        group: None,
        limits: Limits::default(),
        note: String::new(),
    }
}
