//! The table: what the simulated and the real engine are asked alike, and must
//! answer alike. Each test is a story; its containers and images have its name.

mod events;
mod exec;
mod files;
mod health;
mod images;
mod kit;
mod life;
mod listing;
mod networks;
mod output;
mod refusals;
mod registry;
mod system;
mod volumes;

use drover_engine_tests::{Story, agree, simulated};

/// Tells a story to a new simulated engine and to the real one.
#[expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
fn tell(story: impl Fn(&mut Story)) {
    let folder = tempfile::tempdir().unwrap();
    let engine = simulated(folder.path());
    agree(engine.socket(), story);
}
