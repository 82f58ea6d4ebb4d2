//! Plugins whose compiled code is in the cache.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use drover_grants::{Grants, Manifest, embed};

use crate::instance::start_host;
use crate::latency::median;
use crate::progress::step;
use crate::report::{Bar, Row};
use crate::{Inputs, Plan};

const COUNT: u8 = 64;
const LOADED: Bar = Bar::Below(500.0);

/// Loads as many plugins, each with code of its own, in a host that has just
/// started and whose cache has all of it.
///
/// # Errors
///
/// If one of them is refused.
pub(super) async fn rows(inputs: &Inputs, plan: &Plan, dir: &Path) -> anyhow::Result<[Row; 1]> {
    let plugins = dir.join("plugins");
    fs::create_dir_all(&plugins).context("cannot make a directory for the plugins")?;
    let hello = inputs.plugins.join("hello.wasm");
    let bytes = fs::read(&hello).with_context(|| format!("cannot read {}", hello.display()))?;
    // Its own manifest says that its name is hello.
    let nameless = embed(&bytes, &Manifest::default()).context("cannot pack hello.wasm")?;
    for number in 0..COUNT {
        let path = plugins.join(format!("hello-{number}.wasm"));
        fs::write(&path, version(&nameless, number))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    let mut times = Vec::new();
    for round in 0..=plan.rounds() {
        step(&format!(
            "{COUNT} plugins, {}",
            if round == 0 { "compiled" } else { "from the cache" }
        ));
        let host = start_host(&inputs.drover, &dir.join("cache"), Grants::default())?;
        let started = Instant::now();
        host.load_directory(&plugins).await?;
        let took = started.elapsed();
        let refused = host.refused();
        ensure!(refused.is_empty(), "plugins are refused: {:?}", refused[0]);
        host.shutdown().await;
        if round > 0 {
            times.push(took.as_secs_f64() * 1e3);
        }
    }
    Ok([Row {
        name: format!("{COUNT} plugins from a warm cache"),
        unit: "ms",
        ours: median(times),
        peer: None,
        limit: None,
        bar: Some(LOADED),
    }])
}

/// The same component with other bytes: a section more that nobody reads.
pub(super) fn version(component: &[u8], number: u8) -> Vec<u8> {
    [component, &[0, 3, 1, b'v', number]].concat()
}
