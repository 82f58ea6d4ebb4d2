//! Plugins that describe themselves badly.

use std::time::Duration;

use drover_plugin_host::Limits;

use crate::kit::{answer, assert_says, directory, host};

#[tokio::test]
async fn one_that_traps_loops_or_allocates_is_refused_and_the_rest_works() {
    let directory = directory(
        &["guests", "describe_trap", "describe_spin", "describe_allocate", "describe_garbage"],
        &[],
    );
    let host = host(Limits { describe_deadline: Duration::from_secs(1), ..Limits::default() });
    host.load_directory(directory.path()).await.unwrap();

    let refused = host.refused();
    assert_eq!(refused.len(), 4, "{refused:?}");
    for (file, words) in [
        ("describe_trap.wasm", "crashed: panicked at"),
        ("describe_spin.wasm", "took longer than 1000 ms"),
        ("describe_allocate.wasm", "64 MiB of memory"),
        ("describe_garbage.wasm", "does not describe itself well"),
    ] {
        let reason = &refused.iter().find(|refused| refused.file == file).unwrap().reason;
        assert_says(reason, &[words]);
    }
    assert_eq!(answer(&host, "count", serde_json::json!({})).await, 1);
}
