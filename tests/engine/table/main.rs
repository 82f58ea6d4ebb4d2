//! The table: what the simulated and the real engine are asked alike, and must
//! answer alike. Each test is a story; its containers and images have its name.

mod events;
mod exec;
mod files;
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

use drover_engine_tests::{Client, REGISTRY, Story, agree, base_image};
use drover_herd::Engine;

/// Tells a story to a new simulated engine and to the real one.
#[expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]
fn tell(story: impl Fn(&mut Story)) {
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::start(folder.path().join("engine.sock")).unwrap();
    engine.add_registry(REGISTRY);
    let path = "/images/create?fromSrc=-&repo=busybox&tag=1";
    let tar = "Content-Type: application/x-tar\r\n";
    let imported = Client::new(engine.socket()).ask("POST", path, tar, &base_image());
    assert_eq!(imported.status, 200, "{imported:?}");
    agree(engine.socket(), story);
}
