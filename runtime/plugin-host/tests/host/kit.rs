//! Hosts, components and jobs for the tests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use drover_api::{ErrorCode, JobError, JobState};
use drover_grants::{Grants, GrantsFile, Manifest, embed};
use drover_plugin_host::{
    CompilerCommand, Host, HostConfig, Job, Limits, LoadError, Outcome, Surroundings,
};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take. Generous: only a failing test waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A host with the plugin `guests`.
pub(crate) async fn guests(limits: Limits) -> Host {
    let host = host(limits);
    host.load_file(&component("guests")).await.expect("the guests load");
    host
}

/// A host without plugins. All share a cache, so that each component is
/// compiled once.
pub(crate) fn host(limits: Limits) -> Host {
    let state_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-host-state");
    host_with(limits, Grants::default(), state_dir)
}

/// The same with grants, and with a directory for what plugins keep.
pub(crate) fn host_with(limits: Limits, grants: Grants, state_dir: PathBuf) -> Host {
    host_around(limits, grants, state_dir, Surroundings::default())
}

/// The same with something around it.
pub(crate) fn host_around(
    limits: Limits,
    grants: Grants,
    state_dir: PathBuf,
    surroundings: Surroundings,
) -> Host {
    let cache_dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin-host-cache");
    Host::start(HostConfig {
        cache_dir,
        compiler: compiler(),
        limits,
        reserved: vec!["process".into()],
        grants,
        state_dir,
        surroundings,
    })
    .expect("the host starts")
}

/// The compile child.
pub(crate) fn compiler() -> CompilerCommand {
    CompilerCommand { program: env!("CARGO_BIN_EXE_compile-component").into(), args: Vec::new() }
}

/// The file of a component that `tests/guests` makes.
pub(crate) fn component(name: &str) -> PathBuf {
    let file = format!("{name}.wasm");
    let places = [built().join(&file), built().join("examples").join(&file)];
    let path = places.into_iter().find(|path| path.exists());
    path.unwrap_or_else(|| panic!("tests/guests makes no {file}"))
}

/// Builds the components. `cargo xtask test` has done so before, and then this
/// only looks.
fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let output = Command::new(env!("CARGO"))
            .current_dir(&root)
            .args(["build", "--quiet", "--profile", "plugin", "--target", "wasm32-wasip2"])
            .args(["--package", "drover-guests", "--lib", "--examples"])
            .output()
            .expect("cargo runs");
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "the guests do not build, try `cargo xtask setup`: {words}"
        );
        // Cargo's own folder for temporary files is in the target directory.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
        target.join("wasm32-wasip2/plugin")
    })
}

/// Grants in the words of their file.
pub(crate) fn grants(text: &str) -> Grants {
    Grants::of_file(GrantsFile::parse(text).unwrap())
}

/// The plugin that touches all that can be granted, as `<name>.wasm` in
/// `directory`, with a manifest in the words of `plugin.toml`.
pub(crate) fn packed(directory: &Path, name: &str, manifest: &str) -> PathBuf {
    packed_of("granted", directory, name, manifest)
}

/// The same of any component.
pub(crate) fn packed_of(of: &str, directory: &Path, name: &str, manifest: &str) -> PathBuf {
    let bytes = fs::read(component(of)).unwrap();
    let packed = embed(&bytes, &Manifest::from_toml(manifest).unwrap()).unwrap();
    let path = directory.join(format!("{name}.wasm"));
    fs::write(&path, packed).unwrap();
    path
}

/// A directory with copies of components and with other files.
pub(crate) fn directory(components: &[&str], files: &[(&str, &[u8])]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for name in components {
        fs::copy(component(name), directory.path().join(format!("{name}.wasm"))).unwrap();
    }
    for (name, content) in files {
        fs::write(directory.path().join(name), content).unwrap();
    }
    directory
}

/// `guests.wasm` as version number `version`: alike but for a section that
/// nobody reads.
pub(crate) fn guests_bytes(version: u8) -> Vec<u8> {
    let mut bytes = fs::read(component("guests")).unwrap();
    bytes.extend([0, 3, 1, b'v', version]);
    bytes
}

/// A job for an operation of `guests`.
pub(crate) fn job(operation: &str, arguments: Value) -> Job {
    let Value::Object(arguments) = arguments else { panic!("arguments are an object") };
    Job { timeout: Some(PATIENCE), ..Job::new("guests", operation, arguments) }
}

/// Runs an operation of `guests` and expects it to answer.
pub(crate) async fn answer(host: &Host, operation: &str, arguments: Value) -> Value {
    let outcome = host.run(job(operation, arguments)).await;
    assert_eq!(outcome.state, JobState::Ok, "{outcome:?}");
    outcome.data.into_value()
}

/// The error of an outcome, after a look at its code.
pub(crate) fn error(outcome: &Outcome, code: ErrorCode) -> &JobError {
    let error = outcome.error.as_ref().unwrap_or_else(|| panic!("no error: {outcome:?}"));
    assert_eq!(error.code, code, "{outcome:?}");
    error
}

/// Why a file is refused, source by source.
pub(crate) async fn refusal(host: &Host, path: &Path) -> String {
    let error = host.load_file(path).await.expect_err("it is refused");
    assert!(matches!(error, LoadError::Refused { .. }), "{error}");
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// Fails unless `text` has all `parts`.
pub(crate) fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        let start: String = text.chars().take(1000).collect();
        assert!(text.contains(part), "{part:?} is not in {start:?}");
    }
}
