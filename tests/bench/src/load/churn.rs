//! What comes and goes: sessions with all that sessions can leave behind.

use std::time::Instant;

use anyhow::Context;
use futures_util::future::try_join_all;

use super::Target;
use super::message::{answer, call, code, goodbye, publish, register, subscribe, unregister};
use super::order::Measured;
use super::session::Session;

/// Sessions that are there at the same time.
const TOGETHER: usize = 32;

/// Registrations and subscriptions of a session, each.
const ENTRIES: u64 = 12;

/// The ways in which names are matched, one after the other.
const POLICIES: [&str; 3] = ["exact", "prefix", "wildcard"];

/// Lets so many sessions come and go.
pub(super) async fn run(target: &Target, sessions: usize) -> anyhow::Result<Measured> {
    let begun = Instant::now();
    for together in (0..sessions).collect::<Vec<_>>().chunks(TOGETHER) {
        try_join_all(together.iter().map(|number| live(target, *number))).await?;
    }
    let count = u64::try_from(sessions).context("too many sessions to count")?;
    Ok(Measured { seconds: begun.elapsed().as_secs_f64(), count, ..Measured::default() })
}

/// One session's life. Every other session gives half of its registrations
/// back and says goodbye; the others vanish while a call of theirs is pending.
async fn live(target: &Target, number: usize) -> anyhow::Result<()> {
    let mut session = Session::join_numbered(target, number).await?;
    let name = |kind: &str, entry: u64| format!("bench.churn.{kind}.{number}.{entry}");
    let policies = || (1..=ENTRIES).zip(POLICIES.iter().cycle());

    for (entry, policy) in policies() {
        session.send(register(entry, &name("procedure", entry), policy)).await?;
    }
    session.flush().await?;
    let mut registrations = Vec::new();
    for _ in 0..ENTRIES {
        registrations.push(session.expect(code::REGISTERED).await?[1]);
    }
    for (entry, policy) in policies() {
        session.send(subscribe(entry, &name("topic", entry), policy)).await?;
    }
    session.flush().await?;
    for _ in 0..ENTRIES {
        session.expect(code::SUBSCRIBED).await?;
    }
    // It hears nothing of itself, so only the acknowledgement comes.
    session.send(publish(1, &name("topic", 1), true)).await?;
    session.send(call(2, &name("procedure", 1))).await?;
    session.flush().await?;
    session.expect(code::PUBLISHED).await?;
    let invocation = session.expect(code::INVOCATION).await?[0];
    if number % 2 == 1 {
        return Ok(());
    }
    session.send(answer(invocation)).await?;
    session.flush().await?;
    session.expect(code::RESULT).await?;
    let (given_back, _) = registrations.split_at(registrations.len() / 2);
    for registration in given_back {
        session.send(unregister(3, *registration)).await?;
        session.flush().await?;
        session.expect(code::UNREGISTERED).await?;
    }
    session.send(goodbye()).await?;
    session.flush().await?;
    session.expect(code::GOODBYE).await?;
    Ok(())
}
