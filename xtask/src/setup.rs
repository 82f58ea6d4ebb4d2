//! What the build and the tests need beyond the toolchain: installed if it is
//! missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::command::{announce, cargo, read, root, run, target_dir};

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

/// Everything: the plugins' target, and the programs of others that the tests
/// run beside ours. The tests find those in `venv`, `node`, `docker`, `minisign` and
/// `rsign` where cargo builds.
pub(crate) fn all() -> anyhow::Result<()> {
    toolchain()?;
    python_peers()?;
    node_peers()?;
    docker_engine()?;
    minisign()?;
    rsign()
}

/// A Python environment with Crossbar, autobahn and OCS, made once.
pub(crate) fn python_peers() -> anyhow::Result<PathBuf> {
    let venv = target_dir().join("venv");
    let requirements = root().join("tests/peers/requirements.txt");
    once(&requirements, &venv, || {
        announce("installing the Python peers (about a minute)");
        if run(Command::new("python3").args(["-m", "venv"]).arg(&venv)).is_err() {
            bail!("the peers need Python 3 with venv: run `apt-get install python3-venv`");
        }
        run(Command::new(venv.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "-r"])
            .arg(&requirements))
        .context("the Python peers could not be installed from PyPI")
    })?;
    Ok(venv)
}

/// A folder with autobahn-js, made once.
fn node_peers() -> anyhow::Result<()> {
    let folder = target_dir().join("node");
    let listed = root().join("tests/peers");
    once(&listed.join("package-lock.json"), &folder, || {
        announce("installing the JavaScript peers");
        for program in ["node", "npm"] {
            if read(Command::new(program).arg("--version")).is_err() {
                bail!("the peers need Node.js with npm: run `apt-get install nodejs npm`");
            }
        }
        fs::create_dir_all(&folder)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(listed.join(file), folder.join(file))?;
        }
        run(Command::new("npm")
            .args(["ci", "--silent", "--no-audit", "--no-fund"])
            .current_dir(&folder))
        .context("the JavaScript peers could not be installed from npm")
    })
}

/// A Docker Engine, a registry and a small image's program, unpacked once. Nothing is
/// installed on the machine, where it would start an engine for everybody.
pub(crate) fn docker_engine() -> anyhow::Result<()> {
    debian("docker", "tests/engine/packages.txt", "a Docker Engine", "containers")
}

/// The program that signatures are tested with, unpacked once with its library.
fn minisign() -> anyhow::Result<()> {
    debian("minisign", "tests/peers/minisign.txt", "minisign", "signatures")
}

/// The other program that signatures are tested with, which Debian does not have.
fn rsign() -> anyhow::Result<()> {
    let (list, folder) = (root().join("tests/peers/rsign.txt"), target_dir().join("rsign"));
    once(&list, &folder, || {
        announce("building rsign (about a minute)");
        let wanted = fs::read_to_string(&list)?;
        let mut install = cargo();
        install.args(["install", "--quiet", "--locked", wanted.trim(), "--root"]).arg(&folder);
        install.arg("--target-dir").arg(folder.join("build"));
        run(&mut install).context("rsign could not be installed from crates.io")
    })
}

/// Fetches what the Debian packages of a list have, for the tests of something.
fn debian(folder: &str, list: &str, what: &str, tested: &str) -> anyhow::Result<()> {
    let (folder, list) = (target_dir().join(folder), root().join(list));
    once(&list, &folder, || {
        announce(&format!("fetching {what}"));
        let packages = fs::read_to_string(&list)?;
        let packages: Vec<&str> = packages.lines().collect();
        fetch(&packages, &folder).with_context(|| {
            format!(
                "the tests of {tested} need the Debian packages {}: run `apt-get update` and \
                 try again",
                packages.join(", ")
            )
        })
    })
}

/// Installs what `list` names into `folder`, unless that has been done.
fn once(
    list: &Path,
    folder: &Path,
    install: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    // The copy is made last, so it tells of a complete installation.
    let installed = folder.join("installed.txt");
    let wanted =
        fs::read_to_string(list).with_context(|| format!("cannot read {}", list.display()))?;
    if fs::read_to_string(&installed).is_ok_and(|present| present == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))
}

/// The router that the benchmarks take for the limit.
pub(crate) fn nats() -> anyhow::Result<PathBuf> {
    debian_program("nats-server", Path::new("usr/sbin/nats-server"))
}

/// The process manager that the benchmarks take for the peer.
pub(crate) fn runit() -> anyhow::Result<PathBuf> {
    debian_program("runit", Path::new("usr/bin/runsvdir"))
}

/// A program at `path` below the root: the system's, or else the one of Debian's
/// package, unpacked beside what is built. Nothing is installed on the machine,
/// which would start a server there.
fn debian_program(package: &str, path: &Path) -> anyhow::Result<PathBuf> {
    let system = Path::new("/").join(path);
    let unpacked = target_dir().join(package);
    let own = unpacked.join(path);
    if let Some(present) = [&system, &own].into_iter().find(|file| file.exists()) {
        return Ok(present.clone());
    }
    announce(&format!("fetching {package}"));
    fetch(&[package], &unpacked).with_context(|| {
        format!(
            "the benchmarks need {} and cannot fetch Debian's package {package}: run `apt-get \
             update` and try again, or install it",
            system.display()
        )
    })?;
    Ok(own)
}

/// Unpacks packages of Debian into a folder.
fn fetch(packages: &[&str], to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    run(Command::new("apt-get").args(["download", "--quiet"]).args(packages).current_dir(to))?;
    for file in fs::read_dir(to)? {
        let package = file?.path();
        if package.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("--extract").arg(&package).arg(to))?;
            fs::remove_file(&package)
                .with_context(|| format!("cannot remove {}", package.display()))?;
        }
    }
    Ok(())
}
