//! So many calls in flight, over whatever protocol.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::task::JoinSet;

use super::order::Measured;

/// What every call and every answer carries.
pub(crate) const PAYLOAD: [u8; 32] = [0x5a; 32];

/// A connection that calls a procedure which answers at once.
pub(super) trait Caller {
    /// Writes a call, to be sent by [`Caller::flush`].
    async fn call(&mut self, id: u64) -> anyhow::Result<()>;
    /// Sends what was written.
    async fn flush(&mut self) -> anyhow::Result<()>;
    /// Waits for an answer, and takes all that came with it: the calls' ids.
    async fn answers(&mut self, ids: &mut Vec<u64>) -> anyhow::Result<()>;
}

/// A caller, and the callee in a task of its own.
pub(super) struct Calls<C> {
    caller: C,
    callee: JoinSet<anyhow::Result<()>>,
}

impl<C: Caller> Calls<C> {
    pub(super) fn new(caller: C, callee: JoinSet<anyhow::Result<()>>) -> Self {
        Self { caller, callee }
    }

    /// Calls for so long; waits for and counts the calls that are under way then.
    pub(super) async fn measure(
        mut self,
        in_flight: usize,
        seconds: f64,
    ) -> anyhow::Result<Measured> {
        tokio::select! {
            measured = call_for(&mut self.caller, in_flight, seconds) => measured,
            Some(ended) = self.callee.join_next() => {
                ended.context("the callee panicked")??;
                anyhow::bail!("the callee has ended");
            }
        }
    }
}

async fn call_for<C: Caller>(
    caller: &mut C,
    in_flight: usize,
    seconds: f64,
) -> anyhow::Result<Measured> {
    let mut pending = HashMap::new();
    let mut latencies = HashMap::new();
    let mut ids = Vec::new();
    let begun = Instant::now();
    let until = begun + Duration::try_from_secs_f64(seconds).context("no time")?;
    let mut now = begun;
    let (mut last_id, mut count) = (0, 0);
    loop {
        while pending.len() < in_flight && now < until {
            last_id += 1;
            pending.insert(last_id, now);
            caller.call(last_id).await?;
        }
        if pending.is_empty() {
            break;
        }
        caller.flush().await?;
        caller.answers(&mut ids).await?;
        now = Instant::now();
        for id in ids.drain(..) {
            let called = pending.remove(&id).context("an answer to no call")?;
            let microseconds = u64::try_from((now - called).as_micros()).unwrap_or(u64::MAX);
            *latencies.entry(microseconds).or_insert(0) += 1;
            count += 1;
        }
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Measured { seconds, count, latencies_us: latencies.into_iter().collect() })
}
