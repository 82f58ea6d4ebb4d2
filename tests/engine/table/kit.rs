//! What the test kit promises of its real engine.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use drover_engine_tests::RealEngine;
use serde_json::Value;

const JSON: &str = "Content-Type: application/json\r\n";

#[test]
fn an_engine_that_was_killed_comes_back_and_knows_its_containers() {
    let engine = RealEngine::start();
    let client = engine.client();
    let wanted = br#"{"Image": "busybox:1", "Cmd": ["sleep", "1000"]}"#;
    assert_eq!(client.ask("POST", "/containers/create?name=known", JSON, wanted).status, 201);
    assert_eq!(client.ask("POST", "/containers/known/start", "", b"").status, 204);
    engine.kill();
    assert!(std::os::unix::net::UnixStream::connect(engine.socket()).is_err());
    engine.start_again();
    let found = client.ask("GET", "/containers/known/json", "", b"").json();
    assert_eq!(found["Name"], "/known");
}

#[test]
fn an_engine_that_is_dropped_leaves_nothing() {
    let engine = RealEngine::start();
    let client = engine.client();
    let wanted = br#"{"Image": "busybox:1", "Cmd": ["sleep", "1000"]}"#;
    assert_eq!(client.ask("POST", "/containers/create?name=left", JSON, wanted).status, 201);
    assert_eq!(client.ask("POST", "/containers/left/start", "", b"").status, 204);
    let processes: Value = client.ask("GET", "/containers/left/top", "", b"").json();
    assert!(processes["Processes"][0].is_array(), "{processes}");
    let socket = engine.socket();
    let folder = socket.parent().map(Path::to_owned).unwrap_or_default();
    drop(engine);
    assert!(!folder.exists());
    let name = folder.display().to_string();
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(&name), "{mounts}");
    let commands = fs::read_dir("/proc").unwrap().flatten();
    let commands = commands.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    let left: Vec<_> = commands
        .map(|command| String::from_utf8_lossy(&command).into_owned())
        .filter(|command| command.contains(&name))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_differs_is_told_again_and_then_it_does() {
    for (differs, is_failure, is_agreement) in
        [(2..3, false, true), (2..3, true, true), (2..4, false, false)]
    {
        let telling = AtomicU32::new(0);
        let told = catch_unwind(AssertUnwindSafe(|| {
            crate::tell(|it| {
                let number = telling.fetch_add(1, Ordering::Relaxed) + 1;
                assert!(!(is_failure && differs.contains(&number)));
                it.note(if differs.contains(&number) { "something else" } else { "so it is" });
            });
        }));
        assert_eq!(told.is_ok(), is_agreement);
    }
}
