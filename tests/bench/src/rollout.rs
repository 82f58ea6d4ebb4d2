//! `bench rollout`: a version on its way to 200 links, under load, and back.
//!
//! Three things are measured, each with a controller of its own:
//!
//! - how long a plugin of 1 MB takes to all of 200 links, and what that takes of the
//!   controller: the links are sessions in this process that fetch and check the
//!   content as an agent does, and compile nothing;
//! - calls to an agent that is updated twenty times in a row;
//! - a version that crashes on its third call: how long after that crash all canaries
//!   have the version before, and whether the second wave ever had it.
//!
//! A node watches a version for as long as it is told. Where the bar is the time to
//! all nodes the watch is zero, as it would be part of the number.

mod fleet;
mod link;
mod shop;

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use drover_api::{
    RolloutDetail, RolloutNodeState, RolloutOutcome, RolloutPhase, RolloutPlan, Selector, Share,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::progress::step;
use crate::report::{Bar, Row};
use crate::usage::Usage;
use crate::{Inputs, Plan};
use fleet::Fleet;
use shop::Shop;

pub(crate) const COLUMNS: &str = "ours: drover controller; links fetch and check the content as \
     agents do, and compile nothing; the updates under load and the bad version are taken by \
     agents. The watch is 0 s where the time to all links counts";

/// Links of the first measurement.
const LINKS: u32 = 200;

/// The plugin's length.
const PLUGIN_BYTES: usize = 1_000_000;

/// Updates in a row of the second.
const UPDATES: u32 = 20;

/// Between two calls of the load: 200 a second.
const CALL_EVERY: Duration = Duration::from_millis(5);

/// Agents of the third, and how many of them are canaries.
const AGENTS: u32 = 5;
const CANARIES: u32 = 3;

/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Measures all three, once: a second time would find the versions on the nodes.
pub(crate) async fn run(inputs: &Inputs, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let updates = if plan.quick { 3 } else { UPDATES };
    let delivered = deliver(inputs).await?;
    let (calls, failed) = under_load(inputs, updates).await?;
    let back = go_back(inputs).await?;
    let row = |name: String, unit, ours: f64, bar| Row {
        name,
        unit,
        ours: Some(ours),
        peer: None,
        limit: None,
        bar,
    };
    Ok(vec![
        row(
            format!("1 MB to {LINKS} links, all confirmed"),
            "s",
            delivered.took.as_secs_f64(),
            Some(Bar::AtMost(10.0)),
        ),
        row(
            "controller's memory meanwhile, more than before".to_owned(),
            "MB",
            delivered.grown_bytes / 1e6,
            Some(Bar::Below(50.0)),
        ),
        row(format!("calls during {updates} updates in a row"), "", calls, None),
        row("those that failed".to_owned(), "", failed, Some(Bar::AtMost(0.0))),
        row(
            format!("bad version off {CANARIES} canaries, after its first crash"),
            "s",
            back.took.as_secs_f64(),
            Some(Bar::AtMost(5.0)),
        ),
        row(
            "nodes of the second wave that had it".to_owned(),
            "",
            back.second_wave,
            Some(Bar::AtMost(0.0)),
        ),
    ])
}

/// A plan without pauses.
fn plan_for(canary: u32, then: Vec<Share>, watch: Duration) -> anyhow::Result<RolloutPlan> {
    Ok(RolloutPlan {
        to: Selector::everything(),
        canary,
        then,
        pause_ms: 0,
        max_failures: 0,
        watch_ms: u64::try_from(watch.as_millis()).context("the watch is too long")?,
        node_ms: 600_000,
        away_ms: 60_000,
        at_once: 20,
        again: false,
        keep: false,
    })
}

struct Delivered {
    took: Duration,
    grown_bytes: f64,
}

async fn deliver(inputs: &Inputs) -> anyhow::Result<Delivered> {
    step(&format!("1 MB to {LINKS} links"));
    let dir = tempfile::tempdir().context("cannot make a directory")?;
    let shop = Shop::open(inputs, dir.path()).await?;
    let pushed = shop.push("hello", "1.0.0", PLUGIN_BYTES).await?;
    let mut links = link::join(shop.url(), LINKS).await?;
    let session = shop.session().await?;
    shop.wait_for_nodes(&session, LINKS as usize).await?;

    let memory = || Ok::<_, anyhow::Error>(Usage::of_group(shop.group())?.resident_bytes);
    let before = memory()?;
    let then = vec![Share::Percent(10), Share::Percent(50)];
    let started = Instant::now();
    let rollout = shop.start(&session, &pushed, plan_for(1, then, Duration::ZERO)?).await?;
    let mut most = before;
    let mut looks = interval(LOOK);
    let mut ended = Box::pin(shop.ended(&session, rollout));
    let detail: RolloutDetail = loop {
        tokio::select! {
            ended = &mut ended => break ended?,
            _ = looks.tick() => most = most.max(memory()?),
            Some(link) = links.join_next() => {
                link.context("a link panicked")?.context("a link ended")?;
            }
        }
    };
    let took = started.elapsed();
    drop(ended);
    expect(&detail, RolloutOutcome::Done)?;
    ensure!(detail.rollout.counts.confirmed == LINKS, "{:?}", detail.rollout.counts);
    links.shutdown().await;
    shop.stop().await?;
    Ok(Delivered { took, grown_bytes: most.saturating_sub(before) as f64 })
}

/// How many calls were made while a node was updated again and again, and how many of
/// them failed.
async fn under_load(inputs: &Inputs, updates: u32) -> anyhow::Result<(f64, f64)> {
    step(&format!("{updates} updates of a node that serves 200 calls a second"));
    let dir = tempfile::tempdir().context("cannot make a directory")?;
    let shop = Shop::open(inputs, dir.path()).await?;
    let mut versions = Vec::new();
    for number in 0..=updates {
        versions.push(shop.push("pushed", &format!("1.{number}.0"), 0).await?);
    }
    let fleet = Fleet::start(&shop, 1).await?;
    let session = shop.session().await?;
    shop.wait_for_nodes(&session, 1).await?;
    let watch = Duration::from_millis(200);
    shop.roll_out(&session, &versions[0], plan_for(0, Vec::new(), watch)?).await?;

    let mut calls = JoinSet::new();
    let mut pace = interval(CALL_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut made, mut failed) = (0u32, 0u32);
    let mut updating = Box::pin(async {
        for version in &versions[1..] {
            shop.roll_out(&session, version, plan_for(0, Vec::new(), watch)?).await?;
        }
        anyhow::Ok(())
    });
    loop {
        tokio::select! {
            ended = &mut updating => break ended?,
            _ = pace.tick() => {
                made += 1;
                let session = session.clone();
                calls.spawn(async move { shop::greet(&session, 1).await });
            }
            Some(call) = calls.join_next() => {
                if let Err(error) = call.context("a call panicked")? {
                    step(&format!("a call failed: {error:#}"));
                    failed += 1;
                }
            }
        }
    }
    drop(updating);
    failed += calls.join_all().await.iter().map(|call| u32::from(call.is_err())).sum::<u32>();
    fleet.stop().await?;
    shop.stop().await?;
    Ok((made.into(), failed.into()))
}

struct Back {
    took: Duration,
    second_wave: f64,
}

async fn go_back(inputs: &Inputs) -> anyhow::Result<Back> {
    step(&format!("a bad version on {CANARIES} of {AGENTS} nodes"));
    let dir = tempfile::tempdir().context("cannot make a directory")?;
    let shop = Shop::open(inputs, dir.path()).await?;
    let good = shop.push("pushed", "1.0.0", 0).await?;
    let bad = shop.push("pushed", "1.1.0-crashes", 0).await?;
    let fleet = Fleet::start(&shop, AGENTS).await?;
    let session = shop.session().await?;
    shop.wait_for_nodes(&session, AGENTS as usize).await?;
    shop.roll_out(&session, &good, plan_for(0, Vec::new(), Duration::ZERO)?).await?;

    // Longer than anything here takes: it is the crash that ends it.
    let plan = plan_for(CANARIES, Vec::new(), Duration::from_secs(600))?;
    let rollout = shop.start(&session, &bad, plan).await?;
    shop.until_watching(&session, rollout, CANARIES as usize).await?;
    let crashed = loop {
        if shop::greet(&session, 1).await.is_err() {
            break Instant::now();
        }
        sleep(LOOK).await;
    };
    let ended = shop.ended(&session, rollout).await?;
    let took = crashed.elapsed();
    expect(&ended, RolloutOutcome::RolledBack)?;
    for nid in 1..=AGENTS {
        let said = shop::greet(&session, nid).await?;
        ensure!(said.ends_with("by 1.0.0"), "node {nid} says: {said}");
    }
    let second = ended.nodes.iter().filter(|node| node.wave > 0);
    let had_it = second.filter(|node| node.state != RolloutNodeState::Waiting).count();
    fleet.stop().await?;
    shop.stop().await?;
    Ok(Back { took, second_wave: had_it as f64 })
}

fn expect(detail: &RolloutDetail, wanted: RolloutOutcome) -> anyhow::Result<()> {
    let history: Vec<_> = detail.history.iter().map(|note| note.text.as_str()).collect();
    let is_so =
        matches!(detail.rollout.phase, RolloutPhase::Ended { outcome, .. } if outcome == wanted);
    ensure!(is_so, "the rollout ended otherwise:\n{}", history.join("\n"));
    Ok(())
}

/// A path as text.
fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().context("a path is no UTF-8")
}
