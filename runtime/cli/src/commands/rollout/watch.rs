//! `drover rollout watch`: what happens, as it happens.

use std::io::IsTerminal;
use std::time::Duration;

use clap::Args;
use drover_api::{Rollout, RolloutCounts, RolloutDetail, RolloutOutcome, RolloutPhase, procedures};
use drover_wamp::{Client, SubscribeOptions, Subscription};
use tokio::time::{Instant, sleep};

use super::{Which, show};
use crate::address::Address;
use crate::controller;
use crate::exit::{Exit, Failure};
use crate::output::{self, Stream};

/// How long a controller that is away is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// The wait between two attempts to reach it.
const RETRY: Duration = Duration::from_secs(1);

/// How often what changes with time alone is drawn anew.
const REDRAW: Duration = Duration::from_secs(1);

/// The bar's length, in characters.
const BAR: usize = 30;

/// Follows a rollout until it is over, and ends with status 0 if it is done, and with
/// 1 if it was rolled back or given up.
#[derive(Debug, Args)]
pub(super) struct Watch {
    #[command(flatten)]
    which: Which,
    /// Print each change as a line of JSON
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(watch: &Watch) -> Result<Exit, Failure> {
    let session = watch.which.address.connect().await?;
    follow(&watch.which.address, session, watch.which.id, watch.json).await
}

/// Follows a rollout until it is over, over restarts of the controller too.
pub(super) async fn follow(
    address: &Address,
    session: Client,
    id: u64,
    as_json: bool,
) -> Result<Exit, Failure> {
    let has_bar = !as_json && std::io::stderr().is_terminal();
    let mut view = View { as_json, has_bar, told: 0, counts: RolloutCounts::default() };
    let mut session = session;
    loop {
        let watching = watch_session(&session, id, &mut view);
        tokio::select! {
            ended = watching => match ended? {
                Some(exit) => {
                    session.close().await;
                    return Ok(exit);
                }
                None => {
                    view.say("the controller is away; waiting for it");
                    session = again(address).await?;
                }
            },
            signalled = tokio::signal::ctrl_c() => {
                signalled?;
                view.say(&format!("rollout {id} goes on; `drover rollout abort {id}` ends it"));
                return Ok(Exit::Cancelled);
            }
        }
    }
}

/// Reaches a controller that was there a moment ago.
async fn again(address: &Address) -> Result<Client, Failure> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match address.connect().await {
            Err(failure) if failure.exit == Exit::Unreachable && Instant::now() < give_up => {
                sleep(RETRY).await;
            }
            outcome => return outcome,
        }
    }
}

/// Follows it as long as the session lasts; none if that ended first.
async fn watch_session(
    session: &Client,
    id: u64,
    view: &mut View,
) -> Result<Option<Exit>, Failure> {
    let following = async {
        let changes =
            session.subscribe(procedures::ROLLOUT_CHANGED, SubscribeOptions::default()).await;
        let changes = changes.map_err(|error| controller::lost(error, "cannot follow it"))?;
        follow_changes(session, id, changes, view).await
    };
    tokio::select! {
        biased;
        _ = session.closed() => Ok(None),
        ended = following => match ended {
            Err(failure) if failure.exit == Exit::Unreachable => Ok(None),
            ended => ended.map(Some),
        },
    }
}

async fn follow_changes(
    session: &Client,
    id: u64,
    mut changes: Subscription,
    view: &mut View,
) -> Result<Exit, Failure> {
    // What came before, and what was missed, is asked for as a whole.
    let mut rollout = view.show_all(super::detail(session, id).await?)?;
    loop {
        if let Some(exit) = exit(&rollout) {
            view.end();
            return Ok(exit);
        }
        tokio::select! {
            event = changes.next() => {
                let Some(event) = event else { std::future::pending().await };
                if event.missed > 0 {
                    rollout = view.show_all(super::detail(session, id).await?)?;
                } else if let Ok(change) = event.payload.first::<RolloutDetail>()
                    && change.rollout.id.0 == id
                {
                    rollout = view.show(change)?;
                }
            }
            () = sleep(REDRAW), if view.has_bar => view.draw(&rollout),
        }
    }
}

/// The status to end with; none as long as it is not over.
fn exit(rollout: &Rollout) -> Option<Exit> {
    match rollout.phase {
        RolloutPhase::Ended { outcome: RolloutOutcome::Done, .. } => Some(Exit::Done),
        RolloutPhase::Ended { .. } => Some(Exit::Failed),
        _ => None,
    }
}

