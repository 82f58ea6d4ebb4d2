//! `cargo xtask bench`: release builds, the peers, then the benchmark itself.

use std::process::Command;

use crate::build::Profile;
use crate::command::run;
use crate::{build, setup};

pub(crate) fn run_bench(name: &str, arguments: &[&str]) -> anyhow::Result<()> {
    setup::toolchain()?;
    let venv = setup::python_peers()?;
    let plugins = build::plugins()?;
    let nats = setup::nats()?;
    let runit = setup::runit()?;
    if name == "container" {
        setup::docker_engine()?;
    }
    let programs = build::programs(&["drover", "drover-bench"], Profile::Release)?;
    run(Command::new(programs.join("drover-bench"))
        .arg(name)
        .arg("--drover")
        .arg(programs.join("drover"))
        .arg("--plugins")
        .arg(plugins)
        .arg("--venv")
        .arg(venv)
        .arg("--nats")
        .arg(nats)
        .arg("--runit")
        .arg(runit)
        .args(arguments))
}
