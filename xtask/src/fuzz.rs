//! `cargo xtask fuzz`: the fuzz targets of the WAMP cores, for a bounded time.
//!
//! The targets are cargo-fuzz's, built here without it: the coverage that
//! libFuzzer needs is in every stable compiler, and the cores have no unsafe
//! code that a sanitizer could watch. So no second toolchain and no tool has to
//! be installed, and what is fuzzed is compiled by the compiler that ships it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::command::{announce, cargo, read, root, run, target_dir};

/// In `runtime/wamp/fuzz/targets`.
const TARGETS: [&str; 3] = ["codec", "session", "router"];

/// What `cargo fuzz --sanitizer none` asks of the compiler.
const INSTRUMENTED: &str = "--cfg fuzzing \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Fuzzes every target, so many seconds each.
pub(crate) fn run_fuzz(seconds: u32) -> anyhow::Result<()> {
    let programs = build()?;
    for target in TARGETS {
        announce(&format!("fuzzing {target} for {seconds} s"));
        fuzz(&programs, target, seconds)?;
    }
    Ok(())
}

fn fuzz(programs: &Path, target: &str, seconds: u32) -> anyhow::Result<()> {
    let (work, seeds) = (target_dir().join("fuzz"), folder().join("seeds").join(target));
    // What is found stays from one run to the next; the seeds are only read.
    let found = work.join("corpus").join(target);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let artifacts = work.join("artifacts").join(target).join("");
    fs::create_dir_all(&artifacts)?;
    let fuzzed = run(Command::new(programs.join(target))
        .arg(format!("-max_total_time={seconds}"))
        .args(["-max_len=1024", "-timeout=10", "-rss_limit_mb=1024", "-dict=wamp.dict"])
        .args(["-verbosity=0", "-print_funcs=0", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}", artifacts.display()))
        .args([&found, &seeds])
        .current_dir(folder()));
    fuzzed.with_context(|| {
        format!(
            "{target} broke a promise: the bytes that show it are in {}; \
             give that file to {} as its only argument to see it again",
            artifacts.display(),
            programs.join(target).display()
        )
    })
}

/// Builds the targets; returns where they are.
fn build() -> anyhow::Result<PathBuf> {
    if read(Command::new("c++").arg("--version")).is_err() {
        bail!("libFuzzer needs a C++ compiler: run `apt-get install g++`");
    }
    announce("building the fuzz targets (the first time takes minutes)");
    let about = read(Command::new("rustc").arg("-vV").current_dir(root()))?;
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("`rustc -vV` tells no host")?;
    let folder_of_build = target_dir().join("fuzz");
    // With `--target`, build scripts and macros are not instrumented. Not `--locked`:
    // what the crate has come to depend on since is added to the targets' own lock.
    run(cargo()
        .args(["build", "--release", "--target", host])
        .current_dir(folder())
        .env("CARGO_TARGET_DIR", &folder_of_build)
        .env("RUSTFLAGS", INSTRUMENTED))?;
    Ok(folder_of_build.join(host).join("release"))
}

fn folder() -> PathBuf {
    root().join("runtime/wamp/fuzz")
}
