//! Building the plugins and the program.

use std::path::PathBuf;

use crate::command::{announce, cargo, run, target_dir};
use crate::setup::PLUGIN_TARGET;

/// How the program is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// For demo and tests: builds fast, and the plugin compiler is optimised.
    Dev,
    /// For benchmarks.
    Release,
}

/// Builds every plugin and the tests' guests; returns where their components are.
pub(crate) fn plugins() -> anyhow::Result<PathBuf> {
    announce("building the plugins");
    let mut build = cargo();
    build.args(["build", "--locked", "--profile", "plugin", "--target", PLUGIN_TARGET]);
    build.args(["--package", "*-plugin", "--package", "drover-guests", "--lib", "--examples"]);
    run(&mut build)?;
    Ok(target_dir().join(PLUGIN_TARGET).join("plugin"))
}

/// Builds programs of the workspace; returns where they are.
///
/// The whole workspace is named, so that what is shared is built with the same
/// features for the programs and for the tests, and only once.
pub(crate) fn programs(names: &[&str], profile: Profile) -> anyhow::Result<PathBuf> {
    announce(&format!("building {} (the first time takes minutes)", names.join(" and ")));
    let mut build = cargo();
    build.args(["build", "--locked", "--workspace"]);
    for name in names {
        build.args(["--bin", name]);
    }
    let folder = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            build.arg("--release");
            "release"
        }
    };
    run(&mut build)?;
    Ok(target_dir().join(folder))
}
