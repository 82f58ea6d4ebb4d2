//! Waiting for conditions.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// How long anything may take. Generous: only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until `look` gives `Ok`, and returns that.
///
/// # Panics
///
/// If it takes 30 seconds; the message shows the last `Err`.
pub fn wait_for<T, E: Debug>(what: &str, look: impl FnMut() -> Result<T, E>) -> T {
    wait_at_most(PATIENCE, look)
        .unwrap_or_else(|last| panic!("waited in vain for {what}; last seen: {last:?}"))
}

/// Asks again and again until `look` gives `Ok`.
///
/// # Errors
///
/// The last `Err` after `patience`.
#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition")]
pub fn wait_at_most<T, E>(
    patience: Duration,
    mut look: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    let deadline = Instant::now() + patience;
    loop {
        match look() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            outcome => return outcome,
        }
    }
}
