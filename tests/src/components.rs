//! The components that scenarios load, built once per test run, and what the
//! set-up has installed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The component of a plugin or guest, such as `hello`, `guests` or
/// `describe_trap`.
///
/// # Panics
///
/// If it cannot be built.
#[must_use]
pub fn component(name: &str) -> PathBuf {
    let file = format!("{name}.wasm");
    let places = [built().join(&file), built().join("examples").join(&file)];
    let path = places.into_iter().find(|path| path.exists());
    path.unwrap_or_else(|| panic!("no package builds {file}"))
}

/// What the built-in plugins ask for, granted.
pub(crate) const GRANTS: &str = "[sysinfo]\nsysinfo = true\n";

/// Copies the built-in plugins into `dir`, and grants them beside it what they
/// ask for.
///
/// # Panics
///
/// If they cannot be built or copied.
pub fn built_in(dir: &Path) {
    for name in ["hello", "sysinfo"] {
        std::fs::copy(component(name), dir.join(format!("{name}.wasm"))).unwrap();
    }
    std::fs::write(dir.with_file_name("grants.toml"), GRANTS).unwrap();
}

/// Where all sites and runs keep compiled components, so that each is compiled once.
#[must_use]
pub fn compiled() -> PathBuf {
    target_dir().join("tmp/compiled-components")
}

/// Builds all components; `cargo xtask test` has done so already, and then
/// this only looks.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut build = Command::new(env!("CARGO"));
        build.current_dir(root()).args(["build", "--quiet", "--profile", "plugin"]);
        build.args(["--target", "wasm32-wasip2", "--package", "*-plugin"]);
        build.args(["--package", "drover-guests", "--lib", "--examples"]);
        let status = build.status().expect("cargo runs");
        assert!(status.success(), "the components do not build; `cargo xtask setup` says why");
        target_dir().join("wasm32-wasip2/plugin")
    })
}

/// A program or package that the set-up has put where cargo builds, such as
/// `venv/bin/python`.
///
/// # Panics
///
/// If it is not there.
#[must_use]
pub fn installed(path: &str) -> PathBuf {
    let full = target_dir().join(path);
    assert!(full.exists(), "there is no {}: run `cargo xtask setup`", full.display());
    full
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn target_dir() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}
