//! Sessions that join, and sessions that stay and do nothing.

use std::cell::Cell;
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::try_join_all;
use tokio::task::JoinSet;

use super::Target;
use super::order::Measured;
use super::session::Session;

/// Sessions that are opened at the same time.
const LANES: usize = 16;

/// Joins and goes without a word, in so many lanes, for so long.
pub(super) async fn measure_joins(
    target: &Target,
    lanes: usize,
    seconds: f64,
) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    let until = begun + Duration::try_from_secs_f64(seconds).context("no time")?;
    let joined = Cell::new(0);
    try_join_all((0..lanes).map(async |_| -> anyhow::Result<()> {
        while Instant::now() < until {
            joined.set(joined.get() + 1);
            drop(Session::join_numbered(target, joined.get()).await?);
        }
        Ok(())
    }))
    .await?;
    let count = u64::try_from(joined.get()).context("too many joins to count")?;
    Ok(Measured { seconds: begun.elapsed().as_secs_f64(), count, ..Measured::default() })
}

/// Sessions that answer pings and nothing else.
#[derive(Default)]
pub(super) struct Idle(JoinSet<anyhow::Result<()>>);

impl Idle {
    /// Opens what is missing. All of them must still be there.
    pub(super) async fn grow_to(
        &mut self,
        target: &Target,
        sessions: usize,
    ) -> anyhow::Result<Measured> {
        let begun = Instant::now();
        let missing = sessions.saturating_sub(self.0.len());
        for lane in (0..missing).collect::<Vec<_>>().chunks(LANES) {
            let joins = lane.iter().map(|number| Session::join_numbered(target, *number));
            for session in try_join_all(joins).await? {
                self.0.spawn(stay(session));
            }
        }
        if let Some(ended) = self.0.try_join_next() {
            ended.context("an idle session panicked")?.context("an idle session ended")?;
        }
        let count = u64::try_from(missing).context("too many sessions to count")?;
        Ok(Measured { seconds: begun.elapsed().as_secs_f64(), count, ..Measured::default() })
    }
}

async fn stay(mut session: Session) -> anyhow::Result<()> {
    let mut messages = Vec::new();
    loop {
        session.receive(&mut messages).await?;
        messages.clear();
    }
}
