//! The README's example in Python, as it stands there.

use std::fs;
use std::process::Command;

use drover_tests::{Ran, Site, installed};
use tempfile::TempDir;

use crate::DROVER;

const README: &str = include_str!("../../README.md");

#[test]
fn the_readmes_python_lists_the_nodes_and_calls_one() {
    let site = Site::start(DROVER);
    let _a = site.agent(1, "a");
    let (_, rest) = README.split_once("```python\n").unwrap();
    let (script, _) = rest.split_once("```").unwrap();
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("greet.py");
    fs::write(&file, script.replace("ws://127.0.0.1:7117/ws", &site.url)).unwrap();

    let shown = Ran::of(Command::new(installed("venv/bin/python")).arg(&file)).ok();

    assert!(shown.contains("a present") && shown.contains("Hello, Ada!"), "{shown}");
}
