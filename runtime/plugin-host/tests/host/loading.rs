//! Files that are plugins, and files that are not.

use std::fs;
use std::path::Path;

use drover_api::OperationKind;
use drover_grants::Grants;
use drover_plugin_host::{CompilerCommand, Host, HostConfig, HostError, Limits, Surroundings};
use tempfile::TempDir;

use crate::kit::{assert_says, compiler, component, directory, host, refusal};

#[tokio::test]
async fn a_loaded_plugin_tells_what_it_offers() {
    let host = host(Limits::default());
    let plugin = host.load_file(&component("guests")).await.unwrap();
    assert_eq!(plugin.name, "guests");
    assert_eq!(plugin.hash.len(), 64);
    assert!(plugin.operations.is_sorted_by_key(|operation| operation.name.clone()));
    let operation = |name: &str| plugin.operations.iter().find(|o| o.name == name).unwrap();
    assert_eq!(operation("echo").doc, "Gives back what it got.");
    assert_eq!(operation("serve").kind, OperationKind::Service);
    assert_eq!(host.plugins(), [plugin]);
}

#[tokio::test]
async fn a_plugin_with_a_name_of_the_hosts_own_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("process.wasm");
    fs::copy(component("guests"), &path).unwrap();
    let host = host(Limits::default());
    assert_says(&refusal(&host, &path).await, &["`process`", "own commands", "rename the file"]);
}

#[tokio::test]
async fn files_that_are_refused_do_not_stop_the_others() {
    let guests = fs::read(component("guests")).unwrap();
    let directory = directory(
        &["guests", "wants_sockets", "exports_nothing", "describe_trap"],
        &[
            ("truncated.wasm", &guests[..guests.len() / 2]),
            ("core.wasm", b"\0asm\x01\0\0\0"),
            ("text.wasm", b"(component)"),
            ("empty.wasm", b""),
            ("Bad Name.wasm", &guests),
            ("notes.txt", b"not looked at"),
        ],
    );
    let host = host(Limits::default());
    host.load_directory(directory.path()).await.unwrap();
    let plugins: Vec<_> = host.plugins().into_iter().map(|plugin| plugin.name).collect();
    assert_eq!(plugins, ["guests"]);
    let refused: Vec<_> = host.refused().into_iter().map(|refused| refused.file).collect();
    assert_eq!(
        refused,
        [
            "Bad Name.wasm",
            "core.wasm",
            "describe_trap.wasm",
            "empty.wasm",
            "exports_nothing.wasm",
            "text.wasm",
            "truncated.wasm",
            "wants_sockets.wasm",
        ]
    );
}

#[tokio::test]
async fn a_refusal_names_file_reason_and_cure() {
    let guests = fs::read(component("guests")).unwrap();
    let directory = directory(
        &[],
        &[
            ("truncated.wasm", &guests[..guests.len() - 1]),
            ("core.wasm", b"\0asm\x01\0\0\0"),
            ("Bad.wasm", &guests),
        ],
    );
    let host = host(Limits::default());
    for (path, words) in [
        (
            directory.path().join("truncated.wasm"),
            ["truncated.wasm", "1 bytes are missing", "again"],
        ),
        (directory.path().join("core.wasm"), ["core.wasm", "core module", "wasm32-wasip2"]),
        (directory.path().join("Bad.wasm"), ["Bad.wasm", "no name for a plugin", "rename"]),
        (directory.path().join("none.wasm"), ["none.wasm", "cannot be read", "No such file"]),
        (component("wants_sockets"), ["`wasi:sockets/", "not offered", "plugins have no sockets"]),
        (
            component("exports_nothing"),
            ["none of drover:plugin/operations", "no plugin", "drover-sdk"],
        ),
    ] {
        assert_says(&refusal(&host, &path).await, &words);
    }
}

#[tokio::test]
async fn fifty_megabytes_of_garbage_are_refused_at_once() {
    let mut garbage = vec![0xa5; 50 << 20];
    let directory = directory(&[], &[("garbage.wasm", &garbage)]);
    let host = host(Limits::default());
    assert_says(
        &refusal(&host, &directory.path().join("garbage.wasm")).await,
        &["not WebAssembly"],
    );

    garbage[..8].copy_from_slice(b"\0asm\x0d\0\x01\0");
    fs::write(directory.path().join("garbage.wasm"), &garbage).unwrap();
    assert_says(&refusal(&host, &directory.path().join("garbage.wasm")).await, &["truncated"]);
}

