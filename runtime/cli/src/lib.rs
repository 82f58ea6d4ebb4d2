//! The command line: parsing, the choice of the subcommand, and how the
//! program ends. Each subcommand is a file in `commands/`.
//!
//! A library with a one-line program, so that the tests have the program too.

#![forbid(unsafe_code)]

mod access;
mod address;
mod arguments;
mod commands;
mod config_file;
mod controller;
mod core_dumps;
mod credentials;
mod doctor;
mod exit;
mod feed;
mod input;
mod jobs;
mod log;
mod log_lines;
mod notify;
mod open_files;
mod output;
mod render;
mod secrets;
mod signing_key;
mod streams;
mod succession;
mod transfer;
mod whole_file;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs what the command line says and reports how it ended.
#[must_use]
pub fn main() -> ExitCode {
    core_dumps::forbid();
    // Clap prints its own help and errors, and ends with status 0 or 2.
    let ended = match Cli::parse().command {
        Command::Agent(command) => commands::agent::run(&command),
        Command::Controller(command) => commands::controller::run(&command),
        Command::Nodes(command) => commands::nodes::run(&command),
        Command::Ops(command) => commands::ops::run(&command),
        Command::Call(command) => commands::call::run(command),
        Command::Exec(command) => commands::exec::run(&command),
        Command::Ps(command) => commands::ps::run(&command),
        Command::Kill(command) => commands::kill::run(&command),
        Command::Job(command) => commands::job::run(command),
        Command::Schedule(command) => commands::schedule::run(command),
        Command::Stats(command) => commands::stats::run(&command),
        Command::Metrics(command) => commands::metrics::run(&command),
        Command::Containers(command) => commands::containers::run(&command),
        Command::Service(command) => commands::service::run(command),
        Command::Logs(command) => commands::logs::run(command),
        Command::Sources(command) => commands::sources::run(&command),
        Command::Plugin(command) => commands::plugin::run(command),
        Command::Catalog(command) => commands::catalog::run(command),
        Command::Rollout(command) => commands::rollout::run(command),
        Command::Desired(command) => commands::desired::run(command),
        Command::Node(command) => commands::node::run(&command),
        Command::User(command) => commands::user::run(&command),
        Command::Token(command) => commands::token::run(&command),
        Command::Audit(command) => commands::audit::run(&command),
        Command::Login(command) => commands::login::login(&command),
        Command::Logout(command) => commands::login::logout(&command),
        Command::Whoami(command) => commands::login::who_am_i(&command),
        Command::Sign(command) => commands::sign::sign(&command),
        Command::Verify(command) => commands::sign::verify(&command),
        Command::Key(command) => commands::key::run(&command),
        Command::Doctor(command) => commands::doctor::run(&command),
        Command::Completions(command) => commands::completions::run(&command),
        Command::Keeper(command) => commands::keeper::run(&command),
        Command::CompileComponent(command) => Ok(commands::compile::run(&command)),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => failure.report(),
    }
}

/// An agent for every host of a site, and the controller that those agents obey
#[derive(Debug, Parser)]
#[command(name = "drover", version = drover_api::version(), arg_required_else_help = true, after_help = exit::HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent of this host
    Agent(commands::agent::Agent),
    /// Run a controller
    Controller(commands::controller::Controller),
    /// List the controller's nodes
    Nodes(commands::nodes::Nodes),
    /// List what can be called, with arguments
    Ops(commands::ops::Ops),
    /// Run an operation on a node and show its answer
    Call(commands::call::Call),
    /// Run a program on a node, as if it ran here
    Exec(Box<commands::exec::Exec>),
    /// List the programs that nodes run
    Ps(commands::ps::Ps),
    /// End a program on a node, with all its processes
    Kill(commands::kill::Kill),
    /// Submit durable jobs, and see what became of them
    Job(commands::job::Job),
    /// Have the controller submit durable jobs again and again
    Schedule(commands::schedule::Schedule),
    /// Show what the programs on a node use
    Stats(commands::stats::Stats),
    /// Show what the controller, or a node, counts of itself
    Metrics(commands::metrics::Metrics),
    /// List the containers of a node
    Containers(commands::containers::Containers),
    /// Start, stop and follow services of plugins
    Service(commands::service::Service),
    /// Show what jobs said
    Logs(commands::logs::Logs),
    /// List the log files that a node follows
    Sources(commands::sources::Sources),
    /// Try plugins without a controller, and show those of nodes
    Plugin(commands::plugin::Plugin),
    /// Store plugins on the controller, and say which are current
    Catalog(commands::catalog::Catalog),
    /// Bring a plugin version to nodes, wave by wave
    Rollout(commands::rollout::Rollout),
    /// Say which nodes are to have which version of a plugin
    Desired(commands::desired::Desired),
    /// Let agents in as nodes, and put an end to that
    Node(commands::node::Node),
    /// Add, change and remove operators
    User(commands::user::Users),
    /// Make and withdraw tokens of programs
    Token(commands::token::Tokens),
    /// Show who did what, and check that nothing was changed in that
    Audit(commands::audit::Audit),
    /// Log in to a controller
    Login(commands::login::Login),
    /// Log out of a controller
    Logout(commands::login::Logout),
    /// Tell who you are to the controller
    Whoami(commands::login::WhoAmIs),
    /// Sign a plugin or another file
    Sign(commands::sign::Sign),
    /// Check the signature of a file
    Verify(commands::sign::Verify),
    /// Make and show keys that sign
    Key(commands::key::Key),
    /// Check whether a program can work on this host, and say the cure
    Doctor(commands::doctor::Doctor),
    /// Print the completions of a shell
    Completions(commands::completions::Completions),
    /// Keep the agent's child processes; the agent runs this in a process of its own
    #[command(hide = true)]
    Keeper(commands::keeper::Keeper),
    /// Compile a component; the agent runs this in a process of its own
    #[command(hide = true)]
    CompileComponent(commands::compile::CompileComponent),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
