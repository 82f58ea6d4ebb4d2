//! The keeper alone, for tests and measurements: `test-keeper <directory>`.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(dir) = std::env::args_os().nth(1).map(PathBuf::from) else {
        return ExitCode::FAILURE;
    };
    match drover_process::run_keeper(&dir, None) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "standard error is the log of a keeper")]
fn report(error: &drover_process::RunKeeperError) {
    eprintln!("{error:?}");
}
