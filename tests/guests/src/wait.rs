//! Operations that do not come back by themselves, or late.

use std::hint::black_box;
use std::time::Duration;

use drover_sdk::{job, service, task};

/// Uses a core for ever and calls nobody.
#[task]
pub(crate) fn spin() {
    turn();
}

/// Does not come back.
pub(crate) fn turn() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Waits in the host.
#[task]
pub(crate) fn sleep(
    /// How long, in milliseconds.
    ms: u64,
) {
    nap(ms);
}

/// Waits until it is cancelled, then tidies up and says so.
///
/// Tells by progress `"waiting"` that it has asked for the first time.
#[task]
pub(crate) fn until_cancelled() -> Result<&'static str, job::ProgressError> {
    wait_until_cancelled()?;
    Ok("tidied up")
}

/// Asks once whether it is cancelled, and never again.
///
/// Tells by progress `"waiting"` that it has asked.
#[task]
pub(crate) fn ignore_cancel() -> Result<(), job::ProgressError> {
    let _ = job::is_cancelled();
    job::progress(&"waiting")?;
    loop {
        nap(5);
    }
}

/// Does nothing until it is stopped.
#[service]
pub(crate) fn serve() -> Result<(), job::ProgressError> {
    wait_until_cancelled()
}

fn wait_until_cancelled() -> Result<(), job::ProgressError> {
    if job::is_cancelled() {
        return Ok(());
    }
    job::progress(&"waiting")?;
    while !job::is_cancelled() {
        nap(5);
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "a guest has nothing else to wait on")]
pub(crate) fn nap(ms: u64) {
    std::thread::sleep(Duration::from_millis(ms));
}
