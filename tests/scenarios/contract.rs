//! Plugins of other versions of the contract.
//!
//! `tests/contract/<version>/hello.wasm` are components as they were built
//! when that version was current; they are never rebuilt. Later versions are
//! made of the present one by renaming: the version is part of the names of
//! the interfaces and nowhere else.

use std::fs;
use std::path::{Path, PathBuf};

use drover_tests::{Ran, compiled, component, run};
use tempfile::TempDir;

use crate::DROVER;

fn greet(file: &Path) -> Ran {
    let cache = compiled();
    let (file, cache) = (file.to_str().unwrap(), cache.to_str().unwrap());
    run(DROVER.as_ref(), &["plugin", "run", file, "greet", "name=Ada", "--cache", cache])
}

/// The present hello plugin as if it had been built against `version`.
fn hello_of(version: &str, dir: &TempDir) -> PathBuf {
    let present = b"@0.1.0";
    let version = format!("@{version}");
    assert_eq!(version.len(), present.len());
    let mut bytes = fs::read(component("hello")).unwrap();
    let mut found = 0;
    for at in 0..bytes.len() - present.len() {
        let is_ours = bytes[..at].ends_with(b"drover:plugin/operations")
            || bytes[..at].ends_with(b"drover:plugin/log")
            || bytes[..at].ends_with(b"drover:plugin/job");
        if is_ours && bytes[at..].starts_with(present) {
            bytes[at..at + present.len()].copy_from_slice(version.as_bytes());
            found += 1;
        }
    }
    assert!(found > 0, "the component does not name the contract");
    let path = dir.path().join("hello.wasm");
    fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn a_plugin_built_against_an_older_version_still_runs() {
    let contracts = Path::new(env!("CARGO_MANIFEST_DIR")).join("contract");
    let versions: Vec<_> = fs::read_dir(&contracts)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .collect();
    assert!(!versions.is_empty());
    for version in versions {
        let text = greet(&version.join("hello.wasm")).ok();
        assert!(text.contains("Hello, Ada!"), "{}: {text}", version.display());
    }
}

#[test]
fn a_plugin_built_against_a_later_patch_runs_if_it_calls_nothing_newer() {
    let dir = TempDir::new().unwrap();
    let text = greet(&hello_of("0.1.9", &dir)).ok();
    assert!(text.contains("Hello, Ada!"), "{text}");
}

#[test]
fn a_plugin_built_against_another_minor_version_is_refused_with_both_versions() {
    let dir = TempDir::new().unwrap();
    let errors = greet(&hello_of("0.2.0", &dir)).failed(1);
    assert!(errors.contains("@0.2.0") && errors.contains("@0.1:"), "{errors}");
}
