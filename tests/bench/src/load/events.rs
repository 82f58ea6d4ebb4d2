//! Events from one publisher to many subscribers.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::task::JoinSet;

use super::Target;
use super::message::{code, ids, publish, subscribe};
use super::order::Measured;
use super::session::Session;

const TOPIC: &str = "bench.load.events";

/// The last publication, after which subscribers go.
const END: &str = "bench.load.end";

/// One of so many publications is acknowledged.
const WINDOW: u64 = 64;

/// So many acknowledgements may be missing: the publisher is never far ahead.
const WINDOWS: u64 = 4;

/// Publishes for so long; waits until every subscriber has every event.
pub(super) async fn measure(
    target: &Target,
    subscribers: usize,
    seconds: f64,
) -> anyhow::Result<Measured> {
    let mut listening = JoinSet::new();
    for _ in 0..subscribers {
        let mut session = Session::join(target).await?;
        session.send(subscribe(1, TOPIC, "exact")).await?;
        session.send(subscribe(2, END, "exact")).await?;
        session.flush().await?;
        let [_, _] = session.expect(code::SUBSCRIBED).await?[..] else { bail!("no subscription") };
        let [_, end] = session.expect(code::SUBSCRIBED).await?[..] else {
            bail!("no subscription")
        };
        listening.spawn(count_until(session, end));
    }
    let mut publisher = Session::join(target).await?;
    let begun = Instant::now();
    let until = begun + Duration::try_from_secs_f64(seconds).context("no time")?;
    let published = publish_until(&mut publisher, until).await?;
    let mut count = 0;
    while let Some(heard) = listening.join_next().await {
        let heard = heard.context("a subscriber panicked")??;
        ensure!(heard == published, "a subscriber has {heard} of {published} events");
        count += heard;
    }
    Ok(Measured { seconds: begun.elapsed().as_secs_f64(), count, ..Measured::default() })
}

async fn publish_until(session: &mut Session, until: Instant) -> anyhow::Result<u64> {
    let (mut published, mut acknowledged) = (0, 0);
    while Instant::now() < until {
        for _ in 0..WINDOW {
            published += 1;
            session.send(publish(published, TOPIC, published % WINDOW == 0)).await?;
        }
        session.flush().await?;
        if published - acknowledged >= WINDOWS * WINDOW {
            session.expect(code::PUBLISHED).await?;
            acknowledged += WINDOW;
        }
    }
    session.send(publish(published + 1, END, false)).await?;
    session.flush().await?;
    Ok(published)
}

/// Counts events until one comes for the subscription `end`.
async fn count_until(mut session: Session, end: u64) -> anyhow::Result<u64> {
    let mut messages = Vec::new();
    let mut count = 0;
    loop {
        session.receive(&mut messages).await?;
        for message in messages.drain(..) {
            match ids(&message)[..] {
                [code::EVENT, subscription, ..] if subscription == end => return Ok(count),
                [code::EVENT, ..] => count += 1,
                ref other => bail!("the router sent {other:?} to a subscriber"),
            }
        }
    }
}
