//! How late heartbeats are while plugins spin on every core.

use std::path::Path;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::Context;
use drover_api::procedures;
use drover_wamp::{Client, ClientConfig, SubscribeOptions};
use tokio::task::JoinSet;

use crate::Inputs;
use crate::progress::step;
use crate::site::Site;

/// Often, so that a short run sees many.
const HEARTBEAT: Duration = Duration::from_millis(50);

/// How many heartbeats are listened to, idle and busy each.
const HEARTBEATS: usize = 100;

/// Spinning jobs on each core.
const SPINNING: usize = 4;

/// How late heartbeats came at worst, in milliseconds.
pub(crate) struct Delays {
    /// While plugins spin on every core.
    pub(crate) spinning_ms: f64,
    /// While the agent is idle: the machine's own share.
    pub(crate) idle_ms: f64,
}

/// Listens to the heartbeats of an idle agent, then of one whose plugins spin.
///
/// # Errors
///
/// If a program does not start, or the heartbeats stop.
pub(crate) async fn measure(inputs: &Inputs, dir: &Path) -> anyhow::Result<Delays> {
    step("listening to heartbeats while plugins spin on every core");
    let plugins = [inputs.plugins.join("guests.wasm")];
    let site = Site::start(&inputs.drover, &plugins, dir).await?;
    let agent = site.agent_with_heartbeat(HEARTBEAT).await?;
    let config = ClientConfig::new(site.url(), procedures::REALM);
    let listener = Client::connect(&config).await.context("cannot join the controller")?;

    let idle_ms = worst_delay(&listener).await?;
    let mut jobs = JoinSet::new();
    for _ in 0..SPINNING * available_parallelism().map_or(1, usize::from) {
        let caller = site.caller("guests.spin").await?;
        // It never answers; it ends with the agent.
        jobs.spawn(async move { drop(caller.call().await) });
    }
    let spinning_ms = worst_delay(&listener).await?;

    agent.program.kill().await?;
    site.stop().await?;
    Ok(Delays { spinning_ms, idle_ms })
}

/// How much longer than the interval the longest pause between two heartbeats was.
async fn worst_delay(listener: &Client) -> anyhow::Result<f64> {
    let options = SubscribeOptions::default();
    let mut beats = listener.subscribe(procedures::HEARTBEAT, options).await?;
    beats.next().await.context("there are no heartbeats")?;
    let (mut last, mut worst) = (Instant::now(), Duration::ZERO);
    for _ in 0..HEARTBEATS {
        beats.next().await.context("the heartbeats have stopped")?;
        let now = Instant::now();
        worst = worst.max((now - last).saturating_sub(HEARTBEAT));
        last = now;
    }
    Ok(worst.as_secs_f64() * 1e3)
}
