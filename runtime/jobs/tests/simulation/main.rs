//! Both halves of the protocol of durable jobs, with everything going wrong that can:
//! crashes of either side at every instant, of which only what was synced survives,
//! and messages that are lost, doubled and reordered.
//!
//! Each seed is another history. A seed that fails is printed; `DROVER_SEED=n` runs
//! only that one, and `DROVER_SEEDS=n` so many.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod controller;
mod history;
mod network;
mod node;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use world::World;

/// Histories in an ordinary run.
const SEEDS: u64 = 3000;

fn number(name: &str) -> Option<u64> {
    Some(std::env::var(name).ok()?.parse().unwrap())
}

#[test]
fn whatever_happens_every_job_is_started_once_at_most_and_has_one_result() {
    let seeds = match number("DROVER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("DROVER_SEEDS").unwrap_or(SEEDS),
    };
    let mut seen = history::Seen::default();
    for seed in seeds.clone() {
        let ran = catch_unwind(AssertUnwindSafe(|| World::new(seed).run()));
        match ran {
            Ok(history) => seen.add(&history),
            Err(panic) => {
                eprintln!("seed {seed} failed; DROVER_SEED={seed} runs it alone");
                std::panic::resume_unwind(panic);
            }
        }
    }
    if seeds.end - seeds.start >= 1000 {
        seen.is_everything();
    }
}
