//! `drover plugin`: makes plugins and tries them without a controller, grants
//! them what they ask for, and shows those of nodes.

mod bench;
mod build;
mod dev;
mod grant;
mod inspect;
mod live;
mod new;
mod pack;
mod project;
mod run;
mod status;
mod surroundings;
mod test;
mod trial;
mod versions;

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use clap::{Args, Subcommand};

use super::daemon;
use crate::controller;
use crate::exit::{Exit, Failure};
use crate::whole_file::WholeFile;

pub(crate) use surroundings::{Cache, inspect_with_everything};

/// Makes plugins and tries them without a controller, grants them what they ask
/// for, and shows those of nodes
#[derive(Debug, Args)]
pub(crate) struct Plugin {
    #[command(subcommand)]
    command: PluginCommand,
}

#[derive(Debug, Subcommand)]
enum PluginCommand {
    /// Make a project for a new plugin
    New(new::New),
    /// Build the plugin of a project, and check that an agent would load it
    Build(build::Build),
    /// Run the unit tests of a project, and its cases in the real host
    Test(test::Test),
    /// Build the plugin of a project with every save, and run it
    Dev(dev::Dev),
    /// Run one operation of a plugin file
    Run(run::Run),
    /// Show what a plugin file offers and what it wants
    Inspect(inspect::Inspect),
    /// Measure one operation of a plugin file
    Bench(bench::Bench),
    /// Put a manifest into a component
    Pack(pack::Pack),
    /// Grant a plugin of this host what it asks for
    Grant(grant::Grant),
    /// Show the plugins of a node, and what became of their files
    Status(status::Status),
    /// Show the plugin versions that were pushed to a node
    Versions(versions::Versions),
    /// Let a plugin of a node out of its quarantine
    Release(status::Release),
}

pub(crate) fn run(plugin: Plugin) -> Result<Exit, Failure> {
    match plugin.command {
        PluginCommand::New(command) => new::run(&command),
        PluginCommand::Build(command) => daemon::runtime()?.block_on(build::run(&command)),
        PluginCommand::Test(command) => daemon::runtime()?.block_on(test::run(&command)),
        PluginCommand::Dev(command) => daemon::runtime()?.block_on(dev::run(command)),
        PluginCommand::Run(command) => daemon::runtime()?.block_on(run::run(command)),
        PluginCommand::Bench(command) => daemon::runtime()?.block_on(bench::run(command)),
        PluginCommand::Inspect(command) => daemon::runtime()?.block_on(inspect::inspect(&command)),
        PluginCommand::Status(command) => controller::runtime()?.block_on(status::status(&command)),
        PluginCommand::Versions(command) => {
            controller::runtime()?.block_on(versions::run(&command))
        }
        PluginCommand::Release(command) => {
            controller::runtime()?.block_on(status::release(&command))
        }
        PluginCommand::Pack(command) => pack::run(&command),
        PluginCommand::Grant(command) => grant::run(&command),
    }
}

/// Writes a file that others see whole or not at all.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || {
        let file = WholeFile::begin(path)?;
        file.file().write_all(bytes)?;
        file.keep()
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