#[tokio::test]
async fn what_only_the_compiler_sees_is_refused_with_its_words() {
    // One section of the right length, with nonsense in it.
    let mut nonsense = b"\0asm\x0d\0\x01\0\x07\x20".to_vec();
    nonsense.extend([0xff; 32]);
    let directory = directory(&[], &[("nonsense.wasm", &nonsense)]);
    let text = refusal(&host(Limits::default()), &directory.path().join("nonsense.wasm")).await;
    assert_says(&text, &["nonsense.wasm", "cannot be compiled", "no valid component"]);
}

#[tokio::test]
async fn a_file_over_the_limit_is_not_even_read() {
    let host = host(Limits { component_bytes: 1000, ..Limits::default() });
    let text = refusal(&host, &component("guests")).await;
    assert_says(&text, &["guests.wasm", "1000 are allowed", "smaller"]);
}

#[tokio::test]
async fn a_directory_that_is_not_there_is_named() {
    let host = host(Limits::default());
    let error = host.load_directory(Path::new("/nowhere/plugins")).await.unwrap_err();
    assert_says(&error.to_string(), &["/nowhere/plugins"]);
}

#[tokio::test]
async fn a_mended_file_is_no_longer_refused() {
    let directory = directory(&[], &[("guests.wasm", b"")]);
    let host = host(Limits::default());
    host.load_directory(directory.path()).await.unwrap();
    assert_eq!(host.refused().len(), 1);

    fs::copy(component("guests"), directory.path().join("guests.wasm")).unwrap();
    host.load_directory(directory.path()).await.unwrap();
    assert_eq!((host.refused().len(), host.plugins().len()), (0, 1));
}

#[tokio::test]
async fn inspecting_shows_what_a_refused_component_wants() {
    let host = host(Limits::default());
    let inspection = host.inspect(&component("wants_sockets")).await.unwrap();
    assert!(inspection.not_offered.iter().all(|import| import.starts_with("wasi:sockets/")));
    assert!(inspection.not_offered.len() < inspection.imports.len());
    assert!(inspection.refusal.unwrap().contains("not offered"));
    assert!(host.plugins().is_empty());

    let inspection = host.inspect(&component("guests")).await.unwrap();
    assert_eq!((inspection.refusal, inspection.not_offered.len()), (None, 0));
    assert!(
        inspection.exports.iter().any(|export| export.starts_with("drover:plugin/operations@"))
    );
    assert!(inspection.operations.len() > 10);
}

#[tokio::test]
async fn a_component_that_takes_too_much_memory_to_compile_is_refused_for_good() {
    let temp = TempDir::new().unwrap();
    let child = compiler().program;
    // The child keeps a lower limit than its own.
    let script = "ulimit -v 40000; exec \"$0\" \"$@\"";
    let args = ["-c", script, child.to_str().unwrap()].map(Into::into).to_vec();
    let host = Host::start(HostConfig {
        cache_dir: temp.path().join("cache"),
        compiler: CompilerCommand { program: "/bin/sh".into(), args },
        limits: Limits::default(),
        reserved: Vec::new(),
        grants: Grants::default(),
        state_dir: temp.path().join("state"),
        surroundings: Surroundings::default(),
    })
    .unwrap();
    let reason = refusal(&host, &component("guests")).await;
    assert_says(&reason, &["takes more than 4 GiB of memory", "make the plugin smaller"]);
}

#[tokio::test]
async fn a_cache_directory_that_cannot_be_made_is_named() {
    let temp = TempDir::new().unwrap();
    fs::write(temp.path().join("file"), "").unwrap();
    let cache_dir = temp.path().join("file/cache");
    let config = HostConfig {
        cache_dir,
        compiler: compiler(),
        limits: Limits::default(),
        reserved: Vec::new(),
        grants: Grants::default(),
        state_dir: temp.path().join("state"),
        surroundings: Surroundings::default(),
    };
    let error = Host::start(config).err().unwrap();
    assert!(matches!(error, HostError::Cache(_)));
    assert_says(&error.to_string(), &["file/cache", "or choose another"]);
}

#[tokio::test]
async fn who_leads_to_an_import_and_what_takes_the_room_can_be_seen() {
    let host = host(Limits::default());
    let seen = host.inspect(&component("wants_sockets")).await.unwrap();
    assert!(seen.not_offered.iter().any(|import| import.starts_with("wasi:sockets/tcp@")));
    let callers: Vec<_> = seen.callers.values().flatten().collect();
    assert!(callers.iter().any(|caller| caller.contains("wants_sockets")), "{:?}", seen.callers);
    let sum: u64 = seen.parts.iter().map(|part| part.bytes).sum();
    assert_eq!(sum, seen.size_bytes);
    assert!(seen.parts.iter().any(|part| part.name == "code" && part.bytes > 10_000));
    assert!(seen.parts.iter().any(|part| part.name == "manifest"), "{:?}", seen.parts);
}
