//! `plugins`: what plugins take of the agent that runs them.

mod denied;
mod fresh;
mod hostile;
mod services;
mod streams;
mod swap;
mod warm;

use anyhow::Context;

use crate::latency::median;
use crate::progress::step;
use crate::report::{Bar, Row};
use crate::{Inputs, Plan};

/// What the columns are.
pub(crate) const COLUMNS: &str = "\
ours: the plugin host in this process; for services `drover agent`, joined to a controller
limit: the same component in bare wasmtime; for calls while or after something happens,
       the same calls before it; peer: beside a hostile plugin, while it does its worst;
       for what is asynchronous, the same by an operation that is not";

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
    let mut rows = fresh::rows(inputs, plan, &dir.path().join("fresh")).await?.to_vec();
    rows.extend(warm::rows(inputs, plan, &dir.path().join("warm")).await?);
    rows.extend(swap::rows(inputs, &dir.path().join("swap")).await?);
    rows.extend(streams::rows(inputs, plan, &dir.path().join("streams")).await?);
    rows.extend(denied::rows(inputs, plan, &dir.path().join("denied")).await?);
    rows.extend(hostile::rows(inputs, plan, &dir.path().join("hostile")).await?);
    let count = if plan.quick { 100 } else { 1_000 };
    let mut service_kb = Vec::new();
    for round in 1..=plan.rounds().min(3) {
        step(&format!("{count} idle services, round {round}"));
        let site = dir.path().join(format!("services-{round}"));
        service_kb.push(services::resident_kb(inputs, count, &site).await?);
    }
    rows.push(Row {
        name: "1,000 idle services: RSS each".to_owned(),
        unit: "kB",
        ours: median(service_kb),
        peer: None,
        limit: Some(BARE_INSTANCE_KB),
        bar: Some(SERVICE_KB),
    });
    Ok(rows)
}
