//! What the build needs beyond the toolchain: installed if it is missing.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, bail};

use crate::command::{announce, read, root, run, target_dir};

/// The target of plugins.
pub(crate) const PLUGIN_TARGET: &str = "wasm32-wasip2";

/// Adds the plugins' target to the toolchain if it is missing.
pub(crate) fn toolchain() -> anyhow::Result<()> {
    let sysroot = read(Command::new("rustc").args(["--print", "sysroot"]).current_dir(root()))
        .context("install Rust from https://rustup.rs")?;
    let installed = PathBuf::from(sysroot.trim()).join("lib/rustlib").join(PLUGIN_TARGET);
    if installed.exists() {
        return Ok(());
    }
    announce(&format!("adding the target {PLUGIN_TARGET}"));
    let added =
        run(Command::new("rustup").args(["target", "add", PLUGIN_TARGET]).current_dir(root()));
    added.with_context(|| {
        format!("plugins need the target {PLUGIN_TARGET}: run `rustup target add {PLUGIN_TARGET}`")
    })
}

/// A Python environment with the benchmarks' peers, made once.
pub(crate) fn peers() -> anyhow::Result<PathBuf> {
    let requirements = root().join("tests/bench/python/requirements.txt");
    let venv = target_dir().join("venv");
    // The copy is made last, so it tells of a complete installation.
    let installed = venv.join("installed.txt");
    let wanted = std::fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    if std::fs::read_to_string(&installed).is_ok_and(|present| present == wanted) {
        return Ok(venv);
    }
    announce("installing the peers of the benchmarks (about a minute)");
    if run(Command::new("python3").args(["-m", "venv"]).arg(&venv)).is_err() {
        bail!("the peers need Python 3 with venv: run `apt-get install python3-venv`");
    }
    run(Command::new(venv.join("bin/pip")).args(["install", "--quiet", "-r"]).arg(&requirements))
        .context("the peers could not be installed from PyPI")?;
    std::fs::write(&installed, wanted)
        .with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(venv)
}
