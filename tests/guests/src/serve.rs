//! Services, each with one way to run and to end.

use std::time::Duration;

use drover_sdk::{Failure, feed, job, service, task};

use crate::wait::nap;

/// Longer than any test.
const LONG: Duration = Duration::from_secs(60 * 60);

/// Does nothing until it is stopped, and then says by a record that it was told.
#[service]
pub(crate) fn idle() -> Result<(), feed::PublishError> {
    feed::publish(&"up")?;
    while !job::wait(LONG) {}
    drover_sdk::log::text("told to stop");
    Ok(())
}

/// Asks once whether it is to stop, and never again.
#[service]
pub(crate) fn deaf() -> Result<(), feed::PublishError> {
    let _ = job::wait(Duration::ZERO);
    feed::publish(&"up")?;
    loop {
        nap(5);
    }
}

/// Uses a core for ever and asks nobody.
#[service]
pub(crate) fn busy() -> Result<(), feed::PublishError> {
    feed::publish(&"up")?;
    crate::wait::turn();
    Ok(())
}

/// Publishes numbers from 1 on, each so many bytes long with what is around it,
/// and idles after the last.
#[service]
pub(crate) fn publish(
    /// How many.
    values: u32,
    /// How long each is, at least.
    #[default(0)]
    bytes: usize,
) -> Result<(), feed::PublishError> {
    for number in 1..=values {
        feed::publish(&(number, "x".repeat(bytes)))?;
    }
    while !job::wait(LONG) {}
    Ok(())
}

/// Panics after a while, if it is not stopped before.
#[service]
pub(crate) fn die(
    /// Milliseconds.
    #[default(0)]
    after_ms: u64,
) -> Result<(), feed::PublishError> {
    feed::publish(&"up")?;
    if !job::wait(Duration::from_millis(after_ms)) {
        panic!("died of old age");
    }
    Ok(())
}

/// Ends by itself, well or with a failure.
#[service]
pub(crate) fn finish(
    /// The failure's code.
    failure: Option<String>,
) -> Result<u8, Failure> {
    match failure {
        Some(code) => Err(Failure::new(code, "this is how it ends")),
        None => Ok(7),
    }
}

/// Publishes, although it is a task.
#[task]
pub(crate) fn publish_as_task() -> Result<(), feed::PublishError> {
    feed::publish(&"nobody follows a task")
}
