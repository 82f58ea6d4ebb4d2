//! Services that wait: what each takes of the agent's memory.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use drover_api::{ServiceState, ServiceStatus};
use serde_json::json;

use crate::Inputs;
use crate::program::Program;
use crate::site::{Caller, Site};
use crate::usage::Usage;

/// After the last has started: caches settle.
const SETTLING: Duration = Duration::from_secs(2);

/// Starts an agent and so many services that do nothing; gives back by how many
/// kB it grew for each.
///
/// # Errors
///
/// If a program or a service does not start.
pub(super) async fn resident_kb(inputs: &Inputs, count: u32, dir: &Path) -> anyhow::Result<f64> {
    let plugin = inputs.plugins.join("ticker.wasm");
    let site = Site::start(&inputs.drover, &[plugin], dir).await?;
    let agent = site.agent_with_services(count + 1).await?.program;
    let caller = site.caller("service.start").await?;
    // What the first one takes, all share.
    start(&caller, 0).await?;
    let before = settled(&agent).await?;
    for number in 1..=count {
        start(&caller, number).await?;
    }
    let after = settled(&agent).await?;
    let listed = caller.ask("service.list", json!({})).await?;
    let listed: Vec<ServiceStatus> =
        serde_json::from_value(listed).context("the answer is no list of services")?;
    let running = listed.iter().filter(|service| service.state == ServiceState::Running).count();
    ensure!(running == listed.len() && running == count as usize + 1, "{running} run");
    drop(caller);
    agent.stop().await?;
    site.stop().await?;
    // Exact below 2^53 bytes.
    Ok(after.saturating_sub(before) as f64 / f64::from(count) / 1e3)
}

async fn start(caller: &Caller, number: u32) -> anyhow::Result<()> {
    let an_hour = 60 * 60 * 1000;
    let request = json!({
        "operation": "ticker.count",
        "args": { "every_ms": an_hour },
        "name": format!("idle-{number}"),
    });
    caller.ask("service.start", request).await.map(drop)
}

async fn settled(agent: &Program) -> anyhow::Result<u64> {
    tokio::time::sleep(SETTLING).await;
    Ok(Usage::of_group(agent.group())?.resident_bytes)
}
