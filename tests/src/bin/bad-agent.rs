//! A program that looks like `drover` until it is to be the agent. What becomes of it
//! then is in its version, which is stamped into it: `exits`, `hangs`, or `mute`, which
//! does not even pass its trial.

use std::process::ExitCode;

fn main() -> ExitCode {
    let version = drover_api::version();
    let arguments: Vec<_> = std::env::args().collect();
    let has = |argument: &str| arguments.iter().any(|one| one == argument);
    if has("--version") {
        say(&format!("drover {version}"));
        return ExitCode::SUCCESS;
    }
    if has("--trial") {
        return match version.contains("mute") {
            true => ExitCode::from(3),
            false => ExitCode::SUCCESS,
        };
    }
    if version.contains("hangs") {
        loop {
            std::thread::park();
        }
    }
    ExitCode::from(7)
}

#[expect(clippy::print_stdout, reason = "what is asked for goes there")]
fn say(text: &str) {
    println!("{text}");
}
