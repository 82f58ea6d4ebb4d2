//! What needs an `if`: set-up, demo, tests, fuzzing and benchmarks, one command each.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it talks to the person who runs it"
)]

mod bench;
mod build;
mod command;
mod demo;
mod fuzz;
mod setup;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
Usage: cargo xtask <COMMAND>

Commands:
  demo [--exit]           start a controller and two nodes and show what they do;
                          with --exit, end after that with status 0 if all was right
  test [ARGS...]          set up and run every test; ARGS go to `cargo test`
  bench call|container|footprint|jobs|logparse|logs|plugins|process|rollout|wamp [--json] [--quick]
                          measure against the peers and the limits, release build
  fuzz [--seconds N]      look for bytes that break the WAMP cores, N seconds for
                          each target, 20 if nothing is said
  setup                   only install what is missing, the peers of the tests
                          included, and build the plugins
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let ended = match words[..] {
        ["demo"] => demo::run(false),
        ["demo", "--exit"] => demo::run(true),
        ["test", ref rest @ ..] => test::run_tests(rest),
        [
            "bench",
            name @ ("call" | "container" | "footprint" | "jobs" | "logparse" | "logs" | "plugins"
            | "process" | "rollout" | "wamp"),
            ref rest @ ..,
        ] => bench::run_bench(name, rest),
        ["fuzz"] => fuzz::run_fuzz(20),
        ["fuzz", "--seconds", seconds] => match seconds.parse() {
            Ok(seconds) => fuzz::run_fuzz(seconds),
            Err(_) => Err(anyhow::anyhow!("`{seconds}` is no number of seconds")),
        },
        ["setup"] => setup::all().and_then(|()| build::plugins().map(drop)),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
