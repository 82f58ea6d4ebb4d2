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
#[expect(clippy::disallowed_methods, reason = "the pause between two looks at a condition")]
pub fn wait_for<T, E: Debug>(what: &str, mut look: impl FnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match look() {
            Ok(value) => return value,
            Err(last) if Instant::now() > deadline => {
                panic!("waited in vain for {what}; last seen: {last:?}")
            }
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}
