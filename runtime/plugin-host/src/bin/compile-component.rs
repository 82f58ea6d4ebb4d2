//! Compiles one component and ends: the compile child of this crate's tests,
//! where `drover` itself is not to be had.

#![expect(clippy::print_stderr, reason = "the host reads the reason there")]

use std::path::Path;
use std::process::ExitCode;

use drover_plugin_host::CompileError;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [input, output] = &arguments[..] else {
        eprintln!("usage: compile-component INPUT OUTPUT");
        return ExitCode::FAILURE;
    };
    match drover_plugin_host::compile(Path::new(input), Path::new(output)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            if error.is_io() { CompileError::IO_STATUS.into() } else { ExitCode::FAILURE }
        }
    }
}
