//! The limit: the standard library alone.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::manager::EMPTY;

/// Children that a loop starts and waits for, a second.
pub(super) fn spawned(time: Duration) -> anyhow::Result<f64> {
    let started = Instant::now();
    let mut count = 0_u32;
    while started.elapsed() < time {
        let status = Command::new(EMPTY)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("cannot run {EMPTY}"))?;
        anyhow::ensure!(status.success(), "{EMPTY} failed: {status}");
        count += 1;
    }
    Ok(f64::from(count) / started.elapsed().as_secs_f64())
}
