//! A simulated engine that has what a real one of the tests has.

use std::path::Path;

use drover_herd::Engine;

use crate::image::import_busybox;
use crate::{Client, GUARDED, LOGIN, REGISTRY};

/// A simulated engine at `folder/engine.sock`, with the image `busybox:1` and the
/// registries.
///
/// # Panics
///
/// If it cannot be started.
#[must_use]
pub fn simulated(folder: &Path) -> Engine {
    let engine = Engine::start(folder.join("engine.sock")).unwrap();
    engine.add_registry(REGISTRY);
    engine.guard_registry(GUARDED, LOGIN.0, LOGIN.1);
    import_busybox(&Client::new(engine.socket()));
    engine
}
