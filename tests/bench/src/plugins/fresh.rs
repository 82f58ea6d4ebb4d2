//! What it costs that each job has an instance of its own.

use std::path::Path;

use crate::instance::{Bare, Hosted};
use crate::latency::Samples;
use crate::progress::step;
use crate::report::{Bar, Row};
use crate::{Inputs, Plan};

/// What a job in a fresh instance may take more than a call on a kept one.
const MORE: Bar = Bar::AtMost(30.0);

/// Measures an empty task in the plugin host, and bare: in fresh instances and in
/// one that is kept.
///
/// # Errors
///
/// If a run fails.
pub(super) async fn rows(inputs: &Inputs, plan: &Plan, dir: &Path) -> anyhow::Result<[Row; 1]> {
    let component = inputs.plugins.join("guests.wasm");
    let hosted = Hosted::load(&inputs.drover, &component, "empty", &dir.join("cache")).await?;
    let bare = Bare::load(&component, "empty")?;
    let (mut ours, mut fresh, mut kept) = <(Samples, Samples, Samples)>::default();
    for round in 0..=plan.rounds() {
        step(&format!("fresh and kept instances, round {round}"));
        // Nobody's first calls count.
        let time = if round == 0 { plan.warm_up() } else { plan.slice() };
        let samples = [
            hosted.measure(1, time).await?,
            bare.measure_here(time).await?,
            bare.measure_kept(time).await?,
        ];
        if round > 0 {
            for (all, sample) in [&mut ours, &mut fresh, &mut kept].into_iter().zip(samples) {
                all.push(sample);
            }
        }
    }
    hosted.stop().await;
    let more = |samples: &Samples| Some(samples.p50_us()? - kept.p50_us()?);
    Ok([Row {
        name: "fresh instance, more than a call on a kept one: p50".to_owned(),
        unit: "µs",
        ours: more(&ours),
        peer: None,
        limit: more(&fresh),
        bar: Some(MORE),
    }])
}
