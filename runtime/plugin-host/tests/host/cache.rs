//! Compiled code on disk: used if it is ours, compiled again if it is not.

use std::fs;
use std::path::PathBuf;

use drover_api::ErrorCode;
use drover_grants::Grants;
use drover_plugin_host::{CompilerCommand, Host, HostConfig, Job, Limits, Surroundings};
use serde_json::json;
use tempfile::TempDir;

use crate::kit::{compiler, component, error, job};

/// What somebody does to a file.
type Change = fn(&mut Vec<u8>);

/// A cache of its own and a compiler that leaves a mark at each run.
struct Site(TempDir);

impl Site {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn marks(&self) -> PathBuf {
        self.0.path().join("marks")
    }

    /// Starts a host, loads a plugin, which is small, and runs its code.
    async fn run_once(&self) {
        run(&self.host().await).await;
    }

    /// A host with the plugin.
    async fn host(&self) -> Host {
        let script = r#"echo compiled >> "$0"; exec "$@""#;
        let mut args = vec!["-c".into(), script.into(), self.marks().into()];
        args.push(compiler().program.into());
        let host = Host::start(HostConfig {
            cache_dir: self.0.path().join("cache"),
            compiler: CompilerCommand { program: "/bin/sh".into(), args },
            limits: Limits::default(),
            reserved: Vec::new(),
            grants: Grants::default(),
            state_dir: PathBuf::from("/nowhere"),
            surroundings: Surroundings::default(),
        });
        let host = host.unwrap();
        host.load_file(&component("answer_garbage")).await.unwrap();
        host
    }

    fn compilations(&self) -> usize {
        fs::read_to_string(self.marks()).unwrap_or_default().lines().count()
    }

    fn cached(&self, extension: &str) -> PathBuf {
        let entries = fs::read_dir(self.0.path().join("cache")).unwrap();
        let mut paths = entries.map(|entry| entry.unwrap().path());
        paths.find(|path| path.extension().is_some_and(|other| other == extension)).unwrap()
    }
}

async fn run(host: &Host) {
    let job = Job { plugin: "answer_garbage".into(), ..job("answer", json!({})) };
    error(&host.run(job).await, ErrorCode::InvalidAnswer);
}

#[tokio::test]
async fn a_file_that_is_emptied_while_its_code_is_in_use_does_no_harm() {
    let site = Site::new();
    let host = site.host().await;
    fs::write(site.cached("cwasm"), b"").unwrap();
    run(&host).await;
    site.run_once().await;
    assert_eq!(site.compilations(), 2);
}

#[tokio::test]
async fn code_is_compiled_once() {
    let site = Site::new();
    site.run_once().await;
    site.run_once().await;
    assert_eq!(site.compilations(), 1);
}

#[tokio::test]
async fn code_that_was_changed_is_compiled_again() {
    let changes: [(&str, Change); 5] = [
        ("cwasm", |bytes| {
            // Deep in the machine code, where wasmtime would not notice.
            let middle = bytes.len() / 2;
            bytes[middle] ^= 0xff;
        }),
        ("cwasm", |bytes| bytes.truncate(bytes.len() / 2)),
        ("cwasm", Vec::clear),
        ("mac", |bytes| bytes[0] ^= 1),
        ("mac", Vec::clear),
    ];
    let site = Site::new();
    site.run_once().await;
    for (index, (extension, change)) in changes.into_iter().enumerate() {
        let path = site.cached(extension);
        let mut bytes = fs::read(&path).unwrap();
        change(&mut bytes);
        fs::write(&path, bytes).unwrap();
        site.run_once().await;
        assert_eq!(site.compilations(), index + 2, "{extension} {index}");
    }
}

#[tokio::test]
async fn code_of_another_host_is_compiled_again() {
    let (site, other) = (Site::new(), Site::new());
    site.run_once().await;
    other.run_once().await;
    for extension in ["cwasm", "mac"] {
        fs::copy(other.cached(extension), site.cached(extension)).unwrap();
    }
    site.run_once().await;
    assert_eq!(site.compilations(), 2);
}

/// Compiled without bounds on time: an engine of ours would never stop it.
#[tokio::test]
async fn code_of_another_engine_is_compiled_again() {
    let site = Site::new();
    site.run_once().await;
    let engine = wasmtime::Engine::new(&wasmtime::Config::new()).unwrap();
    let component = fs::read(component("answer_garbage")).unwrap();
    fs::write(site.cached("cwasm"), engine.precompile_component(&component).unwrap()).unwrap();
    site.run_once().await;
    assert_eq!(site.compilations(), 2);
}

#[tokio::test]
async fn no_scratch_files_are_left() {
    let site = Site::new();
    site.run_once().await;
    assert_eq!(fs::read_dir(site.0.path().join("cache")).unwrap().count(), 2);
}
