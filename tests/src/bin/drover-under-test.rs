//! The program as the scenarios run it.

use std::process::ExitCode;

fn main() -> ExitCode {
    drover_cli::main()
}
