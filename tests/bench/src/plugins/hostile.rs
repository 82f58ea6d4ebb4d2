//! How long calls of one plugin take while another does its worst, and after it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use drover_grants::{Grants, Manifest, embed};
use drover_plugin_host::{Host, Job};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::instance::{Hosted, start_host};
use crate::latency::Samples;
use crate::progress::step;
use crate::report::{Bar, Row};
use crate::{Inputs, Plan};

/// How much longer the slowest calls may take afterwards.
const SLOWER: Bar = Bar::AtMostTimesLimit(2.0);

/// Jobs of the hostile plugin at once, each followed by the next.
const AT_ONCE: usize = 4;
/// Time of those that do not end.
const DEADLINE: Duration = Duration::from_millis(200);

/// Makes the arguments of an operation.
type Arguments = fn() -> Value;

/// What `guests` does.
const WORST: [(&str, Arguments); 8] = [
    ("spin", || json!({})),
    ("sleep", || json!({ "ms": 3_600_000 })),
    ("allocate", || json!({})),
    ("recurse", || json!({})),
    ("panic", || json!({ "message": "on purpose" })),
    ("print_forever", || json!({})),
    ("log", || json!({ "records": 100_000, "bytes": 1_000 })),
    ("big_answer", || json!({ "bytes": 1_000_000_000 })),
];

/// Measures an empty task of one plugin before, while and after another one of
/// the same host does its worst in each way.
///
/// # Errors
///
/// If the one that behaves fails.
pub(super) async fn rows(inputs: &Inputs, plan: &Plan, dir: &Path) -> anyhow::Result<Vec<Row>> {
    let host = start_host(&inputs.drover, &dir.join("cache"), Grants::default())?;
    let guests = inputs.plugins.join("guests.wasm");
    host.load_file(&guests).await?;
    // The same code under another name is another plugin.
    let bytes = fs::read(&guests).with_context(|| format!("cannot read {}", guests.display()))?;
    let copy = embed(&bytes, &Manifest::default()).context("cannot pack the guests")?;
    let path = dir.join("calm.wasm");
    fs::write(&path, copy).with_context(|| format!("cannot write {}", path.display()))?;
    let calm = Hosted::in_host(&host, &path, "empty").await?;
    calm.measure(1, plan.warm_up()).await?;
    let mut rows = Vec::new();
    for (operation, arguments) in WORST {
        step(&format!("beside {operation}"));
        let (mut before, mut meanwhile, mut after) = <(Samples, Samples, Samples)>::default();
        for _ in 0..plan.rounds().min(3) {
            before.push(calm.measure(1, plan.slice()).await?);
            let stop = CancellationToken::new();
            let mut worst = JoinSet::new();
            for _ in 0..AT_ONCE {
                worst.spawn(again_and_again(host.clone(), operation, arguments, stop.clone()));
            }
            meanwhile.push(calm.measure(1, plan.slice()).await?);
            stop.cancel();
            while worst.join_next().await.is_some() {}
            after.push(calm.measure(1, plan.slice()).await?);
        }
        rows.push(Row {
            name: format!("p99 after another's `{operation}`"),
            unit: "µs",
            ours: after.p99_us(),
            peer: meanwhile.p99_us(),
            limit: before.p99_us(),
            bar: Some(SLOWER),
        });
    }
    calm.stop().await;
    Ok(rows)
}

async fn again_and_again(
    host: Host,
    operation: &'static str,
    arguments: Arguments,
    stop: CancellationToken,
) {
    while !stop.is_cancelled() {
        let Value::Object(arguments) = arguments() else {
            unreachable!("arguments are an object");
        };
        let job = Job::new("guests", operation, arguments);
        // However it ends: the others are what matters.
        let _ = host.run(Job { timeout: Some(DEADLINE), ..job }).await;
    }
}
