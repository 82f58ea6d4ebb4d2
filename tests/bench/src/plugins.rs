//! `plugins`: what plugins take of the agent that runs them.

mod services;

use anyhow::Context;

use crate::latency::median;
use crate::progress::step;
use crate::report::{Bar, Row};
use crate::{Inputs, Plan};

/// What the columns are.
pub(crate) const COLUMNS: &str = "\
ours: `drover agent`, joined to a controller, with examples/ticker-plugin
limit: an instance that has answered once, bare";

const SERVICE_KB: Bar = Bar::AtMost(400.0);

/// What an idle instance takes in a bare host, in kB.
const BARE_INSTANCE_KB: f64 = 243.0;

/// Runs the benchmark.
///
/// # Errors
///
/// If a program does not start.
pub(crate) async fn run(inputs: &Inputs, plan: &Plan) -> anyhow::Result<Vec<Row>> {
    let dir = tempfile::tempdir().context("cannot make a working directory")?;
    let count = if plan.quick { 100 } else { 1_000 };
    let mut service_kb = Vec::new();
    for round in 1..=plan.rounds().min(3) {
        step(&format!("{count} idle services, round {round}"));
        let site = dir.path().join(format!("services-{round}"));
        service_kb.push(services::resident_kb(inputs, count, &site).await?);
    }
    Ok(vec![Row {
        name: "1,000 idle services: RSS each".to_owned(),
        unit: "kB",
        ours: median(service_kb),
        peer: None,
        limit: Some(BARE_INSTANCE_KB),
        bar: Some(SERVICE_KB),
    }])
}