/// How it is shown: a bar on a terminal, lines otherwise.
struct View {
    as_json: bool,
    has_bar: bool,
    /// How many notes of the history were shown.
    told: usize,
    counts: RolloutCounts,
}

impl View {
    /// Shows what is new in all that is known.
    fn show_all(&mut self, mut detail: RolloutDetail) -> Result<Rollout, Failure> {
        detail.history.drain(..self.told.min(detail.history.len()));
        self.show(detail)
    }

    fn show(&mut self, change: RolloutDetail) -> Result<Rollout, Failure> {
        self.told += change.history.len();
        if self.as_json {
            output::answer(&serde_json::to_string(&change)?)?;
            return Ok(change.rollout);
        }
        for note in &change.history {
            self.clear();
            output::answer(&show::note(note))?;
        }
        let (before, now) = (self.counts, change.rollout.counts);
        self.counts = now;
        let has_news =
            (before.confirmed, before.failed, before.back) != (now.confirmed, now.failed, now.back);
        match self.has_bar {
            true => self.draw(&change.rollout),
            false if has_news => output::answer(&format!("    {}", in_words(&change.rollout)))?,
            false => {}
        }
        Ok(change.rollout)
    }

    /// Says something beside what happens.
    fn say(&self, text: &str) {
        self.clear();
        output::note(text);
    }

    fn draw(&self, rollout: &Rollout) {
        let line = format!("\r\u{1b}[K{}; {}", bar(rollout), show::phase(rollout));
        let _ = output::raw(Stream::Stderr, line.as_bytes());
    }

    fn clear(&self) {
        if self.has_bar {
            let _ = output::raw(Stream::Stderr, b"\r\x1b[K");
        }
    }

    fn end(&self) {
        if self.has_bar {
            let _ = output::raw(Stream::Stderr, b"\n");
        }
    }
}

/// How much of it has come to an end, good or bad.
fn bar(rollout: &Rollout) -> String {
    let counts = &rollout.counts;
    let all: u32 = rollout.waves.iter().sum();
    let part = |count: u32| {
        let part = u64::from(count) * BAR as u64 / u64::from(all.max(1));
        usize::try_from(part).unwrap_or(BAR).min(BAR)
    };
    let good = part(counts.confirmed + counts.back);
    let bad = part(counts.failed).max(usize::from(counts.failed > 0)).min(BAR - good);
    let rest = BAR - good - bad;
    format!("[{}{}{}] {}", "#".repeat(good), "!".repeat(bad), ".".repeat(rest), in_words(rollout))
}

fn in_words(rollout: &Rollout) -> String {
    let counts = &rollout.counts;
    let all: u32 = rollout.waves.iter().sum();
    let mut text = format!("{} of {all} confirmed", counts.confirmed);
    for (count, what) in [
        (counts.updating, "at it"),
        (counts.failed, "failed"),
        (counts.away, "away"),
        (counts.going_back, "going back"),
        (counts.back, "back"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use drover_api::{RolloutCounts, RolloutId, RolloutPlan, RolloutTarget, Selector, Timestamp};

    use super::*;

    fn rollout(counts: RolloutCounts) -> Rollout {
        Rollout {
            id: RolloutId(1),
            target: RolloutTarget {
                plugin: "hello".to_owned(),
                version: "1.2.0".to_owned(),
                hash: String::new(),
                length: 0,
                signature: String::new(),
            },
            plan: RolloutPlan {
                to: Selector::everything(),
                canary: 1,
                then: vec![],
                pause_ms: 0,
                max_failures: 0,
                watch_ms: 0,
                node_ms: 0,
                away_ms: 0,
                at_once: 1,
                again: false,
                keep: false,
            },
            by: "ada".to_owned(),
            authority: None,
            started: Timestamp(0),
            phase: RolloutPhase::Running,
            since: Timestamp(0),
            wave: 0,
            waves: vec![1, 9],
            counts,
        }
    }

    #[test]
    fn the_bar_has_its_length_whatever_happens() {
        let counts = RolloutCounts { confirmed: 5, updating: 1, ..RolloutCounts::default() };
        assert_eq!(
            bar(&rollout(counts)),
            "[###############...............] 5 of 10 confirmed, 1 at it"
        );
        let counts = RolloutCounts { confirmed: 9, failed: 1, ..RolloutCounts::default() };
        assert_eq!(
            bar(&rollout(counts)),
            "[###########################!!!] 9 of 10 confirmed, 1 failed"
        );
        let counts = RolloutCounts { back: 10, failed: 10, ..RolloutCounts::default() };
        assert_eq!(
            bar(&rollout(counts)),
            "[##############################] 0 of 10 confirmed, 10 failed, 10 back"
        );
    }
}
